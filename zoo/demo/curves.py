"""What all figures of the demo share: colours of light and dark pages, small multiples, PNG.

matplotlib is imported when something is drawn, without pyplot and its global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DARK", "LIGHT", "Theme", "add_legend", "make_panels", "to_png"]

COLUMNS = 4
"""At most so many small multiples stand in a row."""
DPI = 200
"""Two pixels of the picture for one of a page that is 100 to the inch."""


@dataclass(frozen=True)
class Theme:
    """Colours of a figure; the networks' differ for every kind of colour vision (Okabe and Ito)."""

    paper: str
    ink: str
    soft: str
    grid: str
    cnnf: str
    cnn: str


LIGHT = Theme("#ffffff", "#1f2328", "#59636e", "#e4e8ec", "#0072b2", "#d55e00")
DARK = Theme("#0d1117", "#e6edf3", "#9198a1", "#262c36", "#56b4e9", "#e69f00")


def to_png(figure: "Figure", colours: int = 64) -> bytes:
    """The figure as a PNG of 200 dots to the inch; curves in 64 colours need few dozen kilobytes.

    Args:
        colours: At most 256, for what has a colour map.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    with Image.open(buffer) as picture:
        small = picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def make_panels(
    titles: Sequence[str], theme: Theme, xlabel: str, ylabel: str, width: float = 3.0
) -> tuple["Figure", list["Axes"]]:
    """A figure with a panel for each title, all with the same axes."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(len(titles), COLUMNS)
    rows = -(-len(titles) // columns)
    figure = Figure(
        figsize=(width * columns, 2.7 * rows + 0.3),
        facecolor=theme.paper,
        layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.06),
    )
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for panel in panels[len(titles) :]:
        panel.remove()
    panels = panels[: len(titles)]
    for index, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        _style(panel, theme)
        panel.set_title(title, loc="left", color=theme.ink, fontsize=11, fontweight="bold")
        # The lowest panel of a column has none below it.
        if index + columns >= len(titles):
            panel.set_xlabel(xlabel, color=theme.soft)
            panel.tick_params(labelbottom=True)
        if index % columns == 0:
            panel.set_ylabel(ylabel, color=theme.soft)
    return figure, panels


def _style(panel: "Axes", theme: Theme) -> None:
    panel.set_facecolor(theme.paper)
    panel.grid(axis="y", color=theme.grid, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(theme.soft)
    panel.tick_params(which="both", colors=theme.soft, length=0, labelsize=9)


def add_legend(figure: "Figure", panel: "Axes", theme: Theme) -> None:
    """What the lines of a panel mean, in one row above all panels."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=len(labels),
        frameon=False,
        labelcolor=theme.ink,
        fontsize=9.5,
    )
