"""The robot scene: its arms against kinematics in closed form, its pictures against a pinhole."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from tests.simulations.robots import SIZE, on_renderer
from zoo.data import robot_scenes
from zoo.errors import SimulationError
from zoo.simulations import robot_arm, robot_scene
from zoo.simulations.robot_factors import FACTORS, SCALES, SIZES, setting
from zoo.simulations.robot_scene import Renderer

MIDDLE = np.array([1, 4, 2, 1, 2, 2, 2, 1, 2])
CORNERS = {
    0: 0.8 * np.array(list(itertools.product((-1, 1), repeat=3))),
    1: 0.9 * np.array(((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))),
}
"""Shape -> corners of the object, of size 1."""


def scene(**changes: int) -> np.ndarray:
    """The scene in the middle of the grid, but for these factors."""
    indices = MIDDLE.copy()
    for name, index in changes.items():
        indices[[factor.name for factor in FACTORS].index(name)] = index
    return indices


def project(points: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Pixels (N, 2), right and down, of points (N, 3), for a pinhole of 52 degrees."""
    state = setting(indices)
    ahead = state.camera_target - state.camera_position
    ahead = ahead / np.linalg.norm(ahead)
    right = np.array((1.0, 0, 0))
    away = points - state.camera_position
    frame = np.stack((right, np.cross(ahead, right)))  # right and down
    return SIZE / 2 * (1 + away @ frame.T / (away @ ahead)[:, None] / math.tan(math.radians(26)))


def centre(renderer: Renderer, indices: np.ndarray) -> np.ndarray:
    """Of the object, in metres."""
    renderer.pose(setting(indices))
    return renderer.data.body("object").xpos.copy()


@on_renderer("primitive")
def test_arm_of_capsules_reaches_where_it_should(renderer):
    """Its three upper joints turn about one axis, so that they lie in a plane."""
    for side, lift in itertools.product(range(8), range(5)):
        v, yaw = lift / 4, math.radians(75) * (2 * side / 7 - 1)
        first = 0.25 + 0.10 * (1 - v)
        second = first + 1.25 - 1.15 * v
        third = second + 0.25 - 0.15 * v
        reach = 0.40 * math.sin(first) + 0.34 * math.sin(second) + 0.20 * math.sin(third)
        height = 0.82 + 0.40 * math.cos(first) + 0.34 * math.cos(second) + 0.20 * math.cos(third)
        expected = (reach * math.sin(yaw), 0.25 - reach * math.cos(yaw), height)
        found = centre(renderer, scene(robot_x=side, robot_y=lift))
        np.testing.assert_allclose(found, expected, atol=1e-9)


@on_renderer("primitive")
def test_arm_of_capsules_is_that_of_the_table(renderer):
    found = [centre(renderer, scene(robot_x=7, robot_y=lift)) for lift in range(5)]
    np.testing.assert_allclose([z for _, _, z in found], (1.13, 1.31, 1.47, 1.61, 1.71), atol=6e-3)
    reach = [math.hypot(x, y - 0.25) for x, y, _ in (found[0], found[-1])]
    np.testing.assert_allclose(reach, (0.67, 0.30), atol=6e-3)
    assert (renderer.model.ngeom, renderer.model.nmeshface, renderer.model.ntex) == (58, 16, 2)


@on_renderer("jaco")
def test_jaco_is_that_of_the_table(renderer):
    """All poses lie within the ranges of its joints, and at one distance from the column."""
    found = np.array([centre(renderer, scene(robot_x=7, robot_y=lift)) for lift in range(5)])
    np.testing.assert_allclose(found[:, 2], (0.98, 1.14, 1.31, 1.46, 1.60), atol=6e-3)
    reach = np.hypot(found[:, 0], found[:, 1] - 0.25)
    assert reach.min() > 0.48 and reach.max() < 0.52
    assert centre(renderer, scene(robot_x=0))[0] == pytest.approx(-0.45, abs=0.02)
    assert (renderer.model.ngeom, renderer.model.nmeshface) == (62, 5016)
    for lift in range(5):
        for name, angle in robot_arm.Jaco().angles(0, lift).items():
            joint = renderer.model.joint(name)
            low, high = joint.range if joint.limited else (-math.inf, math.inf)
            assert low < angle < high


@on_renderer("primitive", "jaco")
def test_object_never_leaves_the_picture(renderer):
    """Projected corners, for all poses of arm and camera, all sizes."""
    for side, lift, height in itertools.product(range(8), range(5), range(4)):
        indices = scene(robot_x=side, robot_y=lift, camera_height=height)
        place = centre(renderer, indices)
        turn = renderer.data.body("object").xmat.reshape(3, 3)
        for shape, corners in CORNERS.items():
            points = place + SCALES[-1] * corners @ turn.T
            pixels = project(points, indices)
            assert pixels.min() > 1 and pixels.max() < SIZE - 1, (shape, indices)


