"""What forecasters make of runs that no training has seen: four on show, and the error over all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from scipy.optimize import minimize_scalar
from torch import Tensor

from zoo.data import decaying_turbulence
from zoo.data.decaying_turbulence import Problem, Run
from zoo.metrics.turbulence import QUANTITIES, Forecaster, forecast, forecast_members, pose
from zoo.metrics.turbulence_table import COLUMNS, Row, rows
from zoo.models.k_epsilon import KEpsilon
from zoo.models.turbulence import TurbulenceForecaster

__all__ = [
    "CARD",
    "FITTED",
    "LEARNT",
    "Curves",
    "Shown",
    "best_constant",
    "closures",
    "errors",
    "follow",
    "of_every_kind",
    "pretrained",
]

CARD = "node-turbulence"
LEARNT = "neural ODE"
"""What tables and pictures call the forecaster that is on show."""
FITTED = "k-epsilon, constant fitted at the peak"


@dataclass(frozen=True)
class Curves:
    """One model's forecasts of several runs, (B, T) and in units of their starts; also the truth.

    Args:
        k, epsilon: k/k₀ and ε/ε₀.
        low, high: of ε/ε₀ within twice the spread of the members, or None of a model without.
    """

    k: Tensor
    epsilon: Tensor
    low: Tensor | None = None
    high: Tensor | None = None


@dataclass(frozen=True)
class Shown:
    """Forecasts of a few runs from the peak of their dissipation.

    Args:
        titles: a line on each run.
        reynolds: Re_T of the starts, (B,).
        tau: times in k₀/ε₀, (B, T).
        truth: the simulations.
        models: name -> forecasts.
    """

    titles: tuple[str, ...]
    reynolds: Tensor
    tau: Tensor
    truth: Curves
    models: Mapping[str, Curves]


def pretrained() -> TurbulenceForecaster:
    """The neural ODE with its weights.

    Raises:
        WeightsError: they are missing or damaged.
    """
    from zoo.factory import create

    return cast(TurbulenceForecaster, create(CARD, pretrained=True))


def best_constant(problem: Problem) -> float:
    """The C whose closed form has the smallest mean square error of ln k and ln ε together."""

    def loss(constant: float) -> float:
        found = forecast(KEpsilon(constant).double(), problem)
        pairs = ((found[name], getattr(problem, name)) for name in QUANTITIES)
        return sum(float((one.log() - other.log()).square().mean()) for one, other in pairs)

    # k reaches 0 at k₀/ε₀ / (1 - C): below C = 1/2 within the horizon of 2 k₀/ε₀.
    return float(minimize_scalar(loss, bounds=(0.6, 2.4), method="bounded").x)


def closures() -> dict[str, Forecaster]:
    """k-ε with the two usual constants, and with the best for the training runs of the ensemble."""
    runs = decaying_turbulence.load("train")
    fitted = best_constant(pose(runs, "peak"))
    names = {"k-epsilon, 1.92": 1.92, "k-epsilon, 11/6": 11 / 6, FITTED: fitted}
    return {name: KEpsilon(constant).double() for name, constant in names.items()}


def of_every_kind(path: Path | None = None) -> list[tuple[str, Run]]:
    """The first runs of the test splits, not chosen otherwise, and a line on each.

    Of unseen seeds those of the least and of the most viscous flow.

    Args:
        path: File of the ensemble; default the one that comes with the package.
    """
    splits = {column.split: decaying_turbulence.load(column.split, path) for column in COLUMNS}
    seeds = sorted(splits["test-seed"], key=lambda run: run.viscosity)
    most = [run for run in seeds if run.viscosity == seeds[-1].viscosity]
    chosen = [
        ("unseen seed, viscosity", seeds[:1]),
        ("unseen seed, viscosity", most),
        ("lower viscosity,", splits["test-viscosity"]),
        ("k² spectrum, viscosity", splits["test-spectrum"]),
    ]
    return [(f"{what} {found[0].viscosity:g}", found[0]) for what, found in chosen if found]


def follow(
    models: Mapping[str, Forecaster], chosen: Sequence[tuple[str, Run]], protocol: str = "peak"
) -> Shown:
    """Forecasts of `chosen` runs by `models`."""
    problem = pose([run for _, run in chosen], protocol)
    state = problem.state
    return Shown(
        titles=tuple(title for title, _ in chosen),
        reynolds=state["k"].square() / (state["nu"] * state["epsilon"]),
        tau=problem.times * (state["epsilon"] / state["k"]).unsqueeze(1),
        truth=_curves(problem, {"k": problem.k, "epsilon": problem.epsilon}),
        models={name: _forecast(model, problem) for name, model in models.items()},
    )


def errors(models: Mapping[str, Forecaster]) -> list[Row]:
    """The errors over all test runs, from the peak of the dissipation."""
    asked = {
        column: pose(decaying_turbulence.load(column.split), column.protocol)
        for column in COLUMNS
        if column.protocol == "peak"
    }
    return rows(models, asked)


def _forecast(model: Forecaster, problem: Problem) -> Curves:
    curves = _curves(problem, forecast(model, problem))
    members = forecast_members(model, problem)["epsilon"]
    if len(members) == 1:
        return curves
    twice = 2 * members.log().std(0)
    low, high = (curves.epsilon * (sign * twice).exp() for sign in (-1, 1))
    return Curves(curves.k, curves.epsilon, low, high)


def _curves(problem: Problem, found: Mapping[str, Tensor]) -> Curves:
    k, epsilon = (found[name] / problem.state[name].unsqueeze(1) for name in ("k", "epsilon"))
    return Curves(k, epsilon)
