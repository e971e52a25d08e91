"""How far forecasts of decaying turbulence are from direct numerical simulation (DNS).

    epsilon-error              mean relative error of the dissipation, over runs and times
    k-error                    the same of the kinetic energy
    epsilon-error-similar      from the self-similar stage
    k-error-similar
    epsilon-error-to-spread    root mean square error of ln ε over that of the members' spread
    monotone                   share of runs whose roll-out to 5 times the horizon decays throughout

The data set is `decaying-turbulence` (`zoo.data.decaying_turbulence`), the first `n` runs of the
split. A forecast begins at the dissipation's peak (the star below) and goes over 2 k₀/ε₀, or else
in the self-similar stage, 1.5 k*/ε* later, and goes over 0.71 k₀/ε₀; the subscript is of its own
start. Errors are taken at 64 equal steps after the start, where a forecast is right by definition.
A ratio of error and spread above 1 says that the members agree more than they are right.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from zoo.data import decaying_turbulence
from zoo.data.decaying_turbulence import Problem, Run
from zoo.errors import DataError, UnknownNameError
from zoo.models.turbulence import RangeWarning

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = [
    "DATASET",
    "MEASURES",
    "PROTOCOLS",
    "QUANTITIES",
    "ROLL_OUT",
    "Forecaster",
    "Mean",
    "Window",
    "calibration",
    "decays",
    "ensemble_file",
    "forecast",
    "forecast_members",
    "over_runs",
    "pose",
    "relative_errors",
    "tolerance",
]

DATASET = "decaying-turbulence"
QUANTITIES = ("epsilon", "k")
POINTS = 65
"""Times of a forecast, its start among them."""
ROLL_OUT = 5.0
"""How much longer than its horizon a forecast is followed, to see whether it goes on to decay."""
ROUNDING = 0.01
"""Share of a value by which another machine may differ."""


@dataclass(frozen=True, slots=True)
class Window:
    """Where forecasts begin and end.

    Args:
        start: in k*/ε* after the dissipation's peak, whose values the star marks.
        horizon: in k₀/ε₀ of the start.
    """

    start: float
    horizon: float


PROTOCOLS: Mapping[str, Window] = {"peak": Window(0.0, 2.0), "similar": Window(1.5, 0.71)}


class Forecaster(Protocol):
    """A model of decaying turbulence; those with several `members` have `forecast_members`, too."""

    def forecast(self, state: Mapping[str, Tensor], times: Tensor) -> Mapping[str, Tensor]:
        """`k` and `epsilon`, (B, T), at times (B, T) from the state, each (B,), at the first."""
        ...


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over runs.

    Args:
        value: the mean.
        standard_error: of it, over the choice of runs; NaN for a single one.
        n: number of runs.
    """

    value: float
    standard_error: float
    n: int


def pose(runs: Sequence[Run], protocol: str, points: int = POINTS) -> Problem:
    """What is to be forecast of `runs` by a protocol, one of `PROTOCOLS`."""
    window = PROTOCOLS[protocol]
    return decaying_turbulence.problem(
        runs, start=window.start, horizon=window.horizon, points=points
    )


def forecast(model: Forecaster, problem: Problem) -> Mapping[str, Tensor]:
    """`k` and `epsilon` (B, T) on the CPU; states beyond the training are what tests are about."""
    return _run(model.forecast, model, problem)


def forecast_members(model: Forecaster, problem: Problem) -> Mapping[str, Tensor]:
    """`k` and `epsilon` of each member, (M, B, T); those of a model without members are (1, B, T).

    `forecast` says which.
    """
    members = getattr(model, "forecast_members", None)
    if members is None:
        return {name: curve.unsqueeze(0) for name, curve in forecast(model, problem).items()}
    return _run(members, model, problem)


def relative_errors(curve: Tensor, truth: Tensor) -> Tensor:
    """|x̂ - x| / x at all times after the start.

    Args:
        curve: x̂, (..., B, T).
        truth: x, (B, T).

    Returns:
        (..., B, T - 1).
    """
    return (curve[..., 1:] - truth[:, 1:]).abs() / truth[:, 1:]


def over_runs(values: Tensor) -> Mean:
    """Mean and standard error of values (B,), or of their means over time, (B, T)."""
    own = values.double().reshape(len(values), -1).mean(1)
    n = len(own)
    spread = float(own.std()) if n > 1 else math.nan
    return Mean(float(own.mean()), spread / math.sqrt(n), n)


