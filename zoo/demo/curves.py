"""Curves of what was measured: accuracy and squared error over severity, accuracy over epsilon.

Each function takes records and returns a figure, for the demo's page and for model cards alike.
matplotlib is imported when something is drawn, without pyplot and its global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from PIL import Image

from zoo.demo.measure import SEVERITIES, Attack, Score
from zoo.metrics.robustness import standard_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DARK", "LIGHT", "Theme", "draw_epsilon", "draw_errors", "draw_severity", "to_png"]

COLUMNS = 4
"""At most so many small multiples stand in a row."""
DPI = 200
"""Two pixels of the picture for one of a page that is 100 to the inch."""
DODGE = 0.06
"""How far the networks' marks stand beside the severity, so that no error bar hides another."""
LOGARITHMIC_FROM = 4
"""A ratio of errors above this is drawn on a logarithmic axis, or all others would be flat."""


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


def draw_severity(scores: Sequence[Score], theme: Theme = LIGHT) -> "Figure":
    """Accuracy over severity 0 to 5, one panel for each kind of corruption, ± one standard error.

    Args:
        scores: The clean one, and those of every kind in order of severity.
    """
    clean = [score for score in scores if not score.severity]
    kinds = _kinds(scores)
    figure, panels = _panels(list(kinds), theme, "severity", "accuracy, %")
    for panel, rows in zip(panels, kinds.values(), strict=True):
        rows = [*clean, *rows]
        x = [row.severity for row in rows]
        n = rows[0].accuracy.n
        first = [100 * row.first_pass for row in rows]
        _line(panel, x, [r.accuracy.cnn for r in rows], n, theme.cnn, "s", "plain CNN", -DODGE)
        _line(panel, x, [r.accuracy.cnnf for r in rows], n, theme.cnnf, "o", "CNN-F", DODGE)
        # As `errorbar` too, because a legend lists its lines after those of `plot`.
        panel.errorbar(x, first, fmt="--", color=theme.cnnf, linewidth=1.2, label="its first pass")
        panel.set_xticks(x)
    _legend(figure, panels[0], theme)
    return figure


def draw_errors(scores: Sequence[Score], theme: Theme = LIGHT) -> "Figure":
    """Squared error of every feedback over that of the corrupted image; below 1 is restored.

    Args:
        scores: Those of every kind in order of severity; a clean one has no such ratio.
    """
    kinds = _kinds(scores)
    figure, panels = _panels(list(kinds), theme, "severity", "squared error, relative")
    top = max(ratio for rows in kinds.values() for row in rows for ratio in row.ratios)
    for panel, rows in zip(panels, kinds.values(), strict=True):
        x = [row.severity for row in rows]
        panel.axhline(1, color=theme.soft, linewidth=1, linestyle=(0, (4, 3)), label="corrupted")
        count = len(rows[0].ratios)
        for k in range(count):
            y = [row.ratios[k] for row in rows]
            # The later the feedback, the fuller the colour.
            colour = _mix(theme.cnnf, theme.paper, (k + 1.5) / (count + 0.5))
            panel.plot(x, y, "o-", color=colour, markersize=4, label=f"feedback {k + 1}")
        panel.set_xticks(x)
    if top > LOGARITHMIC_FROM:
        panels[0].set_yscale("log", base=2)
        panels[0].yaxis.set_major_formatter("{x:g}")
    else:
        panels[0].set_ylim(0, max(1.1, 1.05 * top))
    _legend(figure, panels[0], theme)
    return figure


def draw_epsilon(attacks: Sequence[Attack], theme: Theme = LIGHT) -> "Figure":
    """Accuracy over the radius of the attack, ± one standard error."""
    figure, (panel,) = _panels([""], theme, "epsilon", "accuracy under attack, %", width=4.8)
    x = [row.epsilon for row in attacks]
    n = attacks[0].accuracy.n
    dodge = DODGE * max(x) / SEVERITIES[-1]
    _line(panel, x, [r.accuracy.cnn for r in attacks], n, theme.cnn, "s", "plain CNN", -dodge)
    _line(panel, x, [r.accuracy.cnnf for r in attacks], n, theme.cnnf, "o", "CNN-F", dodge)
    panel.set_xticks(x)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_ylim(0, 100)
    _legend(figure, panel, theme)
    return figure


def to_png(figure: "Figure") -> bytes:
    """The figure as a PNG of 200 dots to the inch, in 64 colours: a few dozen kilobytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    with Image.open(buffer) as picture:
        small = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _kinds(scores: Sequence[Score]) -> dict[str, list[Score]]:
    corrupted = (score for score in scores if score.severity)
    return {kind: list(rows) for kind, rows in groupby(corrupted, lambda score: score.kind)}


def _panels(
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


def _mix(colour: str, paper: str, share: float) -> tuple[float, ...]:
    """`share` of a colour on paper: opaque, so that marks do not show what is behind them."""
    from matplotlib.colors import to_rgb

    pairs = zip(to_rgb(colour), to_rgb(paper), strict=True)
    return tuple(share * ink + (1 - share) * ground for ink, ground in pairs)


def _style(panel: "Axes", theme: Theme) -> None:
    panel.set_facecolor(theme.paper)
    panel.grid(axis="y", color=theme.grid, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(theme.soft)
    panel.tick_params(which="both", colors=theme.soft, length=0, labelsize=9)


def _line(
    panel: "Axes",
    x: Sequence[float],
    shares: Sequence[float],
    n: int,
    colour: str,
    marker: str,
    label: str,
    dodge: float,
) -> None:
    """Accuracies on n images in percent, with error bars of one standard error, `dodge` aside."""
    panel.errorbar(
        [value + dodge for value in x],
        [100 * share for share in shares],
        [100 * standard_error(share, n) for share in shares],
        fmt=f"{marker}-",
        color=colour,
        label=label,
        linewidth=1.6,
        markersize=4,
        elinewidth=1,
    )


def _legend(figure: "Figure", panel: "Axes", theme: Theme) -> None:
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
