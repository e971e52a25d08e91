"""How well a flow of vectors knows the density of its data, on its own and as metrics of cards.

    found = paired_kl(model, densities.get("moons"), 100_000, generator)
    found.mean, found.standard_error

    nll                 mean of -ln p_model over `n` points, in nats
    kl                  mean of ln p_true - ln p_model over the same points: the Kullback-Leibler
                        divergence of a toy density, without most of the noise of its two parts
    kl-28-evaluations   the same where the model solves its ODE by 7 steps of rk4
    mass                ∫ p_model over the box of a toy density, half as large again, by the
                        midpoint rule on a grid of `n` points in all
    inversion-error     max |decode(encode(x)) - x| over coordinates and points

The data set is a toy density (`zoo.data.densities`), of which `n` points are drawn with a seed of
their own, or, for the first and the last metric, the first `n` rows of a table
(`zoo.data.tabular`), in its standardised units. The trace is exact. The ODE is solved by dopri5
with relative and absolute tolerances of 1e-5, for `inversion-error` of 1e-6.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import torch
from torch import Generator, Tensor, nn

from zoo._names import did_you_mean
from zoo.data import densities, tabular
from zoo.data.densities import Density
from zoo.errors import DataError, UnknownNameError
from zoo.metrics.classification import Measure

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = [
    "FAMILIES",
    "SEED",
    "SOURCES",
    "Estimate",
    "Flow",
    "inversion_error",
    "mass",
    "nll",
    "paired_kl",
]

SEED = 517_204_683
"""Of the toy points; recipes begin with small seeds, so that they never train on these."""

DEFAULT: Mapping[str, Any] = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-5}
FIXED: Mapping[str, Any] = {"method": "rk4", "steps": 7}
TIGHT: Mapping[str, Any] = {"method": "dopri5", "rtol": 1e-6, "atol": 1e-6}
"""How the ODE is solved: 7 steps of rk4 are 28 evaluations."""

MARGIN = 1.5
"""By which the box is stretched for the mass: models spread further than the data."""

ROUNDING = 2e-4
"""Nats by which another machine may differ: adaptive steps answer to rounding."""


class Flow(Protocol):
    """A density model that is invertible. Further keywords are for its ODE solver."""

    def log_prob(self, x: Tensor, *, trace: Any = "exact", **solver: Any) -> Tensor:
        """ln p of x (n, D), in nats: (n,)."""
        ...

    def encode(self, x: Tensor, **solver: Any) -> Tensor:
        """The noise of x (n, D)."""
        ...

    def decode(self, z: Tensor, **solver: Any) -> Tensor:
        """What the noise z (n, D) becomes."""
        ...


class Estimate(NamedTuple):
    """A mean over points and its standard error, both in nats."""

    mean: float
    standard_error: float


def nll(model: nn.Module, x: Tensor, **solver: Any) -> Estimate:
    """Mean negative log-likelihood of points.

    Args:
        model: A `Flow`, measured on the device that it is on.
        x: (n, D), n at least 2.
        **solver: As of the model's `log_prob`; default dopri5 at 1e-5.

    Raises:
        UnknownNameError: the model has no density.
        ValueError: there are fewer than two points.
    """
    return _estimate(-_log_prob(model, x, solver))


def paired_kl(
    model: nn.Module, density: Density, n: int, generator: Generator | None = None, **solver: Any
) -> Estimate:
    """The Kullback-Leibler divergence ∫ p ln (p / p_model) from `n` fresh points of `density`.

    Both log-densities are of the same points, so that most of their spread cancels: the standard
    error is that of the differences. An unbiased estimate may be a little below zero.

    Args:
        model: A `Flow` on the plane, measured on the device that it is on.
        n: At least 2.
        generator: Of the points.
        **solver: As of the model's `log_prob`; default dopri5 at 1e-5.

    Raises:
        UnknownNameError: the model has no density.
        ValueError: there are fewer than two points.
    """
    x = density.sample(n, generator)
    return _estimate(density.log_prob(x) - _log_prob(model, x, solver))


def mass(model: nn.Module, box: tuple[float, float], side: int, **solver: Any) -> float:
    """∫ p_model over the square [low, high]², by the midpoint rule on a grid of side x side points.

    1 for a density whose mass is in the box, if the grid is as fine as its details.

    Args:
        model: A `Flow` on the plane, measured on the device that it is on.
        box: low and high, in units of the data.
        **solver: As of the model's `log_prob`; default dopri5 at 1e-5.

    Raises:
        UnknownNameError: the model has no density.
    """
    low, high = box
    step = (high - low) / side
    axis = low + step * (torch.arange(side, dtype=torch.float64) + 0.5)
    points = torch.cartesian_prod(axis, axis).float()
    return float(_log_prob(model, points, solver).exp().sum()) * step**2


def inversion_error(model: nn.Module, x: Tensor, **solver: Any) -> float:
    """max |decode(encode(x)) - x| over points and coordinates, in units of the data.

    Args:
        model: A `Flow`, measured on the device that it is on.
        x: (n, D).
        **solver: As of the model's `encode`; default dopri5 at 1e-6.

    Raises:
        UnknownNameError: the model is no flow.
    """
    flow, settings = _flow(model), solver or TIGHT
    x = x.to(next(model.parameters()).device)
    with torch.no_grad():
        back = flow.decode(flow.encode(x, **settings), **settings)
    return float((back.double() - x.double()).abs().max())


def _log_prob(model: nn.Module, x: Tensor, solver: Mapping[str, Any]) -> Tensor:
    """(n,), float64, on the CPU."""
    device = next(model.parameters()).device
    with torch.no_grad():
        logs = _flow(model).log_prob(x.to(device), trace="exact", **(solver or DEFAULT))
    return logs.cpu().double()


def _flow(model: nn.Module) -> Flow:
    if not all(callable(getattr(model, name, None)) for name in ("log_prob", "encode", "decode")):
        raise UnknownNameError(
            f"a {type(model).__name__} has no density: these metrics are for models with log_prob, "
            "encode and decode"
        )
    return cast(Flow, model)


def _estimate(values: Tensor) -> Estimate:
    if len(values) < 2:
        raise ValueError(f"expected at least two points, found {len(values)}")
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)))


Source = Callable[["Metric", Path | None], Tensor]
"""Function of a card's line and the data folder; gives its `n` points (n, D)."""


