"""Direct numerical simulation of the incompressible Navier-Stokes equations in a periodic box.

    du/dt = P [u x omega] + nu laplacian u,   div u = 0,   x in [0, 2 pi]^3,

where P = I - kappa kappa^T / |kappa|^2 takes the pressure out. Pseudo-spectral: derivatives on
Fourier modes, products on points, the 2/3 rule against aliasing. The viscous term is integrated
exactly by a factor exp(-nu |kappa|^2 t), the rest by the classical Runge-Kutta method of fourth
order. (Orszag and Patterson, Phys. Rev. Lett. 28, 1972; Canuto et al., Spectral Methods, 1988.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from zoo.errors import SimulationError
from zoo.simulations import initial, statistics
from zoo.simulations.grid import FourierGrid, as_complex, as_pairs
from zoo.simulations.statistics import FlowStatistics

__all__ = ["NavierStokes", "State"]


@dataclass(frozen=True)
class State:
    """A moment of a run.

    Attributes:
        time: Time since the start.
        steps: Steps taken since the run began.
        velocity: Modes (B, 3, M, M, K + 1).
    """

    time: float
    steps: int
    velocity: Tensor
    flow: NavierStokes = field(repr=False)

    @cached_property
    def statistics(self) -> FlowStatistics:
        """Statistics of the velocity, measured when first asked for."""
        return self.flow.statistics(self.velocity)


class NavierStokes:
    """Incompressible flow in a periodic box, a batch of realisations at once.

    A velocity is a tensor of complex Fourier modes (B, 3, M, M, K + 1): u = sum over kappa of
    u_kappa exp(i kappa . x), wavenumbers 0, 1, ..., K, -K, ..., -1 along x and y and 0, ..., K
    along z, where K is the largest integer below N/3.

    Args:
        points: N, points a side; even, at least 8.
        viscosity: nu >= 0, one for all or one per realisation.
        dtype: torch.float64 or torch.float32.
        device: Where to compute.
        dealias: False keeps all modes below N/2 and makes aliasing errors, to show what they do.

    Raises:
        ValueError: a bad argument.

    Example:
        >>> flow = NavierStokes(points=32, viscosity=0.01)
        >>> for state in flow.run(flow.taylor_green(), until=1.0, cfl=0.6):
        ...     print(state.time, state.statistics.dissipation)
    """

    def __init__(
        self,
        points: int = 64,
        viscosity: float | Sequence[float] | Tensor = 0.01,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        dealias: bool = True,
    ) -> None:
        self.grid = FourierGrid(points, dtype=dtype, device=device, dealias=dealias)
        nu = torch.as_tensor(viscosity, dtype=torch.float64, device=device)
        if nu.ndim > 1 or not bool(torch.isfinite(nu).all()) or bool((nu < 0).any()):
            raise ValueError(
                f"expected a viscosity >= 0, or one per realisation (B,); got {viscosity!r}"
            )
        self.viscosity = nu
        self._factor: tuple[float, Tensor] | None = None

    @property
    def courant_limit(self) -> float:
        """Largest stable dt max(|u| + |v| + |w|) / dx.

        Advection of a mode is rotation by at most K max(|u| + |v| + |w|) dt, and the method is
        stable for rotations up to 2 sqrt 2.
        """
        return 2 * math.sqrt(2) / (self.grid.largest * self.grid.spacing)

    # Where to start.

    def taylor_green(self, batch: int = 1) -> Tensor:
        """The Taylor-Green vortex (sin x cos y cos z, -cos x sin y cos z, 0)."""
        return self.grid.outside(initial.taylor_green(self.grid, batch))

    def random_isotropic(
        self,
        peak_wavenumber: float = 3.0,
        rms_velocity: float = 1.0,
        batch: int = 1,
        *,
        spectrum: str = "k4",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Gaussian solenoidal fields with E ~ kappa^p exp(-(p/2) (kappa/kp)^2) in every shell.

        Args:
            peak_wavenumber: kp.
            rms_velocity: u', so that k = 3/2 u'^2.
            batch: Number of realisations.
            spectrum: "k4" (p = 4, Loitsyansky) or "k2" (p = 2, Saffman).
            generator: Source of the noise, on the CPU.

        Raises:
            ValueError: a bad argument.
        """
        return self.grid.outside(
            initial.random_isotropic(
                self.grid,
                peak_wavenumber=peak_wavenumber,
                rms_velocity=rms_velocity,
                batch=batch,
                spectrum=spectrum,
                generator=generator,
            )
        )

    # Between modes and points, and what is measured.

    def physical(self, velocity: Tensor) -> Tensor:
        """Modes (B, 3, M, M, K + 1) -> values on the points (B, 3, N, N, N)."""
        return self.grid.to_points(self._inside(velocity))

    def spectral(self, values: Tensor) -> Tensor:
        """Values on the points (B, 3, N, N, N) -> modes kept, free of divergence."""
        n = self.grid.points
        if values.ndim != 5 or values.shape[1:] != (3, n, n, n):
            raise ValueError(
                f"expected a velocity on the points (B, 3, {n}, {n}, {n});"
                f" got {tuple(values.shape)}"
            )
        values = values.to(device=self.grid.device, dtype=self.grid.dtype)
        return self.grid.outside(initial.project(self.grid, self.grid.to_modes(values)))

    def vorticity(self, velocity: Tensor) -> Tensor:
        """curl u on the points, (B, 3, N, N, N)."""
        modes = self._inside(velocity)
        return self.grid.to_points(self._curl(modes, torch.empty_like(modes)))

    def divergence(self, velocity: Tensor) -> Tensor:
        """div u on the points, (B, N, N, N): round-off, if all is well."""
        pairs = as_pairs(self._inside(velocity))
        parts = [pairs[:, :, i] * kappa for i, kappa in enumerate(self.grid.kappa)]
        div = as_complex(parts[0] + parts[1] + parts[2])
        return self.grid.to_points(div[:, :, None] * 1j)[:, 0]

    def statistics(self, velocity: Tensor) -> FlowStatistics:
        """One value per realisation, in double precision; see `FlowStatistics`."""
        modes = self._inside(velocity)
        return statistics.measure(self.grid, modes, self.viscosity.expand(modes.shape[1]))

    # In time.

    def advection(self, velocity: Tensor) -> Tensor:
        """P [u x omega], the time derivative without viscosity, modes (B, 3, M, M, K + 1)."""
        return self.grid.outside(self._advection(self._inside(velocity))[0])

    def step(self, velocity: Tensor, dt: float) -> Tensor:
        """The velocity after a step of size dt.

        Raises:
            ValueError: a bad argument.
            SimulationError: dt is beyond stability, or the velocity is not finite.
        """
        _check_positive("dt", dt)
        modes = self._inside(velocity)
        first, speed = self._advection(modes)
        self._check(dt, speed, time=None)
        return self.grid.outside(self._step(modes, dt, first))

    def run(
        self,
        velocity: Tensor,
        until: float,
        *,
        dt: float | None = None,
        cfl: float | None = None,
        every: float | None = None,
        start: float = 0.0,
        resolution: float = 1.0,
    ) -> Iterator[State]:
        """Integrate from `start` to `until`; yields the start and every step.

        Args:
            velocity: Modes at the start.
            until: Time of the last state.
            dt: Size of the steps (the last one may be shorter).
            cfl: Instead of dt, dt max(|u| + |v| + |w|) / dx of every step; 0.6 if neither is given.
            every: Yield only multiples of this time, and the end, with equal steps in between.
            start: Time at the start.
            resolution: Least kmax eta of the states yielded; 0 goes on without small scales.

        Raises:
            ValueError: a bad argument.
            SimulationError: the run became under-resolved, unstable or not finite.
        """
        _check_times(until, start, dt, cfl, every)
        # Not a generator itself, so that bad arguments are found here and not where it is used.
        return self._run(self._inside(velocity), until, dt, cfl, every, start, resolution)

    def _run(
        self,
        modes: Tensor,
        until: float,
        dt: float | None,
        cfl: float | None,
        every: float | None,
        start: float,
        resolution: float,
    ) -> Iterator[State]:
        time, steps = start, 0
        yield self._state(time, steps, modes, resolution)
        # A time closer to the end than this is the end: sums of steps are round.
        tiny = 1e-9 * max(abs(until), until - start)
        while time < until - tiny:
            # Likewise a time just below a multiple of `every` is that multiple.
            target = min(until, (math.floor(time / every + 1e-6) + 1) * every) if every else until
            first, speed = self._advection(modes)
            size = dt if dt is not None else self._size(cfl or 0.6, speed)
            count = 1 if every is None else max(1, math.ceil((target - time) / size - 1e-9))
            size = min(size, target - time) if every is None else (target - time) / count
            for i in range(count):
                if i:
                    first, speed = self._advection(modes)
                self._check(size, speed, time + i * size)
                modes = self._step(modes, size, first)
            steps += count
            time = time + size if every is None and target - time - size > tiny else target
            yield self._state(time, steps, modes, resolution)

    def _inside(self, velocity: Tensor) -> Tensor:
        """Modes as the grid stores them, after a look at their shape."""
        grid = self.grid
        shape = (3, grid.modes, grid.modes, grid.largest + 1)
        fits = velocity.ndim == 5 and velocity.shape[1:] == shape and len(velocity) > 0
        if not (fits and velocity.is_complex()):
            raise ValueError(
                f"expected complex modes (B, {', '.join(map(str, shape))}) for {grid.points} points"
                f" a side; got {velocity.dtype} {tuple(velocity.shape)}"
            )
        batch = velocity.shape[0]
        if self.viscosity.ndim and len(self.viscosity) != batch:
            raise ValueError(
                f"expected as many realisations as viscosities, {len(self.viscosity)}; got {batch}"
            )
        return grid.inside(velocity.to(device=grid.device, dtype=grid.complex_dtype))

    def _state(self, time: float, steps: int, modes: Tensor, resolution: float) -> State:
        z = statistics.enstrophy(self.grid, modes)
        if not bool(torch.isfinite(z).all()):
            raise SimulationError(
                f"the velocity is not finite at t = {time:.4g}; check the start, or take a smaller"
                " time step"
            )
        if resolution > 0:
            nu = self.viscosity.to(modes.real.dtype)
            resolved = statistics.resolution(self.grid, nu, z).min()
            if not resolved >= resolution:
                raise SimulationError(
                    f"the run is under-resolved at t = {time:.4g}: expected kmax eta >="
                    f" {resolution:g}, found {float(resolved):.3g}; take more points a side than"
                    f" {self.grid.points} or a larger viscosity, or lower `resolution`"
                    " (0 goes on without small scales)"
                )
        return State(time, steps, self.grid.outside(modes), self)

    def _size(self, cfl: float, speed: float) -> float:
        if not math.isfinite(speed):
            raise SimulationError(
                "the velocity is not finite; check the start, or take a lower cfl"
            )
        return cfl * self.grid.spacing / speed if speed > 0 else math.inf

    def _check(self, dt: float, speed: float, time: float | None) -> None:
        when = "" if time is None else f" at t = {time:.4g}"
        if not math.isfinite(speed):
            raise SimulationError(f"the velocity is not finite{when}; take a smaller time step")
        courant = dt * speed / self.grid.spacing
        if courant > self.courant_limit:
            largest = self.courant_limit * self.grid.spacing / speed
            raise SimulationError(
                f"the time step {dt:.3g} is beyond stability{when}: its Courant number is"
                f" {courant:.3g}, the limit {self.courant_limit:.3g}; take dt <= {largest:.3g}"
            )

    def _curl(self, modes: Tensor, curl: Tensor) -> Tensor:
        """Modes of curl u, i kappa x u, (kx, B, 3, ky, kz), written to `curl`."""
        u, w = as_pairs(modes), as_pairs(curl)
        kappa = self.grid.kappa
        for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
            torch.mul(u[:, :, k], kappa[j], out=w[:, :, i])
            w[:, :, i].addcmul_(u[:, :, j], kappa[k], value=-1)
        return curl.mul_(1j)

    def _advection(self, modes: Tensor, *, speed: bool = True) -> tuple[Tensor, float]:
        """P [u x omega] (kx, B, 3, ky, kz), and the largest |u| + |v| + |w| if asked for."""
        speeds = []

        def products() -> Iterator[tuple[slice, Tensor]]:
            shape = (*modes.shape[:2], 6, *modes.shape[3:])
            fields = self.grid.buffer("fields", *shape, complex=True)
            fields[:, :, :3] = modes
            self._curl(modes, fields[:, :, 3:])
            for planes, values in self.grid.slabs(fields):
                u, omega = values[:, :, :3], values[:, :, 3:]
                cross = self.grid.buffer("cross", *u.shape)
                for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
                    torch.mul(u[:, :, j], omega[:, :, k], out=cross[:, :, i])
                    cross[:, :, i].addcmul_(u[:, :, k], omega[:, :, j], value=-1)
                if speed:
                    speeds.append(u.abs_().sum(2).amax())
                yield planes, cross

        rate = initial.project(self.grid, self.grid.gather(products(), modes.shape[1], 3))
        return rate, float(torch.stack(speeds).max()) if speed else 0.0

    def _half_step(self, dt: float) -> Tensor:
        """exp(-nu |kappa|^2 dt / 2) for real pairs, (M, B or 1, 1, M, 2 K + 2).

        Kept for the next step, which is often as large.
        """
        if self._factor is None or self._factor[0] != dt:
            nu = self.viscosity.reshape(-1, 1, 1)
            decay = torch.exp(self.grid.squared.double() * nu * (-dt / 2)).to(self.grid.dtype)
            self._factor = dt, decay.repeat_interleave(2, -1).unsqueeze(2)
        return self._factor[1]

    def _step(self, modes: Tensor, dt: float, first: Tensor) -> Tensor:
        """The classical Runge-Kutta step on exp(nu |kappa|^2 t) u; `first` is advection(modes)."""
        e = self._half_step(dt)
        u = as_pairs(modes) * e
        a = as_pairs(first).mul_(e)
        b = self._stage(u.add(a, alpha=dt / 2))
        c = self._stage(u.add(b, alpha=dt / 2))
        d = self._stage(u.add(c, alpha=dt).mul_(e))
        u.add_(a, alpha=dt / 6).add_(b.add_(c), alpha=dt / 3).mul_(e)
        return as_complex(u.add_(d, alpha=dt / 6))

    def _stage(self, pairs: Tensor) -> Tensor:
        return as_pairs(self._advection(as_complex(pairs), speed=False)[0])


def _check_times(
    until: float, start: float, dt: float | None, cfl: float | None, every: float | None
) -> None:
    if not (math.isfinite(until) and until > start):
        raise ValueError(f"expected until > start = {start}; got {until}")
    if dt is not None and cfl is not None:
        raise ValueError("expected dt or cfl, not both")
    for name, value in (("dt", dt), ("cfl", cfl), ("every", every)):
        if value is not None:
            _check_positive(name, value)


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"expected {name} > 0; got {value}")
