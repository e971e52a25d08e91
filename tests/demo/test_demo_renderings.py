"""The section on renderings, from a model that was never trained."""

import io
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.rendering_model import renderer
from tests.sample_card import card_json, write_card
from zoo import data, registry
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.data.images import ImageDataset
from zoo.demo import DemoError
from zoo.demo.renderings import measure, section
from zoo.demo.renderings.measure import CARD, Outcome, tint
from zoo.demo.renderings.words import about, outcomes_table
from zoo.models.rendering import Inference
from zoo.models.units import Latents


@pytest.fixture(scope="module")
def model():
    return renderer()


@pytest.fixture(scope="module")
def sample() -> ImageDataset:
    return section.pick(fashion_mnist_sample(), 4, 0)


def enlarged(maps: torch.Tensor) -> torch.Tensor:
    """Maps (N, 1, 28, 28), every pixel a square of 2 × 2, in three equal colours."""
    return maps.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)


def test_colours_are_white_at_zero_and_in_each_maps_own_scale():
    maps = torch.tensor([[[0.0, 2.0, -1.0]], [[0.5, 0.25, -0.5]], [[0.0, 0.0, 0.0]]])
    colours = tint(maps).permute(0, 2, 3, 1)[:, 0]
    white, orange, blue = torch.ones(3), torch.tensor([213, 94, 0]), torch.tensor([0, 114, 178])
    expected = [
        (white, orange / 255, (white + blue / 255) / 2),
        (orange / 255, (white + orange / 255) / 2, blue / 255),
        (white, white, white),
    ]
    for found, each in zip(colours, expected, strict=True):
        torch.testing.assert_close(found, torch.stack(each), rtol=0, atol=2e-3)


def test_latents_are_shown_as_shares_of_channels():
    leak = 0.1
    on = torch.tensor([[1.0, leak], [1.0, 1.0]]).repeat(2, 2)
    off = torch.full((4, 4), leak)
    # Every cell of the first channel chose its upper left pixel, of the second its lower right.
    corners = torch.tensor([[[0, 2], [8, 10]], [[5, 7], [13, 15]]])
    latents = Latents(torch.stack([on, off])[None], corners[None])
    (switches, on_share), (positions, places) = measure._latent_columns([latents])
    assert (switches, positions) == ("switches_4 x 4", "positions_4 x 4")
    assert torch.equal(on_share[0, 0], torch.tensor([[0.5, 0.0], [0.5, 0.5]]).repeat(2, 2))
    assert torch.equal(places[0, 0], torch.tensor([[0.5, 0.0], [0.0, 0.5]]).repeat(2, 2))


def test_a_row_goes_from_the_image_over_its_latents_to_its_rendering(model, sample):
    heads, rows = measure.show_latents(model, sample)
    assert heads == [
        "image",
        *("switches_32 x 32", "switches_18 x 18", "switches_9 x 9"),
        *("positions_32 x 32", "positions_18 x 18"),
        *("rendered_9 x 9", "rendered_16 x 16"),
        "rendered_image",
    ]
    images = data.as_float(sample.images)
    with torch.no_grad():
        seen, rendered = model(images).argmax(1), model.reconstruct(images)
        first = model.infer(images).latents[0].switches
    tiles = torch.stack([row.images for row in rows])
    torch.testing.assert_close(tiles[:, 0], enlarged(images))
    torch.testing.assert_close(tiles[:, -1], enlarged(rendered))
    share = (first == 1).float().mean(1, keepdim=True)
    expected = F.interpolate(share, 56, mode="nearest-exact").expand(-1, 3, -1, -1)
    torch.testing.assert_close(tiles[:, 1], expected)
    names = sample.classes
    assert [row.title for row in rows] == [names[label] for label in sample.labels.tolist()]
    assert [row.note for row in rows] == [f"seen as {names[label]}" for label in seen.tolist()]


def test_the_same_latents_are_rendered_under_every_label(model, sample):
    heads, rows = measure.show_labels(model, sample)
    assert heads == ["image", *sample.classes]
    images = data.as_float(sample.images)
    # All images at once, as they were rendered: alone, a rounding may choose another switch.
    with torch.no_grad():
        columns = [model.reconstruct(images, labels=torch.full((4,), y)) for y in range(10)]
    for index, row in enumerate(rows):
        expected = enlarged(torch.stack([column[index] for column in (images, *columns)]))
        torch.testing.assert_close(row.images, expected, rtol=0, atol=1e-5)


class Painter:
    """Its latents are the image; it renders the label in the first pixel, and sees it there."""

    def __init__(self) -> None:
        self.rendered: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return F.one_hot((images[:, 0, 0, 0] * 255).round().long() % 10, 10).float()

    def infer(self, images: torch.Tensor) -> Inference:
        return Inference(self(images), (Latents(images),))

    def render(self, labels: torch.Tensor, latents: list[Latents]) -> torch.Tensor:
        images = latents[0].switches.clone()
        self.rendered.append((labels, images.clone()))
        images[:, 0, 0, 0] = labels / 255
        return images


