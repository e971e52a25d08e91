"""Continuous normalising flow of vectors: exact likelihood, invertible, by an ODE solver.

    dz/dt = v(t, z),   z(0) ~ N(0, I) (noise),   x = shift + scale ⊙ z(1) (data)

    log p(x) = log N(z(0)) - ∫₀¹ tr ∂v/∂z dt - Σ log scale

The density is found by solving the augmented state (z, ∫ tr ∂v/∂z) from t = 1 back to t = 0, a
sample by solving z alone from 0 to 1.

Chen et al., "Neural ordinary differential equations", NeurIPS 2018, arXiv 1806.07366, theorem 1;
Grathwohl et al., "FFJORD", ICLR 2019, arXiv 1810.01367. FFJORD's code carries -tr from data to
noise, zuko's +tr; here the integral has the sign of the formula above.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from zoo.models.velocity import VelocityMLP
from zoo.odes import Solver, hutchinson_divergence, probe, solve

__all__ = ["CNF", "standard_normal"]

BATCH = 4096
"""Points that are solved at once when no gradient is asked for: about what the cache holds."""


def standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats (B,), never below the finite numbers.

    In float64: at 10¹⁹ the square of a float32 is no longer finite.
    """
    flat = z.flatten(1).double()
    value = -0.5 * (flat.square().sum(1) + flat.shape[1] * math.log(2 * math.pi))
    return value.clamp(min=torch.finfo(z.dtype).min).to(z.dtype)


