"""The nine factors of the robot scene, their grid, and what each of them sets.

Names, numbers of values and order are those of Isaac3D (Nie et al., 2020). Every combination is a
point of a grid of 737,280, numbered with the last factor running fastest. Lengths are in metres,
angles in radians, colours in [0, 1]; z points up and the camera looks along +y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.models.factors import Factor

__all__ = [
    "COUNT",
    "FACTORS",
    "FIELD_OF_VIEW",
    "SCALES",
    "SHAPES",
    "SIZES",
    "STRIDES",
    "Setting",
    "checked",
    "indices_of",
    "number_of",
    "setting",
]

FACTORS: tuple[Factor, ...] = (
    Factor("object_shape", 3, "cube, tetrahedron or sphere", categorical=True),
    Factor("robot_x", 8, "the arm swings from left to right"),
    Factor("robot_y", 5, "the arm lifts the object"),
    Factor("camera_height", 4, "the camera rises"),
    Factor("object_scale", 4, "the object grows"),
    Factor("lighting_intensity", 4, "from dark to bright"),
    Factor("lighting_y_dir", 6, "the light tilts up"),
    Factor("object_color", 4, "the object fades from blue to near white"),
    Factor("wall_color", 4, "the wall goes from green over grey to lilac"),
)
SIZES: tuple[int, ...] = tuple(factor.values for factor in FACTORS)
COUNT = math.prod(SIZES)
STRIDES: tuple[int, ...] = tuple(math.prod(SIZES[i + 1 :]) for i in range(len(SIZES)))
"""What one step of a factor adds to the number of a scene."""

SHAPES = ("cube", "tetrahedron", "sphere")
SCALES = (0.11, 0.15, 0.19, 0.23)
"""Size s of the object: radius of the sphere; edges of 1.6·s, and of 2.55·s of the tetrahedron."""

FIELD_OF_VIEW = 52.0
"""Vertical, in degrees."""

BLUE, WHITE = np.array((0.10, 0.02, 0.62)), np.array((0.80, 0.80, 0.78))
WALLS = ((0.22, 0.62, 0.12), (0.52, 0.60, 0.46), (0.64, 0.56, 0.60), (0.74, 0.52, 0.78))

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def number_of(indices: ArrayLike) -> Indices:
    """Numbers (...) of the scenes with indices (..., 9) of their nine values.

    Raises:
        ValueError: an index is not one of its factor's.
    """
    numbers: Indices = checked(indices) @ np.array(STRIDES)
    return numbers


def indices_of(number: ArrayLike) -> Indices:
    """Indices (..., 9), int64, of the values of the scenes with these numbers (...).

    Raises:
        ValueError: a number is not in [0, 737280).
    """
    numbers = _integers(number, "number of a scene")
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < COUNT):
        raise ValueError(f"number of a scene: expected 0 to {COUNT - 1}, found {numbers.tolist()}")
    indices: Indices = numbers[..., None] // np.array(STRIDES) % np.array(SIZES)
    return indices


def checked(indices: ArrayLike) -> Indices:
    """The indices (..., 9) as int64.

    Raises:
        ValueError: an index is not one of its factor's.
    """
    array = _integers(indices, "indices of a scene")
    if array.ndim == 0 or array.shape[-1] != len(FACTORS):
        raise ValueError(f"indices of a scene: expected (..., {len(FACTORS)}), found {array.shape}")
    for factor, column in zip(FACTORS, np.moveaxis(array, -1, 0), strict=True):
        if column.size and not (column.min() >= 0 and column.max() < factor.values):
            wrong = column[(column < 0) | (column >= factor.values)].flat[0]
            raise ValueError(f"{factor.name}: expected 0 to {factor.values - 1}, found {wrong}")
    return array


def _integers(values: ArrayLike, what: str) -> Indices:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{what}: expected integers, found {array.dtype}")
    return array.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Setting:
    """A scene in metres, radians and colours.

    Args:
        shape: of the object, one of `SHAPES`.
        scale: index of its size in `SCALES`.
        side: of the arm, from -1, left in the picture, to 1.
        lift: index of the height of the arm, 0 to 4.
        camera_position: its place; its x axis is horizontal.
        camera_target: what it looks at.
        light_position: of the spot light.
        light_direction: where it shines, of length 1.
        diffuse: brightness of the light.
        object_colour: RGB.
        wall_colour: RGB.
    """

    shape: str
    scale: int
    side: float
    lift: int
    camera_position: Floats
    camera_target: Floats
    light_position: Floats
    light_direction: Floats
    diffuse: float
    object_colour: Floats
    wall_colour: Floats

    @property
    def specular(self) -> float:
        """Brightness of its highlights."""
        return 0.6 * self.diffuse

    @property
    def camera_elevation(self) -> float:
        """Angle between the view and the horizon, in radians."""
        x, y, z = self.camera_target - self.camera_position
        return math.atan2(z, math.hypot(x, y))


def setting(indices: ArrayLike) -> Setting:
    """What the indices (9,) of the values of the factors set.

    With k the index and n the number of values, a factor acts by its label k / (n - 1).

    Raises:
        ValueError: an index is not one of its factor's.
    """
    array = checked(indices)
    if array.ndim != 1:
        raise ValueError(f"indices of one scene: expected (9,), found {array.shape}")
    index: dict[str, int] = dict(zip((f.name for f in FACTORS), array.tolist(), strict=True))
    label: dict[str, Any] = {f.name: index[f.name] / (f.values - 1) for f in FACTORS}
    height, tilt = label["camera_height"], -1.15 + 1.35 * label["lighting_y_dir"]
    direction = np.array((0.15, 1.0, tilt))
    return Setting(
        shape=SHAPES[index["object_shape"]],
        scale=index["object_scale"],
        side=2 * label["robot_x"] - 1,
        lift=index["robot_y"],
        camera_position=np.array((0.0, -2.35, 1.0 + 0.75 * height)),
        camera_target=np.array((0.0, 1.0, 1.22 - 0.18 * height)),
        light_position=np.array((-0.6, -2.2, 1.6 - 0.75 * tilt)),
        light_direction=direction / np.linalg.norm(direction),
        diffuse=0.22 + 0.50 * label["lighting_intensity"],
        object_colour=BLUE + label["object_color"] * (WHITE - BLUE),
        wall_colour=np.array(WALLS[index["wall_color"]]),
    )
