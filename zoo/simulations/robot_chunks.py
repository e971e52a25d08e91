"""Files of robot scenes: which scenes an ensemble has, in which file, and whether it is all there.

    DIR/settings.json                  arm, size, seed, fixed factors, and the number of scenes
    DIR/scenes-00000.safetensors       "images", uint8 (250, 3, size, size), "indices" (250, 9)
    DIR/scenes-00001.safetensors       the next 250 scenes
    ...

The scenes are a random permutation of the grid, or of the part of it that the fixed factors leave:
no scene comes twice, and fewer scenes are a prefix of more. No file depends on the order in which
the files were made, on the number of processes, or on how many scenes there are in all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from zoo.models.factors import find
from zoo.simulations.robot_factors import COUNT, FACTORS, indices_of

__all__ = ["CHUNK", "FOLDER", "SETTINGS", "Chunk", "Ensemble", "complaint", "packed"]

CHUNK = 250
FOLDER = "robot-scenes"
"""Of all ensembles, below the folder of the data sets."""

SETTINGS = "settings.json"


@dataclass(frozen=True)
class Ensemble:
    """Which scenes are drawn, and how.

    Args:
        arm: of the robot, `primitive` or `jaco`.
        size: side of the images in pixels.
        seed: of the permutation of the scenes.
        fixed: factors that have one value only, and the index of that value.

    Raises:
        ValueError: there is no such factor, or it has no such value.
    """

    arm: str = "primitive"
    size: int = 64
    seed: int = 0
    fixed: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, index in self.fixed.items():
            factor = FACTORS[find(FACTORS, name)]
            if not 0 <= index < factor.values:
                raise ValueError(f"{name}: expected 0 to {factor.values - 1}, found {index}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: expected 0 to 2^32 - 1, found {self.seed}")

    @property
    def name(self) -> str:
        """Name of its folder, such as `primitive-64`, or `primitive-64-object_scale=3`."""
        fixed = (f"-{factor.name}={self.fixed[factor.name]}" for factor in self._fixed_factors())
        return "".join([f"{self.arm}-{self.size}", *fixed])

    @property
    def total(self) -> int:
        """Number of different scenes."""
        total = COUNT
        for factor in self._fixed_factors():
            total //= factor.values
        return total

    def numbers(self, count: int) -> NDArray[np.int64]:
        """Numbers of its first `count` scenes, in order.

        Raises:
            ValueError: there are not so many, or none is asked for.
        """
        if not 1 <= count <= self.total:
            raise ValueError(f"count: expected 1 to {self.total} different scenes, found {count}")
        grid = np.arange(COUNT)
        for factor in self._fixed_factors():
            grid = grid[indices_of(grid)[:, FACTORS.index(factor)] == self.fixed[factor.name]]
        # The legacy generator, because numpy promises that its stream never changes.
        order = np.random.RandomState(self.seed).permutation(len(grid))
        return grid[order[:count]]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        fixed = {factor.name: self.fixed[factor.name] for factor in self._fixed_factors()}
        return {"arm": self.arm, "size": self.size, "seed": self.seed, "fixed": fixed}

    def _fixed_factors(self) -> list[Any]:
        return [factor for factor in FACTORS if factor.name in self.fixed]


@dataclass(frozen=True, eq=False)
class Chunk:
    """The scenes of one file.

    Args:
        index: of the file, from 0.
        numbers: of its scenes, at most 250.
    """

    index: int
    numbers: NDArray[np.int64]

    @property
    def file(self) -> str:
        """Its name."""
        return f"scenes-{self.index:05d}.safetensors"

    @staticmethod
    def all(numbers: NDArray[np.int64]) -> list[Chunk]:
        """All scenes, cut into files."""
        starts = range(0, len(numbers), CHUNK)
        return [Chunk(start // CHUNK, numbers[start : start + CHUNK]) for start in starts]


def packed(chunk: Chunk, images: NDArray[np.uint8], facts: Mapping[str, Any]) -> bytes:
    """The file of a chunk.

    Args:
        chunk: its scenes.
        images: of them, uint8 (N, 3, S, S).
        facts: what else is known about how they were drawn, as JSON values.
    """
    tensors: dict[str, NDArray[Any]] = {"images": images, "indices": indices_of(chunk.numbers)}
    # One line for all, because safetensors writes several in no fixed order.
    about = json.dumps({**facts, "sha256": _digest(images)}, sort_keys=True)
    content: bytes = safetensors.numpy.save(tensors, {"about": about})
    return content


def complaint(path: Path, chunk: Chunk, size: int) -> str | None:
    """What is wrong with the file of a chunk, or None if it is as it should be."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["about"])
            images, indices = file.get_tensor("images"), file.get_tensor("indices")
    except FileNotFoundError:
        return "missing"
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        return f"damaged: {error}"
    if not np.array_equal(indices, indices_of(chunk.numbers)):
        return "of other scenes"
    if images.shape != (len(chunk.numbers), 3, size, size) or images.dtype != np.uint8:
        return f"damaged: images {images.dtype} {images.shape}"
    return None if about.get("sha256") == _digest(images) else "damaged: sha256 differs"


def _digest(images: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
