"""MNIST: 28 x 28 grey images of handwritten digits, 60,000 to train, 10,000 to test.

Here as what a model of clothing has never seen. It does not come with the package.

Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998.
"""

from pathlib import Path
from typing import Literal

import torch

from zoo.data.folders import data_root
from zoo.data.idx import find_idx, read_idx
from zoo.data.images import ImageDataset
from zoo.errors import DataError

__all__ = ["mnist"]

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Split -> file of its images, file of its labels."""

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""File -> hash of its unpacked content."""


def mnist(root: str | Path | None = None, split: Literal["train", "test"] = "test") -> ImageDataset:
    """MNIST from the folder that torchvision keeps it in, `root/MNIST/raw`, packed or not.

    Args:
        root: Folder of the data sets; default $ZOO_DATA.

    Raises:
        DataError: there is no such split or folder, or a file is missing or damaged.
    """
    if split not in FILES:
        raise DataError(f"MNIST has the splits {' and '.join(FILES)}, not {split!r}")
    base = data_root(root)
    folder = base / "MNIST" / "raw"
    files = {name: find_idx(folder, name) for name in FILES[split]}
    missing = [name for name, path in files.items() if path is None]
    if missing:
        names = " and ".join(f"{name}[.gz]" for name in missing)
        raise DataError(
            f"MNIST is not here: looked for {names} in {folder}\n"
            '  get it with torchvision: python -c "from torchvision.datasets import MNIST; '
            f'MNIST({str(base)!r}, download=True)"\n'
            f"  then pass --data {base} or set ZOO_DATA={base}"
        )
    images, labels = (
        read_idx(path, SHA256[name]) for name, path in files.items() if path is not None
    )
    classes = [str(digit) for digit in range(10)]
    return ImageDataset("mnist", split, images.unsqueeze(1), labels.to(torch.int64), classes)
