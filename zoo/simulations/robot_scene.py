"""A kitchen with a robot that holds an object, in nine factors: a stand-in for Isaac3D.

Isaac3D (Nie et al., 2020) has 737,280 photographs of such a scene, one for every combination of
nine factors. This one has the same factors, numbers of values and numbering; it is drawn with
MuJoCo, without physics: the factors set the angles of the joints, and colours, light and camera.

    >>> with Renderer(64) as renderer:                  # needs OpenGL, also without a display
    ...     image = renderer.render(indices_of(12345))  # (64, 64, 3), uint8
"""

from __future__ import annotations

import math
import os
import sys
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import SimulationError
from zoo.simulations.robot_arm import ARMS
from zoo.simulations.robot_factors import (
    COUNT,
    FACTORS,
    FIELD_OF_VIEW,
    SCALES,
    SHAPES,
    SIZES,
    STRIDES,
    Setting,
    indices_of,
    number_of,
    setting,
)
from zoo.simulations.robot_kitchen import WALL, furnish, place_base

__all__ = [
    "ARMS",
    "COUNT",
    "FACTORS",
    "SIZES",
    "STRIDES",
    "Renderer",
    "check",
    "indices_of",
    "number_of",
]

SMALLEST, LARGEST = 8, 1024
"""Sides of an image, in pixels."""

SHOWN, HIDDEN = 0, 5
"""Groups of geoms: the renderer draws 0, 1 and 2."""


