"""The grid of the robot scene: in Isaac3D's own order, not in that of its README."""

import numpy as np
import pytest

from zoo.simulations.robot_factors import (
    COUNT,
    FACTORS,
    SIZES,
    STRIDES,
    indices_of,
    number_of,
    setting,
)

STRIPS = {
    "object_shape": 3,
    "robot_x": 8,
    "robot_y": 5,
    "camera_height": 4,
    "object_scale": 4,
    "lighting_intensity": 4,
    "lighting_y_dir": 6,
    "object_color": 4,
    "wall_color": 4,
}
"""Pictures in the sample strips c0 to c8 of the data set, in this order."""

README = {
    "object_shape": 245760,
    "object_scale": 30720,
    "camera_height": 6144,
    "robot_x": 1536,
    "robot_y": 384,
    "lighting_intensity": 96,
    "lighting_y_dir": 16,
    "object_color": 4,
    "wall_color": 1,
}
"""What its README says that the factors' indices are multiplied by."""


def test_order_is_that_of_the_strips():
    assert {factor.name: factor.values for factor in FACTORS} == STRIPS
    assert [factor.name for factor in FACTORS] == list(STRIPS)
    assert STRIDES == (245760, 30720, 6144, 1536, 384, 96, 16, 4, 1)
    assert [factor.name for factor in FACTORS if factor.categorical] == ["object_shape"]


def test_all_numbers_make_a_round_trip():
    numbers = np.arange(737_280)
    indices = indices_of(numbers)
    np.testing.assert_array_equal(indices, np.stack(np.unravel_index(numbers, SIZES), axis=1))
    np.testing.assert_array_equal(number_of(indices), numbers)
    assert indices.dtype == np.int64 and COUNT == 737_280


def test_formula_of_the_readme_is_no_numbering():
    strides = np.array([README[factor.name] for factor in FACTORS])
    assert strides[4] == 30720 != STRIDES[4]
    numbers = indices_of(np.arange(COUNT)) @ strides
    assert len(np.unique(numbers)) < COUNT
    assert numbers.max() < COUNT - 1


def test_one_scene_or_a_nest_of_them():
    assert number_of([2, 7, 4, 3, 3, 3, 5, 3, 3]) == COUNT - 1
    assert indices_of([[0, 30720], [384, 1]]).shape == (2, 2, 9)
    assert indices_of(30720).tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: indices_of(COUNT), "expected 0 to 737279"),
        (lambda: indices_of(-1), "expected 0 to 737279"),
        (lambda: indices_of(0.5), "expected integers, found float64"),
        (lambda: number_of([0] * 8), r"expected \(\.\.\., 9\), found \(8,\)"),
        (lambda: number_of([3, 0, 0, 0, 0, 0, 0, 0, 0]), "object_shape: expected 0 to 2, found 3"),
        (lambda: number_of([0, 0, 0, 0, 0, 0, 0, 0, -1]), "wall_color: expected 0 to 3, found -1"),
        (lambda: setting(np.zeros((1, 9), int)), r"expected \(9,\), found \(1, 9\)"),
    ],
)
def test_wrong_scenes_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_setting_at_both_ends():
    first, last = setting([0] * 9), setting([2, 7, 4, 3, 3, 3, 5, 3, 3])
    assert (first.shape, first.scale, first.side, first.lift) == ("cube", 0, -1, 0)
    assert (last.shape, last.scale, last.side, last.lift) == ("sphere", 3, 1, 4)
    np.testing.assert_allclose(first.camera_position, (0, -2.35, 1.0))
    np.testing.assert_allclose(last.camera_position, (0, -2.35, 1.75))
    np.testing.assert_allclose(last.camera_target, (0, 1, 1.04))
    assert (first.diffuse, last.diffuse) == pytest.approx((0.22, 0.72))
    assert last.specular == pytest.approx(0.432)
    np.testing.assert_allclose(
        first.light_direction, np.array((0.15, 1, -1.15)) / 1.53134, rtol=1e-5
    )
    np.testing.assert_allclose(last.light_position, (-0.6, -2.2, 1.45))
    np.testing.assert_allclose(first.object_colour, (0.10, 0.02, 0.62))
    np.testing.assert_allclose(last.object_colour, (0.80, 0.80, 0.78))
    np.testing.assert_allclose(first.wall_colour, (0.22, 0.62, 0.12))
