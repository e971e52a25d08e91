"""The section on controls, from models that were never trained."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import robot_models
from tests.sample_card import write_card
from zoo import registry
from zoo.data import robot_scenes
from zoo.demo import DemoError
from zoo.demo.canvas import GAP, ZOOM
from zoo.demo.controls import measure, section
from zoo.demo.controls.measure import CARD, EDITOR, Reading
from zoo.demo.controls.sheet import Row, draw_rows
from zoo.demo.controls.words import about_reading, reading_table
from zoo.models.factors import Factor


@pytest.fixture(autouse=True)
def scenes(monkeypatch: pytest.MonkeyPatch) -> robot_scenes.Scenes:
    found = robot_models.noise()
    monkeypatch.setattr(robot_scenes, "sample", lambda: found)
    return found


def test_scenes_come_in_the_size_and_with_the_factors_of_a_model(scenes):
    model = robot_models.control()
    found = measure.known(model, scenes)
    pixels = scenes.images.float().reshape(12, 3, 16, 2, 16, 2) / 255
    torch.testing.assert_close(found.images, pixels.mean((3, 5)), rtol=0, atol=0.51 / 255)
    assert torch.equal(found.indices, scenes.indices[:, [0, 1, 8]])
    assert torch.equal(found.codes[:, :3].argmax(1), scenes.indices[:, 0])
    torch.testing.assert_close(found.codes[:, 3], scenes.indices[:, 1] / 7)
    torch.testing.assert_close(found.codes[:, 4], scenes.indices[:, 8] / 3)
    assert torch.equal(found.head(5).codes, found.codes[:5]) and len(found.head(5).images) == 5


def test_scenes_without_a_factor_are_refused(scenes):
    other = Factor("robot_x", 5, "another grid")
    model = robot_models.control()
    model.layout.factors = (other, *model.layout.factors[1:])
    with pytest.raises(ValueError, match="robot_x"):
        measure.known(model, scenes)


def test_every_factor_has_a_row_in_which_nothing_else_moves(scenes):
    model, z = robot_models.control(), torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    start = measure.known(model, scenes).codes[:1]
    rows = measure.traversals(model, start, z)
    assert [(row.title, len(row.images)) for row in rows] == [
        ("object_shape", 3),
        ("robot_x", 8),
        ("wall_color", 4),
    ]
    moved = start.repeat(8, 1)
    moved[:, 3] = torch.arange(8) / 7
    with torch.no_grad():
        torch.testing.assert_close(rows[1].images, model(z.expand(8, -1), moved))
    shapes = torch.cat([torch.eye(3), start[:, 3:].expand(3, -1)], 1)
    with torch.no_grad():
        torch.testing.assert_close(rows[0].images, model(z.expand(3, -1), shapes))
    assert (rows[2].images[0] - rows[2].images[3]).abs().max() > 1e-4


def test_scenes_stand_beside_what_is_drawn_of_them(scenes):
    model = robot_models.control()
    found, z = measure.known(model, scenes).head(4), torch.zeros(1, 4)
    real, told, read = measure.beside_the_truth(model, found, z)
    assert torch.equal(real.images, found.images)
    with torch.no_grad():
        torch.testing.assert_close(told.images, model(z.expand(4, -1), found.codes))
        codes = model.encode(found.images)
        torch.testing.assert_close(read.images, model(z.expand(4, -1), codes))


class Reader:
    """An oracle that reads the arm a fifth to the left, and the wall as it was asked for."""

    def __init__(self, asked: torch.Tensor) -> None:
        self.asked = asked

    def read(self, images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8 and len(images) == len(self.asked)
        return self.asked - torch.tensor([0.0, 0.2, 0.0])


def test_what_is_read_and_drawn_is_counted_by_hand(scenes, monkeypatch):
    model, z = robot_models.control(), torch.zeros(1, 4)
    found = measure.known(model, scenes)
    # Shapes are always said to be the first, the arm to be a tenth beside its place.
    said = found.codes.clone()
    said[:, :3] = torch.tensor([0.5, 0.3, 0.2])
    said[:, 3] = (said[:, 3] - 0.1).clamp(min=0)
    monkeypatch.setattr(model, "encode", lambda images: said)
    asked = model.layout.scalars(found.codes)
    monkeypatch.setattr(measure.Oracle, "of", lambda model: Reader(asked))
    shape, arm, wall = measure.read(model, found, z)
    first = (scenes.indices[:, 0] == 0).float().mean().item()
    assert shape.right == pytest.approx(first)
    assert (shape.error, shape.drawn, shape.blind) == (None, None, None)
    zero = scenes.indices[:, 1] == 0
    assert arm.error == pytest.approx(0.1 * (~zero).float().mean().item(), abs=1e-6)
    # A tenth is more than half a step of a seventh.
    assert arm.right == pytest.approx(zero.float().mean().item())
    assert arm.drawn == pytest.approx(0.2)
    assert (wall.right, wall.error, wall.drawn) == (1, pytest.approx(0, abs=1e-6), 0)
    assert wall.blind == pytest.approx((scenes.indices[:, 8] / 3 - 0.5).abs().mean().item())


def test_without_an_oracle_for_its_size_nothing_is_said_of_what_is_drawn(scenes):
    model = robot_models.control(16)
    readings = measure.read(model, measure.known(model, scenes), torch.zeros(1, 4))
    assert [each.drawn for each in readings] == [None] * 3
    assert readings[1].error is not None


def test_edits_change_one_fine_factor_of_every_scene(scenes):
    model = robot_models.editor()
    found = measure.known(model, scenes).head(3)
    heads, rows = measure.edits(model, found)
    assert heads == ["given", "wall_color 0", "wall_color 1", "object_color 0", "object_color 1"]
    assert len(rows) == 3
    for index, row in enumerate(rows):
        assert torch.equal(row.images[0], found.images[index])
        single = found.images[index : index + 1]
        expected = model.edit(single, object_color=1.0)[0]
        torch.testing.assert_close(row.images[4], expected, rtol=0, atol=1e-5)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the cards of the section, without weights."""
    for name in (CARD, EDITOR):
        card = dataclasses.replace(registry.info(name), default=None, weights={})
        write_card(tmp_path, registry.card_to_json(card))
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    return tmp_path