class Renderer:
    """Draws scenes; one per process, to be closed at the end.

    The same scene gives the same bytes on the same computer. Other drivers of OpenGL, and other
    versions of MuJoCo, round differently.

    Args:
        size: side of the square image in pixels, 8 to 1024.
        arm: `primitive`, or `jaco`, which needs dm_control too.
        shadow_map: side of the shadow map; 0 for no shadows.
        samples: for each pixel, against jagged edges; 0 for one.
        quads: tessellation of the faces of boxes, a side.
        slices: tessellation of round geoms around their axis; along it, half as many.

    Raises:
        ValueError: the size or the arm is none of the above.
        SimulationError: MuJoCo, dm_control or OpenGL is missing; says what to do.
    """

    def __init__(
        self,
        size: int,
        arm: str = "primitive",
        *,
        shadow_map: int = 1024,
        samples: int = 4,
        quads: int = 2,
        slices: int = 16,
    ) -> None:
        check(size, arm)
        self.size, self.arm = size, arm
        self._mujoco = _import_mujoco()
        spec = _scene(self._mujoco, arm)
        quality = spec.visual.quality
        quality.shadowsize, quality.offsamples = shadow_map, samples
        quality.numquads, quality.numslices, quality.numstacks = quads, slices, slices // 2
        spec.visual.global_.offwidth = spec.visual.global_.offheight = size
        self.model = spec.compile()
        self.data = self._mujoco.MjData(self.model)
        self._renderer = self._open()

    def render(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """The scene with the indices (9,) of the values of its factors, as uint8 (size, size, 3).

        Raises:
            ValueError: an index is not one of its factor's.
        """
        self.pose(setting(indices))
        self._renderer.update_scene(self.data, camera="camera")
        image: NDArray[np.uint8] = self._renderer.render()
        return image

    def mask(self, indices: ArrayLike) -> NDArray[np.bool_]:
        """Where the object is seen in the image, as bool (size, size).

        Raises:
            ValueError: an index is not one of its factor's.
        """
        state = setting(indices)
        self.pose(state)
        self._renderer.update_scene(self.data, camera="camera")
        self._renderer.enable_segmentation_rendering()
        try:
            found: NDArray[np.int32] = self._renderer.render()
        finally:
            self._renderer.disable_segmentation_rendering()
        seen: NDArray[np.bool_] = found[..., 0] == self.model.geom(_variant(state)).id
        return seen

    def pose(self, state: Setting) -> None:
        """Move joints, camera and light, colour object and wall; `data` is up to date then."""
        mujoco, model, data = self._mujoco, self.model, self.data
        for joint, angle in ARMS[self.arm].angles(state.side, state.lift).items():
            data.joint(joint).qpos[0] = angle
        self._show_object(state)
        model.geom(WALL).rgba[:3] = state.wall_colour
        half = (math.pi / 2 + state.camera_elevation) / 2
        model.camera("camera").pos[:] = state.camera_position
        model.camera("camera").quat[:] = (math.cos(half), math.sin(half), 0, 0)
        light = model.light("light")
        light.pos[:], light.dir[:] = state.light_position, state.light_direction
        light.diffuse[:], light.specular[:] = state.diffuse, state.specular
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)

    def _show_object(self, state: Setting) -> None:
        shown, size = _variant(state), SCALES[state.scale]
        for name in _variants():
            self.model.geom(name).group[:] = SHOWN if name == shown else HIDDEN
        self.model.geom("cube").size[:] = 0.8 * size
        self.model.geom("sphere").size[:] = size
        self.model.geom(shown).rgba[:3] = state.object_colour

    def _open(self) -> Any:
        try:
            return self._mujoco.Renderer(self.model, self.size, self.size)
        except Exception as error:  # whatever the driver of OpenGL raises
            raise SimulationError(_no_opengl(error)) from error

    @property
    def drawn_by(self) -> dict[str, str]:
        """Version of MuJoCo and name of the driver, on which the last bits depend."""
        from OpenGL import GL

        name = GL.glGetString(GL.GL_RENDERER)
        return {"mujoco": self._mujoco.__version__, "opengl": name.decode() if name else "unknown"}

    def close(self) -> None:
        """Give the context of OpenGL back."""
        self._renderer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def check(size: int, arm: str) -> None:
    """See that there can be a renderer like this.

    Raises:
        ValueError: the size or the arm is none of those that there are.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size: expected {SMALLEST} to {LARGEST} pixels, found {size!r}")
    if arm not in ARMS:
        raise ValueError(f"arm: expected {' or '.join(ARMS)}, found {arm!r}")


def _import_mujoco() -> Any:
    """MuJoCo, told to draw without a display.

    Raises:
        SimulationError: it is not installed, or has no OpenGL.
    """
    if "mujoco" not in sys.modules and sys.platform == "linux":
        # Both are read at the first import only. For images this small, more processes are faster
        # than more threads of the software renderer.
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("LP_NUM_THREADS", "1")
    try:
        import mujoco
    except ModuleNotFoundError as error:
        if error.name != "mujoco":
            raise SimulationError(_no_opengl(error)) from error
        raise SimulationError(
            "the robot scene is drawn by MuJoCo, which is not installed: "
            "`pip install 'structured-zoo[robot]'`"
        ) from error
    except Exception as error:  # its loader of OpenGL raises what it likes
        raise SimulationError(_no_opengl(error)) from error
    return mujoco


def _no_opengl(error: Exception) -> str:
    chosen = os.environ.get("MUJOCO_GL", "")
    return (
        f"MuJoCo finds no OpenGL to draw with (MUJOCO_GL={chosen}: {error}); on Debian or Ubuntu "
        "`apt install libegl1 libgl1 libgl1-mesa-dri` gives MUJOCO_GL=egl, which needs neither a "
        "display nor a GPU, and `apt install libosmesa6` gives MUJOCO_GL=osmesa; it is read when "
        "MuJoCo is first imported"
    )


def _scene(mujoco: Any, arm: str) -> Any:
    """The whole scene as a `mujoco.MjSpec`."""
    spec = mujoco.MjSpec()
    _look(spec)
    furnish(spec)
    tip = ARMS[arm].mount(spec, place_base(spec))
    _add_object(mujoco, spec, tip, ARMS[arm].grip)
    spec.worldbody.add_camera(name="camera", fovy=FIELD_OF_VIEW)
    spec.worldbody.add_light(
        name="light",
        type=mujoco.mjtLightType.mjLIGHT_SPOT,
        castshadow=True,
        cutoff=58,
        exponent=1,
        attenuation=(1, 0, 0),
    )
    return spec


def _look(spec: Any) -> None:
    head, map_ = spec.visual.headlight, spec.visual.map
    head.ambient, head.diffuse, head.specular = (0.30,) * 3, (0.22,) * 3, (0.0,) * 3
    map_.znear, map_.zfar, map_.shadowscale, map_.shadowclip = 0.05, 12, 0.9, 1


def _add_object(mujoco: Any, spec: Any, tip: Any, place: tuple[float, float, float]) -> None:
    """All variants of the object at one place; the renderer shows one of them.

    MuJoCo can change the size of a cube or sphere later, but not of a mesh.
    """
    body = tip.add_body(
        name="object", pos=place, mass=0.1, inertia=(0.001,) * 3, explicitinertial=True
    )
    corners = np.array(((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)))
    body.add_geom(name="cube", type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.8 * SCALES[0],) * 3)
    body.add_geom(name="sphere", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(SCALES[0], 0, 0))
    for index, size in enumerate(SCALES):
        name = f"tetrahedron{index}"
        spec.add_mesh(name=name, uservert=(0.9 * size * corners).ravel().tolist())
        body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name)


def _variant(state: Setting) -> str:
    """Name of the geom that is the object."""
    return state.shape if state.shape != "tetrahedron" else f"tetrahedron{state.scale}"


def _variants() -> list[str]:
    plain = [shape for shape in SHAPES if shape != "tetrahedron"]
    return [*plain, *(f"tetrahedron{index}" for index in range(len(SCALES)))]
