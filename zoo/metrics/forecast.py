"""How far forecasts are from what they forecast, with everything fixed that a number needs.

    rmse-<1..100>          root mean square over series, future points and both coordinates of the
                           forecast's mean minus the noiseless point, after so many of the 100
                           points of the window were observed, with noise
    rmse-window-<1..100>   the same at all points of the window from the first observed one on

The data set is `spirals` (`zoo.data.spirals`), `n` series of the split; which of their points are
observed is drawn with seed 0. The root mean square of the Euclidean distance is √2 as much.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from zoo.data import spirals
from zoo.errors import UnknownNameError
from zoo.models.series import Forecast

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = ["COUNTS", "MEASURES", "Error", "Forecaster", "forecast_error", "tolerance"]

COUNTS = (30, 50, 100)
"""Observed points in the table of the paper."""
SEED = 0
"""Of the choice of the observed points."""
ROUNDING = 0.01
"""Share of a value by which another machine may differ."""


class Forecaster(Protocol):
    """A model that forecasts series."""

    def forecast(
        self, times_observed: Tensor, values: Tensor, mask: Tensor, times_query: Tensor
    ) -> Forecast:
        """Points (B, Q, D) at times (B, Q), from observations (B, N)."""
        ...


@dataclass(frozen=True, slots=True)
class Error:
    """Root mean square of the error of forecasts.

    Args:
        rmse: over series, points and coordinates, in units of the data.
        standard_error: of it, over the choice of series; NaN for a single one.
        n: number of series.
    """

    rmse: float
    standard_error: float
    n: int


def forecast_error(model: Forecaster, batch: spirals.Batch, *, batch_size: int = 250) -> Error:
    """How far the mean of the forecasts is from the targets.

    With m_i the mean squared error of series i, over points and coordinates, the error is
    R = sqrt(mean m_i), and its standard error sd(m_i) / (2 R sqrt(n)) (delta method). Targets that
    are NaN are left out.

    Args:
        batch: on any device; it goes to the model's.
        batch_size: series that the model is given together.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    device = next(parameters, torch.empty(0)).device
    parts = []
    for begin in range(0, len(batch.times), batch_size):
        part = slice(begin, begin + batch_size)
        inputs = (batch.times, batch.values, batch.mask, batch.times_query)
        found = model.forecast(*(each[part].to(device) for each in inputs)).mean
        difference = found.cpu().double() - batch.targets[part].cpu().double()
        parts.append(difference.square().flatten(1).nanmean(1))
    squares = torch.cat(parts)
    n, rmse = len(squares), float(squares.mean().sqrt())
    spread = float(squares.std()) if n > 1 else math.nan
    return Error(rmse, spread / (2 * rmse * math.sqrt(n)) if rmse > 0 else 0.0, n)


def tolerance(value: float, n: int) -> float:
    """How far a repeated measurement may be away."""
    return ROUNDING * abs(value)


def observed(split: str, n: int, count: int) -> spirals.Batch:
    """`n` series of a split of the spirals, `count` points of each observed."""
    series = spirals.load(cast(spirals.Split, split), n)
    return spirals.observe(series, count, torch.Generator().manual_seed(SEED))


def _future(count: int, metric: "Metric", model: nn.Module, root: Path | None) -> float:
    batch = observed(metric.split, metric.n, count)
    return forecast_error(_forecaster(metric, model), batch).rmse


def _window(count: int, metric: "Metric", model: nn.Module, root: Path | None) -> float:
    """Before its first observation a series has no curve: there its first time is asked again."""
    batch = observed(metric.split, metric.n, count)
    series = spirals.load(cast(spirals.Split, metric.split), metric.n)
    times = series.times[: spirals.WINDOW].expand(metric.n, -1)
    first = batch.times[:, :1]
    targets = series.clean[:, : spirals.WINDOW].masked_fill((times < first).unsqueeze(2), math.nan)
    asked = spirals.Batch(
        batch.times, batch.values, batch.mask, torch.maximum(times, first), targets
    )
    return forecast_error(_forecaster(metric, model), asked).rmse


def _forecaster(metric: "Metric", model: nn.Module) -> Forecaster:
    if metric.dataset != "spirals":
        raise UnknownNameError(f"{metric.metric} is of the spirals, not of {metric.dataset!r}")
    if not callable(getattr(model, "forecast", None)):
        raise UnknownNameError(f"a {type(model).__name__} forecasts nothing: {metric.metric}")
    return cast(Forecaster, model)


Measure = Callable[["Metric", nn.Module, Path | None], float]

MEASURES: Mapping[str, Measure] = {
    name: measure
    for count in range(1, spirals.WINDOW + 1)
    for name, measure in {
        f"rmse-{count}": partial(_future, count),
        f"rmse-window-{count}": partial(_window, count),
    }.items()
}
"""Name -> function of the card's metric, the model and the data folder, which nothing needs."""
