"""Decaying isotropic turbulence, run by run: an ensemble in a folder, resumable and shared.

A run starts from a random field of its own, writes its statistics at equal times and ends a number
of turnovers k*/ε* after the peak of its dissipation, the star meaning: at that peak. Nothing but
the velocity and the series decides what comes next, so that a run that was killed gives the same
bytes as one that was not.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from zoo._format import duration
from zoo.errors import SimulationError
from zoo.simulations import folder
from zoo.simulations.design import DURATION, QUANTITIES, SPECTRA, Case, Design, shard
from zoo.simulations.navier_stokes import NavierStokes
from zoo.training import checkpoint, record
from zoo.training.progress import Progress
from zoo.training.randomness import generator

__all__ = ["Settings", "simulate"]

BOX = 2 * math.pi
CONFINED = 0.2
"""Integral scale, in units of the box, beyond which the box bends the decay."""

TINY = 1e-9
"""Far below the time between two outputs: what rounding may do to a time."""


@dataclass(frozen=True)
class Settings:
    """What the numbers of an ensemble depend on.

    Args:
        design: the runs.
        cfl: CFL number that the steps are chosen by.
        every: time between two outputs.
        dtype: of the velocity.
        device: `cpu` or `cuda`.
        turnovers: a run ends so many k*/ε* after the peak of its dissipation.
        latest: a run that is not over by then is an error.

    Raises:
        ValueError: a number is not positive, or there is no such dtype.
    """

    design: Design
    cfl: float = 1.0
    every: float = 0.05
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "cpu"
    turnovers: float = 2.5
    latest: float = 50.0

    def __post_init__(self) -> None:
        for name in ("cfl", "every", "turnovers", "latest"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a positive number, found {getattr(self, name)}")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype: expected float32 or float64, found {self.dtype!r}")

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"design": self.design.as_dict()}


def simulate(
    out: Path,
    settings: Settings,
    *,
    part: tuple[int, int] = (1, 1),
    checkpoint_seconds: float = 60.0,
    quiet: bool = False,
) -> Path | None:
    """Do the runs of `settings` that are not in the folder `out` yet, and merge them.

    Several processes may work in the same folder: a run belongs to the process that has its lock,
    and the others go on with the next one. A run that fails does not stop those after it.

    Args:
        out: folder of the ensemble; made if it is not there.
        settings: what is simulated, and how.
        part: this shard and the number of shards, `(1, 1)` for all; `(2, 3)` does every third run
            from the second on.
        checkpoint_seconds: time between two checkpoints of a run.
        quiet: print nothing.

    Returns:
        The file of the ensemble if all its runs are there, else None.

    Raises:
        EnsembleError: the folder was begun with other settings.
        SimulationError: runs were under-resolved, unstable or did not end; says which.
        FileError: a file cannot be read or written.
    """
    cases = shard(settings.design.cases(), *part)
    _check_device(settings.device)
    folder.begin(out, settings.as_dict())
    say, here = _silent if quiet else _say, _environment(settings.device)
    failed: list[str] = []
    for number, case in enumerate(cases, 1):
        title = f"{number}/{len(cases)} {case.name}"
        with folder.owned(out, case.name) as mine:
            if not mine:
                say(f"{title}  is being done by another process")
            elif not folder.file_of(out, case.name).exists():
                try:
                    _Job(out, settings, case, title, here, say).do(checkpoint_seconds)
                except SimulationError as error:
                    failed.append(f"{case.name}: {error}")
                    say(f"{title}  failed: {error}")
    if failed:
        raise SimulationError("\n".join([f"{len(failed)} of {len(cases)} runs failed:", *failed]))
    return folder.merge(out)


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SimulationError(f"device {device}: {error}; `--device cpu` needs none") from error


@dataclass
class _Series:
    """What a run has given so far."""

    values: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in QUANTITIES}
    )
    spectra: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    environments: list[dict[str, Any]] = field(default_factory=list)

    def add(self, moment: float, statistics: Any) -> None:
        """Append the statistics of one output time."""
        self.values["time"].append(moment)
        for name in QUANTITIES[1:]:
            self.values[name].append(float(getattr(statistics, name)))
        spectrum = statistics.spectrum.reshape(-1).to("cpu", torch.float32)
        self.spectra["spectrum_end"] = spectrum
        if self.peak == len(self.values["time"]) - 1:
            self.spectra["spectrum_peak"] = spectrum

    @property
    def outputs(self) -> int:
        return len(self.values["time"])

    @property
    def peak(self) -> int:
        """Index of the largest dissipation."""
        dissipation = self.values["dissipation"]
        return dissipation.index(max(dissipation))

    def end(self, turnovers: float) -> float:
        """When the run is over, if the dissipation has had its peak."""
        peak, values = self.peak, self.values
        turnover = values["kinetic_energy"][peak] / values["dissipation"][peak]
        return values["time"][peak] + turnovers * turnover

    def over(self, turnovers: float) -> bool:
        """Whether the last output is at the end or after it."""
        return self.values["time"][-1] >= self.end(turnovers) - TINY

    def tensors(self, run: str) -> dict[str, Tensor]:
        """As the file of the run holds them."""
        series = {
            f"{run}/{name}": torch.tensor(values, dtype=torch.float64)
            for name, values in self.values.items()
        }
        return series | {f"{run}/{name}": self.spectra[name].clone() for name in SPECTRA}


@dataclass(frozen=True)
class _Job:
    """One run of an ensemble."""

    out: Path
    settings: Settings
    case: Case
    title: str
    here: Mapping[str, Any]
    say: Callable[[str], None]

    def do(self, checkpoint_seconds: float) -> None:
        """Do the run, or go on with it, and write its file."""
        flow = NavierStokes(
            points=self.case.points,
            viscosity=self.case.viscosity,
            dtype=getattr(torch, self.settings.dtype),
            device=self.settings.device,
        )
        kept = folder.checkpoint_of(self.out, self.case.name)
        velocity, series = _resume(kept, self.settings.device) or _start(flow, self.case)
        if self.here not in series.environments:
            series.environments.append(dict(self.here))
        written = time.monotonic()
        with self._progress(series) as progress:
            while not series.over(self.settings.turnovers):
                begun = time.monotonic()
                velocity = _advance(flow, velocity, series, self.settings)
                series.seconds += time.monotonic() - begun
                progress.total = self._outputs(series)
                progress.advance(_shown(series))
                if time.monotonic() - written >= checkpoint_seconds:
                    checkpoint.write(kept, _pack(velocity, series))
                    written = time.monotonic()
        self._finish(series)
        for path in (kept, checkpoint.previous(kept)):
            path.unlink(missing_ok=True)

    def _progress(self, series: _Series) -> Progress:
        return Progress(
            self._outputs(series),
            first=series.outputs,
            title=self.title,
            enabled=self.say is not _silent,
        )

    def _outputs(self, series: _Series) -> int:
        """Number of outputs of the whole run; a guess until the dissipation has had its peak."""
        if series.peak < series.outputs - 1:
            return 1 + math.ceil((series.end(self.settings.turnovers) - TINY) / self.settings.every)
        return max(series.outputs + 1, round(DURATION / self.settings.every))

    def _finish(self, series: _Series) -> None:
        """Write the file of the run and a line of the log, and say what is to be known of it."""
        name, values, peak = self.case.name, series.values, series.peak
        folder.write_run(folder.file_of(self.out, name), series.tensors(name), series.environments)
        hardware, seconds = self.here["hardware"], round(series.seconds, 1)
        folder.log(self.out, run=name, steps=series.steps, seconds=seconds, hardware=hardware)
        confined = max(values["integral_scale"]) / BOX
        self.say(
            f"{self.title}  done: {series.steps} steps to t = {values['time'][-1]:.2f} in "
            f"{duration(series.seconds)}; dissipation largest at t = {values['time'][peak]:.2f}, "
            f"there Re_lambda {values['reynolds_lambda'][peak]:.1f}, "
            f"kmax*eta {values['kmax_eta'][peak]:.2f}; integral scale at most {confined:.3f} boxes"
        )
        if confined > CONFINED:
            self.say(f"{self.title}  warning: the integral scale exceeds {CONFINED} of the box")
        if peak == 0:
            self.say(f"{self.title}  warning: the dissipation never rose: the flow is too viscous")


def _start(flow: NavierStokes, case: Case) -> tuple[Tensor, _Series]:
    """A random field, independent of that of every other case, and its statistics."""
    draws = generator(
        case.seed,
        "decaying turbulence",
        case.spectrum,
        repr(case.viscosity),
        repr(float(case.peak_wavenumber)),
        case.points,
    )
    velocity = flow.random_isotropic(
        peak_wavenumber=case.peak_wavenumber,
        rms_velocity=1.0,
        batch=1,
        generator=draws,
        spectrum=case.spectrum,
    )
    series = _Series()
    series.add(0.0, flow.statistics(velocity))
    return velocity, series


def _advance(flow: NavierStokes, velocity: Tensor, series: _Series, settings: Settings) -> Tensor:
    """Go on to the next output time; the velocity there.

    Every interval is a run of its own, and so knows nothing of those before but the time.
    """
    before, moment = series.values["time"][-1], round(series.outputs * settings.every, 9)
    if moment > settings.latest:
        raise SimulationError(
            f"not over at t = {settings.latest:g}: expected {settings.turnovers:g} k*/ε* after the "
            "peak of the dissipation; raise the viscosity or the wavenumber of the peak"
        )
    *_, state = flow.run(
        velocity,
        start=before,
        until=moment,
        every=settings.every,
        cfl=settings.cfl,
        resolution=settings.design.resolution,
    )
    series.add(moment, state.statistics)
    series.steps += state.steps
    return state.velocity.contiguous()


def _shown(series: _Series) -> dict[str, float]:
    values = series.values
    return {
        "t": values["time"][-1],
        "steps": series.steps,
        "eps": values["dissipation"][-1],
        "kmax*eta": values["kmax_eta"][-1],
    }


def _environment(device: str) -> dict[str, Any]:
    """The code and the machine, as the file names them."""
    return {
        "commit": record.commit(Path(__file__).parent),
        "versions": record.versions(),
        "hardware": record.hardware(torch.device(device)),
    }


def _pack(velocity: Tensor, series: _Series) -> checkpoint.State:
    return {
        "velocity": torch.view_as_real(velocity),
        "values": series.values,
        "spectra": series.spectra,
        "steps": series.steps,
        "seconds": series.seconds,
        "environments": series.environments,
    }


def _resume(path: Path, device: str) -> tuple[Tensor, _Series] | None:
    """Velocity and series of a checkpoint; None if there is none."""
    content = checkpoint.read(path)
    if content is None:
        return None
    state = checkpoint.unpack(content, str(path))
    # A copy, because what lies elsewhere in memory may be transformed with other rounding.
    velocity = torch.view_as_complex(state.pop("velocity").clone()).to(device)
    return velocity, _Series(**state)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _silent(line: str) -> None:
    """Say nothing."""
