"""CelebA: 202,599 aligned photographs of celebrities with 40 attributes, for research only.

An attribute is there or not, so it is a factor with two values; which of them are factors of a
model is chosen by name. torchvision keeps the data in `root/celeba`:

    img_align_celeba/000001.jpg ...     178 × 218 pixels, eyes at the same place
    list_attr_celeba.txt                the attributes, -1 or 1
    list_eval_partition.txt             0 train, 1 validation, 2 test
    identity_CelebA.txt, list_bbox_celeba.txt, list_landmarks_align_celeba.txt

and reads it: it compares the md5 of the five lists, those that are not needed here too, and not
the images. Nothing is downloaded. The terms of the data forbid commercial use, so that no image of
it comes with the package.

Source: Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo._names import did_you_mean
from zoo.data.folders import data_root
from zoo.data.robot_scenes import Scenes
from zoo.errors import DataError
from zoo.models.factors import Factor

__all__ = ["ATTRIBUTES", "DEFAULT", "SIDE", "factors", "load"]

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

ATTRIBUTES = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)
"""As the data set spells them, in its order."""

DEFAULT = (
    "Smiling",
    "Mouth_Slightly_Open",
    "Bangs",
    "Blond_Hair",
    "Eyeglasses",
    "Pale_Skin",
    "Male",
    "Young",
)
"""Our own choice: those of the paper could not be looked up."""

SIDE = 178
"""Pixels of the square that is cut from the middle of an image: as wide as the image."""
CHUNK = 256
"""Images that one thread decodes at a time."""


def factors(attributes: Sequence[str] = DEFAULT) -> tuple[Factor, ...]:
    """Attributes, spelt as in `ATTRIBUTES`, as factors of a model, in the order given.

    A factor's name becomes the name of an argument: in small letters, and without a digit first.

    Raises:
        ValueError: an attribute does not exist, or comes twice.
    """
    for name in attributes:
        if name not in ATTRIBUTES:
            raise ValueError(f"CelebA has no attribute {name!r}{did_you_mean(name, ATTRIBUTES)}")
    if len(set(attributes)) < len(attributes):
        raise ValueError(f"expected different attributes, found {', '.join(attributes)}")
    return tuple(
        Factor(name.lower().replace("5_", "five_"), 2, name.replace("_", " ").lower())
        for name in attributes
    )


def load(
    root: str | Path | None = None,
    *,
    split: Split = "train",
    size: int = 256,
    attributes: Sequence[str] = DEFAULT,
    count: int | None = None,
    cache: Path | None = None,
) -> Scenes:
    """The faces of a split: the middle square of each image, resized with antialiasing.

    Indices are 1 where an attribute is there.

    The square has 178 pixels a side, so that at `size` 256 it is enlarged. All of the training
    images take 32 GB then: with `cache` they are kept in a file that is mapped into memory, and
    decoded once.

    Args:
        root: folder of the data sets; default $ZOO_DATA.
        attributes: which are the factors, spelt as in `ATTRIBUTES`.
        count: at most so many, from the first on.
        cache: folder for the decoded images; none: they are kept in memory.

    Raises:
        DataError: the data are missing or damaged.
        ValueError: an attribute does not exist, the split is none, or a number is below 1.
    """
    if split not in SPLITS:
        raise ValueError(f"expected one of the splits {', '.join(SPLITS)}, found {split!r}")
    for name, number in (("size", size), ("count", count)):
        if number is not None and number < 1:
            raise ValueError(f"{name}: expected at least 1, found {number}")
    known = factors(attributes)
    dataset = _open(data_root(root), split)
    n = len(dataset) if count is None else min(count, len(dataset))
    columns = [list(dataset.attr_names).index(name) for name in attributes]
    folder = Path(dataset.root, dataset.base_folder, "img_align_celeba")
    paths = [folder / name for name in dataset.filename[:n]]
    images = _in_memory(paths, size) if cache is None else _cached(paths, size, split, cache)
    return Scenes(images, dataset.attr[:n][:, columns].to(torch.int64), known)


def _open(base: Path, split: Split) -> Any:
    from torchvision.datasets import CelebA

    try:
        return CelebA(str(base), split=split, target_type="attr", download=False)
    except RuntimeError as error:
        folder = base / CelebA.base_folder
        names = [name for _, _, name in CelebA.file_list if name.endswith(".txt")]
        missing = [name for name in [*names, "img_align_celeba"] if not (folder / name).exists()]
        found = f"{', '.join(missing)} missing" if missing else "a list with another md5"
        raise DataError(
            f"CelebA is not here, or damaged: looked in {folder} for img_align_celeba/*.jpg "
            f"and the official {', '.join(names)}; found {found}\n"
            "  get it with torchvision (and gdown; not for commercial use):\n"
            '    python -c "from torchvision.datasets import CelebA; '
            f'CelebA({str(base)!r}, download=True)"\n'
            f"  then pass --data {base} or set ZOO_DATA={base}"
        ) from error


def _in_memory(paths: Sequence[Path], size: int) -> Tensor:
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    _decode(paths, images.numpy())
    return images


def _cached(paths: Sequence[Path], size: int, split: Split, cache: Path) -> Tensor:
    """The decoded images from a file of `cache`, which is written first if it is not there."""
    shape = (len(paths), 3, size, size)
    path = cache / f"celeba-{split}-{len(paths)}-{size}.u8"
    expected = int(np.prod(shape))
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Under its own name only when it is whole: an interrupted decoding leaves no such file.
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            pixels = np.memmap(part, np.uint8, "w+", shape=shape)
            _decode(paths, pixels)
            pixels.flush()
            part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink()
    if (found := path.stat().st_size) != expected:
        raise DataError(f"{path}: expected {expected:,} bytes, found {found:,}; delete the file")
    # Copy on write: torch wants memory that it may write to, the file stays as it is.
    return torch.from_numpy(np.memmap(path, np.uint8, "c", shape=shape))


def _decode(paths: Sequence[Path], out: np.ndarray) -> None:
    """Write the images into `out`, (N, 3, size, size); Pillow decodes outside of Python's lock."""

    def some(start: int) -> None:
        for index in range(start, min(start + CHUNK, len(paths))):
            out[index] = _read(paths[index], out.shape[-1])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(some, range(0, len(paths), CHUNK)))


def _read(path: Path, size: int) -> np.ndarray:
    """One image, (3, size, size)."""
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}; unpack img_align_celeba again") from error
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    if min(left, top) < 0:
        raise DataError(
            f"{path}: expected at least {SIDE} pixels a side, found {image.width} x {image.height}"
        )
    # Cut first: the `box` of `resize` would let the filter see the pixels around it. Pillow's
    # filters grow with the step between pixels, so that what is made smaller has no alias.
    square = image.crop((left, top, left + SIDE, top + SIDE))
    resized = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized).transpose(2, 0, 1)
