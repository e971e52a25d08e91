"""Tables of an ensemble: what it will consist of, and what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from zoo.data import decaying_turbulence
from zoo.data.decaying_turbulence import Run
from zoo.simulations.design import shard
from zoo.simulations.ensemble import BOX, Settings

__all__ = ["Table", "ensemble", "plan"]


@dataclass(frozen=True)
class Table:
    """Heads of columns, and rows of as many texts."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """In columns, numbers to the right."""
        lines = [self.heads, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def markdown(self) -> str:
        """As a table of Markdown, numbers to the right."""
        rule = ("---", *("---:" for _ in self.heads[1:]))
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.heads, rule, *self.rows))


def plan(settings: Settings, part: tuple[int, int] = (1, 1)) -> Table:
    """The runs of a shard in their order, and what share of the work of all runs each is.

    Steps and work are rough: known from a few runs, and scaled.
    """
    cases = settings.design.cases()
    work = sum(case.cost(settings.cfl) for case in cases)
    mine = shard(cases, *part)
    rows: list[tuple[str, ...]] = [
        (
            case.name,
            case.split,
            f"{case.points}^3",
            f"{case.viscosity:g}",
            f"{case.steps(settings.cfl):.0f}",
            f"{case.cost(settings.cfl) / work:.2%}",
        )
        for case in mine
    ]
    whole = sum(case.cost(settings.cfl) for case in mine)
    rows.append((f"{len(mine)} runs", "", "", "", "", f"{whole / work:.2%}"))
    return Table(("run", "split", "grid", "nu", "about steps", "work"), tuple(rows))


def ensemble(path: Path | None = None) -> Table:
    """What became of each condition; means over its runs, and extremes where the head says so.

    A star: at the peak of the dissipation; L: integral scale; S: skewness of the velocity gradient.

    Args:
        path: file of the ensemble; default the one that comes with the package.

    Raises:
        DataError: it is missing or damaged.
    """
    runs = sorted(
        decaying_turbulence.load(path=path),
        key=lambda run: (run.split, run.spectrum, run.peak_wavenumber, run.viscosity, run.points),
    )
    rows = [
        _row(list(group))
        for _, group in itertools.groupby(
            runs,
            key=lambda run: (run.split, run.spectrum, run.peak_wavenumber, run.viscosity),
        )
    ]
    heads = ("split", "nu", "grid", "start", "runs", "t*", "eps*", "Re_l*", "Re_l end")
    return Table((*heads, "min kmax*eta", "max L/box", "S*"), tuple(rows))


def _row(runs: Sequence[Run]) -> tuple[str, ...]:
    first = runs[0]
    least = min(float(run.kmax_eta.min()) for run in runs)
    largest = max(float(run.integral_scale.max()) / BOX for run in runs)
    return (
        first.split,
        f"{first.viscosity:g}",
        f"{first.points}^3",
        f"{first.spectrum}, {first.peak_wavenumber:g}",
        str(len(runs)),
        f"{fmean(float(run.time[run.peak]) for run in runs):.2f}",
        f"{fmean(float(run.dissipation[run.peak]) for run in runs):.3f}",
        f"{fmean(float(run.reynolds_lambda[run.peak]) for run in runs):.1f}",
        f"{fmean(float(run.reynolds_lambda[-1]) for run in runs):.1f}",
        f"{least:.2f}",
        f"{largest:.3f}",
        f"{fmean(float(run.skewness[run.peak]) for run in runs):.3f}",
    )