def test_without_weights_a_line_stands_for_each_of_the_two(cards):
    found, measured = section.show(scenes=2, seed=0, control=None, editor=None)
    one, two = found.notes
    assert f"{CARD} has no weights yet" in one and registry.info(CARD).recipe in one
    assert f"{EDITOR} has no weights yet" in two
    assert one in found.html and two in found.html
    assert not found.pictures and not found.tables and not measured.traversals
    assert not measured.readings and not measured.edits


def test_models_given_are_shown_and_the_seed_moves_the_noise_only(scenes):
    given = {"control": robot_models.control(), "editor": robot_models.editor()}
    found, measured = section.show(scenes=4, seed=0, **given)
    assert set(found.pictures) == section.FILES and len(found.tables) == 1 and not found.notes
    assert [len(row.images) for row in measured.compared] == [4, 4, 4]
    assert [len(row.images) for row in measured.edits] == [5, 5]
    # Every image of every row, and nothing else.
    assert found.html.count("<img") == (3 + 8 + 4) + 3 * 4 + 2 * 5
    assert found.html.count('alt=""') == found.html.count("<img")
    assert 'aria-label="8 images: robot_x, 8 values"' in found.html
    assert 'aria-label="5 images: scene 1"' in found.html
    assert "given by the caller" in found.html and "<span>wall_color 1</span>" in found.html
    for png in found.pictures.values():
        with Image.open(io.BytesIO(png)) as picture:
            assert picture.format == "PNG" and min(picture.size) > 250
    again, other = (section.show(scenes=4, seed=seed, **given)[1] for seed in (0, 1))
    assert torch.equal(measured.traversals[0].images, again.traversals[0].images)
    assert not torch.equal(measured.traversals[0].images, other.traversals[0].images)
    assert measured.readings == other.readings


def test_nothing_is_shown_if_nothing_is_asked_for():
    found, measured = section.show(scenes=0, seed=0, control=None, editor=None)
    assert not found.pictures and not found.notes and not measured.traversals
    assert "few labels" in found.html


@pytest.mark.parametrize("scenes", [-1, 17])
def test_too_many_or_too_few_scenes_are_refused(scenes):
    with pytest.raises(DemoError, match=f"scenes must be 0 to 16, found {scenes}"):
        section.check_settings(scenes)


def test_a_sheet_holds_every_image_enlarged_in_its_row_and_column():
    colours = torch.tensor([[1.0, level / 255, 0] for level in (51, 102, 153)])
    images = colours[:, :, None, None].expand(3, 3, 20, 30)
    rows = [Row("one", "a note", images), Row("two", "", images[:2])]
    png = draw_rows("A title", "under it", rows, heads=("a", "b", "c"))
    pixels = np.asarray(png)
    places = {}
    for level in (51, 102, 153):
        y, x = (pixels == (255, level, 0)).all(2).nonzero()
        places[level] = (x.min(), x.max() + 1, y.min(), y.max() + 1)
        assert x.max() + 1 - x.min() == ZOOM * 2 * 30
    assert places[102][0] - places[51][1] == places[153][0] - places[102][1] == ZOOM * GAP
    # The first two come in both rows, the third in the upper one only.
    assert places[153][3] - places[153][2] == ZOOM * 2 * 20
    assert places[51][3] - places[51][2] == 2 * ZOOM * 2 * 20 + ZOOM * GAP
    assert places[51][2] == places[153][2]


def test_what_is_read_is_told_in_words_and_in_a_table():
    ordered = Factor("robot_x", 8, "the arm swings")
    shape = Factor("object_shape", 3, "shape", categorical=True)
    readings = [
        Reading(ordered, 0.5, 0.0625, 0.125, 0.25),
        Reading(dataclasses.replace(ordered, name="wall_color"), 1.0, 0.0125, 0.225, 0.35),
        Reading(shape, 0.75, None, None, None),
    ]
    words = about_reading(readings, 36)
    assert "36 rendered scenes" in words and "2 ordered factors" in words
    assert "read are 0.037 off" in words and "true codes is 0.175 off" in words
    assert "½ is 0.300 off" in words
    table = reading_table(readings, 36)
    assert table.rows[0] == ("robot_x (8)", "50 %", "0.062", "0.125", "0.250")
    assert table.rows[2] == ("object_shape (3)", "75 %", "-", "-", "-")
    blind = [dataclasses.replace(each, drawn=None) for each in readings]
    assert "true codes" not in about_reading(blind, 36)
    assert reading_table(blind, 36).rows[0][3] == "-"
