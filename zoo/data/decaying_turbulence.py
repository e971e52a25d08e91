"""Decaying isotropic turbulence: series of direct numerical simulations, as forecasting problems.

Every run is a box of side 2π of incompressible flow that starts from a random field with a given
energy spectrum and a root mean square velocity of 1, and decays. Its series are statistics of the
whole box at equal times: kinetic energy k = ⟨u²⟩/2, dissipation ε = ν⟨ω²⟩ and others.

The splits are `train`, `validation`, and three tests: `test-seed`, other random fields of the
viscosities that a model is trained on; `test-viscosity`, a lower viscosity than any of these; and
`test-spectrum`, a start with more energy at the largest scales, κ² in the place of κ⁴.

`zoo simulate turbulence` makes the file that comes with the package. A star means, here and
elsewhere: at the peak of the dissipation.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from scipy.interpolate import CubicSpline
from torch import Tensor

from zoo.errors import DataError, UnknownNameError
from zoo.simulations.design import QUANTITIES, SPECTRA, SPLITS, Case, Design

__all__ = ["BUNDLED", "SPLITS", "Problem", "Run", "load", "problem"]

BUNDLED = Path(__file__).parent / "samples" / "decaying-turbulence.safetensors"
BUNDLED_SHA256 = "dc8869b09e517c02bd7fecddf4df50d3a4ed9cc0b87902674465e5910f6f22da"
COMMAND = "zoo simulate turbulence --out DIR"


@dataclass(frozen=True, eq=False)
class Run:
    """One simulation. All series are float64 of shape (T,), in units of the box.

    Args:
        name: such as `nu0.0120-k4-seed3`.
        viscosity: ν.
        points: of the grid, a side.
        peak_wavenumber: where the energy spectrum of the start has its peak.
        spectrum: its slope below the peak, `k4` or `k2`.
        seed: of the random field.
        split: what the run is for.
        time: of the outputs, equally spaced from 0.
        kinetic_energy: k = ⟨u²⟩/2.
        dissipation: ε = ν⟨ω²⟩.
        enstrophy_production: ⟨ω_i S_ij ω_j⟩.
        palinstrophy: half the mean square of the curl of the vorticity.
        skewness: of the longitudinal velocity derivative; negative in turbulence.
        integral_scale: L = π/(2u'²) Σ E/κ.
        reynolds_lambda: of the Taylor scale.
        kmax_eta: largest wavenumber times the Kolmogorov scale.
        spectrum_peak: energy in the shells |κ| = 0, 1, ... at the peak of the dissipation, float32.
        spectrum_end: the same at the end.
    """

    name: str
    viscosity: float
    points: int
    peak_wavenumber: float
    spectrum: str
    seed: int
    split: str
    time: Tensor
    kinetic_energy: Tensor
    dissipation: Tensor
    enstrophy_production: Tensor
    palinstrophy: Tensor
    skewness: Tensor
    integral_scale: Tensor
    reynolds_lambda: Tensor
    kmax_eta: Tensor
    spectrum_peak: Tensor
    spectrum_end: Tensor

    @property
    def peak(self) -> int:
        """Index of the largest dissipation."""
        return int(self.dissipation.argmax())


@dataclass(frozen=True, eq=False)
class Problem:
    """Forecasts to be made: from a state to k and ε at later times. All are float64.

    Args:
        state: `k`, `epsilon`, `nu`, `skewness` and `palinstrophy` at the start, each (B,).
        times: since the start, (B, T); the first is 0.
        k: kinetic energy at these times, (B, T).
        epsilon: dissipation at these times, (B, T).
        names: of the runs, B of them.
    """

    state: Mapping[str, Tensor]
    times: Tensor
    k: Tensor
    epsilon: Tensor
    names: tuple[str, ...]


def load(split: str | None = None, path: str | Path | None = None) -> list[Run]:
    """The runs of a file, in the order of its design.

    Args:
        split: one of `SPLITS`; default all.
        path: default the file that comes with the package.

    Raises:
        UnknownNameError: there is no such split.
        DataError: the file is missing, damaged or another one.
    """
    if split is not None and split not in SPLITS:
        raise UnknownNameError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    place = BUNDLED if path is None else Path(path)
    content = _read(place)
    if path is None and (found := hashlib.sha256(content).hexdigest()) != BUNDLED_SHA256:
        raise DataError(
            f"{place} is damaged: it has sha256 {found}, expected {BUNDLED_SHA256}; "
            "install the package again"
        )
    try:
        length = int.from_bytes(content[:8], "little")
        settings = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["settings"])
        tensors = safetensors.torch.load(content)
        design = Design.from_dict(settings["design"])
        runs = [_run(case, tensors) for each in design.conditions for case in each.cases()]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{place}: not an ensemble of decaying turbulence, or damaged: {error!r}; "
            f"`{COMMAND}` makes one, DIR/turbulence.safetensors"
        ) from error
    return [run for run in runs if split in (None, run.split)]


def problem(
    runs: Sequence[Run], start: float = 0.0, horizon: float = 2.0, points: int = 65
) -> Problem:
    """What is to be forecast of each run: k and ε from a start on, at equal times.

    The start t₀ is `start` k*/ε* after the peak of the dissipation. The forecast goes on for
    `horizon` k₀/ε₀, with the values of the start. Between two outputs the logarithms of k, ε and
    the palinstrophy, and the skewness itself, are cubic splines through all outputs of the run.

    Args:
        runs: one problem each.
        start: in k*/ε*.
        horizon: in k₀/ε₀.
        points: number of times T, the start included.

    Raises:
        ValueError: an argument is out of range; a run has the largest dissipation at its first
            output, and so no transient before; or a run is too short.
    """
    if not runs:
        raise ValueError("runs: expected at least one, found none")
    if start < 0 or horizon <= 0 or points < 2:
        raise ValueError(
            "expected start >= 0, horizon > 0 and points >= 2, "
            f"found start={start}, horizon={horizon}, points={points}"
        )
    rows = [_forecast(run, start, horizon, points) for run in runs]
    state = {
        name: torch.tensor([row.state[name] for row in rows], dtype=torch.float64)
        for name in ("k", "epsilon", "nu", "skewness", "palinstrophy")
    }
    times, k, epsilon = (
        torch.from_numpy(np.stack(arrays))
        for arrays in (
            [row.times for row in rows],
            [row.k for row in rows],
            [row.epsilon for row in rows],
        )
    )
    return Problem(state, times, k, epsilon, tuple(run.name for run in runs))


Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class _Forecast:
    """What `Problem` has of one run; arrays are (T,)."""

    state: Mapping[str, float]
    times: Array
    k: Array
    epsilon: Array


def _forecast(run: Run, start: float, horizon: float, points: int) -> _Forecast:
    peak = run.peak
    if peak == 0:
        raise ValueError(
            f"{run.name}: expected a transient, found the largest dissipation at its first output; "
            "leave the run out, or simulate a lower viscosity"
        )
    time = run.time.numpy()
    log_k, log_epsilon, log_palinstrophy = (
        CubicSpline(time, np.log(series.numpy()))
        for series in (run.kinetic_energy, run.dissipation, run.palinstrophy)
    )
    turnover = float(run.kinetic_energy[peak] / run.dissipation[peak])
    begin = time[peak] + start * turnover
    if begin > time[-1]:
        raise ValueError(
            f"{run.name}: too short: start={start} is t = {begin:.3f}, it ends at {time[-1]:.3f}; "
            f"start can be {(time[-1] - time[peak]) / turnover:.2f} at most"
        )
    at_start = {
        "k": float(np.exp(log_k(begin))),
        "epsilon": float(np.exp(log_epsilon(begin))),
        "nu": run.viscosity,
        "skewness": float(CubicSpline(time, run.skewness.numpy())(begin)),
        "palinstrophy": float(np.exp(log_palinstrophy(begin))),
    }
    unit = at_start["k"] / at_start["epsilon"]
    if begin + horizon * unit > time[-1]:
        raise ValueError(
            f"{run.name}: too short: start={start} and horizon={horizon} need t = "
            f"{begin + horizon * unit:.3f}, it ends at {time[-1]:.3f}; from this start the horizon "
            f"can be {(time[-1] - begin) / unit:.2f} at most"
        )
    times = np.linspace(0.0, horizon * unit, points)
    moments = begin + times
    return _Forecast(at_start, times, np.exp(log_k(moments)), np.exp(log_epsilon(moments)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}; "
            f"`{COMMAND}` makes such a file, DIR/turbulence.safetensors"
        ) from error


def _run(case: Case, tensors: Mapping[str, Tensor]) -> Run:
    """The run of a case.

    Raises:
        ValueError: its series are not of one length, or not positive where a logarithm is taken.
        KeyError: one is missing.
    """
    facts: dict[str, Any] = {"name": case.name, **asdict(case)}
    series = {name: tensors[f"{case.name}/{name}"] for name in (*QUANTITIES, *SPECTRA)}
    run = Run(**(facts | series))
    shapes = {tuple(series[name].shape) for name in QUANTITIES}
    if shapes != {(len(run.time),)} or len(run.time) < 4:
        raise ValueError(f"{run.name}: expected series of one length, from 4 on, found {shapes}")
    for name in ("kinetic_energy", "dissipation", "palinstrophy"):
        if not bool((series[name] > 0).all()):
            raise ValueError(f"{run.name}: {name}: expected positive values")
    return run
