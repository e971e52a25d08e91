"""Two-dimensional spirals with noise, seen at irregular times: the forecasting task of neural ODEs.

A curve is one of two, each once and in its own direction over a time t from 0 to 6π:

    counter-clockwise   (r cos t + 5, r sin t),   r = a + b t
    clockwise           (r cos s - 5, r sin s),   r = a + 50 b / s,   s = 6π + 1 - t

with a = 0 and b = 0.3. 1,000 equally spaced times divide it. A series is 200 of these steps, the
first 100 of which are the window in which points can be observed, the others the future. It starts
anywhere between the 100th and the 800th step, and every point of it has independent noise of
standard deviation 0.3 in both coordinates. In a window of the 100 only some are observed.

Chen, Rubanova, Bettencourt, Duvenaud, "Neural Ordinary Differential Equations", NeurIPS 2018,
arXiv 1806.07366, section 5.1; curves, noise and lengths are those of `examples/latent_ode.py` of
torchdiffeq. Other than there, a start is any real number and not one of the 1,000 points, so that
no series of one split is a series of another with other noise; splits have seeds of their own; the
stamps of every series are drawn for it alone. All series of a direction are pieces of one curve
unless `jitter` makes their a and b differ.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zoo.errors import UnknownNameError

__all__ = [
    "DT",
    "FUTURE",
    "NOISE",
    "WINDOW",
    "Batch",
    "Spirals",
    "curves",
    "load",
    "make",
    "observe",
]

Split = Literal["train", "validation", "test"]

SEEDS = {"train": 18060, "validation": 73660, "test": 66510}
"""Of the splits. What the first series are depends on how many are made."""

STOP = 6 * math.pi
DT = STOP / 999
"""Time between two points."""
WINDOW = 100
"""Points that can be observed."""
FUTURE = 100
"""Points to forecast, right after the window."""
NOISE = 0.3
A, B, CENTRE = 0.0, 0.3, 5.0
STARTS = (100, 800)
"""First and last step at which a series can begin."""


@dataclass(frozen=True)
class Spirals:
    """Whole series. All are float32.

    Args:
        times: (200,), since the start of the series.
        noisy: points as they are observed, (n, 200, 2).
        clean: where they are, (n, 200, 2).
    """

    times: Tensor
    noisy: Tensor
    clean: Tensor

    def __len__(self) -> int:
        return len(self.noisy)


@dataclass(frozen=True)
class Batch:
    """What a forecaster sees of series, and what it is asked for.

    Args:
        times: of the observed points, (n, N), increasing along each series.
        values: with noise, (n, N, 2).
        mask: which of them are observed, (n, N), bool; all.
        times_query: of the future, (n, 100).
        targets: points without noise at `times_query`, (n, 100, 2).
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    times_query: Tensor
    targets: Tensor


def make(n: int, generator: torch.Generator | None = None, *, jitter: float = 0.0) -> Spirals:
    """Draw `n` series.

    Args:
        generator: of the CPU; torch's global one if None.
        jitter: standard deviation of a, and relative one of b, from series to series; 0 as in the
            paper, where all of a direction share their curve.

    Raises:
        ValueError: `n` is less than 1, or `jitter` negative.
    """
    if n < 1:
        raise ValueError(f"n: expected at least one series, found {n}")
    if not jitter >= 0:
        raise ValueError(f"jitter: expected at least 0, found {jitter}")
    low, high = STARTS
    begin = low + (high - low) * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    clockwise = torch.rand(n, 1, generator=generator) < 0.5
    shape = torch.randn(2, n, 1, generator=generator, dtype=torch.float64)
    a, b = A + jitter * shape[0], B * (1 + jitter * shape[1])
    noise = NOISE * torch.randn(n, WINDOW + FUTURE, 2, generator=generator)
    times = DT * torch.arange(WINDOW + FUTURE, dtype=torch.float64)
    clean = _curve(DT * begin + times, clockwise, a, b).float()
    return Spirals(times.float(), clean + noise, clean)


def load(split: Split, n: int, *, jitter: float = 0.0) -> Spirals:
    """`n` series of a split, always the same.

    Raises:
        UnknownNameError: there is no such split.
        ValueError: as of `make`.
    """
    if split not in SEEDS:
        raise UnknownNameError(f"no split {split!r} of the spirals; there are {', '.join(SEEDS)}")
    return make(n, torch.Generator().manual_seed(SEEDS[split]), jitter=jitter)


def observe(series: Spirals, count: int, generator: torch.Generator | None = None) -> Batch:
    """Observe `count` random points of each series' window, and ask for its future.

    Args:
        count: 1 to 100.
        generator: of the CPU; torch's global one if None.

    Raises:
        ValueError: the window has not so many points.
    """
    if not 1 <= count <= WINDOW:
        raise ValueError(f"count: expected 1 to {WINDOW} observed points, found {count}")
    n = len(series)
    order = torch.rand(n, WINDOW, generator=generator).argsort(dim=1, stable=True)
    chosen = order[:, :count].sort(dim=1).values
    return Batch(
        times=series.times[chosen],
        values=series.noisy.gather(1, chosen.unsqueeze(2).expand(-1, -1, 2)),
        mask=torch.ones(n, count, dtype=torch.bool),
        times_query=series.times[WINDOW:].expand(n, -1),
        targets=series.clean[:, WINDOW:],
    )


def curves(grid: int) -> Tensor:
    """All series without noise or jitter, from `grid` equally spaced starts in each direction.

    Returns:
        (2 grid, 200, 2), float64: clockwise first.
    """
    begin = torch.linspace(*STARTS, grid, dtype=torch.float64).repeat(2).unsqueeze(1)
    clockwise = torch.arange(2 * grid).unsqueeze(1) < grid
    t = DT * (begin + torch.arange(WINDOW + FUTURE, dtype=torch.float64))
    return _curve(t, clockwise, torch.tensor(A).double(), torch.tensor(B).double())


def _curve(t: Tensor, clockwise: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Points (n, T, 2) at times (n, T) of curves whose direction, a and b are (n, 1)."""
    angle = torch.where(clockwise, STOP + 1 - t, t)
    radius = torch.where(clockwise, a + 50 * b / angle, a + b * angle)
    centre = torch.where(clockwise, -CENTRE, CENTRE)
    return torch.stack([radius * angle.cos() + centre, radius * angle.sin()], dim=-1)
