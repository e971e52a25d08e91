"""Latent ODE: a series as one curve of a hidden dynamical system, seen at any times.

    z(t₀) ~ N(0, I),    dz/dt = f(z),    x(t) ~ N(g(z(t)), σ²)

t₀ is the time of the first observation of a series. q(z(t₀) | observations) = N(μ, diag s²) comes
from an ODE-RNN that reads the observations backwards: between two of them its state follows another
field for as long as the gap is, by one Euler step; at each a GRU takes in the values and the mask.
A forecast is a solve from t₀ on.

The systems have no time of their own, f(z) and not f(z, t), so that every series can start its
clock at its own t₀ and all of a batch are solved on the same grid of equal steps. What happens at
the times that are asked for is read off by cubic Hermite interpolation between the grid's points,
with an error of order step⁴, like that of the solver. Hence a series is computed the same way
whatever stands beside it.

Chen, Rubanova, Bettencourt, Duvenaud, "Neural Ordinary Differential Equations", NeurIPS 2018,
arXiv 1806.07366, section 5; Rubanova, Chen, Duvenaud, "Latent ODEs for Irregularly-Sampled Time
Series", NeurIPS 2019, arXiv 1907.03907, whose encoder this is.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.recurrence import gru_step
from zoo.models.series import Forecast, Observations, check_queries, observations
from zoo.odes import Solver, solve

__all__ = ["Encoder", "LatentODE", "Posterior", "hermite"]


@dataclass(frozen=True)
class Posterior:
    """q(z(t₀) | observations) = N(mean, diag std²) of B series, in L latent variables.

    Args:
        mean: (B, L).
        std: (B, L).
    """

    mean: Tensor
    std: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """mean + std ε for ε (..., B or 1, L)."""
        return self.mean + self.std * noise

    def divergence(self) -> Tensor:
        """KL(q ‖ N(0, I)) = ½ Σ (μ² + s² - 1 - ln s²), in nats, (B,)."""
        variance = self.std.square()
        return 0.5 * (self.mean.square() + variance - 1 - variance.log()).sum(1)


class Encoder(nn.Module):
    """An ODE-RNN that reads a series from its last observation to its first.

    Args:
        dim: D, coordinates of a point.
        latent: L, latent variables.
        recurrent: R, size of its state.
    """

    def __init__(self, dim: int, latent: int, recurrent: int) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.cell = nn.GRUCell(2 * dim, recurrent)
        self.field = _mlp(recurrent, recurrent, recurrent, depth=1)
        self.head = nn.Linear(recurrent, 2 * latent)

    def forward(self, seen: Observations) -> Posterior:
        """The posterior of the state at each series' first observation."""
        state = self._read(seen)
        mean, spread = self.head(state).chunk(2, dim=1)
        return Posterior(mean, F.softplus(spread) + 1e-4)

    def _read(self, seen: Observations) -> Tensor:
        inputs = torch.cat([seen.values, seen.mask.to(seen.values.dtype)], dim=2)
        # What the gates get from the inputs does not depend on the state: one product for all.
        gates = F.linear(inputs, self.cell.weight_ih, self.cell.bias_ih).unbind(1)
        gaps = seen.times.diff(dim=1).to(inputs.dtype).unsqueeze(2).unbind(1)
        here, everywhere = seen.present.unsqueeze(2).unbind(1), seen.present.all(0).tolist()
        state = inputs.new_zeros(len(inputs), self.recurrent)
        for index in reversed(range(len(gates))):
            updated = gru_step(gates[index], state, self.cell.weight_hh, self.cell.bias_hh)
            state = updated if everywhere[index] else torch.where(here[index], updated, state)
            if index:
                state = state + gaps[index - 1] * self.field(state)
        return state


