"""Forecasts beside the simulations, and a plane of a turbulent flow."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.demo.curves import LIGHT, Theme, add_legend
from zoo.demo.series.picture import style
from zoo.demo.turbulence.measure import FITTED, LEARNT, Shown
from zoo.demo.turbulence.simulation import Live

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_forecasts", "draw_live", "draw_vorticity", "line_of"]

DASHES: Mapping[str, object] = {
    "k-epsilon, 1.92": (0, (1, 1.2)),
    "k-epsilon, 11/6": (0, (4, 1.5, 1, 1.5)),
}
"""Closures in grey are told apart by their dashes."""


def line_of(name: str, theme: Theme) -> dict[str, Any]:
    """How the line of a model looks: learnt ones and the fitted constant have colours."""
    colours = {LEARNT: theme.cnn, FITTED: theme.cnnf}
    dashes = DASHES.get(name, "solid")
    return {
        "color": colours.get(name, theme.soft),
        "linestyle": dashes,
        "label": name.replace("Re_T", "Re$_T$"),
        "zorder": 3 if name == LEARNT else 2,
    }


def draw_forecasts(shown: Shown, theme: Theme = LIGHT) -> "Figure":
    """A column for each run: ε/ε₀ above, k/k₀ below."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = len(shown.titles)
    figure = Figure(
        figsize=(2.9 * columns, 5.0),
        facecolor=theme.paper,
        layout=ConstrainedLayoutEngine(wspace=0.04, hspace=0.04),
    )
    panels = figure.subplots(2, columns, squeeze=False, sharex=True, sharey="row")
    for index, (title, reynolds) in enumerate(zip(shown.titles, shown.reynolds, strict=True)):
        upper, lower = panels[:, index]
        for panel, name in ((upper, "epsilon"), (lower, "k")):
            style(panel, theme)
            _draw_run(panel, shown, name, index, theme)
        head = f"{title}\nRe$_T$ = {float(reynolds):.0f} at the start"
        upper.set_title(head, loc="left", color=theme.ink, fontsize=9)
        lower.set_xlabel("time in k₀/ε₀", color=theme.soft)
    panels[0, 0].set_ylabel("dissipation ε/ε₀", color=theme.soft)
    panels[1, 0].set_ylabel("energy k/k₀", color=theme.soft)
    for row in panels:
        row[0].set_ylim(bottom=0)
    add_legend(figure, panels[0, 0], theme)
    return figure


def _draw_run(panel: "Axes", shown: Shown, name: str, index: int, theme: Theme) -> None:
    tau = shown.tau[index]
    for model, curves in shown.models.items():
        line = line_of(model, theme)
        if name == "epsilon" and curves.low is not None and curves.high is not None:
            band = (curves.low[index], curves.high[index])
            panel.fill_between(tau, *band, color=line["color"], alpha=0.3, linewidth=0)
        panel.plot(tau, getattr(curves, name)[index], linewidth=1.4, **line)
    # On top and dashed: a forecast that is right is seen between the dashes.
    truth = getattr(shown.truth, name)[index]
    line = {"color": theme.ink, "linestyle": (0, (3, 3)), "label": "simulation", "zorder": 4}
    panel.plot(tau, truth, linewidth=1.4, **line)


def draw_vorticity(panel: "Axes", vorticity: Tensor, theme: Theme) -> None:
    """|ω| over its root mean square in a plane (N, N) of the box, smoothly between the points."""
    scaled = vorticity / vorticity.square().mean().sqrt()
    # The box is periodic: its first row and column come again at the end.
    closed = torch.cat([scaled, scaled[:1]])
    closed = torch.cat([closed, closed[:, :1]], dim=1)
    panel.imshow(
        closed.T.numpy(), origin="lower", cmap="inferno", interpolation="bicubic", vmin=0, vmax=3
    )
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    panel.set_facecolor(theme.paper)


def draw_live(live: Live, theme: Theme = LIGHT) -> "Figure":
    """A plane of the flow at its end, and where its energy went."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.4), facecolor=theme.paper, layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_vorticity(left, live.vorticity, theme)
    title = f"size of the vorticity at t = {float(live.time[-1]):g}"
    left.set_title(title, loc="left", color=theme.ink, fontsize=10)
    style(right, theme)
    right.plot(live.time, live.energy, color=theme.cnnf, label="energy k")
    right.plot(live.time, live.dissipation, color=theme.cnn, label="dissipation ε")
    right.plot(live.time, live.lost, color=theme.ink, label="energy lost")
    dots = {"color": theme.soft, "markersize": 5, "label": "dissipation so far, ∫ε dt"}
    right.plot(live.time, live.dissipated, ".", **dots)
    right.set_ylim(bottom=0)
    right.set_xlabel("time", color=theme.soft)
    right.set_title("where the energy goes", loc="left", color=theme.ink, fontsize=10)
    right.legend(frameon=False, labelcolor=theme.ink, fontsize=8)
    return figure
