"""Test error over the number of labels: a line for each method, a dot for each seed.

    python -m zoo.training.few_labels.curve FOLDER

draws `curve.png` into the folder of a study (`zoo.training.few_labels.study`) from its results.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from zoo.demo.curves import LIGHT, Theme, add_legend, to_png
from zoo.demo.series.picture import style
from zoo.errors import DataError, ZooError
from zoo.training.few_labels.study_report import NAMES
from zoo.training.few_labels.study_rows import Result, read
from zoo.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "main", "write_picture"]

COLOURS = {
    "supervised": "#59636e",
    "pseudo-labels": "#e69f00",
    "mean-teacher": "#d55e00",
    "deconvolutional": "#0072b2",
    "deconvolutional-teacher": "#009e73",
}
"""Mostly of Okabe and Ito: they differ for every kind of colour vision."""
APART = 1.06
"""Factor on the axis between the dots of one method and the next, so that none hides another."""


def draw(results: Sequence[Result], theme: Theme = LIGHT) -> "Figure":
    """The figure; rows of the ablation are left out.

    Raises:
        DataError: there are no other rows.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, NullLocator

    table = [each for each in results if each.without is None]
    if not table:
        raise DataError("there is no row of the table yet, only of the ablation; run the study")
    figure = Figure(figsize=(5.6, 3.7), facecolor=theme.paper, layout="constrained")
    panel = figure.subplots()
    style(panel, theme)
    panel.set_xscale("log")
    methods = [name for name in NAMES if any(each.method == name for each in table)]
    for place, name in enumerate(methods):
        shift = APART ** (place - (len(methods) - 1) / 2)
        _draw_method(panel, [each for each in table if each.method == name], shift)
    ticks = {each.labelled: each.labels is None for each in table}
    names = [f"all {count:,}" if full else f"{count:,}" for count, full in ticks.items()]
    panel.set_xticks(list(ticks), names)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel("labelled images", color=theme.soft)
    panel.set_ylabel("test error, %", color=theme.soft)
    panel.set_ylim(bottom=0)
    add_legend(figure, panel, theme)
    return figure


def _draw_method(panel: "Axes", own: Sequence[Result], shift: float) -> None:
    """A line through the means, and the seeds as dots a little to the side of each other's."""
    groups: dict[int, list[float]] = {}
    for each in sorted(own, key=lambda each: each.labelled):
        groups.setdefault(each.labelled, []).append(100 * each.test_error)
    colour, name = COLOURS[own[0].method], NAMES[own[0].method]
    means = [fmean(errors) for errors in groups.values()]
    panel.plot(list(groups), means, color=colour, linewidth=1.6, label=name)
    dots = [(shift * count, error) for count, errors in groups.items() for error in errors]
    look: dict[str, Any] = {"color": colour, "markersize": 3, "markeredgewidth": 0, "alpha": 0.6}
    panel.plot(*zip(*dots, strict=True), "o", **look)


def write_picture(out: Path) -> Path:
    """Draw `curve.png` into the folder of a study.

    Raises:
        DataError: there is no row to draw.
    """
    path = out / "curve.png"
    write_atomically(path, to_png(draw(read(out))))
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the picture and say where it is; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.few_labels.curve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="FOLDER", help="of the study")
    try:
        print(write_picture(parser.parse_args(argv).out))
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
