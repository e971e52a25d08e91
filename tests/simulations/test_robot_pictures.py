"""Traversals in a picture, from strips that look like Isaac3D's."""

import numpy as np
import pytest
from PIL import Image

from tests.simulations.robots import SIZE, on_renderer
from zoo.errors import DataError
from zoo.simulations.robot_factors import SIZES
from zoo.simulations.robot_pictures import MIDDLE, beside, strips, traversals


def shade(column, value):
    """Of the picture of a value."""
    return (20 * column, 30 * value, 7)


@pytest.fixture
def folder(tmp_path):
    for column, size in enumerate(SIZES):
        strip = np.zeros((4, 4 * size, 3), np.uint8)
        for value in range(size):
            strip[:, 4 * value : 4 * value + 4] = shade(column, value)
        Image.fromarray(strip).save(tmp_path / f"c{column}_some_traversal.png")
    return tmp_path


def test_strips_are_cut_and_laid_out(folder):
    rows = strips(folder)
    assert [row.shape for row in rows] == [(size, 4, 4, 3) for size in SIZES]
    sheet = np.asarray(beside(rows, rows[::-1], 2))
    assert sheet.shape == (18, 40, 3)
    for column, size in enumerate(SIZES):
        for value in range(8):
            found = sheet[2 * column, 2 * value].tolist()
            assert found == (list(shade(column, value)) if value < size else [255] * 3)
    assert sheet[0, 24].tolist() == list(shade(8, 0))


def test_strips_of_another_order_are_refused(folder):
    (folder / "c1_some_traversal.png").rename(folder / "old.png")
    with pytest.raises(DataError, match=r"expected one file c1_\*\.png, found 0"):
        strips(folder)
    (folder / "c4_some_traversal.png").rename(folder / "c1_some_traversal.png")
    with pytest.raises(DataError, match="expected 8 pictures, found 4"):
        strips(folder)


@on_renderer("primitive")
def test_traversals_vary_one_factor(renderer):
    rows = traversals(renderer)
    assert [row.shape for row in rows] == [(size, SIZE, SIZE, 3) for size in SIZES]
    for column, row in enumerate(rows):
        np.testing.assert_array_equal(row[MIDDLE[column]], rows[0][MIDDLE[0]])
        assert len(np.unique(row.reshape(len(row), -1), axis=0)) == len(row)
