"""Data sets, one file each, and corruptions of images.

A data set is found by the name that cards use: `load("fashion-mnist", root, "test")`, or imported
from its own module: `from zoo.data.fashion_mnist import fashion_mnist`. Toy densities on the plane,
which need no folder, have a room of their own: `from zoo.data import densities`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from zoo.data import fashion_mnist
from zoo.data.cifar10 import cifar10
from zoo.data.corruptions import CORRUPTIONS, corrupt, corrupt_randomly
from zoo.data.folders import data_root
from zoo.data.images import ImageDataset, as_float
from zoo.errors import DataError, UnknownNameError

__all__ = [
    "CORRUPTIONS",
    "DATASETS",
    "ImageDataset",
    "as_float",
    "corrupt",
    "corrupt_randomly",
    "data_root",
    "load",
]

Split = Literal["train", "test"]


def _sample(root: str | Path | None, split: Split) -> ImageDataset:
    if split != "test":
        raise DataError(f"fashion-mnist-sample has test images only, not {split!r}")
    return fashion_mnist.fashion_mnist_sample()


DATASETS: Mapping[str, Callable[[str | Path | None, Split], ImageDataset]] = {
    "cifar-10": cifar10,
    "fashion-mnist": fashion_mnist.fashion_mnist,
    "fashion-mnist-sample": _sample,
}
"""Name -> function of the data folder and the split."""


def load(name: str, root: str | Path | None = None, split: Split = "test") -> ImageDataset:
    """The data set `name`, found below `root` (default $ZOO_DATA) unless it comes with the package.

    Raises:
        UnknownNameError: there is no such data set.
        DataError: it is not here, or damaged.
    """
    if name not in DATASETS:
        raise UnknownNameError(f"no data set {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name](root, split)
