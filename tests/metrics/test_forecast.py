"""Errors of forecasts: against the formula, over batches, and as lines of cards."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from zoo import metrics
from zoo.data import spirals
from zoo.errors import UnknownNameError
from zoo.metrics.forecast import forecast_error, observed
from zoo.models.series import Forecast
from zoo.registry import Metric

LINE = Metric("spirals", "test", "rmse-30", 0.0, 40, "none")


@dataclass
class Constant:
    """Forecasts the same point always."""

    point: tuple[float, float]

    def forecast(self, times: Tensor, values: Tensor, mask: Tensor, query: Tensor) -> Forecast:
        mean = torch.tensor(self.point).expand(*query.shape, 2)
        return Forecast(mean, mean[None])


class Held(nn.Module):
    """Forecasts the last observed point."""

    def forecast(self, times: Tensor, values: Tensor, mask: Tensor, query: Tensor) -> Forecast:
        mean = values[:, -1:].expand(-1, query.shape[1], -1)
        return Forecast(mean, mean[None])


def test_the_error_is_the_root_of_the_mean_square_over_everything() -> None:
    batch = observed("test", 60, 30)
    found = forecast_error(Constant((1.0, 2.0)), batch, batch_size=7)
    squares = (batch.targets.double() - torch.tensor([1.0, 2.0])).square()
    assert found.n == 60
    assert found.rmse == pytest.approx(math.sqrt(squares.sum() / (60 * 100 * 2)))
    # The jackknife is another way to the standard error.
    own = squares.flatten(1).mean(1)
    left_out = torch.stack([own[torch.arange(60) != i].mean().sqrt() for i in range(60)])
    jackknife = ((left_out - left_out.mean()).square().sum() * 59 / 60).sqrt()
    assert found.standard_error == pytest.approx(float(jackknife), rel=0.05)


def test_no_error_and_a_single_series() -> None:
    batch = observed("test", 1, 30)
    exact = replace(batch, targets=torch.tensor([1.0, 2.0]).expand(1, 100, 2))
    assert forecast_error(Constant((1.0, 2.0)), exact).rmse == 0
    assert math.isnan(forecast_error(Constant((0.0, 2.0)), exact).standard_error)
    assert forecast_error(Constant((0.0, 2.0)), exact).rmse == pytest.approx(math.sqrt(0.5))


def test_a_line_of_a_card_is_measured_on_the_split_that_it_names() -> None:
    for split in ("test", "validation"):
        series = spirals.load(split, 40)
        batch = spirals.observe(series, 30, torch.Generator().manual_seed(0))
        expected = (batch.values[:, -1:] - series.clean[:, 100:]).square().mean().sqrt()
        line = replace(LINE, split=split)
        assert metrics.measure(line, Held()) == pytest.approx(float(expected), rel=1e-5)
    assert metrics.tolerance(replace(LINE, value=0.1)) == pytest.approx(0.001)


def test_the_window_is_scored_from_the_first_observed_point_on() -> None:
    series = spirals.load("test", 40)
    batch = observed("test", 40, 30)
    squares = []
    for b in range(40):
        for n in range(100):
            if series.times[n] >= batch.times[b, 0]:
                squares.append((batch.values[b, -1] - series.clean[b, n]).square().mean())
    # Every series counts as much, whatever the number of its points.
    groups = torch.stack(squares).split([int(c) for c in _counts(series, batch)])
    expected = math.sqrt(torch.stack([group.mean() for group in groups]).mean())
    found = metrics.measure(replace(LINE, metric="rmse-window-30"), Held())
    assert found == pytest.approx(expected, rel=1e-5)


def _counts(series: spirals.Spirals, batch: spirals.Batch) -> list[int]:
    return [int((series.times[:100] >= first).sum()) for first in batch.times[:, 0]]


def test_lines_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no metric 'rmse-101'"):
        metrics.measure(replace(LINE, metric="rmse-101"), Held())
    with pytest.raises(UnknownNameError, match="is of the spirals, not of 'cifar-10'"):
        metrics.measure(replace(LINE, dataset="cifar-10"), Held())
    with pytest.raises(UnknownNameError, match="a Linear forecasts nothing"):
        metrics.measure(LINE, nn.Linear(1, 1))
    with pytest.raises(UnknownNameError, match="no split 'all'"):
        metrics.measure(replace(LINE, split="all"), Held())
