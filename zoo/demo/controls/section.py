"""Measure and draw what the section on controls shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch

from zoo.data import robot_scenes
from zoo.data.robot_scenes import Scenes
from zoo.demo.canvas import encode
from zoo.demo.controls.measure import (
    CARD,
    EDITOR,
    Reading,
    beside_the_truth,
    edits,
    known,
    pretrained_editor,
    pretrained_model,
    read,
    traversals,
)
from zoo.demo.controls.page import (
    GIVEN,
    INTRODUCTION,
    PRETRAINED,
    write_edits,
    write_grid,
    write_reading,
)
from zoo.demo.controls.sheet import Row, draw_rows
from zoo.demo.controls.words import reading_table
from zoo.demo.section import DemoError, Section, Table
from zoo.demo.weights import lacking
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.fine_style_gan import FineStyleGAN

__all__ = ["FILES", "Measured", "check_settings", "show"]

ANCHOR, TITLE = "controls", "Pictures with named controls"
GRID, EDITS = "controls.png", "edits.png"
FILES = frozenset({GRID, EDITS})
"""All that the section may write."""
MOST = 16
"""Scenes that fit beside each other."""


@dataclass(frozen=True)
class Measured:
    """What is drawn and read, and what is edited; empty where it is left out."""

    traversals: Sequence[Row]
    compared: Sequence[Row]
    readings: Sequence[Reading]
    edits: Sequence[Row]


@dataclass
class _Parts:
    """A section as it grows."""

    html: list[str]
    pictures: dict[str, bytes]
    tables: list[Table]
    notes: list[str]

    def leave_out(self, missing: str) -> None:
        self.html.append(f'<p class="note">{escape(missing)}</p>')
        self.notes.append(missing)


def check_settings(scenes: int) -> None:
    """Refuse numbers out of range.

    Raises:
        DemoError: it is one.
    """
    if not 0 <= scenes <= MOST:
        raise DemoError(f"scenes must be 0 to {MOST}, found {scenes}")


def show(
    *,
    scenes: int,
    seed: int,
    control: DisentangledStyleGAN | None,
    editor: FineStyleGAN | None,
) -> tuple[Section, Measured]:
    """The section, and what it was made of; arguments as of `zoo.demo.run`, checked before."""
    parts = _Parts([f"<p>{INTRODUCTION}</p>"], {}, [], [])
    measured = Measured((), (), (), ())
    if scenes:
        found = robot_scenes.sample()
        drawn = _draw(parts, found, scenes, seed, control)
        measured = Measured(*drawn, _edit(parts, found, scenes, editor))
    section = Section(
        ANCHOR, TITLE, "\n".join(parts.html), parts.pictures, parts.tables, parts.notes
    )
    return section, measured


def _draw(
    parts: _Parts, scenes: Scenes, shown: int, seed: int, control: DisentangledStyleGAN | None
) -> tuple[Sequence[Row], Sequence[Row], Sequence[Reading]]:
    """Traversals, comparison and reading."""
    if control is None and (missing := lacking(CARD, "traversals of factors")):
        parts.leave_out(missing)
        return (), (), ()
    model = pretrained_model() if control is None else control
    every = known(model, scenes)
    first = every.head(shown)
    z = torch.randn(1, model.latent_dim, generator=torch.Generator().manual_seed(seed))
    traversed = traversals(model, first.codes[:1], z)
    compared, readings = beside_the_truth(model, first, z), read(model, every, z)
    n = len(every.images)
    parts.html.append(write_grid(traversed, compared, PRETRAINED if control is None else GIVEN))
    parts.html.append(write_reading(readings, n))
    under = "One factor takes all its values, all else stays. Below, scenes that are unseen."
    sheet = draw_rows("Named controls", under, [*traversed, *compared])
    parts.pictures[GRID] = encode(sheet)
    parts.tables.append(reading_table(readings, n))
    return traversed, compared, readings


def _edit(parts: _Parts, scenes: Scenes, shown: int, editor: FineStyleGAN | None) -> Sequence[Row]:
    """Edited scenes, half as many as stand in a row elsewhere."""
    if editor is None and (missing := lacking(EDITOR, "edited pictures")):
        parts.leave_out(missing)
        return ()
    model = pretrained_editor() if editor is None else editor
    heads, rows = edits(model, known(model, scenes).head(-(-shown // 2)))
    parts.html.append(write_edits(heads, rows))
    under = "Left what is given; beside it one factor has its first value, then its last."
    parts.pictures[EDITS] = encode(draw_rows("Edited pictures", under, rows, heads=heads))
    return rows
