"""The pictures of an image flow's card: not chosen, from a fixed seed.

    python -m zoo.training.image_flow_pictures NAME --out FOLDER

NAME is a model of the zoo or `local-dir:RUN/card`. Into the folder come

    samples.png          samples, 8 × 8
    path.png             from noise (left) to image (right), at equal times
    interpolation.png    between the first test images, along great circles of their noise
    extremes.png         the most likely (above) and the least likely (below) of the test images
    likelihood.png       bits per dimension and norm of the noise of test images and foreign ones

The test images are those that come with the package; MNIST has to be in the data folder.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data import as_float
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.demo.curves import to_png as figure_to_png
from zoo.errors import UnknownNameError, ZooError
from zoo.factory import create
from zoo.metrics.image_likelihood import SETS, Traits, foreign, traits
from zoo.models.image_cnf import ImageCNF, bits_per_dimension
from zoo.training.contact_sheet import sheet, to_png
from zoo.training.files import write_atomically
from zoo.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["extremes", "grid", "likelihood_figure", "main"]

ROWS, COLUMNS = 8, 8
OWN = "fashion-mnist test"


def grid(images: Tensor) -> bytes:
    """A PNG of images (rows, columns, C, H, W) in [0, 1]."""
    levels = (255 * images.detach().cpu()).round().to(torch.uint8).flatten(0, 1)
    if levels.shape[1] == 1:
        levels = levels.expand(-1, 3, -1, -1)
    return to_png([sheet(levels, images.shape[1])])


def extremes(images: Tensor, log_prob: Tensor, count: int) -> Tensor:
    """The `count` most likely images, then the least likely ones, the most extreme first.

    Args:
        images: (N, C, H, W), N at least 2 count.
        log_prob: (N,).

    Returns:
        (2, count, C, H, W).
    """
    order = log_prob.argsort(descending=True)
    return torch.stack([images[order[:count]], images[order.flip(0)[:count]]])


def likelihood_figure(found: Mapping[str, Traits], dim: int) -> "Figure":
    """Histograms of bits per dimension and of |z(0)|² / D, one line for each set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.4), facecolor="white", layout="constrained")
    bits = {name: bits_per_dimension(each.log_prob, dim) for name, each in found.items()}
    norms = {name: each.norm / dim for name, each in found.items()}
    numbers = {"bits per dimension": bits, "|z(0)|² / D": norms}
    for panel, (name, values) in zip(figure.subplots(1, 2), numbers.items(), strict=True):
        every = torch.cat(list(values.values()))
        edges = torch.linspace(float(every.min()), float(every.max()), 60).tolist()
        for label, each in values.items():
            own = label == OWN
            panel.hist(
                each.tolist(),
                bins=edges,
                density=True,
                histtype="stepfilled" if own else "step",
                color="0.75" if own else None,
                linewidth=1.4,
                label=label,
            )
        panel.set_xlabel(name)
        panel.set_yticks([])
        panel.spines[["top", "right", "left"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


@torch.no_grad()
def _write(model: ImageCNF, folder: Path, count: int, data: Path | None) -> None:
    """Make all pictures from `count` test images and as many foreign ones."""
    test = as_float(fashion_mnist_sample().images)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(ROWS * COLUMNS, *model.image_shape, generator=generator)

    def samples() -> Tensor:
        return model.decode(z).view(ROWS, COLUMNS, *model.image_shape)

    def path() -> Tensor:
        times = torch.linspace(0, 1, COLUMNS + 1)
        return model.trajectory(z[:4], times).transpose(0, 1)

    def interpolation() -> Tensor:
        first, last = test[:ROWS].chunk(2)
        return model.interpolate(first, last, COLUMNS + 1, generator).transpose(0, 1)

    pictures = {"samples": samples, "path": path, "interpolation": interpolation}
    with Progress(len(pictures) + 2 + len(SETS), title="pictures") as progress:
        for name, make in pictures.items():
            write_atomically(folder / f"{name}.png", grid(make()))
            progress.advance()
        found = {OWN: traits(model, test[:count])}
        chosen = extremes(test[:count], found[OWN].log_prob, min(COLUMNS + 4, count // 2))
        write_atomically(folder / "extremes.png", grid(chosen))
        progress.advance()
        for name in SETS:
            found[name] = traits(model, foreign(name, test[:count], data))
            progress.advance()
        write_atomically(
            folder / "likelihood.png", figure_to_png(likelihood_figure(found, model.dim))
        )
        progress.advance()


def main(argv: Sequence[str] | None = None) -> int:
    """Make the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.image_flow_pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=250, metavar="N", help="images of each set")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder; default $ZOO_DATA")
    options = parser.parse_args(argv)
    if not 2 <= options.count <= 1_000:
        parser.error("--count: expected 2 to 1000")
    try:
        model = create(options.name, pretrained=True)
        if not isinstance(model, ImageCNF):
            raise UnknownNameError(f"{options.name!r} is no flow of images")
        options.out.mkdir(parents=True, exist_ok=True)
        _write(model, options.out, options.count, options.data)
    except (ZooError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
