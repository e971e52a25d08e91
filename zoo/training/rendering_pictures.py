"""Pictures of a deconvolutional generative model for its card: not chosen, from a fixed seed.

    python -m zoo.training.rendering_pictures NAME --out DIR [PICTURE ...]

PICTURE is `renderings` (images, their latents, and what these render from coarse to fine), `labels`
(the latents of images, rendered under every label) or both, which is the default; each becomes
DIR/PICTURE.png. NAME is a model of the zoo, or `local-dir:RUN/card`; the images are drawn from a
data set's test images, every class once before one comes again, by default from those of
Fashion-MNIST that come with the package.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from zoo import data
from zoo.data.images import ImageDataset
from zoo.demo.controls.sheet import Row
from zoo.demo.renderings.measure import show_labels, show_latents
from zoo.demo.renderings.section import pick
from zoo.demo.renderings.sheet import draw_labels, draw_latents
from zoo.errors import ZooError
from zoo.factory import create
from zoo.models.dgm import DGM
from zoo.training.disentangled_pictures import small_png
from zoo.training.files import write_atomically

__all__ = ["PICTURES", "main"]

IMAGES = 6
"""Rows: with them a picture of Fashion-MNIST has less than 120 kB."""

Shown = tuple[list[str], list[Row]]

PICTURES: dict[
    str,
    tuple[
        Callable[[DGM, ImageDataset], Shown],
        Callable[[Sequence[str], Sequence[Row]], Image.Image],
    ],
] = {
    "renderings": (show_latents, draw_latents),
    "labels": (show_labels, draw_labels),
}
"""Name -> what is shown, and how it is drawn."""


def _load(name: str) -> DGM:
    model = create(name, pretrained=True)
    if not isinstance(model, DGM):
        raise ZooError(f"{name!r} renders no labels: a {type(model).__name__}, no DGM")
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the pictures that are asked for, and say where they are; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.rendering_pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="model that renders")
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help=", ".join(PICTURES))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--dataset", default="fashion-mnist-sample", metavar="NAME", help="of the images"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the data sets")
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help="rows")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the images")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.pictures if name not in PICTURES]:
        parser.error(f"no picture {unknown[0]!r}; there are {', '.join(PICTURES)}")
    if options.images < 1:
        parser.error("a picture has at least one row")
    try:
        model = _load(options.name)
        every = data.load(options.dataset, options.data, "test")
        sample = pick(every, min(options.images, len(every)), options.seed)
        options.out.mkdir(parents=True, exist_ok=True)
        for name in options.pictures or PICTURES:
            shown, draw = PICTURES[name]
            path = options.out / f"{name}.png"
            write_atomically(path, small_png(draw(*shown(model, sample))))
            print(path, flush=True)
    except (ZooError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
