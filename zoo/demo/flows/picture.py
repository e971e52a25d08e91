"""Flows of the plane in one picture: a column for each, from the true density down to the paths."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.demo.curves import LIGHT, Theme
from zoo.demo.flows.measure import Portrait

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ROWS", "draw_flows"]

ROWS = ("true density", "flow's density", "samples", "paths")
COLOURS = "viridis"
"""Perceptually uniform, and read alike by every kind of colour vision."""
PANEL, GAP = 1.15, 0.05
"""Width of a panel and of the space between two, in inches."""
LEFT, TOP = 0.24, 0.24
"""Space for the names of rows and of columns."""


def draw_flows(portraits: Sequence[Portrait], theme: Theme = LIGHT) -> "Figure":
    """True density, the flow's, samples, and paths from noise to data, below each other.

    Both densities of a column share their scale, from 0 to the highest of the true one.
    """
    from matplotlib.figure import Figure

    columns = len(portraits)
    # Laid out by hand: all panels are squares, and matplotlib's engines need seconds for so many.
    width = LEFT + columns * (PANEL + GAP)
    height = TOP + len(ROWS) * (PANEL + GAP)
    figure = Figure(figsize=(width, height), facecolor=theme.paper)
    panels = figure.subplots(
        len(ROWS),
        columns,
        squeeze=False,
        gridspec_kw={
            "left": LEFT / width,
            "right": 1 - GAP / width,
            "bottom": GAP / height,
            "top": 1 - TOP / height,
            "wspace": GAP / PANEL,
            "hspace": GAP / PANEL,
        },
    )
    for column, portrait in zip(panels.T, portraits, strict=True):
        truth, model, samples, paths = column
        for panel in column:
            _style(panel, portrait.box, theme)
        top = float(portrait.truth.max())
        for panel, values in ((truth, portrait.truth), (model, portrait.model)):
            extent = (*portrait.box, *portrait.box)
            panel.imshow(
                values.numpy(),
                COLOURS,
                vmin=0,
                vmax=top,
                extent=extent,
                origin="lower",
                interpolation="bilinear",
            )
        samples.plot(*portrait.samples.T, ",", color=theme.cnnf)
        _draw_paths(paths, portrait, theme)
        truth.set_title(portrait.name, color=theme.ink, fontsize=9, fontweight="bold", pad=4)
    for panel, name in zip(panels[:, 0], ROWS, strict=True):
        panel.set_ylabel(name, color=theme.soft, fontsize=8, labelpad=3)
    return figure


def _draw_paths(panel: "Axes", portrait: Portrait, theme: Theme) -> None:
    """Every path from a grey point, the noise, to a coloured one, the data."""
    paths = portrait.paths
    panel.plot(paths[..., 0], paths[..., 1], color=theme.soft, linewidth=0.4, alpha=0.5)
    panel.plot(*paths[0].T, ".", color=theme.soft, markersize=1.5)
    panel.plot(*paths[-1].T, ".", color=theme.cnn, markersize=2.5)


def _style(panel: "Axes", box: tuple[float, float], theme: Theme) -> None:
    panel.set_facecolor(theme.paper)
    panel.set_xlim(box)
    panel.set_ylim(box)
    panel.set_aspect("equal")
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_color(theme.grid)
