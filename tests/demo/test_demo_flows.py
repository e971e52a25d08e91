"""The section on flows and the picture of cards, from flows that are known in closed form."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save
from torch.distributions import Normal

from tests.sample_card import weights_json, write_card
from zoo import registry
from zoo.data import densities
from zoo.demo import DemoError
from zoo.demo.curves import DARK, LIGHT
from zoo.demo.flows import section, words
from zoo.demo.flows.measure import Detail, Portrait, Score, portray, score
from zoo.demo.flows.picture import ROWS, draw_flows
from zoo.errors import UnknownNameError
from zoo.metrics.likelihood import Estimate
from zoo.models.cnf import CNF
from zoo.training.flows import pictures

SMALL = Detail(side=6, samples=5, paths=3)


def gaussian(shift: tuple[float, float], scale: tuple[float, float]) -> CNF:
    """The untrained flow x = shift + scale z, whose density is known."""
    model = CNF(2, (4, 4)).eval()
    model.shift.copy_(torch.tensor(shift))
    model.scale.copy_(torch.tensor(scale))
    return model


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the card of the flows, without weights."""
    card = dataclasses.replace(registry.info("cnf-toy"), default=None, weights={})
    write_card(tmp_path, registry.card_to_json(card))
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    return tmp_path


def give_weights(cards: Path, models: dict[str, CNF]) -> None:
    """Weights for the card, the first of them the default."""
    default, weights, files = next(iter(models)), {}, {}
    for tag, model in models.items():
        data = save(model.state_dict())
        entry = weights_json(
            tag,
            default=tag == default,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            parameters=sum(each.numel() for each in model.parameters()),
            dtype="float32",
            config={"hidden": [4, 4]},
        )
        entry["metrics"][0] |= {"dataset": tag, "metric": "kl"}
        weights[tag], files[entry["file"]] = entry, data
    card = registry.card_to_json(registry.info("cnf-toy"))
    folder = write_card(cards, card | {"default": default, "weights": weights})
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_a_portrait_has_both_densities_at_the_centres_of_cells_and_the_samples_of_the_noise():
    density = densities.get("moons")
    found = portray(density, gaussian((1.0, -0.5), (2.0, 0.5)), SMALL, seed=4)
    low, high = found.box
    assert low == pytest.approx(1.1 * density.box[0]) and high == pytest.approx(-low)
    # Row 1 and column 4 of six: y is in the second cell from below, x in the fifth.
    x, y = low + 4.5 * (high - low) / 6, low + 1.5 * (high - low) / 6
    law = Normal(torch.tensor([1.0, -0.5]), torch.tensor([2.0, 0.5]))
    point = torch.tensor([x, y])
    assert float(found.model[1, 4]) == pytest.approx(float(law.log_prob(point).sum().exp()))
    assert float(found.truth[1, 4]) == pytest.approx(float(density.log_prob(point[None]).exp()))
    noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(4))
    places = torch.tensor([1.0, -0.5]) + torch.tensor([2.0, 0.5]) * noise
    torch.testing.assert_close(found.samples, places)
    # Where the velocity is zero every path stays at its place.
    torch.testing.assert_close(found.paths, places[:3].expand(33, 3, 2))
    assert found.evaluations > 0


def test_a_flow_is_scored_against_the_density_that_is_known():
    density, model = densities.get("8gaussians"), gaussian((0.5, 0.0), (2.0, 3.0))
    found = score(density, model, 20_000, seed=1)
    assert found.entropy == density.entropy and found.evaluations == 28 and found.n == 20_000
    # E x² = E y² = 4²/2/2 + σ² for radius 4/1.414 and σ = 0.5/1.414.
    second = ((4 / 1.414) ** 2 / 2 + (0.5 / 1.414) ** 2) / torch.tensor([4.0, 9.0])
    normalisation = torch.tensor(2 * torch.pi * 6).log()
    nll = float(normalisation + (second.sum() + 0.25 / 4) / 2)
    assert abs(found.nll.mean - nll) < 4 * found.nll.standard_error < 0.05
    assert abs(found.kl.mean - (nll - density.entropy)) < 4 * found.kl.standard_error < 0.05


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_picture_has_a_column_for_every_flow_with_equal_axes_and_one_scale(theme):
    both = [
        portray(densities.get(name), gaussian((0.0, 0.0), (1.0, 1.0)), SMALL, 0)
        for name in ("rings", "pinwheel")
    ]
    figure = draw_flows(both, theme)
    panels = figure.axes
    assert len(panels) == 2 * len(ROWS)
    assert [panel.get_title() for panel in panels[:2]] == ["rings", "pinwheel"]
    assert [panel.get_ylabel() for panel in panels[::2]] == list(ROWS)
    for index, portrait in enumerate(both):
        truth, model, samples, paths = panels[index::2]
        (image,) = truth.get_images()
        (other,) = model.get_images()
        assert image.get_clim() == other.get_clim() == (0, float(portrait.truth.max()))
        assert (image.get_array() == portrait.truth.numpy()).all()
        assert (other.get_array() == portrait.model.numpy()).all()
        assert image.origin == other.origin == "lower"
        (dots,) = samples.get_lines()
        assert dots.get_xdata() == pytest.approx(portrait.samples[:, 0].numpy())
        # Three paths, where they begin, and where they end.
        assert len(paths.get_lines()) == 5
        for panel in (truth, model, samples, paths):
            assert panel.get_xlim() == panel.get_ylim() == portrait.box
            assert panel.get_aspect() == 1
    assert {
        text for panel in panels for text in (*panel.get_xticks(), *panel.get_yticks())
    } == set()