class LatentODE(nn.Module):
    """A forecaster of series with irregular times, trained as a variational autoencoder.

    Args:
        dim: D, coordinates of a point.
        latent: L, latent variables.
        hidden: width of the two hidden layers of f; g has one of half the width. All are tanh.
        recurrent: R, size of the encoder's state.
        step: of the grid, in units of time; the smallest time in which f changes should be several.
        noise: σ, standard deviation of observations, in units of the data.

    Attributes:
        shift, scale: buffers (D,); points are standardised as (x - shift) / scale.
        nfe: evaluations of f in the last solve.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        dim: int = 2,
        latent: int = 8,
        hidden: int = 64,
        recurrent: int = 40,
        step: float = 0.125,
        noise: float = 0.3,
    ) -> None:
        super().__init__()
        sizes = {"dim": dim, "latent": latent, "hidden": hidden, "recurrent": recurrent}
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be an integer of at least 1, found {size!r}")
        for name, value in {"step": step, "noise": noise}.items():
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a number above 0, found {value!r}")
        self.dim, self.latent, self.step, self.noise = dim, latent, step, noise
        self.nfe = 0
        self.encoder = Encoder(dim, latent, recurrent)
        self.field = _mlp(latent, hidden, latent, depth=2)
        self.decoder = _mlp(latent, -(-hidden // 2), dim, depth=1)
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def observe(self, times: Tensor, values: Tensor, mask: Tensor) -> Observations:
        """Check observations as `forecast` takes them, and standardise their values.

        Raises:
            ValueError: as `forecast`.
        """
        seen = observations(times, values, mask, self.dim)
        standard = (seen.values.to(self.shift.dtype) - self.shift) / self.scale
        return Observations(
            seen.times, torch.where(seen.mask, standard, 0), seen.mask, seen.present
        )

    def encode(self, seen: Observations) -> Posterior:
        """q(z(t₀) | observations) of what `observe` returned."""
        return cast(Posterior, self.encoder(seen))

    def trajectory(self, start: Tensor, elapsed: Tensor, **solver: Any) -> Tensor:
        """z at some times after the start, by one solve for all series.

        Args:
            start: z(t₀), (B, L).
            elapsed: time since t₀, at least 0 and in any order, (B, Q).
            solver: changes of the fixed steps by `rk4`: `method`, `rtol`, `atol`, `adjoint`.

        Returns:
            (B, Q, L).

        Raises:
            SolverError: the solve fails, or needs more evaluations than a solver may.
        """
        steps = max(1, math.ceil(float(elapsed.max()) / self.step))
        grid = self.step * torch.arange(steps + 1, dtype=start.dtype, device=start.device)
        chosen = Solver("rk4", steps=steps).but(**solver)

        def field(_: Tensor, z: Tensor) -> Tensor:
            return cast(Tensor, self.field(z))

        solution = solve(field, start, grid, chosen, tuple(self.field.parameters()))
        self.nfe = solution.evaluations
        states = solution.states
        return hermite(states, self.field(states), elapsed.to(start.dtype) / self.step, self.step)

    def decode(self, z: Tensor) -> Tensor:
        """Points (..., D), in units of the data, of latent states (..., L)."""
        return cast(Tensor, self.decoder(z)) * self.scale + self.shift

    def forward(
        self, times_observed: Tensor, values: Tensor, mask: Tensor, times_query: Tensor
    ) -> Tensor:
        """The mean of `forecast`, with gradients."""
        seen = self.observe(times_observed, values, mask)
        elapsed = self._elapsed(seen, times_query)
        return self.decode(self.trajectory(self.encode(seen).mean, elapsed))

    @torch.no_grad()
    def forecast(
        self,
        times_observed: Tensor,
        values: Tensor,
        mask: Tensor,
        times_query: Tensor,
        *,
        samples: int = 16,
        generator: torch.Generator | None = None,
        **solver: Any,
    ) -> Forecast:
        """Where series are at other times, within what was observed or after it.

        A series' answer does not depend on the others of the batch, or on padding: what the mask
        leaves out is not looked at. All series share their draws of ε, z(t₀) = μ + s ε.

        Args:
            times_observed: (B, N), strictly increasing over the observed points of a series.
            values: (B, N, D), in units of the data.
            mask: which of them are observed, (B, N) or (B, N, D), bool or 0 and 1.
            times_query: (B, Q), in any order, none before the series' first observation.
            samples: S, curves to draw; may be 0.
            generator: of the CPU; torch's global one if None.
            solver: as in `trajectory`.

        Returns:
            `mean` (B, Q, D) is the curve that starts at μ; `samples` (S, B, Q, D) are curves from
            draws of q, without the noise of observations.

        Raises:
            ValueError: a wrong shape, an empty batch, an unobserved series, times that do not
                increase, NaN, or a time before a series' first observation.
            SolverError: as `trajectory`.
        """
        if samples < 0:
            raise ValueError(f"samples: expected at least 0, found {samples}")
        seen = self.observe(times_observed, values, mask)
        elapsed = self._elapsed(seen, times_query)
        posterior = self.encode(seen)
        noise = torch.randn(samples, 1, self.latent, generator=generator).to(posterior.mean)
        # The mean is the draw of ε = 0: one solve for all.
        noise = torch.cat(
            [torch.zeros_like(noise[:1] if samples else posterior.mean[None, :1]), noise]
        )
        starts = posterior.draw(noise).flatten(0, 1)
        states = self.trajectory(starts, elapsed.repeat(samples + 1, 1), **solver)
        curves = self.decode(states).view(samples + 1, *elapsed.shape, self.dim)
        return Forecast(curves[0], curves[1:])

    def _elapsed(self, seen: Observations, times_query: Tensor) -> Tensor:
        """Time from each series' first observation to what is asked for, (B, Q)."""
        check_queries(times_query, len(seen.times))
        elapsed = times_query - seen.first.unsqueeze(1)
        if bool((elapsed < 0).any()):
            series, query = (elapsed < 0).nonzero()[0].tolist()
            raise ValueError(
                f"times_query: expected times from the first observation on, at "
                f"{seen.first[series].item():g}, found {times_query[series, query].item():g} in "
                f"series {series}; the curve of a series begins with its first observation"
            )
        return elapsed


def hermite(states: Tensor, slopes: Tensor, position: Tensor, step: float) -> Tensor:
    """Cubic Hermite interpolation between equally spaced points.

    Args:
        states: z at K + 1 points, (K + 1, B, L).
        slopes: dz/dt there.
        position: where to read, in steps from the first point, 0 to K, (B, Q).
        step: between two points.

    Returns:
        (B, Q, L).
    """
    left = position.floor().clamp(0, len(states) - 2)
    s = (position - left).unsqueeze(2)
    index = left.long().unsqueeze(2).expand(-1, -1, states.shape[2])
    from_left, from_right = 1 - s, s
    points, tangents = states.transpose(0, 1), step * slopes.transpose(0, 1)
    value_left = (1 + 2 * s) * from_left.square() * points.gather(1, index)
    value_right = (3 - 2 * s) * from_right.square() * points.gather(1, index + 1)
    slope_left = s * from_left.square() * tangents.gather(1, index)
    slope_right = from_right.square() * from_left * tangents.gather(1, index + 1)
    return value_left + value_right + slope_left - slope_right


def _mlp(inputs: int, hidden: int, outputs: int, depth: int) -> nn.Sequential:
    """A perceptron with `depth` hidden layers of tanh."""
    widths = [inputs, *[hidden] * depth]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
