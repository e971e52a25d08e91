"""Simulate, measure and draw what the section on turbulence shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from zoo.demo.curves import DARK, LIGHT, to_png
from zoo.demo.section import DemoError, Section
from zoo.demo.turbulence.measure import (
    CARD,
    LEARNT,
    Shown,
    closures,
    errors,
    follow,
    of_every_kind,
    pretrained,
)
from zoo.demo.turbulence.page import (
    GIVEN,
    INTRODUCTION,
    PRETRAINED,
    write_flow,
    write_forecasts,
)
from zoo.demo.turbulence.picture import draw_forecasts, draw_live
from zoo.demo.turbulence.simulation import Live, simulate
from zoo.demo.turbulence.words import about_flow, errors_table, what_they_are
from zoo.demo.weights import lacking
from zoo.metrics.turbulence_table import Row
from zoo.models.turbulence import TurbulenceForecaster

__all__ = ["FILES", "GRIDS", "Measured", "check_settings", "show"]

ANCHOR, TITLE = "turbulence", "A neural ODE forecasts turbulence"
FLOW, FORECASTS = "vorticity.png", "decay.png"
FILES = frozenset({FLOW, FORECASTS})
"""All that the section may write."""
GRIDS = range(12, 129)
COLOURS = 256
"""A colour map needs more of them than curves."""


@dataclass(frozen=True)
class Measured:
    """The simulation, the forecasts on show and the errors; what is left out is None or empty."""

    live: Live | None
    shown: Shown | None
    errors: Sequence[Row]


def check_settings(grid: int) -> None:
    """Refuse grids that are not of an even number of points, or take too little or too long.

    Raises:
        DemoError: it is one.
    """
    if grid and (grid not in GRIDS or grid % 2):
        raise DemoError(
            f"grid must be 0 or an even number from {GRIDS[0]} to {GRIDS[-1]}, found {grid}"
        )


def show(*, grid: int, seed: int, decays: TurbulenceForecaster | None) -> tuple[Section, Measured]:
    """The section, and what it was made of; arguments as of `zoo.demo.run`, checked before."""
    if not grid:
        section = Section(ANCHOR, TITLE, f"<p>{INTRODUCTION}</p>", {}, [])
        return section, Measured(None, None, ())
    live = simulate(grid, seed)
    light, dark = (to_png(draw_live(live, theme), COLOURS) for theme in (LIGHT, DARK))
    html, notes, pictures = write_flow(live, light, dark), [about_flow(live)], {FLOW: light}
    if decays is None and (missing := lacking(CARD, "forecasts of turbulence")):
        html += f'\n<p class="note">{escape(missing)}</p>'
        section = Section(ANCHOR, TITLE, html, pictures, [], [*notes, missing])
        return section, Measured(live, None, ())
    model, introduction = (pretrained(), PRETRAINED) if decays is None else (decays, GIVEN)
    models = {**closures(), LEARNT: model}
    shown, found = follow(models, of_every_kind()), errors(models)
    light, dark = (to_png(draw_forecasts(shown, theme)) for theme in (LIGHT, DARK))
    html += "\n" + write_forecasts(found, introduction, light, dark)
    section = Section(
        ANCHOR,
        TITLE,
        html,
        {**pictures, FORECASTS: light},
        [errors_table(found)],
        [what_they_are(found), *notes],
    )
    return section, Measured(live, shown, found)
