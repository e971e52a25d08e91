"""The kitchen that the robot stands in, and its base: what no factor changes but the wall's colour.

A box is given by its centre and its half-sizes, in metres, as MuJoCo wants it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["BROWN", "DARK_BROWN", "WALL", "furnish", "place_base"]

Triple = tuple[float, float, float]

WHITE: Triple = (0.86, 0.85, 0.82)
CREAM: Triple = (0.80, 0.78, 0.72)
STEEL: Triple = (0.45, 0.46, 0.48)
DARK: Triple = (0.06, 0.06, 0.07)
BROWN: Triple = (0.50, 0.19, 0.11)
DARK_BROWN: Triple = (0.38, 0.14, 0.08)
PANEL: Triple = (0.42, 0.15, 0.09)

WALL = "wall"
"""Name of the geom whose colour is a factor."""

ALONG_X = (math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0)
ALONG_Y = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)
"""Quaternions that turn a cylinder, whose axis is z."""


@dataclass(frozen=True)
class Box:
    """A box of one colour, or of a material."""

    centre: Triple
    half: Triple
    colour: Triple | str
    name: str = ""


@dataclass(frozen=True)
class Cylinder:
    """A cylinder of one colour; `half` is half its length."""

    centre: Triple
    radius: float
    half: float
    colour: Triple
    turn: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)


def _grey(level: float) -> Triple:
    return (level, level, level)


def _room() -> list[Box]:
    return [
        Box((0, 0, -0.05), (4, 3, 0.05), "floor"),
        Box((0, 1.75, 1.5), (4, 0.05, 1.6), WHITE, name=WALL),
        Box((0, -0.5, 3.05), (4, 3, 0.05), _grey(0.9)),
    ]


def _fridge() -> list[Box]:
    handles = [Box((x, 0.93, 1.0), (0.012, 0.02, 0.45), _grey(0.7)) for x in (-1.82, -1.68)]
    return [
        Box((-1.75, 1.32, 0.95), (0.42, 0.36, 0.95), STEEL),
        Box((-1.75, 0.955, 0.95), (0.006, 0.006, 0.93), DARK),
        *handles,
        Box((-1.97, 0.955, 1.15), (0.12, 0.006, 0.2), DARK),
    ]


def _base_cabinets() -> list[Box]:
    doors = (-0.95, -0.35, 0.25, 1.45, 2.05)
    return [
        Box((0.9, 1.42, 0.42), (2.2, 0.28, 0.42), WHITE),
        *(Box((x, 1.13, 0.46), (0.275, 0.012, 0.33), CREAM) for x in doors),
        *(Box((x, 1.11, 0.74), (0.12, 0.012, 0.01), _grey(0.4)) for x in doors),
        Box((0.85, 1.12, 0.45), (0.29, 0.02, 0.36), _grey(0.93)),
    ]


def _worktop() -> list[Box | Cylinder]:
    return [
        Box((0.9, 1.41, 0.88), (2.25, 0.31, 0.035), "wood"),
        Box((0.45, 1.36, 0.917), (0.24, 0.17, 0.006), (0.35, 0.36, 0.38)),
        Cylinder((0.45, 1.56, 1.02), 0.013, 0.12, _grey(0.15)),
        Box((0.45, 1.49, 1.14), (0.012, 0.08, 0.012), _grey(0.15)),
    ]


def _wall_cabinets() -> list[Box]:
    flaps = (1.67, 2.03)
    doors = (1.4, 1.75, 2.1)
    return [
        Box((-0.55, 1.58, 1.85), (0.40, 0.13, 0.36), WHITE),
        *(Box((-0.55, 1.445, z), (0.375, 0.008, 0.155), CREAM) for z in flaps),
        *(Box((-0.55, 1.43, z - 0.11), (0.12, 0.012, 0.008), _grey(0.35)) for z in flaps),
        Box((1.75, 1.58, 1.85), (0.55, 0.14, 0.36), (0.62, 0.61, 0.55)),
        *(Box((x, 1.435, 1.85), (0.16, 0.008, 0.33), (0.66, 0.65, 0.58)) for x in doors),
    ]


def _clock() -> list[Box | Cylinder]:
    return [
        Cylinder((0.35, 1.69, 2.05), 0.135, 0.015, _grey(0.25), ALONG_Y),
        Cylinder((0.35, 1.672, 2.05), 0.115, 0.015, (0.9, 0.9, 0.88), ALONG_Y),
        Box((0.35, 1.65, 2.09), (0.006, 0.004, 0.045), DARK),
        Box((0.375, 1.65, 2.05), (0.03, 0.004, 0.006), DARK),
    ]


def _base() -> list[Box | Cylinder]:
    sides = (-1, 1)
    hub = (0.15, 0.07, 0.05)
    return [
        Box((0, 0, 0.36), (0.19, 0.17, 0.18), BROWN),
        Box((0, -0.172, 0.36), (0.14, 0.006, 0.12), PANEL),
        Box((0, 0, 0.57), (0.13, 0.12, 0.035), PANEL),
        *(Cylinder((0.25 * s, 0, 0.22), 0.22, 0.045, (0.36, 0.13, 0.08), ALONG_X) for s in sides),
        *(Cylinder((0.30 * s, 0, 0.22), 0.09, 0.01, hub, ALONG_X) for s in sides),
    ]


def furnish(spec: Any) -> None:
    """Put room and furniture, with their materials, into the `mujoco.MjSpec`."""
    import mujoco

    _materials(spec, mujoco)
    parts = (_room(), _fridge(), _base_cabinets(), _worktop(), _wall_cabinets(), _clock())
    for part in (each for parts_of_one in parts for each in parts_of_one):
        _add(spec.worldbody, part, mujoco)


def place_base(spec: Any) -> Any:
    """Put the mobile base of the robot into the `mujoco.MjSpec`, and return its body."""
    import mujoco

    body = spec.worldbody.add_body(name="base", pos=(0, 0.25, 0))
    for part in _base():
        _add(body, part, mujoco)
    return body


def _add(body: Any, part: Box | Cylinder, mujoco: Any) -> None:
    kinds = mujoco.mjtGeom
    if isinstance(part, Cylinder):
        size = (part.radius, part.half, 0)
        geom = body.add_geom(type=kinds.mjGEOM_CYLINDER, pos=part.centre, size=size, quat=part.turn)
    else:
        geom = body.add_geom(type=kinds.mjGEOM_BOX, pos=part.centre, size=part.half)
        if part.name:
            geom.name = part.name
    if isinstance(part.colour, str):
        geom.material = part.colour
    else:
        geom.rgba = (*part.colour, 1)


def _materials(spec: Any, mujoco: Any) -> None:
    checker, flat = mujoco.mjtBuiltin.mjBUILTIN_CHECKER, mujoco.mjtBuiltin.mjBUILTIN_FLAT
    plane = mujoco.mjtTexture.mjTEXTURE_2D
    spec.add_texture(
        name="wood",
        type=plane,
        builtin=checker,
        width=64,
        height=64,
        rgb1=(0.36, 0.22, 0.10),
        rgb2=(0.28, 0.16, 0.07),
    )
    spec.add_texture(
        name="floor",
        type=plane,
        builtin=flat,
        mark=mujoco.mjtMark.mjMARK_RANDOM,
        random=0.05,
        markrgb=(0.55, 0.53, 0.48),
        width=128,
        height=128,
        rgb1=(0.60, 0.58, 0.53),
        rgb2=(0.56, 0.54, 0.50),
    )
    slots = ["" for _ in range(mujoco.mjtTextureRole.mjNTEXROLE)]
    for name, repeat, specular in (("wood", (12, 3), 0.2), ("floor", (4, 4), 0.4)):
        slots[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        spec.add_material(
            name=name, textures=slots, texrepeat=repeat, specular=specular, reflectance=0
        )