def _toy_points(metric: "Metric", root: Path | None) -> Tensor:
    return _toy(metric).sample(metric.n, _generator())


def _table_points(metric: "Metric", root: Path | None) -> Tensor:
    parts = tabular.tabular(metric.dataset, root)._asdict()
    if metric.split not in parts:
        raise DataError(f"{metric.dataset} has {', '.join(parts)}, not {metric.split!r}")
    return cast(Tensor, parts[metric.split])


SOURCES: Mapping[str, Source] = {
    **dict.fromkeys(densities.NAMES, _toy_points),
    **dict.fromkeys(tabular.NAMES, _table_points),
}
"""Data set -> where its points come from; a further one is a further row."""


def _toy(metric: "Metric") -> Density:
    if metric.split != "test":
        raise DataError(
            f"{metric.dataset} is drawn afresh: its only split is 'test', not {metric.split!r}"
        )
    return densities.get(metric.dataset)


def _points(metric: "Metric", root: Path | None) -> Tensor:
    name = metric.dataset
    if name not in SOURCES:
        raise UnknownNameError(f"no data set of vectors {name!r}{did_you_mean(name, SOURCES)}")
    points = SOURCES[name](metric, root)
    if len(points) < metric.n:
        raise DataError(f"{name} has {len(points)} {metric.split} points, of {metric.n} expected")
    return points[: metric.n]


def _generator() -> Generator:
    return torch.Generator().manual_seed(SEED)


def _nll(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    return nll(model, _points(metric, root)).mean


def _kl(
    metric: "Metric", model: nn.Module, root: Path | None, *, solver: Mapping[str, Any]
) -> float:
    return paired_kl(model, _toy(metric), metric.n, _generator(), **solver).mean


def _mass(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    side = math.isqrt(metric.n)
    if side**2 != metric.n:
        raise ValueError(f"expected a square number n of points of a grid, found {metric.n}")
    low, high = _toy(metric).box
    return mass(model, (MARGIN * low, MARGIN * high), side)


def _inversion(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    return inversion_error(model, _points(metric, root))


def _mean_tolerance(value: float, n: int) -> float:
    return ROUNDING * max(1.0, abs(value))


def _inversion_tolerance(value: float, n: int) -> float:
    """The largest of many rounding errors: three times as much is the same."""
    return max(2 * value, 1e-5)


FAMILIES: tuple[tuple[Mapping[str, Measure], Callable[[float, int], float]], ...] = (
    (
        {
            "nll": _nll,
            "kl": partial(_kl, solver=DEFAULT),
            "kl-28-evaluations": partial(_kl, solver=FIXED),
            "mass": _mass,
        },
        _mean_tolerance,
    ),
    ({"inversion-error": _inversion}, _inversion_tolerance),
)
"""Tables of name -> function of the card's metric, the model and the data folder; and how far a
repeated measurement, which has the same points, may be away."""
