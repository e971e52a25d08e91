"""How well spirals can be forecast at all: the error of the exact posterior mean.

    python -m zoo.training.forecasting.limit [--series 1000]

Whoever knows the two curves, the noise and how series are drawn has only the direction and the
start s of a series to infer. With both uniform, as they are, the forecast of the smallest expected
square error is

    E[x(t) | observations] = Σ w(s) x_s(t) / Σ w(s),    w(s) = exp(-Σ_i |x_i - x_s(t_i)|² / 2σ²)

summed here over both directions and a fine grid of starts. No forecaster that learns is better than
this but by chance.
"""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.data import spirals
from zoo.metrics.forecast import COUNTS, Error, forecast_error, observed
from zoo.models.series import Forecast

__all__ = ["Exact", "main"]

GRID = 3_501
"""Starts of each direction; a fifth of the time between two points lies between two of them."""


class Exact:
    """The forecaster that knows everything but the direction and the start of a series.

    Args:
        grid: starts of each direction.
    """

    def __init__(self, grid: int = GRID) -> None:
        self.curves = spirals.curves(grid)

    def forecast(
        self, times_observed: Tensor, values: Tensor, mask: Tensor, times_query: Tensor
    ) -> Forecast:
        """The posterior's mean (B, Q, 2) at times that are those of points of the series.

        Args:
            mask: all true.
        """
        seen, asked = ((each / spirals.DT).round().long() for each in (times_observed, times_query))
        means = []
        for own, points, query in zip(seen, values.double(), asked, strict=True):
            squares = (self.curves[:, own] - points).square().sum((1, 2))
            weights = (-squares / (2 * spirals.NOISE**2)).softmax(0)
            means.append(torch.einsum("g,gqd->qd", weights, self.curves[:, query]))
        mean = torch.stack(means).to(values.dtype)
        return Forecast(mean, mean.unsqueeze(0))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the smallest errors; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.forecasting.limit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--series", type=int, default=1_000, metavar="N", help="of the test split")
    options = parser.parse_args(argv)
    model = Exact()
    print("| observed | smallest error |\n| --- | --- |")
    for count in COUNTS:
        found: Error = forecast_error(model, observed("test", options.series, count))
        print(f"| {count} | {found.rmse:.4f} ± {found.standard_error:.4f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
