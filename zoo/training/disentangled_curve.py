"""What more labels bring: metrics of methods over the number of labelled images.

The numbers are those of a study, as CSV with the columns `method`, `labels`, `seed`, `metric` and
`value`, a line for each run and metric.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from zoo.demo.curves import LIGHT, Theme, add_legend
from zoo.demo.series.picture import style
from zoo.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "Point", "draw", "read"]

COLUMNS = ("method", "labels", "seed", "metric", "value")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito: they differ for every kind of colour vision."""
NONE = 0.6
"""Decades between the fewest labels and none, which a logarithmic axis has no place for."""


@dataclass(frozen=True)
class Point:
    """One number of one run: `labels` is that of the labelled images."""

    method: str
    labels: int
    seed: int
    metric: str
    value: float


def read(path: Path) -> list[Point]:
    """The points of a study.

    Raises:
        DataError: the file cannot be read, or has other columns.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            Point(
                row["method"],
                int(row["labels"]),
                int(row["seed"]),
                row["metric"],
                float(row["value"]),
            )
            for row in rows
        ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read: {error!r}; expected CSV with the columns {', '.join(COLUMNS)}"
        ) from error


def draw(points: Sequence[Point], metrics: Sequence[str], theme: Theme = LIGHT) -> "Figure":
    """A panel for each metric: the mean over the seeds of each method, and every seed as a dot.

    Raises:
        ValueError: there is no point of one of the metrics.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.9 * len(metrics), 3.4), facecolor=theme.paper, layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    methods = list(dict.fromkeys(point.method for point in points))
    places = _places({point.labels for point in points})
    for panel, metric in zip(panels, metrics, strict=True):
        own = [point for point in points if point.metric == metric]
        if not own:
            raise ValueError(f"the study has no {metric!r}")
        style(panel, theme)
        for method, colour in zip(methods, COLOURS, strict=False):
            _draw_method(panel, [each for each in own if each.method == method], places, colour)
        panel.set_title(metric, loc="left", color=theme.ink, fontsize=10)
        panel.set_xticks(list(places.values()), [f"{labels:,}" for labels in places])
        panel.set_xlabel("labelled images", color=theme.soft)
        panel.set_ylim(bottom=0)
    add_legend(figure, panels[0], theme)
    return figure


def _places(labels: set[int]) -> dict[int, float]:
    """Where numbers of labels stand on the axis, in decades."""
    some = sorted(labels - {0})
    places = {each: math.log10(each) for each in some}
    first = places[some[0]] - NONE if some else 0.0
    return {0: first, **places} if 0 in labels else places


def _draw_method(
    panel: "Axes", points: Sequence[Point], places: dict[int, float], colour: str
) -> None:
    groups: dict[int, list[float]] = {}
    for point in sorted(points, key=lambda each: each.labels):
        groups.setdefault(point.labels, []).append(point.value)
    if not groups:
        return
    line: dict[str, Any] = {"color": colour, "linewidth": 1.5, "marker": "o", "markersize": 4}
    means = [fmean(values) for values in groups.values()]
    panel.plot([places[labels] for labels in groups], means, label=points[0].method, **line)
    dots = [(places[labels], value) for labels, values in groups.items() for value in values]
    panel.plot(*zip(*dots, strict=True), ".", color=colour, markersize=3, alpha=0.5)
