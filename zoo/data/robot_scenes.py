"""Robot scenes: pictures of a robot in a kitchen, with the nine factors that they were drawn from.

A stand-in for Isaac3D with its factors, values and numbering. `zoo simulate robot` draws them into
`<data>/robot-scenes/<arm>-<size>`; a few come with the package.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor
from torch.nn.functional import avg_pool2d

from zoo.data.folders import data_root
from zoo.errors import DataError
from zoo.models.factors import Factor, find
from zoo.simulations.robot_chunks import FOLDER, SETTINGS, Chunk, Ensemble, complaint
from zoo.simulations.robot_factors import FACTORS, indices_of
from zoo.training.files import FileError, read_json

__all__ = ["SAMPLE", "Scenes", "Split", "at_size", "load", "make_sample", "part_of", "sample"]

Split = Literal["train", "test", "all"]

SAMPLE = Path(__file__).parent / "samples" / "robot-scenes-64.png"
SAMPLE_SHA256 = "88b4d55f80c70567fd40a7b1e3e3f62bc0b7ca1e2076b7c54423cb595bcec0ce"
"""Of the pixels of the sample."""

SIDE = 64
"""Of an image of the sample, in pixels."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures of scenes, and the values of the factors that they were drawn from.

    Args:
        images: uint8, (N, 3, S, S).
        indices: of the values of the factors, int64, (N, F).
        factors: the F factors, in that order.

    Raises:
        ValueError: shapes or types do not fit, or an index is not one of its factor's.
    """

    images: Tensor
    indices: Tensor
    factors: tuple[Factor, ...] = FACTORS

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            found = f"{self.images.dtype} {tuple(self.images.shape)}"
            raise ValueError(f"images: expected uint8 (N, C, H, W), found {found}")
        shape = (len(self.images), len(self.factors))
        if self.indices.dtype != torch.int64 or self.indices.shape != shape:
            found = f"{self.indices.dtype} {tuple(self.indices.shape)}"
            raise ValueError(f"indices: expected int64 {shape}, found {found}")
        limits = torch.tensor([factor.values for factor in self.factors])
        if bool(((self.indices < 0) | (self.indices >= limits)).any()):
            raise ValueError(f"indices: expected 0 <= index < {tuple(limits.tolist())}")

    def __len__(self) -> int:
        return len(self.images)

    def values(self, factors: Iterable[Factor]) -> Tensor:
        """Indices (N, F) of the values of these factors, in this order, by their names.

        Raises:
            ValueError: there is no such factor, or it has another number of values.
        """
        columns = []
        for factor in factors:
            column = find(self.factors, factor.name)
            if self.factors[column].values != factor.values:
                raise ValueError(
                    f"{factor.name}: expected {self.factors[column].values} values, "
                    f"found {factor.values}"
                )
            columns.append(column)
        return self.indices[:, columns]

    def head(self, count: int) -> "Scenes":
        """The first `count` scenes.

        Raises:
            ValueError: there are not so many.
        """
        if not 0 < count <= len(self):
            raise ValueError(f"count: expected 1 to {len(self)} scenes, found {count}")
        return Scenes(self.images[:count], self.indices[:count], self.factors)


def load(
    root: str | Path | None = None,
    *,
    size: int = 64,
    arm: str = "primitive",
    split: Split = "train",
    count: int | None = None,
    seed: int = 0,
    fixed: Mapping[str, int] | None = None,
) -> Scenes:
    """Scenes that `zoo simulate robot` has drawn into `root/robot-scenes`.

    The last tenth of the scenes that were asked for there is the test split: of 20,000 scenes,
    18,000 are for training.

    Args:
        root: folder of the data sets (default: $ZOO_DATA).
        size: side of the images in pixels.
        arm: of the robot, `primitive` or `jaco`.
        split: `train`, `test`, or `all`.
        count: only the first so many of them (default: all).
        seed: that they were drawn with.
        fixed: factors that were fixed, and the index of their only value.

    Raises:
        DataError: there is no such split, the scenes are not here, fewer or others, or damaged.
        ValueError: there is no such fixed factor.
    """
    ensemble = Ensemble(arm, size, seed, fixed or {})
    base = data_root(root)
    folder = base / FOLDER / ensemble.name
    if not (folder / SETTINGS).exists():
        raise DataError(f"no robot scenes in {folder}; `{_command(ensemble, base)}` draws them")
    total = _drawn(folder, ensemble)
    try:
        wanted = part_of(total, split, count)
    except DataError as error:
        more = f"`{_command(ensemble, base)} --count N` draws more"
        raise DataError(f"{folder}: {error}; {more}") from error
    return _read(folder, ensemble, total, wanted, _command(ensemble, base))


def part_of(total: int, split: str, count: int | None = None) -> tuple[int, int]:
    """First and behind the last of the scenes of a split, or of its first `count`.

    Raises:
        DataError: there is no such split, or it has fewer.
    """
    border = total - total // 10
    parts = {"train": (0, border), "test": (border, total), "all": (0, total)}
    if split not in parts:
        raise DataError(f"expected the split {', '.join(parts)}, found {split!r}")
    first, last = parts[split]
    if count is None:
        count = last - first
    if not 0 < count <= last - first:
        raise DataError(f"expected 1 to {last - first} scenes ({split}), asked for {count}")
    return first, first + count


def averaged(images: Tensor, size: int) -> Tensor:
    """Images (N, C, S, S), uint8, of `size` pixels a side: averages of squares, half to even.

    Raises:
        ValueError: S is not a multiple of it.
    """
    side = images.shape[-1]
    if side == size:
        return images
    if size < 1 or side % size:
        raise ValueError(f"size: expected a divisor of {side}, the side of the images, not {size}")
    # In parts, because float32 takes four times as much memory as bytes.
    parts = (avg_pool2d(part.float(), side // size) for part in torch.split(images, 1000))
    return torch.cat([part.round().to(torch.uint8) for part in parts])


def at_size(scenes: Scenes, size: int) -> Scenes:
    """The scenes with images of `size` pixels a side, as `averaged` makes them.

    Raises:
        ValueError: their side is not a multiple of it.
    """
    images = averaged(scenes.images, size)
    return scenes if images is scenes.images else Scenes(images, scenes.indices, scenes.factors)


def sample() -> Scenes:
    """A few dozen scenes of the primitive arm, 64 pixels a side, from the package itself.

    They are the last of the 20,000 that `zoo simulate robot` draws, and so of their test split.

    Raises:
        DataError: the packaged file is missing or damaged.
    """
    try:
        with Image.open(SAMPLE) as file:
            numbers = json.loads(file.info["numbers"])
            sheet = np.asarray(file.convert("RGB"))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{SAMPLE} cannot be read: {error}; install the package again") from error
    found = hashlib.sha256(sheet.tobytes()).hexdigest()
    if found != SAMPLE_SHA256:
        raise DataError(
            f"{SAMPLE} is damaged: its pixels have sha256 {found}, expected {SAMPLE_SHA256}; "
            "install the package again"
        )
    images = torch.from_numpy(sheet.copy()).reshape(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2)
    return Scenes(images.contiguous(), torch.from_numpy(indices_of(numbers)))


def make_sample(scenes: Scenes, numbers: Iterable[int]) -> bytes:
    """The packaged file: the scenes one below the other, and their numbers, as a PNG.

    How the file came to be: the last 36 of `load(root, split="test")`, with
    `Ensemble().numbers(20_000)[-36:].tolist()`.
    """
    sheet = scenes.images.permute(0, 2, 3, 1).reshape(-1, SIDE, 3).numpy()
    about, file = PngImagePlugin.PngInfo(), io.BytesIO()
    about.add_text("numbers", json.dumps(list(numbers)))
    Image.fromarray(sheet).save(file, "PNG", pnginfo=about, optimize=True)
    return file.getvalue()


def _drawn(folder: Path, ensemble: Ensemble) -> int:
    """The number of scenes that the folder is meant to have."""
    try:
        there = read_json(folder / SETTINGS)
    except FileError as error:
        raise DataError(str(error)) from error
    for name, wanted in ensemble.as_dict().items():
        if there.get(name) != wanted:
            raise DataError(f"{folder}: expected {name} {wanted!r}, found {there.get(name)!r}")
    total = there.get("count")
    if not isinstance(total, int) or total < 1:
        raise DataError(f"{folder / SETTINGS}: expected a count, found {total!r}")
    return total


def _read(
    folder: Path, ensemble: Ensemble, total: int, wanted: tuple[int, int], command: str
) -> Scenes:
    """Scenes `wanted` = (first, behind the last), verified."""
    first, last = wanted
    images: list[Tensor] = []
    indices: list[Tensor] = []
    start = 0
    for chunk in Chunk.all(ensemble.numbers(total)):
        stop = start + len(chunk.numbers)
        if start < last and first < stop:
            path = folder / chunk.file
            if trouble := complaint(path, chunk, ensemble.size):
                raise DataError(f"{path}: {trouble}; `{command} --count {total}` draws it")
            tensors = safetensors.torch.load_file(path)
            part = slice(max(first - start, 0), last - start)
            images.append(tensors["images"][part])
            indices.append(tensors["indices"][part])
        start = stop
    return Scenes(torch.cat(images), torch.cat(indices))


def _command(ensemble: Ensemble, base: Path) -> str:
    """Draws them."""
    options = [f"--size {ensemble.size}", f"--arm {ensemble.arm}"]
    if ensemble.seed:
        options.append(f"--seed {ensemble.seed}")
    if ensemble.fixed:
        options.append(" ".join(["--fix", *(f"{n}={i}" for n, i in ensemble.fixed.items())]))
    return f"zoo simulate robot {' '.join(options)} --data {base}"
