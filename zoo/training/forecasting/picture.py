"""Forecast fans, as the model card shows them: observed points, truth, mean and samples.

    python -m zoo.training.forecasting.picture NAME --out forecast.png [--observed 30]

NAME is a forecaster of the zoo or `local-dir:RUN/card`. The series are the first of the test split
with two of each direction, not chosen otherwise.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data import spirals
from zoo.demo.curves import LIGHT, Theme, add_legend, to_png
from zoo.demo.series.measure import fans
from zoo.demo.series.picture import Lines, draw_lines, style
from zoo.errors import ZooError
from zoo.factory import create
from zoo.models.latent_ode import LatentODE
from zoo.models.series import Forecast
from zoo.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "main"]


def draw(batch: spirals.Batch, clean: Tensor, found: Forecast, theme: Theme = LIGHT) -> "Figure":
    """Each series in the plane, and its first coordinate over time below it.

    Args:
        clean: (B, 200, 2).
        found: at all points from the first observed one on; earlier ones repeat that one.
    """
    from matplotlib.figure import Figure

    columns = len(clean)
    figure = Figure(figsize=(3 * columns, 5.6), facecolor=theme.paper, layout="constrained")
    rows = figure.subplots(2, columns, squeeze=False)
    times = spirals.DT * torch.arange(clean.shape[1])
    for index, (plane, line) in enumerate(zip(*rows, strict=True)):
        points, seen, own = batch.values[index], batch.times[index], found.samples[:, index]
        asked = torch.maximum(times, seen[0])
        for panel in (plane, line):
            style(panel, theme)
        both = Lines(clean[index].T, found.mean[index].T, own.mT, points.T)
        draw_lines(plane, both, theme)
        first = Lines(
            torch.stack([times, clean[index, :, 0]]),
            torch.stack([asked, found.mean[index, :, 0]]),
            torch.stack([asked.expand(len(own), -1), own[:, :, 0]], dim=1),
            torch.stack([seen, points[:, 0]]),
        )
        draw_lines(line, first, theme)
        plane.set_aspect("equal", adjustable="datalim")
        line.axvline(times[spirals.WINDOW], color=theme.soft, linewidth=0.8, linestyle=":")
        line.set_xlabel("time", color=theme.soft)
    rows[1, 0].set_ylabel("first coordinate", color=theme.soft)
    add_legend(figure, rows[0, 0], theme)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Forecast, and write the picture; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.forecasting.picture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="PNG to write")
    parser.add_argument("--observed", type=int, default=30, metavar="N", help="points, of 100")
    options = parser.parse_args(argv)
    try:
        model = create(options.name, pretrained=True)
        if not isinstance(model, LatentODE):
            raise ZooError(f"{options.name!r} is no latent ODE but a {type(model).__name__}")
        seen = fans(model, options.observed, seed=0)
        write_atomically(options.out, to_png(draw(seen.batch, seen.clean, seen.found)))
    except (ZooError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
