"""Traversals of the robot scene beside Isaac3D's own: one row a factor, one picture a value.

    python -m zoo.simulations.robot_pictures --strips examples/isaac3d_samples --out sheet.png

The strips are the samples of https://github.com/NVlabs/High-res-disentanglement-datasets, under
CC BY 4.0, by NVIDIA Corporation: a picture that shows them has to say so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.errors import DataError
from zoo.simulations.robot_factors import FACTORS, SIZES
from zoo.simulations.robot_scene import Renderer

__all__ = ["beside", "strips", "traversals"]

MIDDLE = (1, 4, 2, 1, 2, 2, 2, 1, 2)
"""The scene of which one factor at a time is varied."""

GAP = 8
"""Between the two halves, in pixels."""

Pictures = NDArray[np.uint8]


def traversals(renderer: Renderer) -> list[Pictures]:
    """For each factor its values, as uint8 (n, S, S, 3), the others staying as in `MIDDLE`."""
    rows = []
    for column, size in enumerate(SIZES):
        scenes = np.tile(MIDDLE, (size, 1))
        scenes[:, column] = np.arange(size)
        rows.append(np.stack([renderer.render(scene) for scene in scenes]))
    return rows


def strips(folder: Path) -> list[Pictures]:
    """Isaac3D's sample strips c0 to c8, as `traversals`.

    Raises:
        DataError: a strip is missing, or has not as many pictures as its factor has values.
    """
    rows = []
    for column, size in enumerate(SIZES):
        found = sorted(folder.glob(f"c{column}_*.png"))
        if len(found) != 1:
            raise DataError(f"{folder}: expected one file c{column}_*.png, found {len(found)}")
        with Image.open(found[0]) as file:
            strip = np.asarray(file.convert("RGB"))
        side, width, _ = strip.shape
        if width != size * side:
            raise DataError(f"{found[0]}: expected {size} pictures, found {width / side:g}")
        rows.append(strip.reshape(side, size, side, 3).swapaxes(0, 1))
    return rows


def beside(left: list[Pictures], right: list[Pictures], side: int) -> Image.Image:
    """Two lists of traversals, row by row, every picture `side` pixels wide."""
    most = max(SIZES)
    half = most * side
    sheet = Image.new("RGB", (2 * half + GAP, len(FACTORS) * side), "white")
    for start, rows in ((0, left), (half + GAP, right)):
        for row, pictures in enumerate(rows):
            for column, picture in enumerate(pictures):
                small = Image.fromarray(picture).resize((side, side), Image.Resampling.BOX)
                sheet.paste(small, (start + column * side, row * side))
    return sheet


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--strips", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--side", type=int, default=48, metavar="N", help="default: %(default)s")
    options = parser.parse_args()
    with Renderer(4 * options.side) as renderer:
        sheet = beside(strips(options.strips), traversals(renderer), options.side)
    # 256 colours do: a third of the bytes.
    sheet.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
