"""A leak matrix as a picture and as a table."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from zoo.demo.canvas import GAP, MARGIN, SOFT, ZOOM, Canvas
from zoo.metrics.disentanglement.arrays import Floats
from zoo.models.factors import Factor

__all__ = ["matrix_picture", "matrix_table"]

CELL = 46
"""Units of a side of a cell."""
LABEL, SIZE = 130, 11
"""Units that the names of the rows take, and the size of text."""
FULL, EMPTY = (31, 90, 150), (255, 255, 255)


def matrix_table(matrix: Floats, factors: Sequence[Factor]) -> str:
    """The leak matrix (F, F) as Markdown: a row for each code that is moved, its own entry bold."""
    names = [_title(factor) for factor in factors]
    rows = [["moved", *names], ["---"] * (len(names) + 1)]
    for i, name in enumerate(names):
        entries = [f"{value:.2f}" for value in matrix[i]]
        entries[i] = f"**{entries[i]}**"
        rows.append([name, *entries])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def matrix_picture(matrix: Floats, factors: Sequence[Factor]) -> Image.Image:
    """The leak matrix (F, F) as a heat map: a row for each code that is moved.

    White is 0, the full colour 1; the numbers stand in the cells. A negative one is as dark as its
    absolute value.
    """
    count = len(factors)
    top = MARGIN + 2 * SIZE + 3 * GAP
    side = count * CELL
    canvas = Canvas(2 * MARGIN + LABEL + side, top + side + MARGIN, 1)
    canvas.write(MARGIN + LABEL, MARGIN + SIZE, "change of what the oracle reads", SIZE, SOFT)
    draw = ImageDraw.Draw(canvas.picture)
    for i, factor in enumerate(factors):
        y = top + i * CELL
        canvas.write(MARGIN, y + CELL / 2 + SIZE / 3, _title(factor), SIZE)
        x = MARGIN + LABEL + i * CELL
        for line, word in enumerate(_words(factor)):
            canvas.write(x + 2, top - GAP - (1 - line) * (SIZE + 1), word, SIZE - 2, SOFT)
    for (i, j), value in _entries(matrix):
        x, y = MARGIN + LABEL + j * CELL, top + i * CELL
        strength = min(abs(value), 1.0)
        shade = [round(e + (f - e) * strength) for e, f in zip(EMPTY, FULL, strict=True)]
        corner = (ZOOM * x, ZOOM * y, ZOOM * (x + CELL) - ZOOM, ZOOM * (y + CELL) - ZOOM)
        draw.rectangle(corner, fill=(shade[0], shade[1], shade[2]), outline="#d1d9e0")
        ink = "white" if strength > 0.5 else SOFT
        canvas.write(x + CELL / 2 - SIZE, y + CELL / 2 + SIZE / 3, f"{value:.2f}", SIZE, ink)
    # Few colours: a file of a quarter of the size.
    return canvas.picture.quantize(64)


def _entries(matrix: Floats) -> list[tuple[tuple[int, int], float]]:
    rows, columns = matrix.shape
    return [((i, j), float(matrix[i, j])) for i in range(rows) for j in range(columns)]


def _title(factor: Factor) -> str:
    return factor.name.replace("_", " ")


def _words(factor: Factor) -> tuple[str, str]:
    """The name in two lines."""
    first, _, rest = _title(factor).partition(" ")
    return first, rest