def test_renderings_are_scored_beside_a_wrong_label_and_foreign_latents():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 1, 3, 3), generator=generator, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.arange(20) % 10, torch.arange(20)
    labels = torch.arange(20) % 10
    labels[:3] = (labels[:3] + 1) % 10
    names = [str(label) for label in range(10)]
    model, given = Painter(), data.as_float(images)
    found = measure.score(model, ImageDataset("x", "test", images, labels, names), seed=1)
    accuracy, (own, other, foreign, mean) = found
    assert accuracy == pytest.approx(17 / 20)
    asked, latents = zip(*model.rendered, strict=True)
    assert torch.equal(asked[0], torch.arange(20) % 10) and torch.equal(asked[2], asked[0])
    assert (asked[1] != asked[0]).all() and len(asked[1].unique()) > 3
    assert torch.equal(latents[0], given) and torch.equal(latents[1], given)
    owner = (latents[2][:, 0, 0, 1] * 255).round().long()
    assert (owner != torch.arange(20)).all() and torch.equal(owner.sort()[0], torch.arange(20))
    assert (own.error, own.consistent) == (0, 1)
    off = (asked[1] - asked[0]).double().div(255).square().mean() / 9
    assert other.error == pytest.approx(float(off)) and other.consistent == 1
    moved = given[owner].clone()
    moved[:, 0, 0, 0] = asked[0] / 255
    assert foreign.error == pytest.approx(float((moved - given).square().mean()))
    assert mean.error == pytest.approx(float(given.var(0, unbiased=False).mean()))
    assert mean.consistent is None
    again = measure.score(model, ImageDataset("x", "test", images, labels, names), seed=2)
    assert again[1][0] == own and again[1][2] != foreign


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The section's card, without weights; the text of its recipe."""
    write_card(tmp_path, card_json(CARD, architecture="dgm", config={}))
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    return registry.info(CARD).recipe


def test_without_weights_a_line_stands_for_the_section(card):
    found, measured = section.show(rendered=2, seed=0, renderer=None)
    (note,) = found.notes
    assert f"{CARD} has no weights yet" in note and card in note and note in found.html
    assert not found.pictures and not found.tables
    assert not measured.latents and measured.accuracy is None and not measured.outcomes


def test_nothing_is_shown_if_nothing_is_asked_for():
    found, measured = section.show(rendered=0, seed=0, renderer=None)
    assert not found.pictures and not found.notes and not measured.labels
    assert "coarse to fine" in found.html


def test_a_model_given_is_shown_and_the_seed_chooses_images(model, monkeypatch):
    monkeypatch.setattr(section, "SCORED", 20)
    found, measured = section.show(rendered=2, seed=0, renderer=model)
    assert set(found.pictures) == section.FILES and len(found.tables) == 1 and not found.notes
    assert len(measured.latents) == len(measured.labels) == 2 and len(measured.outcomes) == 4
    assert found.html.count("<img") == found.html.count('alt=""') == 2 * 9 + 2 * 11
    assert "given by the caller" in found.html and "<span>switches 32 x 32</span>" in found.html
    assert "first 20 test images" in found.html
    for png in found.pictures.values():
        with Image.open(io.BytesIO(png)) as picture:
            assert picture.format == "PNG" and min(picture.size) > 400
    same, other = (section.show(rendered=2, seed=seed, renderer=model)[1] for seed in (0, 1))
    assert torch.equal(measured.labels[0].images, same.labels[0].images)
    assert measured.outcomes == same.outcomes
    assert not torch.equal(measured.labels[0].images, other.labels[0].images)


def test_the_model_of_the_card_is_shown_where_it_has_weights(model, monkeypatch):
    monkeypatch.setattr(section, "SCORED", 20)
    monkeypatch.setattr(section, "lacking", lambda name, what: None)
    monkeypatch.setattr(section, "pretrained_model", lambda: model)
    found, measured = section.show(rendered=1, seed=0, renderer=None)
    assert measured.accuracy is not None and f"<code>{CARD}</code>" in found.html


@pytest.mark.parametrize("rendered", [-1, 11])
def test_too_many_or_too_few_images_are_refused(rendered):
    with pytest.raises(DemoError, match=f"rendered must be 0 to 10, found {rendered}"):
        section.check_settings(rendered)


def test_outcomes_are_told_in_words_and_in_a_table():
    outcomes = [
        Outcome("own", 0.02, 0.875),
        Outcome("another", 0.04, 0.5),
        Outcome("mean", 0.08, None),
    ]
    words = about(0.9, outcomes, 100)
    assert "first 100 test images: 90.0 ± 3.0 %" in words and "0.25 times" in words
    table = outcomes_table(outcomes, 100)
    assert table.rows == [
        ("own", "0.0200", "87.5 %"),
        ("another", "0.0400", "50.0 %"),
        ("mean", "0.0800", "-"),
    ]
