"""Forecast fans: observed points, truth, the mean of the forecast and samples of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data import spirals
from zoo.demo.curves import LIGHT, Theme, add_legend
from zoo.demo.series.measure import Fans

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Lines", "draw_fans", "draw_lines", "style"]

ROOM = 0.06
"""Around what a panel shows, as a share of it."""


@dataclass(frozen=True)
class Lines:
    """What one panel shows of a series, as pairs of x and y.

    Args:
        truth, mean: (2, T).
        samples: (S, 2, T).
        observed: (2, N).
    """

    truth: Tensor
    mean: Tensor
    samples: Tensor
    observed: Tensor


def draw_fans(rows: Sequence[Fans], theme: Theme = LIGHT) -> "Figure":
    """A row for each number of observed points and a column for each series, in the plane."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = len(rows[0].clean)
    figure = Figure(
        figsize=(2.4 * columns, 2.4 * len(rows) + 0.3),
        facecolor=theme.paper,
        layout=ConstrainedLayoutEngine(wspace=0.03, hspace=0.03),
    )
    panels = figure.subplots(len(rows), columns, squeeze=False, sharex="col", sharey="col")
    for fans, row in zip(rows, panels, strict=True):
        for index, panel in enumerate(row):
            lines = Lines(
                fans.clean[index].T,
                fans.found.mean[index].T,
                fans.found.samples[:, index].mT,
                fans.batch.values[index].T,
            )
            style(panel, theme)
            draw_lines(panel, lines, theme)
            end = lines.truth[:, spirals.WINDOW - 1]
            panel.plot(
                *end,
                "o",
                markersize=7,
                fillstyle="none",
                color=theme.ink,
                label="end of the window",
            )
        row[0].set_ylabel(f"{fans.count} observed", color=theme.soft)
    for index, panel in enumerate(panels[0]):
        shown = [
            part[index]
            for fans in rows
            for part in (fans.clean, fans.batch.values, fans.found.mean)
        ]
        _frame(panel, torch.cat(shown))
    add_legend(figure, panels[0, 0], theme)
    return figure


def draw_lines(panel: "Axes", lines: Lines, theme: Theme) -> None:
    """Samples below, then truth, the mean, and the observed points."""
    panel.plot(*lines.samples.permute(1, 2, 0), color=theme.cnn, linewidth=0.5, alpha=0.25)
    panel.plot(*lines.truth, color=theme.ink, linewidth=1.2, linestyle=(0, (3, 2)), label="truth")
    panel.plot(*lines.mean, color=theme.cnn, linewidth=1.5, label="forecast, and samples of it")
    panel.plot(*lines.observed, ".", color=theme.cnnf, markersize=4, label="observed")


def style(panel: "Axes", theme: Theme) -> None:
    """Paper, grid and ticks, without a frame."""
    panel.set_facecolor(theme.paper)
    panel.grid(color=theme.grid, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left", "bottom"]].set_visible(False)
    panel.tick_params(which="both", colors=theme.soft, length=0, labelsize=8)


def _frame(panel: "Axes", points: Tensor) -> None:
    """A square about points (N, 2), with the same unit along both axes."""
    low, high = points.amin(0), points.amax(0)
    centre, half = (low + high) / 2, (0.5 + ROOM) * float((high - low).max())
    panel.set_xlim(float(centre[0]) - half, float(centre[0]) + half)
    panel.set_ylim(float(centre[1]) - half, float(centre[1]) + half)
    for each in panel.get_shared_x_axes().get_siblings(panel):
        each.set_aspect("equal")
