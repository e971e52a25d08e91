"""Windows of simulations: starts all along a decay, and how k and ε go on from each.

A window starts at any time from shortly before the peak of the dissipation (the star) on. Its
targets are ln k/k₀ and ln ε/ε₀ at equal times of τ = t ε₀/k₀, as far as the horizon or the end of
the run, whichever comes first; a mask says how far.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from zoo.data.decaying_turbulence import Run
from zoo.models.turbulence import Start, read_state

__all__ = ["Windows", "cut"]


@dataclass(frozen=True)
class Windows:
    """W windows, float32.

    Args:
        start: states at their beginnings, tensors (W,).
        tau: times of the targets, (J,), from 0.
        targets: ln k/k₀ and ln ε/ε₀ there, (W, J, 2); 0 beyond the end of the run.
        mask: which of them are within the run, (W, J), float.
        lag: from the peak of the dissipation to the start, in k*/ε*, (W,).
    """

    start: Start
    tau: Tensor
    targets: Tensor
    mask: Tensor
    lag: Tensor

    def __len__(self) -> int:
        return len(self.lag)

    def take(self, index: Tensor) -> "Windows":
        """Those of an index of any shape, in whose shape the tensors then are."""
        return Windows(
            self.start.map(lambda each: each[index]),
            self.tau,
            self.targets[index],
            self.mask[index],
            self.lag[index],
        )

    def to(self, device: torch.device | str) -> "Windows":
        """The same on a device."""
        return Windows(
            self.start.map(lambda each: each.to(device)),
            *(each.to(device) for each in (self.tau, self.targets, self.mask, self.lag)),
        )


def cut(
    runs: Sequence[Run],
    *,
    first: float,
    last: float,
    spacing: float,
    horizon: float,
    shortest: float,
    points: int,
) -> Windows:
    """Windows of runs.

    Between outputs the logarithms of k, ε and the palinstrophy, and the skewness itself, are cubic
    splines through the outputs of a run.

    Args:
        runs: simulations whose dissipation has a peak.
        first: lag of the first start, in k*/ε*; may be negative, then as far as the run goes back.
        last: lag of the last start; a run that is too short for it has fewer windows.
        spacing: between starts, in k*/ε*.
        horizon: the last τ of the targets.
        shortest: smallest part of the horizon that has to be within the run, in τ.
        points: J.

    Raises:
        ValueError: no run has a window.
    """
    lags = np.arange(first, last + spacing / 2, spacing)
    tau = np.linspace(0.0, horizon, points)
    rows = [row for run in runs for row in _rows(run, lags, tau, shortest)]
    if not rows:
        raise ValueError(
            f"windows: none of {len(runs)} runs has {shortest} k/ε left {first} k*/ε* after its "
            "peak; simulate longer, or ask for shorter windows"
        )
    table = torch.from_numpy(np.stack([row.state for row in rows]))
    names = ("k", "epsilon", "nu", "skewness", "palinstrophy")
    start = read_state(dict(zip(names, table.unbind(1), strict=True)))
    targets = torch.from_numpy(np.stack([row.targets for row in rows]))
    mask = torch.from_numpy(np.stack([row.mask for row in rows]))
    lag = torch.tensor([row.lag for row in rows])
    return Windows(
        start.map(lambda each: each.float()),
        torch.from_numpy(tau).float(),
        targets.float(),
        mask.float(),
        lag.float(),
    )


@dataclass(frozen=True)
class _Row:
    """One window: a state (5,), targets (J, 2), a mask (J,) and its lag."""

    state: np.ndarray[tuple[int], np.dtype[np.float64]]
    targets: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    mask: np.ndarray[tuple[int], np.dtype[np.bool_]]
    lag: float


def _rows(
    run: Run,
    lags: np.ndarray[tuple[int], np.dtype[np.float64]],
    tau: np.ndarray[tuple[int], np.dtype[np.float64]],
    shortest: float,
) -> list[_Row]:
    time, peak = run.time.numpy(), run.peak
    series = (run.kinetic_energy, run.dissipation, run.palinstrophy)
    logs = CubicSpline(time, np.log(torch.stack(series, dim=1).numpy()))
    skewness = CubicSpline(time, run.skewness.numpy())
    turnover = float(run.kinetic_energy[peak] / run.dissipation[peak])
    rows = []
    for lag in lags:
        begin = time[peak] + lag * turnover
        if not time[0] <= begin < time[-1]:
            continue
        k, epsilon, palinstrophy = np.exp(logs(begin))
        moments = begin + tau * k / epsilon
        # The last output itself counts as within the run, however it is rounded.
        mask = moments <= time[-1] * (1 + 1e-12)
        if tau[mask][-1] < shortest:
            continue
        curves = logs(np.where(mask, moments, begin))[:, :2] - logs(begin)[:2]
        state = np.array([k, epsilon, run.viscosity, float(skewness(begin)), palinstrophy])
        rows.append(_Row(state, curves, mask, float(lag)))
    return rows
