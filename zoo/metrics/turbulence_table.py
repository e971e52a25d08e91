"""The errors of several forecasters of decaying turbulence beside each other, run by run.

Every forecaster is asked the same: the columns are the protocols of `zoo.metrics.turbulence` on the
test splits, and the 512³ run of `zoo.data.wray_decay` where its files are at hand. A forecaster of
several members is scored as their mean and, in a row of its own, as each of them alone.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev

from torch import Tensor

from zoo.data import decaying_turbulence, wray_decay
from zoo.data.decaying_turbulence import Problem
from zoo.metrics.turbulence import (
    QUANTITIES,
    Forecaster,
    forecast,
    forecast_members,
    over_runs,
    pose,
    relative_errors,
)

__all__ = ["COLUMNS", "Column", "Row", "columns", "rows", "to_csv", "to_markdown"]


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that all forecasters are asked.

    Args:
        title: What it is called.
        split: Of the runs.
        protocol: See `zoo.metrics.turbulence`.
    """

    title: str
    split: str
    protocol: str


COLUMNS = (
    Column("unseen seeds", "test-seed", "peak"),
    Column("self-similar", "test-seed", "similar"),
    Column("lowest viscosity", "test-viscosity", "peak"),
    Column("k² spectrum", "test-spectrum", "peak"),
)
EXTERNAL = Column("512³ run (extrapolation)", "external", "whole")
"""A single run of another code, at a Reynolds number beyond all of the ensemble's."""


@dataclass(frozen=True, slots=True)
class Row:
    """How far one forecaster is off in one quantity of one column; errors are relative.

    Args:
        model: Name of the forecaster.
        quantity: `epsilon` or `k`.
        column: Title of the column.
        split, protocol: Of it.
        n: Number of runs.
        error: Mean over runs and times.
        standard_error: Of it, over the choice of runs; NaN for a single run.
        members: How many the forecaster has.
        member_error: The error of a member alone, the mean over the members.
        member_deviation: Standard deviation of it between the members; NaN for a single one.
    """

    model: str
    quantity: str
    column: str
    split: str
    protocol: str
    n: int
    error: float
    standard_error: float
    members: int
    member_error: float
    member_deviation: float


def columns(path: Path | None = None, root: str | Path | None = None) -> dict[Column, Problem]:
    """What is asked in each column, of those whose runs are there.

    Args:
        path: File of the ensemble; default the one that comes with the package.
        root: Folder of the data sets, for the 512³ run; default $ZOO_DATA.
    """
    asked = {}
    for column in COLUMNS:
        if runs := decaying_turbulence.load(column.split, path):
            asked[column] = pose(runs, column.protocol)
    external = wray_decay.find(root)
    if external is not None:
        asked[EXTERNAL] = wray_decay.problem(external)
    return asked


def rows(models: Mapping[str, Forecaster], asked: Mapping[Column, Problem]) -> list[Row]:
    """Every forecaster in every column, in the order of the two."""
    found = []
    for name, model in models.items():
        for column, problem in asked.items():
            mean, members = forecast(model, problem), forecast_members(model, problem)
            for quantity in QUANTITIES:
                truth: Tensor = getattr(problem, quantity)
                whole = over_runs(relative_errors(mean[quantity], truth))
                alone = [
                    over_runs(relative_errors(curve, truth)).value for curve in members[quantity]
                ]
                found.append(
                    Row(
                        model=name,
                        quantity=quantity,
                        column=column.title,
                        split=column.split,
                        protocol=column.protocol,
                        n=whole.n,
                        error=whole.value,
                        standard_error=whole.standard_error,
                        members=len(alone),
                        member_error=fmean(alone),
                        member_deviation=stdev(alone) if len(alone) > 1 else float("nan"),
                    )
                )
    return found


def to_csv(table: Sequence[Row]) -> str:
    """All numbers with six digits, a line for each forecaster, column and quantity."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [each.name for each in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow(
            {
                name: f"{value:.6g}" if isinstance(value, float) else value
                for name, value in asdict(row).items()
            }
        )
    return out.getvalue()


def to_markdown(table: Sequence[Row], quantity: str) -> str:
    """The errors of one quantity in percent: ± one standard error over the runs, and for single
    members ± the standard deviation between them."""
    own = [row for row in table if row.quantity == quantity]
    titles = list(dict.fromkeys((row.column, row.n) for row in own))
    lines = [["", *(f"{title}, n = {n}" for title, n in titles)], ["---"] * (1 + len(titles))]
    for model in dict.fromkeys(row.model for row in own):
        mine = [row for row in own if row.model == model]
        lines.append([model, *(_percent(row.error, row.standard_error) for row in mine)])
        if mine[0].members > 1:
            alone = [_percent(row.member_error, row.member_deviation) for row in mine]
            lines.append([f"{model}, one member of {mine[0].members}", *alone])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(value: float, deviation: float) -> str:
    """`4.6 ± 0.5 %`; without the deviation where there is none."""
    more = "" if deviation != deviation else f" ± {100 * deviation:.1f}"
    return f"{100 * value:.1f}{more} %"
