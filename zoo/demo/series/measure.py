"""What a forecaster makes of unseen spirals: four on show, and the error over many."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from zoo.data import spirals
from zoo.metrics.forecast import COUNTS, Error, forecast_error, observed
from zoo.models.latent_ode import LatentODE
from zoo.models.series import Forecast

__all__ = ["CARD", "SHOWN", "Fans", "fans", "measure", "of_both_directions", "pretrained"]

CARD = "latent-ode-spirals"
SHOWN = (30, 100)
"""Observed points, of 100, of the series on show."""
POOL = 1_000
"""The test series of the card's numbers, from which the first ones are shown."""
SAMPLES = 30


@dataclass(frozen=True)
class Fans:
    """Forecasts of a few series.

    Args:
        count: Observed points of each.
        batch: What the forecaster saw.
        clean: Where all points are without noise, (B, 200, 2).
        found: At the times of `clean` from the first observed one on; earlier ones repeat that one.
    """

    count: int
    batch: spirals.Batch
    clean: Tensor
    found: Forecast


def pretrained() -> LatentODE:
    """The latent ODE with its weights.

    Raises:
        WeightsError: they are missing or damaged.
    """
    from zoo.factory import create

    return cast(LatentODE, create(CARD, pretrained=True))


def of_both_directions(count: int) -> tuple[spirals.Batch, Tensor]:
    """The first two test series of each direction with `count` observed points, in turns.

    Returns:
        Them, and where all their points are without noise, (4, 200, 2).
    """
    series, batch = spirals.load("test", POOL), observed("test", POOL, count)
    clockwise = series.clean[:, :, 0].mean(1) < 0
    one, other = (mask.nonzero().flatten()[:2] for mask in (clockwise, ~clockwise))
    chosen = torch.stack([one, other], dim=1).flatten()
    parts = (batch.times, batch.values, batch.mask, batch.times_query, batch.targets)
    return spirals.Batch(*(part[chosen] for part in parts)), series.clean[chosen]


def fans(model: LatentODE, count: int, seed: int) -> Fans:
    """Forecast the series of `of_both_directions`, over their windows and their futures."""
    batch, clean = of_both_directions(count)
    times = spirals.DT * torch.arange(clean.shape[1]).expand(len(clean), -1)
    found = model.forecast(
        batch.times,
        batch.values,
        batch.mask,
        torch.maximum(times, batch.times[:, :1]),
        samples=SAMPLES,
        generator=torch.Generator().manual_seed(seed),
    )
    return Fans(count, batch, clean, found)


def measure(model: LatentODE, n: int) -> dict[int, Error]:
    """The error of the future of `n` test series, for every number of observed points."""
    return {count: forecast_error(model, observed("test", n, count)) for count in COUNTS}