@on_renderer("primitive", "jaco")
def test_object_is_drawn_where_a_pinhole_puts_it(renderer):
    """The silhouette of a small sphere has its centre at the centre's picture."""
    poses = ((0, 0, 0), (7, 4, 3), (3, 2, 1))
    for side, lift, height in poses:
        changes = {"robot_x": side, "robot_y": lift, "camera_height": height}
        indices = scene(object_shape=2, object_scale=1, **changes)
        down, right = np.nonzero(renderer.mask(indices))
        expected = project(centre(renderer, indices)[None], indices)[0]
        np.testing.assert_allclose((right.mean() + 0.5, down.mean() + 0.5), expected, atol=0.6)


@on_renderer("primitive")
def test_shapes_and_sizes_of_the_silhouette(renderer):
    """Areas in proportion to those of a sphere of this radius, at this distance."""
    for scale in (0, 3):
        area = {}
        for shape in range(3):
            indices = scene(object_shape=shape, object_scale=scale)
            area[shape] = renderer.mask(indices).sum()
        distance = np.linalg.norm(centre(renderer, indices) - setting(indices).camera_position)
        radius = SIZE / 2 * SCALES[scale] / distance / math.tan(math.radians(26))
        assert area[2] == pytest.approx(math.pi * radius**2, rel=0.12)
        # A cube of half-edge 0.8·s shows 2.56·s² to 2.56·√3·s², a tetrahedron less than its
        # circumscribed cube, and neither what the sphere does.
        assert 0.75 < area[0] / area[2] < 1.5
        assert 0.4 < area[1] / area[2] < 1.1


@on_renderer("primitive")
def test_what_the_factors_change_in_the_picture(renderer):
    """Mean absolute differences of neighbours, in grey levels; the object's own are weak."""
    expected = {
        "object_shape": (0.5, 4),
        "robot_x": (2, 10),
        "robot_y": (2, 9),
        "camera_height": (10, 24),
        "object_scale": (0.5, 4),
        "lighting_intensity": (12, 20),
        "lighting_y_dir": (1.5, 9),
        "object_color": (0.3, 2.5),
        "wall_color": (8, 21),
    }
    middle = renderer.render(MIDDLE).astype(int)
    for column, (name, (low, high)) in enumerate(expected.items()):
        neighbour = scene(**{name: int(MIDDLE[column]) + 1})
        assert low < np.abs(renderer.render(neighbour) - middle).mean() < high, name


@on_renderer("primitive", "jaco")
def test_colours_and_light_are_those_that_were_asked_for(renderer):
    seen = [renderer.render(scene(wall_color=wall))[14, 5:8].mean(axis=0) for wall in range(4)]
    assert seen[0][1] > 1.5 * max(seen[0][0], seen[0][2])  # green
    assert seen[3][2] > seen[3][0] > seen[3][1]  # lilac
    levels = [renderer.render(scene(lighting_intensity=level)).mean() for level in range(4)]
    assert levels == sorted(levels)
    blue = scene(object_color=0, object_scale=3)
    white = scene(object_color=3, object_scale=3)
    mask = renderer.mask(blue)
    red, _, azure = renderer.render(blue)[mask].mean(axis=0)
    assert azure > 2 * red
    assert np.ptp(renderer.render(white)[mask].mean(axis=0)) < 12


@on_renderer("primitive")
def test_same_scene_same_bytes(renderer):
    first = renderer.render(MIDDLE)
    renderer.render([0] * 9)
    renderer.mask([2] * 9)
    np.testing.assert_array_equal(renderer.render(MIDDLE), first)
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.uint8


@on_renderer("primitive")
def test_picture_is_that_of_the_sample(renderer):
    """Other drivers round differently, and draw edges a little elsewhere, but no more."""
    sample = robot_scenes.sample()
    for image, indices in list(zip(sample.images, sample.indices, strict=True))[:5]:
        found = renderer.render(indices.numpy())
        assert np.abs(found - image.permute(1, 2, 0).numpy().astype(int)).mean() < 2


def test_renderer_refuses():
    with pytest.raises(ValueError, match="size: expected 8 to 1024 pixels, found 4"):
        Renderer(4)
    with pytest.raises(ValueError, match="arm: expected primitive or jaco, found 'panda'"):
        Renderer(64, "panda")


def test_missing_mujoco_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(SimulationError, match=r"pip install 'structured-zoo\[robot\]'"):
        Renderer(64)


def test_missing_dm_control_is_said(monkeypatch):
    monkeypatch.setattr(robot_arm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SimulationError, match="pip install --no-deps dm-control"):
        robot_arm._jaco_file()


def test_missing_opengl_is_said():
    """In a process of its own, because MuJoCo chooses its OpenGL once."""
    code = (
        "from zoo.errors import SimulationError\n"
        "from zoo.simulations.robot_scene import Renderer\n"
        "try:\n    Renderer(64)\n"
        "except SimulationError as error:\n    print(error)\n"
    )
    environment = {**robot_scene.os.environ, "MUJOCO_GL": "nonsense"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "MUJOCO_GL=nonsense" in result.stdout or "structured-zoo[robot]" in result.stdout
    assert "apt install" in result.stdout or "pip install" in result.stdout


def test_licence_of_the_meshes_is_named():
    assert "BSD-3-Clause" in robot_arm.Jaco.__doc__ and "Kinova" in robot_arm.Jaco.__doc__


def test_middle_is_a_scene_with_neighbours():
    assert all(index + 1 < size for index, size in zip(MIDDLE, SIZES, strict=True))
