"""Pictures of controllable models for their cards: not chosen, from a fixed seed.

    python -m zoo.training.disentangled_pictures --out DIR [PICTURE ...]

PICTURE is one or more of `traversal` (a row for each factor), `samples` (random factors), `truth`
(rendered scenes, and what is drawn when it is told their factors) and `edits` (pictures that were
edited), default all; each becomes DIR/PICTURE.png. They are of `--model` and `--editor`, names of
the zoo or `local-dir:RUN/card`, and of the scenes that come with the package. `labels` is a further
one, of the numbers of a study (`--study`, see `zoo.training.disentangled_curve`): metrics over the
number of labelled images.
"""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from zoo.data import robot_scenes
from zoo.demo.controls.measure import CARD, EDITOR, beside_the_truth, edits, known, traversals
from zoo.demo.controls.sheet import Row, draw_rows
from zoo.demo.curves import to_png
from zoo.errors import ZooError
from zoo.factory import create
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.fine_style_gan import FineStyleGAN
from zoo.training import disentangled_curve
from zoo.training.files import write_atomically

__all__ = ["PICTURES", "main", "small_png"]

COLOURS = 256
ROWS, COLUMNS = 5, 10
"""Of the sheet of samples."""
SCENES = 10
"""Rendered scenes beside drawn ones."""
EDITED = 5


def small_png(picture: Image.Image) -> bytes:
    """The picture in 256 colours, without dither: a third of the bytes of all colours."""
    buffer = io.BytesIO()
    few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def traversal(model: DisentangledStyleGAN, seed: int) -> Image.Image:
    """A row for each factor, from the first of the scenes that come with the package."""
    scenes = known(model, robot_scenes.sample())
    rows = traversals(model, scenes.codes[:1], _latent(model, 1, seed))
    return draw_rows("One factor at a time", "All else stays, the noise too.", rows)


def samples(model: DisentangledStyleGAN, seed: int) -> Image.Image:
    """Images of random factors and random noise."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        images = model.sample(ROWS * COLUMNS, generator=generator)
    rows = [Row("", "", images[i : i + COLUMNS]) for i in range(0, len(images), COLUMNS)]
    return draw_rows("Samples, not chosen", "Random factors, random noise.", rows)


def truth(model: DisentangledStyleGAN, seed: int) -> Image.Image:
    """Rendered scenes, and what is drawn with their true factors and with those read off them."""
    scenes = known(model, robot_scenes.sample()).head(SCENES)
    rows = beside_the_truth(model, scenes, _latent(model, 1, seed))
    return draw_rows("Beside the truth", "The first scenes that come with the package.", rows)


def edited(model: FineStyleGAN, seed: int) -> Image.Image:
    """Scenes, and what becomes of them when one fine factor after the other is 0, then 1."""
    heads, rows = edits(model, known(model, robot_scenes.sample()).head(EDITED))
    return draw_rows("Edited scenes", "Left what is given.", rows, heads=heads)


DRAWN: dict[str, Callable[[DisentangledStyleGAN, int], Image.Image]] = {
    "traversal": traversal,
    "samples": samples,
    "truth": truth,
}
PICTURES = (*DRAWN, "edits")
CURVE = "labels"
METRICS = ("mig", "code-error")


def _latent(model: DisentangledStyleGAN, n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, model.latent_dim, generator=torch.Generator().manual_seed(seed))


def _draw(name: str, options: argparse.Namespace) -> bytes:
    if name == CURVE:
        points = disentangled_curve.read(options.study)
        return to_png(disentangled_curve.draw(points, options.metrics))
    if name in DRAWN:
        model = create(options.model, pretrained=True)
        if not isinstance(model, DisentangledStyleGAN):
            raise ZooError(f"{options.model!r} has no controls: a {type(model).__name__}")
        return small_png(DRAWN[name](model, options.seed))
    editor = create(options.editor, pretrained=True)
    if not isinstance(editor, FineStyleGAN):
        raise ZooError(f"{options.editor!r} edits no images: a {type(editor).__name__}")
    return small_png(edited(editor, options.seed))


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the pictures that are asked for, and say where they are; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.disentangled_pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pictures", nargs="*", metavar="PICTURE", help=", ".join((*PICTURES, CURVE))
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--model", default=CARD, metavar="NAME", help="that draws")
    parser.add_argument("--editor", default=EDITOR, metavar="NAME", help="that edits")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random")
    parser.add_argument("--study", type=Path, metavar="FILE", help="CSV with the numbers of labels")
    parser.add_argument(
        "--metrics", nargs="+", default=METRICS, metavar="NAME", help="of the study, in its picture"
    )
    options = parser.parse_args(argv)
    known = (*PICTURES, CURVE)
    if unknown := [name for name in options.pictures if name not in known]:
        parser.error(f"no picture {unknown[0]!r}; there are {', '.join(known)}")
    if CURVE in options.pictures and options.study is None:
        parser.error(f"{CURVE} wants the numbers of a study: --study FILE")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name in options.pictures or PICTURES:
            path = options.out / f"{name}.png"
            write_atomically(path, _draw(name, options))
            print(path, flush=True)
    except (ZooError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
