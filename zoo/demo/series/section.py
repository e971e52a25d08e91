"""Measure and draw what the section on the latent ODE shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from zoo.demo.curves import DARK, LIGHT, to_png
from zoo.demo.section import DemoError, Section
from zoo.demo.series.measure import CARD, SHOWN, Fans, fans, measure, pretrained
from zoo.demo.series.page import GIVEN, INTRODUCTION, PRETRAINED, write_series
from zoo.demo.series.picture import draw_fans
from zoo.demo.series.words import errors_table, what_they_are
from zoo.demo.weights import lacking
from zoo.metrics.forecast import Error
from zoo.models.latent_ode import LatentODE

__all__ = ["FILES", "Measured", "check_settings", "show"]

ANCHOR, TITLE = "series", "A latent ODE goes on with spirals"
PICTURE = "spirals.png"
FILES = frozenset({PICTURE})
"""All that the section may write."""


@dataclass(frozen=True)
class Measured:
    """Forecasts on show, and errors by the number of observed points; none without weights."""

    fans: tuple[Fans, ...]
    errors: Mapping[int, Error]


def check_settings(spirals: int) -> None:
    """Refuse numbers out of range.

    Raises:
        DemoError: it is one.
    """
    # A standard error of a single series does not exist.
    if spirals < 0 or spirals == 1:
        raise DemoError(f"spirals must be 0 or at least 2, found {spirals}")


def show(*, spirals: int, seed: int, forecaster: LatentODE | None) -> tuple[Section, Measured]:
    """The section, and what it was made of; arguments as of `zoo.demo.run`, checked before."""
    if not spirals:
        return _without(), Measured((), {})
    if forecaster is None and (missing := lacking(CARD, "forecasts of spirals")):
        return _without(missing), Measured((), {})
    model, introduction = (pretrained(), PRETRAINED) if forecaster is None else (forecaster, GIVEN)
    rows = tuple(fans(model, count, seed) for count in SHOWN)
    errors = measure(model, spirals)
    light, dark = (to_png(draw_fans(rows, theme)) for theme in (LIGHT, DARK))
    section = Section(
        ANCHOR,
        TITLE,
        write_series(errors, introduction, light, dark),
        {PICTURE: light},
        [errors_table(errors)],
        [what_they_are(errors)],
    )
    return section, Measured(rows, errors)


def _without(*notes: str) -> Section:
    """The section where no forecast is shown."""
    lines = [f'<p class="note">{escape(note)}</p>' for note in notes]
    return Section(ANCHOR, TITLE, "\n".join([f"<p>{INTRODUCTION}</p>", *lines]), {}, [], notes)
