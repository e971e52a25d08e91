"""Fashion-MNIST: 28 x 28 grey images of ten kinds of clothing, 60,000 to train, 10,000 to test.

The first 1,000 test images come with the package (`fashion_mnist_sample`): enough to show a model
at work and to measure an accuracy to about one point.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv 1708.07747; MIT licence, copyright 2017 Zalando SE.
"""

import hashlib
import lzma
from pathlib import Path
from typing import Literal

import torch

from zoo.data.folders import data_root
from zoo.data.idx import find_idx, read_idx
from zoo.data.images import ImageDataset
from zoo.errors import DataError

__all__ = ["CLASSES", "fashion_mnist", "fashion_mnist_sample", "make_sample"]

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Split -> file of its images, file of its labels."""

SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""File -> hash of its unpacked content."""

SAMPLE = Path(__file__).parent / "samples" / "fashion-mnist-test-1000.xz"
SAMPLE_SIZE = 1_000
SAMPLE_SHA256 = "99324003f90225ff171e1aec72f674b69ec6865868cc89648a79ce554830d86d"
"""Of the unpacked sample."""


def fashion_mnist(
    root: str | Path | None = None, split: Literal["train", "test"] = "test"
) -> ImageDataset:
    """Fashion-MNIST from the folder that torchvision keeps it in, `root/FashionMNIST/raw`.

    The four files may be packed (`.gz`) or not; nothing is written, so the folder may be read-only.

    Args:
        root: Folder of the data sets; default $ZOO_DATA.

    Raises:
        DataError: there is no such split or folder, or a file is missing or damaged.
    """
    if split not in FILES:
        raise DataError(f"Fashion-MNIST has the splits {' and '.join(FILES)}, not {split!r}")
    base = data_root(root)
    folder = base / "FashionMNIST" / "raw"
    files = {name: find_idx(folder, name) for name in FILES[split]}
    missing = [name for name, path in files.items() if path is None]
    if missing:
        raise DataError(_how_to_get(base, folder, missing))
    images, labels = (
        read_idx(path, SHA256[name]) for name, path in files.items() if path is not None
    )
    return ImageDataset(
        "fashion-mnist", split, images.unsqueeze(1), labels.to(torch.int64), CLASSES
    )


def fashion_mnist_sample() -> ImageDataset:
    """The first 1,000 official test images, from the package itself.

    Raises:
        DataError: the packaged file is missing or damaged.
    """
    try:
        content = bytearray(lzma.decompress(SAMPLE.read_bytes()))
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(f"{SAMPLE} cannot be read: {error}; install the package again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SAMPLE_SHA256:
        raise DataError(
            f"{SAMPLE} is damaged: its content has sha256 {found}, expected {SAMPLE_SHA256}; "
            "install the package again"
        )
    values = torch.frombuffer(content, dtype=torch.uint8)
    images = values[:-SAMPLE_SIZE].reshape(SAMPLE_SIZE, 1, 28, 28)
    labels = values[-SAMPLE_SIZE:].to(torch.int64)
    return ImageDataset("fashion-mnist-sample", "test", images, labels, CLASSES)


def make_sample(test: ImageDataset) -> bytes:
    """The packaged file, made from the official test images: byte for byte, images then labels, xz.

    How the file came to be: `SAMPLE.write_bytes(make_sample(fashion_mnist(root, "test")))`.
    """
    head = test.head(SAMPLE_SIZE)
    labels = head.labels.to(torch.uint8)
    content = head.images.numpy().tobytes() + labels.numpy().tobytes()
    return lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)


def _how_to_get(base: Path, folder: Path, missing: list[str]) -> str:
    names = " and ".join(f"{name}[.gz]" for name in missing)
    return (
        f"Fashion-MNIST is not here: looked for {names} in {folder}\n"
        "  get it with torchvision:\n"
        '    python -c "from torchvision.datasets import FashionMNIST; '
        f'FashionMNIST({str(base)!r}, download=True)"\n'
        "  or from Debian or Ubuntu:\n"
        f"    apt install dataset-fashion-mnist && mkdir -p {folder.parent} && "
        f"ln -s /usr/share/datasets/fashion-mnist {folder}\n"
        f"  then pass --data {base} or set ZOO_DATA={base}"
    )
