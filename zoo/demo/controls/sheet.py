"""Rows of images with a title before each."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from zoo.demo.canvas import GAP, MARGIN, SOFT, Canvas

__all__ = ["Row", "draw_rows"]

TITLES = 150
"""Units of the layout for the titles of the rows."""
SIDE = 64
"""Units to which smaller images are enlarged."""
HEADER, HEADS, FOOTER = 88, 20, 16
LINE = 18


@dataclass(frozen=True)
class Row:
    """Images of one kind.

    Args:
        title: what they are.
        note: a line on it, perhaps empty.
        images: (N, C, H, W) in [0, 1].
    """

    title: str
    note: str
    images: Tensor


def draw_rows(
    title: str, under: str, rows: Sequence[Row], *, heads: Sequence[str] = ()
) -> Image.Image:
    """A sheet: every row with its title before it; rows may differ in length.

    Args:
        under: a line below the title.
        heads: what the columns are, if they are the same in all rows.
    """
    # A unit of the layout is two pixels of the sheet.
    magnify = max(1, SIDE // rows[0].images.shape[3])
    height, width = (magnify * side for side in rows[0].images.shape[2:])
    longest = max(len(row.images) for row in rows)
    # Names of two words are wider than a column.
    named = [head.split("_", 1) for head in heads]
    lines = max(map(len, named), default=0)
    top = HEADER + (HEADS + (lines - 1) * LINE if lines else 0)
    below = top + len(rows) * (height + GAP) - GAP
    left = MARGIN + (TITLES if any(row.title for row in rows) else 0)
    across = left + MARGIN + longest * (width + GAP) - GAP
    canvas = Canvas(across, below + FOOTER, magnify)
    canvas.write(MARGIN, 44, title, 24, bold=True)
    canvas.write(MARGIN, 68, under, 13)
    for column, words in enumerate(named):
        for above, line in enumerate(reversed(words)):
            x, y = left + column * (width + GAP), top - 6 - above * LINE
            canvas.write(x, y, line, 11, SOFT)
    for index, row in enumerate(rows):
        y = top + index * (height + GAP)
        middle = y + height // 2 + (0 if row.note else 5)
        canvas.write(MARGIN, middle, row.title, 13, bold=True)
        canvas.write(MARGIN, middle + LINE, row.note, 11, SOFT)
        for column, image in enumerate(row.images):
            canvas.paste(left + column * (width + GAP), y, image)
    return canvas.picture
