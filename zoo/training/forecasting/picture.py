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
from zoo.demo.curves import LIGHT, Theme, to_png
from zoo.errors import ZooError
from zoo.factory import create
from zoo.metrics.forecast import observed
from zoo.models.latent_ode import LatentODE
from zoo.models.series import Forecast
from zoo.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "main", "series_of_both_directions"]

POOL = 1_000
"""The test series of the card's numbers, from which the first ones are shown."""
SAMPLES = 30
TRUTH, MEAN, SAMPLE = "#1f2328", "#d55e00", "#e69f00"


def series_of_both_directions(count: int) -> tuple[spirals.Batch, Tensor]:
    """The first two test series of each direction with `count` observed points, in turns.

    Returns:
        Them, and where all their 200 points are without noise, (4, 200, 2).
    """
    series, batch = spirals.load("test", POOL), observed("test", POOL, count)
    clockwise = series.clean[:, :, 0].mean(1) < 0
    one, other = (mask.nonzero().flatten()[:2] for mask in (clockwise, ~clockwise))
    chosen = torch.stack([one, other], dim=1).flatten()
    parts = (batch.times, batch.values, batch.mask, batch.times_query, batch.targets)
    return spirals.Batch(*(part[chosen] for part in parts)), series.clean[chosen]


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
        points, own = batch.values[index], found.samples[:, index]
        asked = torch.maximum(times, batch.times[index, 0])
        for number, sample in enumerate(own):
            label = None if number else "samples"
            plane.plot(*sample.T, color=SAMPLE, linewidth=0.5, alpha=0.5, label=label)
            line.plot(asked, sample[:, 0], color=SAMPLE, linewidth=0.5, alpha=0.5)
        for panel, x, y, truth, mean in (
            (plane, points[:, 0], points[:, 1], clean[index].T, found.mean[index].T),
            (
                line,
                batch.times[index],
                points[:, 0],
                (times, clean[index, :, 0]),
                (asked, found.mean[index, :, 0]),
            ),
        ):
            panel.plot(*truth, color=TRUTH, linewidth=1.2, linestyle=(0, (3, 2)), label="truth")
            panel.plot(*mean, color=MEAN, linewidth=1.4, label="forecast")
            panel.plot(x, y, ".", color=theme.cnnf, markersize=4, label="observed")
            _style(panel, theme)
        plane.set_aspect("equal", adjustable="datalim")
        line.axvline(times[spirals.WINDOW], color=theme.soft, linewidth=0.8, linestyle=":")
        line.set_xlabel("time", color=theme.soft)
    rows[1, 0].set_ylabel("first coordinate", color=theme.soft)
    handles, labels = rows[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=4,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=9.5,
    )
    return figure


def _style(panel: "Axes", theme: Theme) -> None:
    panel.set_facecolor(theme.paper)
    panel.grid(color=theme.grid, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left", "bottom"]].set_visible(False)
    panel.tick_params(which="both", colors=theme.soft, length=0, labelsize=9)


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
        batch, clean = series_of_both_directions(options.observed)
        times = spirals.DT * torch.arange(clean.shape[1]).expand(len(clean), -1)
        found = model.forecast(
            batch.times,
            batch.values,
            batch.mask,
            torch.maximum(times, batch.times[:, :1]),
            samples=SAMPLES,
            generator=torch.Generator().manual_seed(0),
        )
        write_atomically(options.out, to_png(draw(batch, clean, found)))
    except (ZooError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