def calibration(members: Tensor, truth: Tensor) -> tuple[float, float]:
    """How far an ensemble is off, and how far it says that it might be.

    Args:
        members: forecasts of one quantity, (M, B, T) with M of at least 2.
        truth: (B, T).

    Returns:
        Over runs and times after the start, the root mean square of the error of the members' mean
        in logarithms, and that of their standard deviation.

    Raises:
        ValueError: there is one member only.
    """
    if len(members) < 2:
        raise ValueError(f"a spread needs at least 2 members, found {len(members)}")
    logs = members[..., 1:].double().log()
    error = logs.mean(0) - truth[:, 1:].double().log()
    return float(error.square().mean().sqrt()), float(logs.var(0).mean().sqrt())


def decays(model: Forecaster, problem: Problem, stretch: float = ROLL_OUT) -> Tensor:
    """Whether the forecast of each run to `stretch` times its horizon decays at every step.

    Both k and ε have to stay positive and to fall from each of the times to the next: (B,).
    """
    longer = problem.times * stretch
    found = _run(model.forecast, model, problem, longer)
    good = [
        (each > 0).all(1) & (each.diff(dim=1) < 0).all(1) & each.isfinite().all(1)
        for each in found.values()
    ]
    return torch.stack(good).all(0)


def ensemble_file(root: Path | None) -> Path | None:
    """The ensemble that is meant: `root` if it is a file; None, for the one that comes with the
    package, if it is a folder of data sets.

    Raises:
        DataError: it is neither.
    """
    if root is None or root.is_dir():
        return None
    if not root.is_file():
        raise DataError(f"{root} is neither the file of an ensemble nor a folder of data sets")
    return root


def tolerance(value: float, n: int) -> float:
    """How far a repeated measurement may be away."""
    return ROUNDING * abs(value)


def _run(
    function: Callable[..., Mapping[str, Tensor]],
    model: Forecaster,
    problem: Problem,
    times: Tensor | None = None,
) -> dict[str, Tensor]:
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    device = next(parameters, torch.empty(0)).device
    state = {name: value.to(device) for name, value in problem.state.items()}
    asked = (problem.times if times is None else times).to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)
        found = function(state, asked)
    return {name: found[name].double().cpu() for name in QUANTITIES}


def _problem(protocol: str, metric: "Metric", root: Path | None) -> Problem:
    if metric.dataset != DATASET:
        raise UnknownNameError(f"{metric.metric} is of {DATASET}, not of {metric.dataset!r}")
    runs = decaying_turbulence.load(metric.split, ensemble_file(root))
    if len(runs) < metric.n:
        raise DataError(
            f"{metric.metric} is of {metric.n} runs of {metric.split}, found {len(runs)}; "
            "it belongs to another ensemble: name its file with --data FILE"
        )
    return pose(runs[: metric.n], protocol)


def _error(
    quantity: str, protocol: str, metric: "Metric", model: nn.Module, root: Path | None
) -> float:
    problem = _problem(protocol, metric, root)
    found = forecast(_forecaster(metric, model), problem)
    truth = getattr(problem, quantity)
    return over_runs(relative_errors(found[quantity], truth)).value


def _error_to_spread(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    problem = _problem("peak", metric, root)
    members = forecast_members(_forecaster(metric, model), problem)
    error, spread = calibration(members["epsilon"], problem.epsilon)
    return error / spread


def _monotone(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    problem = _problem("peak", metric, root)
    return over_runs(decays(_forecaster(metric, model), problem)).value


def _forecaster(metric: "Metric", model: nn.Module) -> Forecaster:
    if not callable(getattr(model, "forecast", None)):
        raise UnknownNameError(f"a {type(model).__name__} forecasts nothing: {metric.metric}")
    return cast(Forecaster, model)


Measure = Callable[["Metric", nn.Module, Path | None], float]

MEASURES: Mapping[str, Measure] = {
    "epsilon-error": partial(_error, "epsilon", "peak"),
    "k-error": partial(_error, "k", "peak"),
    "epsilon-error-similar": partial(_error, "epsilon", "similar"),
    "k-error-similar": partial(_error, "k", "similar"),
    "epsilon-error-to-spread": _error_to_spread,
    "monotone": _monotone,
}
"""Name -> function of the card's metric, the model, and another ensemble's file (or None)."""
