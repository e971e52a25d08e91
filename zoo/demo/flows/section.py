"""Measure and draw what the section on flows shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from rich.console import Console
from rich.progress import Progress

from zoo.data.densities import Density
from zoo.demo.curves import DARK, LIGHT, to_png
from zoo.demo.flows.measure import (
    CARD,
    Detail,
    Portrait,
    Score,
    given,
    portray,
    pretrained,
    score,
)
from zoo.demo.flows.page import GIVEN, INTRODUCTION, PRETRAINED, write_flows
from zoo.demo.flows.picture import draw_flows
from zoo.demo.flows.words import scores_table, what_they_are
from zoo.demo.section import DemoError, Section
from zoo.demo.weights import lacking
from zoo.models.cnf import CNF

__all__ = ["FILES", "Measured", "check_settings", "show"]

ANCHOR, TITLE = "flows", "Flows with an exact likelihood"
PICTURE = "flows.png"
FILES = frozenset({PICTURE})
"""All that the section may write."""
DETAIL = Detail(side=80, samples=2_000, paths=64)


@dataclass(frozen=True)
class Measured:
    """Every flow on show, in the same order; none if there are no weights."""

    portraits: tuple[Portrait, ...]
    scores: tuple[Score, ...]


def check_settings(points: int) -> None:
    """Refuse numbers out of range.

    Raises:
        DemoError: it is one.
    """
    # A standard error of a single point does not exist.
    if points < 0 or points == 1:
        raise DemoError(f"points must be 0 or at least 2, found {points}")


def show(*, points: int, seed: int, flows: Mapping[str, CNF] | None) -> tuple[Section, Measured]:
    """The section, and what it was made of; arguments as of `zoo.demo.run`, checked before."""
    if not points:
        return _without(), Measured((), ())
    if flows is None and (missing := lacking(CARD, "flows of the plane")):
        return _without(missing), Measured((), ())
    entries, introduction = (pretrained(), PRETRAINED) if flows is None else (given(flows), GIVEN)
    measured = _measure(entries, points, seed)
    light, dark = (to_png(draw_flows(measured.portraits, theme), 256) for theme in (LIGHT, DARK))
    section = Section(
        ANCHOR,
        TITLE,
        write_flows(measured.portraits, measured.scores, introduction, light, dark),
        {PICTURE: light},
        [scores_table(measured.scores, measured.portraits)],
        [what_they_are(measured.scores)],
    )
    return section, measured


def _without(*notes: str) -> Section:
    """The section where no flow is shown."""
    lines = [f'<p class="note">{escape(note)}</p>' for note in notes]
    return Section(ANCHOR, TITLE, "\n".join([f"<p>{INTRODUCTION}</p>", *lines]), {}, [], notes)


def _measure(entries: Sequence[tuple[Density, CNF]], points: int, seed: int) -> Measured:
    portraits, scores = [], []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for density, model in bar.track(entries, description="flows"):
            portraits.append(portray(density, model, DETAIL, seed))
            scores.append(score(density, model, points, seed))
    return Measured(tuple(portraits), tuple(scores))
