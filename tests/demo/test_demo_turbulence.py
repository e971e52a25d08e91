"""The section on turbulence, from decays in closed form and a forecaster that was never trained."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from tests.sample_card import write_card
from tests.turbulence_runs import write_ensemble
from zoo import registry
from zoo.data import decaying_turbulence
from zoo.demo import DemoError
from zoo.demo.curves import LIGHT
from zoo.demo.turbulence import section, words
from zoo.demo.turbulence.measure import (
    CARD,
    FITTED,
    LEARNT,
    best_constant,
    closures,
    errors,
    follow,
    of_every_kind,
)
from zoo.demo.turbulence.picture import draw_forecasts, draw_live, draw_vorticity
from zoo.demo.turbulence.simulation import Live, simulate
from zoo.metrics.turbulence import pose, relative_errors
from zoo.metrics.turbulence_table import Row
from zoo.models.k_epsilon import KEpsilon
from zoo.models.turbulence_ode import TurbulenceODE


@pytest.fixture(scope="module", autouse=True)
def ensemble(tmp_path_factory):
    """Decays in closed form in the place of the simulations that come with the package."""
    path = write_ensemble(tmp_path_factory.mktemp("ensemble") / "runs.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decaying_turbulence, "BUNDLED", path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        patch.setattr(decaying_turbulence, "BUNDLED_SHA256", digest)
        yield path


@pytest.fixture(scope="module")
def forecaster() -> TurbulenceODE:
    torch.manual_seed(0)
    return TurbulenceODE(members=3, hidden=4, encoder=4).eval()


@pytest.fixture(scope="module")
def live() -> Live:
    return simulate(16, seed=0)


def test_the_flow_loses_as_much_energy_as_it_dissipates(live):
    assert live.vorticity.shape == (16, 16) and bool((live.vorticity >= 0).all())
    assert float(live.energy[0]) == pytest.approx(1.5, rel=1e-6)
    assert live.time.tolist() == pytest.approx([0.05 * i for i in range(21)])
    assert 0.5 < float(live.lost[-1]) / 1.5 < 1
    # A spline over 20 intervals of a curve that falls by a factor e in each two.
    torch.testing.assert_close(live.dissipated, live.lost, rtol=2e-3, atol=0)
    assert torch.equal(live.vorticity, simulate(16, seed=0).vorticity)
    assert not torch.equal(live.vorticity, simulate(16, seed=1).vorticity)


def test_the_best_constant_has_the_least_error():
    problem = pose(decaying_turbulence.load("train"), "peak")

    def loss(constant: float) -> float:
        # The textbook's closed form.
        tau = problem.times * (problem.state["epsilon"] / problem.state["k"]).unsqueeze(1)
        n = 1 / (constant - 1)
        log_k = -n * (1 + tau / n).log()
        truth = torch.stack([problem.k, problem.epsilon]).log()
        own = torch.stack([log_k, constant * log_k]) + truth[:, :, :1]
        return float((own - truth).square().mean())

    found = best_constant(problem)
    assert 0.7 < found < 2 and found != 1
    assert all(loss(found) < loss(found + step) for step in (-1e-2, -1e-3, 1e-3, 1e-2))


def test_runs_of_every_kind_are_shown(ensemble):
    titles, runs = zip(*of_every_kind(), strict=True)
    assert [run.split for run in runs] == [
        "test-seed",
        "test-seed",
        "test-viscosity",
        "test-spectrum",
    ]
    assert [run.viscosity for run in runs] == [0.012, 0.021, 0.0085, 0.0145]
    assert [run.seed for run in runs] == [6, 6, 0, 0]
    assert titles == (
        "unseen seed, viscosity 0.012",
        "unseen seed, viscosity 0.021",
        "lower viscosity, 0.0085",
        "k² spectrum, viscosity 0.0145",
    )
    assert [run.name for _, run in of_every_kind(ensemble)] == [run.name for run in runs]


def test_curves_begin_at_one_and_the_band_is_twice_the_spread(forecaster):
    chosen = of_every_kind()
    shown = follow({"1.92": KEpsilon(1.92).double(), LEARNT: forecaster}, chosen)
    for curves in (shown.truth, *shown.models.values()):
        assert torch.all(curves.k[:, 0] == 1) and torch.all(curves.epsilon[:, 0] == 1)
    torch.testing.assert_close(
        shown.tau[:, [0, -1]], torch.tensor([[0.0, 2.0]] * 4, dtype=torch.float64)
    )
    # 1 + 0.92 τ to the power of -1/0.92.
    expected = (1 + 0.92 * shown.tau) ** (-1 / 0.92)
    torch.testing.assert_close(shown.models["1.92"].k, expected)
    assert shown.models["1.92"].low is None
    problem = pose([run for _, run in chosen], "peak")
    logs = forecaster.forecast_members(problem.state, problem.times)["epsilon"].double().log()
    learnt = shown.models[LEARNT]
    assert learnt.low is not None and learnt.high is not None
    torch.testing.assert_close(
        (learnt.high / learnt.low).log(), 4 * logs.std(0), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close((learnt.high * learnt.low).sqrt(), learnt.epsilon)


def test_a_column_for_every_run_shows_all_models_and_the_truth(forecaster):
    shown = follow({**closures(), LEARNT: forecaster}, of_every_kind())
    figure = draw_forecasts(shown, LIGHT)
    figure.draw_without_rendering()
    panels = figure.axes
    assert len(panels) == 8
    for index, panel in enumerate(panels):
        column, name = index % 4, "epsilon" if index < 4 else "k"
        lines = {line.get_label(): line.get_ydata() for line in panel.get_lines()}
        assert set(lines) == {"k-epsilon, 1.92", "k-epsilon, 11/6", FITTED, LEARNT, "simulation"}
        for model, curves in (*shown.models.items(), ("simulation", shown.truth)):
            assert lines[model] == pytest.approx(getattr(curves, name)[column].numpy())
        # The band of the spread.
        assert len(panel.collections) == (1 if name == "epsilon" else 0)
        assert panel.get_ylim()[0] == 0
    assert panels[2].get_title(loc="left").startswith("lower viscosity, 0.0085\nRe")


def test_the_picture_of_the_flow_has_its_plane_and_its_energy(live):
    figure = draw_live(live, LIGHT)
    figure.draw_without_rendering()
    plane, energy = figure.axes
    (image,) = plane.get_images()
    # The periodic neighbours at the end.
    assert image.get_array().shape == (17, 17)
    scale = float(live.vorticity.square().mean().sqrt())
    assert image.get_array()[3, 5] == pytest.approx(float(live.vorticity[5, 3]) / scale)
    assert image.get_array()[16, 5] == image.get_array()[0, 5]
    lines = {line.get_label(): line.get_ydata() for line in energy.get_lines()}
    assert lines["energy lost"] == pytest.approx(live.lost.numpy())
    assert lines["dissipation so far, ∫ε dt"] == pytest.approx(live.lost.numpy(), rel=2e-3)
    draw_vorticity(plane, live.vorticity, LIGHT)


def test_errors_are_those_of_the_metric(forecaster):
    found = errors({"1.92": KEpsilon(1.92).double(), LEARNT: forecaster})
    assert len(found) == 2 * 2 * 3
    problem = pose(decaying_turbulence.load("test-viscosity"), "peak")
    curve = KEpsilon(1.92).double().forecast(problem.state, problem.times)["epsilon"]
    (row,) = (
        row
        for row in found
        if (row.model, row.quantity, row.split) == ("1.92", "epsilon", "test-viscosity")
    )
    assert row.error == pytest.approx(float(relative_errors(curve, problem.epsilon).mean()))
    assert {row.protocol for row in found} == {"peak"}


def test_the_section_has_the_flow_the_forecasts_and_the_numbers(forecaster):
    found, measured = section.show(grid=12, seed=0, decays=forecaster)
    assert set(found.pictures) == section.FILES
    assert "given by the caller" in found.html and "12³ points" in found.html
    (table,) = found.tables
    assert [row[0] for row in table.rows] == ["k-epsilon, 1.92", "k-epsilon, 11/6", FITTED, LEARNT]
    for row in table.rows:
        own = [each for each in measured.errors if each.model == row[0]]
        epsilon = [each for each in own if each.quantity == "epsilon"]
        for cell, each in zip(row[1:], epsilon, strict=True):
            assert (
                cell.startswith(f"{100 * each.error:.1f} ± ") and f"<td>{cell}</td>" in found.html
            )
    assert measured.shown is not None and len(measured.shown.titles) == 4
    assert any("energy is lost" in note for note in found.notes)


def test_without_weights_the_flow_is_shown_and_a_line_stands_for_the_forecasts(
    tmp_path: Path, monkeypatch
):
    card = dataclasses.replace(registry.info(CARD), default=None, weights={})
    write_card(tmp_path, registry.card_to_json(card))
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    found, measured = section.show(grid=12, seed=0, decays=None)
    _, line = found.notes
    assert "node-turbulence has no weights yet" in line and card.recipe in line
    assert line in found.html and set(found.pictures) == {"vorticity.png"} and not found.tables
    assert measured.live is not None and measured.shown is None and not measured.errors


def test_nothing_is_simulated_if_nothing_is_asked_for(forecaster):
    found, measured = section.show(grid=0, seed=0, decays=forecaster)
    assert measured.live is None and not found.pictures and not found.tables and not found.notes


@pytest.mark.parametrize("grid", [-2, 2, 10, 13, 130])
def test_a_grid_that_cannot_be_simulated_is_refused(grid):
    with pytest.raises(DemoError, match=f"even number from 12 to 128, found {grid}"):
        section.check_settings(grid)


def test_words_name_the_best_closure():
    def row(model: str, error: float, split: str = "test-seed") -> Row:
        return Row(model, "epsilon", split, split, "peak", 8, error, 0.01, 1, error, float("nan"))

    rows = [row("one", 0.2), row("other", 0.1), row(LEARNT, 0.034), row("one", 0.01, "test-x")]
    said = words.about_errors(rows)
    assert "of 8 unseen runs by 3.4 % in the mean" in said and "other, by 10.0 %" in said
    assert words.errors_table(rows[:3]).rows[0] == ("one", "20.0 ± 1.0 %")
