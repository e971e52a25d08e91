"""The errors of trained forecasters as a table in Markdown: the latent ODE beside its baselines.

    python -m zoo.training.forecasting.table RUN [RUN ...] [--split validation]

reads the records of finished runs. Runs that differ in their seed only share a row: the mean over
the seeds of the root mean squared error, and after ± the standard deviation between them.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from zoo._format import duration
from zoo.errors import DataError, ZooError
from zoo.training.command import show
from zoo.training.files import read_json
from zoo.training.folder import RECORD
from zoo.training.settings import MACHINE

__all__ = ["main", "table"]

NAMES = {"latent-ode": "latent ODE", "gru": "GRU", "gru-dt": "GRU-Δt"}
ASIDE = MACHINE | {"seed", "tag", "kind"}
"""Settings that make no row of their own."""


def table(records: Sequence[Mapping[str, Any]], split: str) -> str:
    """The table.

    Args:
        records: `run.json` of each run.
        split: `test` or `validation`.

    Raises:
        DataError: a run is not finished.
    """
    for record in records:
        if record.get("status") != "done" or "errors" not in record:
            raise DataError(f"{record['command']}: not finished, there are no errors to show")
    differing = [
        name
        for name in records[0]["settings"]
        if name not in ASIDE and len({str(each["settings"][name]) for each in records}) > 1
    ]
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        settings = record["settings"]
        own = [f"{name} {show(settings[name])}" for name in differing]
        rows[", ".join([NAMES[settings["kind"]], *own])].append(record)
    counts = list(records[0]["errors"][split])
    head = ["forecaster", "parameters", "seeds", "steps", "time", *counts]
    lines = [head, ["---"] * len(head)]
    lines += [
        [name, *_facts(group), *_errors(group, split, counts)] for name, group in rows.items()
    ]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    n = records[0]["errors"][split][counts[0]]["n"]
    return f"{text}\n\nRoot mean squared error of the future, {n:,} {split} series."


def _facts(group: Sequence[Mapping[str, Any]]) -> list[str]:
    first = group[0]
    return [
        f"{first['parameters']:,}",
        str(len(group)),
        f"{first['settings']['steps']:,}",
        duration(fmean(record["seconds"] for record in group)),
    ]


def _errors(group: Sequence[Mapping[str, Any]], split: str, counts: Sequence[str]) -> list[str]:
    cells = []
    for count in counts:
        found = [record["errors"][split][count]["rmse"] for record in group]
        spread = f" ± {stdev(found):.3f}" if len(found) > 1 else ""
        cells.append(f"{fmean(found):.3f}{spread}")
    return cells


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.forecasting.table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a training")
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    options = parser.parse_args(argv)
    try:
        print(table([read_json(run / RECORD) for run in options.runs], options.split))
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
