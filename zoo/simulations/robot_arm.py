"""The two arms of the robot: one of capsules, and the Kinova Jaco of the package dm_control.

Each puts a chain of bodies on the base of the robot, returns the body that carries the object and
knows the angles of its joints for every pose.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from zoo.errors import SimulationError
from zoo.simulations.robot_kitchen import BROWN, DARK_BROWN

__all__ = ["ARMS", "Arm", "Jaco", "Primitive"]

Triple = tuple[float, float, float]
Angles = dict[str, float]

SHOULDER: Triple = (0.0, 0.0, 0.60)
"""Where an arm starts, in the frame of the base."""


class Arm(Protocol):
    """What the scene wants of an arm."""

    @property
    def grip(self) -> Triple:
        """Where the object is, in the frame of the last body."""

    def mount(self, spec: Any, base: Any) -> Any:
        """Put the arm on the body `base` of the `mujoco.MjSpec`; return its last body."""

    def angles(self, side: float, lift: int) -> Angles:
        """Angle in radians of every joint that a factor moves, by the name of the joint.

        Args:
            side: from -1, left in the picture, to 1.
            lift: 0, low, to 4, high.
        """


@dataclass(frozen=True)
class Primitive:
    """An arm of four capsules; it needs nothing but MuJoCo."""

    grip: Triple = (0.0, 0.0, 0.20)

    # Name of the joint, its axis, its place in its parent, length of the capsule and its radius.
    links = (
        ("yaw", (0, 0, 1), SHOULDER, 0.22, 0.062),
        ("shoulder", (1, 0, 0), (0.0, 0.0, 0.22), 0.40, 0.055),
        ("elbow", (1, 0, 0), (0.0, 0.0, 0.40), 0.34, 0.045),
        ("wrist", (1, 0, 0), (0.0, 0.0, 0.34), 0.10, 0.038),
    )

    def mount(self, spec: Any, base: Any) -> Any:
        """Put the arm on the body `base` of the `mujoco.MjSpec`; return its last body."""
        import mujoco

        kinds, body = mujoco.mjtGeom, base
        for name, axis, place, length, radius in self.links:
            body = body.add_body(
                name=name, pos=place, mass=1, inertia=(0.01, 0.01, 0.01), explicitinertial=True
            )
            body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=axis)
            ends = (0, 0, 0, 0, 0, length)
            body.add_geom(
                type=kinds.mjGEOM_CAPSULE, fromto=ends, size=(radius, 0, 0), rgba=(*BROWN, 1)
            )
            ball = (1.3 * radius, 0, 0)
            body.add_geom(type=kinds.mjGEOM_SPHERE, size=ball, rgba=(0.40, 0.14, 0.08, 1))
        return body

    def angles(self, side: float, lift: int) -> Angles:
        """Angle in radians of every joint: the higher, the more stretched."""
        v = lift / 4
        return {
            "yaw": math.radians(75) * side,
            "shoulder": 0.25 + 0.10 * (1 - v),
            "elbow": 1.25 - 1.15 * v,
            "wrist": 0.25 - 0.15 * v,
        }


@dataclass(frozen=True)
class Jaco:
    """The Kinova Jaco arm of dm_control, without its hand.

    Its meshes, which the zoo does not ship, are under the BSD-3-Clause licence: copyright (c) 2017,
    Kinova Robotics Inc. They are found in the installed package, which is not imported.
    """

    grip: Triple = (0.0, 0.0, -0.13)
    lifts = ((2.817, 5.042), (3.017, 4.892), (3.067, 4.592), (2.992, 4.167), (2.592, 3.217))
    """Joints 2 and 3, low to high: the reach is the same for all."""

    def mount(self, spec: Any, base: Any) -> Any:
        """Put the arm on the body `base` of the `mujoco.MjSpec`; return its last body.

        Raises:
            SimulationError: dm_control is not installed.
        """
        import mujoco

        arm = mujoco.MjSpec.from_file(str(_jaco_file()))
        for material in arm.materials:
            dark = material.name == "dark_gray"
            material.rgba = (*(BROWN if dark else DARK_BROWN), 1)
        spec.attach(arm, prefix="jaco_", frame=base.add_frame(pos=SHOULDER))
        return spec.body("jaco_b_6")

    def angles(self, side: float, lift: int) -> Angles:
        """Angle in radians of joints 1 to 3; the others stay at zero."""
        second, third = self.lifts[lift]
        return {
            "jaco_joint_1": math.radians(90 - 72 * side),
            "jaco_joint_2": second,
            "jaco_joint_3": third,
        }


def _jaco_file() -> Path:
    found = importlib.util.find_spec("dm_control")
    for folder in (found.submodule_search_locations or ()) if found else ():
        file = Path(folder) / "third_party" / "kinova" / "jaco_arm.xml"
        if file.exists():
            return file
    raise SimulationError(
        "the jaco arm needs the files of dm_control, which is not installed: "
        "`pip install --no-deps dm-control`, or take --arm primitive"
    )


ARMS: dict[str, Arm] = {"primitive": Primitive(), "jaco": Jaco()}