class CNF(nn.Module):
    """A flow from N(0, I) to data of D variables.

    The velocity field is untrained and zero at the beginning: the flow is x = shift + scale ⊙ z.

    Args:
        dim: D.
        hidden: widths of the hidden layers of the velocity field.
        activation: of the velocity field; see `zoo.models.velocity`.
        frequencies: of the time; see `zoo.models.velocity`.

    Attributes:
        solver: how the ODE is solved where a call does not say otherwise.
        nfe: evaluations of the velocity that a point saw in the last call; with several batches,
            the largest.
        event_shape: (D,).
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        dim: int = 2,
        hidden: Sequence[int] = (128, 128, 128),
        activation: str = "tanh",
        frequencies: int = 0,
    ) -> None:
        super().__init__()
        self.velocity = VelocityMLP(dim, hidden, activation, frequencies)
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.dim, self.event_shape = dim, (dim,)
        self.solver = Solver()
        self.nfe = 0

    def forward(self, z: Tensor) -> Tensor:
        """Points of the data for noise (B, D); `decode` with the model's own solver."""
        return self.decode(z)

    def standardise(self, data: Tensor) -> Self:
        """Set `shift` and `scale` to the mean and standard deviation of data (N, D).

        Raises:
            ValueError: a variable that is constant has no scale.
        """
        self._check(data, "data")
        scale = data.double().std(0, unbiased=False)
        if not bool((scale > 0).all()):
            index = int((scale <= 0).nonzero()[0])
            raise ValueError(f"variable {index} is constant in the data; leave it out")
        self.shift.copy_(data.double().mean(0))
        self.scale.copy_(scale)
        return self

    def log_prob(
        self,
        x: Tensor,
        *,
        trace: Literal["exact", "hutchinson"] = "exact",
        probes: int = 1,
        generator: torch.Generator | None = None,
        method: str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        steps: int | None = None,
        adjoint: bool | None = None,
        norm: Literal["batch", "example"] = "batch",
    ) -> Tensor:
        """Log-density of points, in nats.

        Args:
            x: (B, D), finite.
            trace: exact by the field's own formula, or Hutchinson's estimate, which is unbiased
                for the logarithm, not for the density.
            probes: Rademacher probes of the estimate, fixed through the solve.
            generator: of the probes, on the CPU; torch's global one if None.
            method, rtol, atol, steps, adjoint, norm: of the solver; see `zoo.odes.Solver`.

        Returns:
            (B,). With gradients on, it can be differentiated; otherwise it is computed in batches.

        Raises:
            ValueError: points or settings that are not so.
            SolverError: the solve could not be finished.
        """
        self._check(x, "x")
        _check_trace(trace, probes)
        solver = self._solver(method, rtol, atol, steps, adjoint, norm)
        x = x.to(self.shift)
        drawn = probe(x, probes, generator=generator) if trace == "hutchinson" else None
        parts = [x] if torch.is_grad_enabled() else list(torch.split(x, BATCH))
        self.nfe, values, first = 0, [], 0
        for part in parts:
            here = None if drawn is None else drawn[:, first : first + len(part)]
            values.append(self._log_prob(part, here, solver))
            first += len(part)
        return torch.cat(values)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, **solver: Any) -> Tensor:
        """Draw points (n, D).

        Args:
            n: number of points.
            generator: of the CPU; torch's global one if None.
            **solver: see `decode`.

        Raises:
            ValueError: if `n` is less than 1.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n: expected at least 1, found {n!r}")
        noise = torch.randn(n, self.dim, generator=generator)
        return self.decode(noise, **{"norm": "batch", **solver})

    def encode(
        self,
        x: Tensor,
        *,
        method: str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        steps: int | None = None,
        adjoint: bool | None = None,
        norm: Literal["batch", "example"] = "example",
    ) -> Tensor:
        """Noise z(0) (B, D) of points x (B, D); solver and errors as for `log_prob`.

        The tolerance holds for every point, so that `decode` gives every point back.
        """
        self._check(x, "x")
        solver = self._solver(method, rtol, atol, steps, adjoint, norm)
        return self._transport((x.to(self.shift) - self.shift) / self.scale, 1.0, 0.0, solver)

    def decode(
        self,
        z: Tensor,
        *,
        method: str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        steps: int | None = None,
        adjoint: bool | None = None,
        norm: Literal["batch", "example"] = "example",
    ) -> Tensor:
        """Points x (B, D) of noise z(0) (B, D); solver and errors as for `log_prob`."""
        self._check(z, "z")
        solver = self._solver(method, rtol, atol, steps, adjoint, norm)
        return self.shift + self.scale * self._transport(z.to(self.shift), 0.0, 1.0, solver)

    def trajectory(
        self,
        z: Tensor,
        times: Tensor,
        *,
        method: str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """The way of noise z (B, D), in the units of the data.

        Args:
            z: (B, D), the state at times[0].
            times: (T,), two or more within [0, 1], strictly increasing or decreasing.
            method, rtol, atol, steps: of the solver; see `zoo.odes.Solver`.

        Returns:
            (T, B, D): shift + scale ⊙ z(t).
        """
        self._check(z, "z")
        times = torch.as_tensor(times).to(self.shift)
        if times.numel() and not bool(((times >= 0) & (times <= 1)).all()):
            raise ValueError(f"times: expected times from 0 to 1, found {times.tolist()}")
        solver = self._solver(method, rtol, atol, steps, None, None)
        solution = solve(self.velocity, z.to(self.shift), times, solver)
        self.nfe = solution.evaluations
        return self.shift + self.scale * solution.states

    def _log_prob(self, x: Tensor, probes: Tensor | None, solver: Solver) -> Tensor:
        z = (x - self.shift) / self.scale
        start = torch.cat([z, torch.zeros_like(z[:, :1])], 1)
        times = torch.tensor([1.0, 0.0], dtype=z.dtype, device=z.device)

        def augmented(t: Tensor, state: Tensor) -> Tensor:
            v, divergence = self._rates(t, state[:, :-1], probes)
            return torch.cat([v, divergence[:, None]], 1)

        solution = solve(augmented, start, times, solver, self.velocity.parameters())
        self.nfe = max(self.nfe, solution.evaluations)
        noise, integral = solution.last[:, :-1], solution.last[:, -1]
        # From 1 to 0 the solve gives minus the integral from 0 to 1.
        return standard_normal(noise) + integral - self.scale.log().sum()

    def _rates(self, t: Tensor, z: Tensor, probes: Tensor | None) -> tuple[Tensor, Tensor]:
        if probes is None:
            return self.velocity.with_divergence(t, z)
        return hutchinson_divergence(lambda y: self.velocity(t, y), z, probes)[:2]

    def _transport(self, state: Tensor, start: float, end: float, solver: Solver) -> Tensor:
        times = torch.tensor([start, end], dtype=state.dtype, device=state.device)
        parts = [state] if torch.is_grad_enabled() else list(torch.split(state, BATCH))
        solutions = [
            solve(self.velocity, part, times, solver, self.velocity.parameters()) for part in parts
        ]
        self.nfe = max(each.evaluations for each in solutions)
        return torch.cat([each.last for each in solutions])

    def _solver(
        self,
        method: str | None,
        rtol: float | None,
        atol: float | None,
        steps: int | None,
        adjoint: bool | None,
        norm: str | None,
    ) -> Solver:
        return self.solver.but(
            method=method, rtol=rtol, atol=atol, steps=steps, adjoint=adjoint, norm=norm
        )

    def _check(self, x: Tensor, name: str) -> None:
        if x.dim() != 2 or x.shape[1] != self.dim or not x.is_floating_point():
            found = f"{x.dtype} {tuple(x.shape)}"
            raise ValueError(f"{name}: expected floating point (B, {self.dim}), found {found}")
        if not len(x):
            raise ValueError(f"{name}: expected at least one point, found an empty batch")
        if not bool(torch.isfinite(x).all()):
            count = int((~torch.isfinite(x)).any(1).sum())
            raise ValueError(f"{name}: expected finite numbers, found NaN or inf in {count} points")


def _check_trace(trace: str, probes: int) -> None:
    if trace not in ("exact", "hutchinson"):
        raise ValueError(f"trace: expected exact or hutchinson, found {trace!r}")
    if isinstance(probes, bool) or not isinstance(probes, int) or probes < 1:
        raise ValueError(f"probes: expected at least 1, found {probes!r}")
