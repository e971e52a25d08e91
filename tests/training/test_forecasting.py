"""Trainings of forecasters: losses against torch.distributions, draws, resumes, and the table."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo import training
from zoo.data import spirals
from zoo.demo.series.measure import of_both_directions
from zoo.metrics.forecast import forecast_error, observed
from zoo.models.gru_forecaster import GRUForecaster
from zoo.models.latent_ode import LatentODE
from zoo.training.forecasting import limit, picture, table
from zoo.training.forecasting.fit import (
    ForecastSettings,
    all_but_last,
    architecture,
    draw_batch,
    elbo,
    errors,
    fit,
    network,
    recurrent_loss,
)

TINY: dict[str, Any] = {
    "steps": 5,
    "batch_size": 4,
    "series": 12,
    "hidden": 6,
    "recurrent": 5,
    "latent": 3,
    "gru_recurrent": 5,
    "gru_hidden": 4,
    "warmup": 2,
    "least": 10,
    "most": 14,
    "threads": 1,
}
NORMAL = torch.distributions.Normal


def open_run(folder: Path, config: ForecastSettings, *, resume: bool = False) -> training.Run:
    return training.Run(
        folder,
        config,
        name="toy",
        source=Path(__file__),
        command="python toy.py",
        resume=resume,
    )


def batch_of(n: int, count: int) -> spirals.Batch:
    return spirals.observe(spirals.load("train", n), count, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_loss_of_a_latent_ode_is_the_evidence_lower_bound(weight: float) -> None:
    torch.manual_seed(0)
    model = LatentODE(latent=3, hidden=6, recurrent=5, step=0.25).double()
    batch, noise = batch_of(4, 9), torch.randn(4, 3).double()
    loss, terms = elbo(model, batch, noise, 0.3, weight)
    posterior = model.encode(model.observe(batch.times, batch.values, batch.mask))
    start = posterior.mean + posterior.std * noise
    expected = torch.zeros((), dtype=torch.float64)
    for b in range(4):
        stamps = torch.cat([batch.times[b], batch.times_query[b]])[None] - batch.times[b, 0]
        predicted = model.decode(model.trajectory(start[b : b + 1], stamps))[0]
        points = torch.cat([batch.values[b], batch.targets[b]])
        density = NORMAL(predicted, 0.3).log_prob(points).sum()
        q = NORMAL(posterior.mean[b], posterior.std[b])
        divergence = torch.distributions.kl_divergence(q, NORMAL(0.0, 1.0)).sum()
        expected = expected - density + weight * divergence
    coordinates = 4 * 109 * 2
    constant = math.log(0.3 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(loss, expected / coordinates - constant)
    assert terms["kl"] > 0


def test_one_step_predictions_are_of_the_same_points_from_those_before() -> None:
    torch.manual_seed(0)
    model, batch = GRUForecaster(recurrent=5, hidden=4).double(), batch_of(3, 9)
    loss, _ = recurrent_loss(model, all_but_last(batch), 0.3)
    times = torch.cat([batch.times, batch.times_query], 1)
    points = torch.cat([batch.values, batch.targets], 1)
    total = torch.zeros((), dtype=torch.float64)
    for n in range(1, 109):
        past = (times[:, :n], points[:, :n], torch.ones(3, n))
        ahead = model.forecast(*past, times[:, n : n + 1]).mean
        total += (ahead[:, 0] - points[:, n]).square().sum()
    torch.testing.assert_close(loss.detach(), total / (3 * 108 * 2) / (2 * 0.3**2))


@pytest.mark.parametrize("gaps", [False, True])
def test_the_loss_of_a_baseline_is_its_likelihood_of_the_same_points(gaps: bool) -> None:
    torch.manual_seed(0)
    model = GRUForecaster(recurrent=5, hidden=4, gaps=gaps).double()
    batch = batch_of(4, 9)
    loss, _ = recurrent_loss(model, batch, 0.3)
    inside, future = model(batch.times, batch.values, batch.mask, batch.times_query)
    # The first point has nothing before it.
    density = NORMAL(inside, 0.3).log_prob(batch.values[:, 1:]).sum()
    density = density + NORMAL(future, 0.3).log_prob(batch.targets).sum()
    constant = math.log(0.3 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(loss, -density / (4 * 108 * 2) - constant)


def test_batches_have_noise_everywhere_and_a_random_number_of_observed_points(
    tmp_path: Path,
) -> None:
    config = ForecastSettings(series=40, batch_size=20, least=5, most=8)
    series = spirals.load("train", 40)
    clean = {tuple(row) for row in series.clean[:, 150].tolist()}
    with open_run(tmp_path, config) as run:
        batches = [draw_batch(series, config, run, step) for step in range(24)]
        again = draw_batch(series, config, run, 3)
    assert {batch.times.shape[1] for batch in batches} == {5, 6, 7, 8}
    assert torch.equal(again.values, batches[3].values)
    for batch in batches:
        assert not clean & {tuple(row) for row in batch.targets[:, 50].tolist()}
    epoch = torch.cat([batch.targets for batch in batches[:2]])
    assert len({tuple(row) for row in epoch[:, 0].tolist()}) == 40


def test_points_are_standardised_by_the_training_set() -> None:
    series = spirals.load("train", 200)
    for kind in ("latent-ode", "gru"):
        model = network(ForecastSettings(kind=kind), series)
        standard = (series.noisy - model.shift) / model.scale
        torch.testing.assert_close(standard.mean((0, 1)), torch.zeros(2), rtol=0, atol=1e-5)
        torch.testing.assert_close(standard.flatten(0, 1).std(0), torch.ones(2))


@pytest.mark.parametrize("kind", ["latent-ode", "gru", "gru-dt"])
def test_a_training_that_is_killed_and_resumed_ends_the_same(kind: Any, tmp_path: Path) -> None:
    config = ForecastSettings(**TINY, kind=kind)
    series = spirals.load("train", config.series)

    def ended(folder: Path, stop_at: int | None = None) -> dict[str, Tensor]:
        with open_run(folder, config, resume=(folder / "run.json").exists()) as run:
            run.steps = partial(run.steps, every_steps=1)
            logged, log = [], run.log

            def interrupting(**metrics: Any) -> None:
                log(**metrics)
                logged.append(metrics)
                if len(logged) == stop_at:
                    raise KeyboardInterrupt

            run.log = interrupting
            model = network(config, series)
            fit(model, series, config, run)
        assert not model.training
        return model.state_dict()

    whole = ended(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        ended(tmp_path / "killed", stop_at=4)
    resumed = ended(tmp_path / "killed")
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_a_short_training_beats_the_mean_of_the_data(tmp_path: Path) -> None:
    settings = TINY | {"steps": 25, "series": 32, "batch_size": 16, "learning_rate": 0.05}
    config = ForecastSettings(**settings)
    series = spirals.load("train", config.series)
    with open_run(tmp_path, config) as run:
        model = network(config, series)
        fit(model, series, config, run)
    batch = observed("validation", 50, 30)
    spread = (batch.targets - series.noisy.mean((0, 1))).square().mean().sqrt()
    assert forecast_error(model, batch).rmse < 0.7 * spread


def test_errors_are_of_held_out_series() -> None:
    class Nowhere:
        def forecast(self, times: Tensor, values: Tensor, mask: Tensor, query: Tensor) -> Any:
            counts.append(times.shape[1])
            return LatentODE(hidden=2, recurrent=2).forecast(times, values, mask, query, samples=0)

    counts: list[int] = []
    found = errors(Nowhere(), 3)
    assert counts == [30, 50, 100] * 2
    assert set(found) == {"validation", "test"}
    assert found["test"][30].n == 3 and found["test"][30] != found["validation"][30]


def test_the_card_says_what_its_weights_change() -> None:
    assert architecture(ForecastSettings(), "latent-ode-spirals") == {}
    changed = ForecastSettings(latent=4, grid=0.125)
    assert architecture(changed, "latent-ode-spirals") == {"latent": 4, "step": 0.125}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"steps": 0}, "steps: expected more than 0"),
        ({"least": 50, "most": 40}, "most: expected 50 to 100 points, found 40"),
        ({"most": 101}, "most: expected 20 to 100 points"),
        ({"batch_size": 20000}, "batch_size: expected at most the 10000 series"),
        ({"kind": "lstm"}, "kind: expected one of"),
        ({"noise": -0.3}, "noise: expected more than 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(training.SettingsError, match=expected):
        ForecastSettings(**wrong)


def _record(folder: Path, kind: str, seed: int, rate: float, rmse: float) -> Path:
    folder.mkdir()
    error = {"rmse": rmse, "standard_error": 0.01, "n": 1000}
    record = {
        "name": "x",
        "command": "python x.py",
        "status": "done",
        "seconds": 60.0 + seed,
        "parameters": 1234,
        "settings": {"kind": kind, "seed": seed, "learning_rate": rate, "steps": 10, "threads": 1},
        "errors": {"test": {"30": error}, "validation": {"30": error | {"rmse": 9.0}}},
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_the_table_has_a_row_for_every_training_and_its_spread_over_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runs = [
        _record(tmp_path / "a", "latent-ode", 0, 0.01, 0.10),
        _record(tmp_path / "b", "latent-ode", 1, 0.01, 0.14),
        _record(tmp_path / "c", "gru-dt", 0, 0.03, 0.5),
    ]
    assert table.main(list(map(str, runs))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "| latent ODE, learning_rate 0.01 | 1,234 | 2 | 10 | 1 min 0 s | 0.120 ± 0.028 |"
    )
    assert lines[3] == "| GRU-Δt, learning_rate 0.03 | 1,234 | 1 | 10 | 1 min 0 s | 0.500 |"
    assert lines[-1] == "Root mean squared error of the future, 1,000 test series."
    assert table.main([*map(str, runs), "--split", "validation"]) == 0
    assert "9.000 ± 0.000" in capsys.readouterr().out


def test_a_run_that_is_not_finished_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"command": "python x.py", "status": "running"}))
    assert table.main([str(tmp_path)]) == 1
    assert "not finished" in capsys.readouterr().err


def test_the_exact_forecast_weighs_all_curves_by_their_likelihood() -> None:
    model = limit.Exact(grid=71)
    batch = spirals.observe(spirals.load("test", 3), 5, torch.Generator().manual_seed(0))
    inputs = (batch.times, batch.values, batch.mask, batch.times_query)
    found = model.forecast(*inputs).mean
    assert model.curves.shape == (142, 200, 2)
    for b in range(3):
        index = (batch.times[b] / spirals.DT).round().long().tolist()
        densities = NORMAL(model.curves[:, index], 0.3).log_prob(batch.values[b].double())
        weights = densities.sum((1, 2)).exp()
        expected = sum(w * curve[100:] for w, curve in zip(weights, model.curves, strict=True))
        torch.testing.assert_close(found[b], (expected / weights.sum()).float())


def test_the_exact_forecast_is_better_than_a_line_and_better_with_more_points(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = limit.Exact(351)
    few, many = (forecast_error(fine, observed("test", 60, count)).rmse for count in (5, 100))
    # With all points the error of a start is about σ / sqrt(100), times how much faster it becomes.
    assert 0.01 < many < 0.06 and 2 * many < few
    monkeypatch.setattr(limit, "Exact", lambda: fine)
    assert limit.main(["--series", "4"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "30",
        "50",
        "100",
    ]


def test_the_picture_shows_two_series_of_each_direction(tmp_path: Path) -> None:
    batch, clean = of_both_directions(30)
    assert clean.shape == (4, 200, 2) and batch.values.shape == (4, 30, 2)
    assert (clean[:, :, 0].mean(1) < 0).tolist() == [True, False, True, False]
    distance = (batch.values - clean[:, (batch.times[0] / spirals.DT).round().long()]).abs()
    assert distance[0].max() < 5 * spirals.NOISE
    asked = clean.shape[:2]
    found = LatentODE(hidden=4, recurrent=4).forecast(
        batch.times,
        batch.values,
        batch.mask,
        batch.times[:, :1] + spirals.DT * torch.arange(200).expand(asked),
        samples=2,
    )
    figure = picture.draw(batch, clean, found)
    panels = figure.get_axes()
    assert len(panels) == 8
    lines = {line.get_label(): line for line in panels[1].get_lines()}
    assert lines["truth"].get_xdata() == pytest.approx(clean[1, :, 0].numpy())
    assert lines["observed"].get_ydata() == pytest.approx(batch.values[1, :, 1].numpy())
    assert lines["forecast, and samples of it"].get_xdata() == pytest.approx(
        found.mean[1, :, 0].numpy()
    )
    assert picture.main(["cnn-robust", "--out", str(tmp_path / "x.png")]) == 1
