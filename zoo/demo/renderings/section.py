"""Measure and draw what the section on renderings shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.data.images import ImageDataset
from zoo.demo.canvas import encode
from zoo.demo.controls.sheet import Row
from zoo.demo.feedback.measure import choose
from zoo.demo.renderings.measure import (
    CARD,
    Outcome,
    pretrained_model,
    score,
    show_labels,
    show_latents,
)
from zoo.demo.renderings.page import GIVEN, INTRODUCTION, PRETRAINED, write_renderings
from zoo.demo.renderings.sheet import draw_labels, draw_latents
from zoo.demo.renderings.words import outcomes_table
from zoo.demo.section import DemoError, Section
from zoo.demo.weights import lacking
from zoo.models.dgm import DGM

__all__ = ["FILES", "Measured", "check_settings", "pick", "show"]

ANCHOR, TITLE = "renderings", "A classifier that renders"
LATENTS, LABELS = "renderings.png", "labels.png"
FILES = frozenset({LATENTS, LABELS})
"""All that the section may write."""
MOST = 10
"""Images on show."""
SCORED = 300
"""Bundled test images, from the first on, that are scored."""


@dataclass(frozen=True)
class Measured:
    """Rows on show, and what was scored; empty without weights.

    Args:
        latents: The image, its latents and their rendering, in every row.
        labels: The image, and its latents under every label.
        accuracy: On `SCORED` images; None where nothing was scored.
        outcomes: How far renderings are from these images.
    """

    latents: Sequence[Row]
    labels: Sequence[Row]
    accuracy: float | None
    outcomes: Sequence[Outcome]


def check_settings(rendered: int) -> None:
    """Refuse numbers out of range.

    Raises:
        DemoError: it is one.
    """
    if not 0 <= rendered <= MOST:
        raise DemoError(f"rendered must be 0 to {MOST}, found {rendered}")


def show(*, rendered: int, seed: int, renderer: DGM | None) -> tuple[Section, Measured]:
    """The section, and what it was made of; arguments as of `zoo.demo.run`, checked before."""
    if not rendered:
        return _without()
    if renderer is None and (missing := lacking(CARD, "renderings")):
        return _without(missing)
    model, introduction = (
        (pretrained_model(), PRETRAINED) if renderer is None else (renderer, GIVEN)
    )
    sample = fashion_mnist_sample()
    shown = pick(sample, rendered, seed)
    latents, labels = show_latents(model, shown), show_labels(model, shown)
    accuracy, outcomes = score(model, sample.head(SCORED), seed)
    section = Section(
        ANCHOR,
        TITLE,
        write_renderings(latents, labels, accuracy, outcomes, SCORED, introduction),
        {LATENTS: encode(draw_latents(*latents)), LABELS: encode(draw_labels(*labels))},
        [outcomes_table(outcomes, SCORED)],
    )
    return section, Measured(latents[1], labels[1], accuracy, outcomes)


def pick(sample: ImageDataset, count: int, seed: int) -> ImageDataset:
    """Images drawn at random, every class once before one comes again."""
    rows = choose(sample, count, seed)
    images, labels = sample.images[rows], sample.labels[rows]
    return ImageDataset(sample.name, sample.split, images, labels, sample.classes)


def _without(*notes: str) -> tuple[Section, Measured]:
    """The section where nothing is rendered."""
    lines = [f'<p class="note">{escape(note)}</p>' for note in notes]
    html = "\n".join([f"<p>{INTRODUCTION}</p>", *lines])
    return Section(ANCHOR, TITLE, html, {}, [], notes), Measured((), (), None, ())
