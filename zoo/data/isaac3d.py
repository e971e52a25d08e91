"""Isaac3D: 737,280 pictures of a robot in a kitchen, one for every combination of nine factors.

    DIR/Isaac3D_down128/images/000000.png       128 pixels a side
    DIR/Isaac3D/images/000000.png               512 pixels a side
    .../labels.npy                              beside images/: (737280, 9), in [0, 1]

A picture is named by its number, with the nine factors in the order of `FACTORS` and the last one
running fastest. The README of the data set gives another order: the names in its formula are
permuted, so that it reaches some numbers from several combinations and others from none. Its own
program, its samples and its labels have the order of `FACTORS`.

Source: Nie et al., "Semi-Supervised StyleGAN for Disentanglement Learning", ICML 2020;
https://github.com/NVlabs/High-res-disentanglement-datasets, CC BY 4.0, by NVIDIA Corporation.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zoo.data.folders import data_root
from zoo.data.robot_scenes import Scenes, Split, part_of
from zoo.errors import DataError
from zoo.simulations.robot_chunks import Ensemble
from zoo.simulations.robot_factors import COUNT, FACTORS, SIZES, STRIDES, indices_of, number_of

__all__ = ["COUNT", "FACTORS", "FOLDERS", "SIZES", "STRIDES", "indices_of", "load", "number_of"]

FOLDERS = {128: "Isaac3D_down128", 512: "Isaac3D"}
"""Side of the pictures in pixels -> their folder, as the archives unpack."""

SOURCE = "https://github.com/NVlabs/High-res-disentanglement-datasets"


def load(
    root: str | Path | None = None,
    *,
    size: int = 128,
    split: Split = "train",
    total: int = 20_000,
    count: int | None = None,
    seed: int = 0,
) -> Scenes:
    """A random subset of Isaac3D, the last tenth of which is its test split.

    With the same `total` and `seed`, the pictures have the factors of the scenes that
    `zoo simulate robot` draws, in the same order.

    Args:
        root: folder of the data sets (default: $ZOO_DATA).
        size: side of the images in pixels: 512 or 128, or less, averaged, if it divides 512.
        split: `train`, `test`, or `all`.
        total: pictures of the subset, both splits together, at most 737,280.
        count: only the first so many of the split (default: all).
        seed: of the subset and its order.

    Raises:
        DataError: there is no such split or size, or pictures are missing, damaged or in another
            order than expected.
        ValueError: there are not so many pictures.
    """
    if size < 1 or 512 % size:
        raise DataError(f"Isaac3D: expected a size that divides 512, found {size}")
    first, last = part_of(total, split, count)
    numbers = Ensemble(seed=seed).numbers(total)[first:last]
    folder = _folder(data_root(root), size)
    _check_labels(folder / "labels.npy", numbers)

    def read(number: int) -> NDArray[np.uint8]:
        return _read(folder / "images" / f"{number:06d}.png", size)

    with ThreadPoolExecutor() as pool:
        images = np.stack(list(pool.map(read, numbers.tolist())))
    nchw = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return Scenes(torch.from_numpy(nchw), torch.from_numpy(indices_of(numbers)))


def _folder(base: Path, size: int) -> Path:
    """The smallest pictures that are there and large enough."""
    wanted = [base / name for side, name in sorted(FOLDERS.items()) if side >= size]
    for folder in wanted:
        if (folder / "images").is_dir():
            return folder
    raise DataError(
        f"Isaac3D is not here: looked for {' and '.join(f'{each}/images' for each in wanted)}; "
        f"unpack it below {base}, from the links in {SOURCE} (13 GB at 128 pixels, 190 GB at 512)"
    )


def _check_labels(path: Path, numbers: NDArray[np.int64]) -> None:
    """See that the labels, if they are there, are those of the numbers."""
    if not path.exists():
        return
    try:
        labels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; unpack the archive again") from error
    if labels.shape != (COUNT, len(SIZES)):
        raise DataError(f"{path}: expected ({COUNT}, {len(SIZES)}), found {labels.shape}")
    expected = indices_of(numbers) / (np.array(SIZES) - 1)
    wrong = np.abs(labels[numbers] - expected).max(axis=1) > 1e-3
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{path}: picture {numbers[row]}: expected {expected[row].round(3).tolist()}, "
            f"found {labels[numbers[row]].round(3).tolist()}: the factors are in another order"
        )


def _read(path: Path, size: int) -> NDArray[np.uint8]:
    """A picture, as uint8 (size, size, 3)."""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read: {error}; unpack the archive again") from error
    if image.width != image.height or image.width % size:
        raise DataError(f"{path}: expected a side of a multiple of {size}, found {image.size}")
    return np.asarray(image.reduce(image.width // size))
