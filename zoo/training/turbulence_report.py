"""What a training of forecasters of turbulence has to tell, as Markdown."""

from collections.abc import Mapping, Sequence

from zoo.data.decaying_turbulence import Problem
from zoo.metrics.turbulence import (
    ROLL_OUT,
    Forecaster,
    calibration,
    decays,
    forecast_members,
)
from zoo.metrics.turbulence_table import Column, Row, to_markdown
from zoo.training.turbulence import Try

__all__ = ["report"]

HEAD = (
    "Mean relative errors of forecasts of decaying turbulence, ± one standard error over the runs; "
    "of single members ± the standard deviation between them. From the peak of the dissipation "
    "over 2 k₀/ε₀, and self-similar from 1.5 k*/ε* after it over 0.71 k₀/ε₀."
)


def report(
    table: Sequence[Row],
    models: Mapping[str, Forecaster],
    asked: Mapping[Column, Problem],
    tries: Sequence[Try],
) -> str:
    """Errors of ε and k, roll-outs, spread and error of ensembles, and what was tried."""
    parts = [
        f"# Errors\n\n{HEAD}",
        f"## Dissipation\n\n{to_markdown(table, 'epsilon')}",
        f"## Energy\n\n{to_markdown(table, 'k')}",
        f"## Roll-out\n\nRuns whose forecast to {ROLL_OUT:g} times the horizon stays positive and "
        f"falls at every step, of all.\n\n{_roll_outs(models, asked)}",
        "## Spread\n\nRoot mean square error of ln ε, over that of the standard deviation between "
        f"the members.\n\n{_spreads(models, asked)}",
        "## Tries\n\nMean loss on all windows; of each kind the one with the smallest on the "
        f"validation runs is kept.\n\n{_tries(tries)}",
    ]
    return "\n\n".join(parts) + "\n"


def _roll_outs(models: Mapping[str, Forecaster], asked: Mapping[Column, Problem]) -> str:
    rows = []
    for name, model in models.items():
        found = [decays(model, problem) for problem in asked.values()]
        rows.append([name, *(f"{int(each.sum())} of {len(each)}" for each in found)])
    return _markdown(["", *(column.title for column in asked)], rows)


def _spreads(models: Mapping[str, Forecaster], asked: Mapping[Column, Problem]) -> str:
    rows = []
    for name, model in models.items():
        ensembles = [forecast_members(model, problem)["epsilon"] for problem in asked.values()]
        if len(ensembles[0]) == 1:
            continue
        pairs = zip(ensembles, asked.values(), strict=True)
        found = [calibration(members, problem.epsilon) for members, problem in pairs]
        rows.append([name, *(f"{error:.3f} / {spread:.3f}" for error, spread in found)])
    return _markdown(["", *(column.title for column in asked)], rows)


def _tries(tries: Sequence[Try]) -> str:
    head = ["", "learning rate", "weight decay", "training", "validation", ""]
    rows = [
        [
            each.kind,
            f"{each.learning_rate:g}",
            f"{each.decay:g}",
            f"{each.training:.3e}",
            f"{each.validation:.3e}",
            "kept" if each.chosen else "",
        ]
        for each in tries
    ]
    return _markdown(head, rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
