"""CIFAR-10: 32 × 32 colour images of ten kinds of things, 50,000 to train, 10,000 to test.

Its authors state no licence, so no image of it comes with the package. Two layouts are understood:
the official one, `root/cifar-10-batches-py`, read and checked by torchvision, and one NumPy
archive, `root/cifar10.npz`, with `images` (uint8, (60000, 32, 32, 3), the training images first)
and `labels`.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from zoo.data.folders import data_root
from zoo.data.images import ImageDataset
from zoo.errors import DataError

__all__ = ["CLASSES", "cifar10"]

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
TRAIN, TOTAL = 50_000, 60_000


def cifar10(
    root: str | Path | None = None, split: Literal["train", "test"] = "test"
) -> ImageDataset:
    """CIFAR-10 from a folder in either layout; nothing is written.

    Args:
        root: Folder of the data sets; default $ZOO_DATA.

    Raises:
        DataError: there is no folder, or the data are missing or damaged.
    """
    base = data_root(root)
    archive = base / "cifar10.npz"
    images, labels = _from_archive(archive, split) if archive.is_file() else _official(base, split)
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return ImageDataset("cifar-10", split, pixels, torch.from_numpy(labels), CLASSES)


def _official(base: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    # torchvision compares the md5 of every file before it unpickles one.
    from torchvision.datasets import CIFAR10

    try:
        dataset = CIFAR10(str(base), train=split == "train", download=False)
    except RuntimeError as error:
        raise DataError(
            f"CIFAR-10 is not here, or damaged: looked for {base / 'cifar-10-batches-py'} with the "
            f"official md5s, and for {base / 'cifar10.npz'}\n"
            "  get it with torchvision:\n"
            '    python -c "from torchvision.datasets import CIFAR10; '
            f'CIFAR10({str(base)!r}, download=True)"\n'
            f"  then pass --data {base} or set ZOO_DATA={base}"
        ) from error
    return dataset.data, np.asarray(dataset.targets, dtype=np.int64)


def _from_archive(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    part = slice(0, TRAIN) if split == "train" else slice(TRAIN, TOTAL)
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"].astype(np.int64)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}; delete it and make it again") from error
    if images.shape != (TOTAL, 32, 32, 3) or images.dtype != np.uint8 or labels.shape != (TOTAL,):
        raise DataError(
            f"{path}: expected images uint8 ({TOTAL}, 32, 32, 3) and labels ({TOTAL},), found "
            f"{images.dtype} {images.shape} and {labels.shape}"
        )
    return images[part], labels[part]
