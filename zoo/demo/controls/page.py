"""The part of the page on controls."""

from collections.abc import Sequence
from html import escape

from zoo.demo.canvas import to_png
from zoo.demo.controls.measure import Reading
from zoo.demo.controls.sheet import Row
from zoo.demo.controls.words import about_reading, reading_table
from zoo.demo.page import encoded, table

__all__ = [
    "GIVEN",
    "INTRODUCTION",
    "PRETRAINED",
    "image_rows",
    "write_edits",
    "write_grid",
    "write_reading",
]

INTRODUCTION = (
    "A disentangled generator is told what to draw by a few numbers with names, one for each "
    "factor of the scene, and shall change that and nothing else. It learns which means what "
    "from few labels: its critic, which sees every image anyway, also reads the factors off "
    "them, and what was asked for must be what is read."
)
PRETRAINED = (
    "<code>stylegan-disentangled-robot64</code> has learnt from scenes of a robot arm in a "
    "kitchen that the zoo renders itself. In each row one factor takes all its values; the other "
    "factors and the noise stay."
)
GIVEN = "A model given by the caller. In each row one factor takes all its values."
EDITOR = (
    "The second model has no code for where things are. It gets a picture, looks at it coarsely, "
    "at 16 x 16 pixels, and draws it again with a fine factor as asked for. These pictures were "
    "not in its training."
)


def write_grid(traversed: Sequence[Row], compared: Sequence[Row], introduction: str) -> str:
    """Traversals, and scenes beside what is drawn of them.

    Args:
        introduction: whose they are, HTML.
    """
    return f"""<p>{introduction}</p>
{image_rows(traversed)}
<h3>Beside the truth</h3>
<p>Above, rendered scenes; below, what the model draws of them: told their true factors, and told \
what it has read off the picture itself.</p>
{image_rows(compared)}"""


def write_reading(readings: Sequence[Reading], n: int) -> str:
    """How well the factors are read."""
    return f"""<p>{escape(about_reading(readings, n))}</p>
{table(reading_table(readings, n))}"""


def write_edits(heads: Sequence[str], rows: Sequence[Row]) -> str:
    """Pictures that are edited."""
    return f"""<h3>Edited pictures</h3>
<p>{EDITOR}</p>
{image_rows(rows, heads)}"""


def image_rows(rows: Sequence[Row], heads: Sequence[str] = ()) -> str:
    """A line of images for each row, all of the same size."""
    tiles = max(len(row.images) for row in rows)
    head = "".join(f"<span>{escape(text)}</span>" for text in heads)
    first = f'<div class="row head"><span></span><div class="tiles">{head}</div></div>\n'
    lines = "\n".join(map(_line, rows))
    return f"""<div class="wide"><div class="grid" style="--tiles: {tiles}">
{first if heads else ""}{lines}
</div></div>"""


def _line(row: Row) -> str:
    images = "".join(f'<img src="{encoded(to_png(image))}" alt="">' for image in row.images)
    label = escape(f"{len(row.images)} images: {row.title}, {row.note}".removesuffix(", "))
    return f"""<div class="row"><span>{escape(row.title)} \
<span class="how">{escape(row.note)}</span></span>
<div class="tiles" role="img" aria-label="{label}">{images}</div></div>"""