def test_squares_of_the_picture_are_squares_and_its_names_are_inside():
    portrait = portray(densities.get("rings"), gaussian((0.0, 0.0), (1.0, 1.0)), SMALL, 0)
    figure = draw_flows([portrait] * 3)
    figure.draw_without_rendering()
    whole = figure.bbox
    for panel in figure.axes:
        box = panel.get_window_extent()
        assert box.width == pytest.approx(box.height)
        for text in (panel.title, panel.yaxis.label):
            inner = text.get_window_extent()
            assert inner.x0 >= 0 and inner.y0 >= 0
            assert inner.x1 <= whole.width and inner.y1 <= whole.height


def test_without_weights_one_line_stands_for_the_flows(cards):
    found, measured = section.show(points=2, seed=0, flows=None)
    (line,) = found.notes
    assert "cnf-toy has no weights yet" in line and "recipes/cnf_toy.py" in line
    assert line in found.html and not found.pictures and not found.tables
    assert measured.portraits == measured.scores == ()


def test_flows_of_the_card_are_shown_in_the_order_of_the_densities(cards):
    models = {
        "moons": gaussian((0.0, 0.0), (2.0, 1.0)),
        "circles": gaussian((0.0, 1.0), (2.0, 2.0)),
    }
    give_weights(cards, models)
    found, measured = section.show(points=50, seed=3, flows=None)
    assert [each.name for each in measured.scores] == ["circles", "moons"]
    for each in measured.scores:
        assert each == score(densities.get(each.name), models[each.name], 50, 3)
    assert set(found.pictures) == {"flows.png"} and "cnf-toy" in found.html
    (table,) = found.tables
    assert [row[0] for row in table.rows] == ["circles", "moons"]
    assert "50 fresh points" in table.title and "given by the caller" not in found.html


def test_flows_of_the_callers_are_shown_instead():
    flows = {"rings": gaussian((0.0, 0.0), (1.0, 1.0))}
    found, measured = section.show(points=4, seed=0, flows=flows)
    assert [each.name for each in measured.portraits] == ["rings"]
    assert "given by the caller" in found.html and "cnf-toy" not in found.html
    with pytest.raises(UnknownNameError, match="no toy density 'ring'"):
        section.show(points=4, seed=0, flows={"ring": flows["rings"]})


def test_nothing_is_measured_if_nothing_is_asked_for():
    found, measured = section.show(points=0, seed=0, flows={"rings": CNF(2, (4, 4))})
    assert measured.scores == () and not found.pictures and not found.notes


@pytest.mark.parametrize("points", [-1, 1])
def test_a_number_of_points_without_a_standard_error_is_refused(points):
    with pytest.raises(DemoError, match=f"at least 2, found {points}"):
        section.check_settings(points)


def record(name: str, kl: float, evaluations: int) -> tuple[Score, Portrait]:
    found = Score(name, 2.5, Estimate(2.5 + kl, 0.0123), Estimate(kl, 0.0021), 3000, 28)
    empty = torch.zeros(2, 2)
    return found, Portrait(name, (-1.0, 1.0), empty, empty, empty, empty[None], evaluations)


def test_words_name_the_nearest_and_the_furthest_flow():
    records = [record("rings", 0.02, 44), record("moons", -0.001, 32), record("circles", 0.01, 38)]
    scores, portraits = zip(*records, strict=True)
    said = words.about_scores(scores)
    assert "flow of moons is \N{MINUS SIGN}0.0010 ± 0.0021 nats away, the nearest of 3" in said
    assert "that of rings 0.0200 ± 0.0021 nats, the furthest" in said
    assert "flow of rings is 0.0200" in words.about_scores(scores[:1])
    assert "32 to 44 times" in words.about_paths(portraits)
    assert "velocity 44 times" in words.about_paths(portraits[:1])
    assert "3,000 fresh points" in words.what_they_are(scores)
    table = words.scores_table(scores, portraits)
    assert table.rows[0] == ("rings", "2.5000", "2.520 ± 0.012", "0.0200 ± 0.0021", "44")


def test_the_command_draws_all_weights_of_a_card(cards, tmp_path, capsys):
    give_weights(cards, {"moons": CNF(2, (4, 4)), "8gaussians": CNF(2, (4, 4))})
    assert pictures.names("cnf-toy") == ["cnf-toy.8gaussians", "cnf-toy.moons"]
    out = tmp_path / "flows.png"
    small = ["--out", str(out), "--side", "4", "--samples", "3"]
    assert pictures.main(["--card", "cnf-toy", *small]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    with Image.open(out) as picture:
        two = picture.size
    assert pictures.main(["cnf-toy.moons", *small]) == 0
    with Image.open(out) as picture:
        assert picture.size[1] == two[1] and picture.size[0] < two[0]


def test_the_command_says_what_is_missing(cards, tmp_path, capsys):
    out = ["--out", str(tmp_path / "x.png")]
    assert pictures.main(["--card", "cnf-toy", *out]) == 1
    assert "cnf-toy has no weights yet" in capsys.readouterr().err
    for wrong in ([], ["cnf-toy", "--card", "cnf-toy"]):
        with pytest.raises(SystemExit):
            pictures.main([*wrong, *out])
        assert "give names of models, or a card" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_a_model_that_is_no_flow_is_refused(tmp_path, capsys):
    assert pictures.main(["cnn-robust", "--out", str(tmp_path / "x.png")]) == 1
    assert "'cnn-robust' is no flow of vectors but a CNNF" in capsys.readouterr().err
