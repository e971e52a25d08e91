"""Decay without production, solved: dk/dt = -ε and dε/dt = -C ε²/k with any law of C.

With x = ln k/k₀, y = ln ε/ε₀, τ = t ε₀/k₀ and whatever variables h a law of C has of its own,

    dx/dτ = -e^(y - x),    dy/dτ = -C e^(y - x),    dh/dτ = f e^(y - x)

where C and f are per eddy turnover, functions of (x, y, h). As the flow decays its turnover time
k/ε grows about linearly, so equal steps are taken in θ = ln(1 + τ): a few dozen go a long way, and
for a constant C = 2 x and y are straight lines. All of a batch share the grid of θ and are read off
by cubic Hermite interpolation between its points, with an error of order step⁴, as the solver's.
Hence a forecast depends neither on its neighbours nor on which times are asked for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.models.latent_ode import hermite
from zoo.odes import Solver, solve

__all__ = ["Law", "Path", "decay"]


@dataclass(frozen=True)
class Law:
    """A law of C.

    Args:
        coefficient: function of states (..., 2 + H), giving C (...).
        hidden: function of them, giving dh/ds (..., H); None if there are no hidden variables.
        parameters: what both depend on and what shall have gradients.
    """

    coefficient: Callable[[Tensor], Tensor]
    hidden: Callable[[Tensor], Tensor] | None = None
    parameters: tuple[Tensor, ...] = ()

    def slopes(self, theta: Tensor, z: Tensor) -> Tensor:
        """dx/dθ and dy/dθ, (..., 2)."""
        coefficient = self.coefficient(z)
        turnovers = _turnovers(theta, z)
        return torch.stack([-turnovers, -coefficient * turnovers], dim=-1)

    def field(self, theta: Tensor, z: Tensor) -> Tensor:
        """dz/dθ, as z."""
        slopes = self.slopes(theta, z)
        if self.hidden is None:
            return slopes
        return torch.cat([slopes, _turnovers(theta, z).unsqueeze(-1) * self.hidden(z)], dim=-1)


@dataclass(frozen=True)
class Path:
    """A solution at equal steps of θ.

    Args:
        states: (K + 1, ..., B, 2 + H), θ = 0, step, ..., K step.
        law: what it is a solution of.
        step: of the grid.
        evaluations: of the law's field.
    """

    states: Tensor
    law: Law
    step: float
    evaluations: int

    def read(self, tau: Tensor) -> Tensor:
        """x and y at times (..., B, T) of the grid's span, (..., B, T, 2)."""
        count, *shape, _ = self.states.shape
        theta = self.step * torch.arange(count).to(self.states)
        theta = theta.view(-1, *[1] * len(shape))
        points, slopes = self.states[..., :2], self.law.slopes(theta, self.states)
        position = tau.to(points).log1p().expand(*shape, -1) / self.step
        points, slopes = points.reshape(count, -1, 2), slopes.reshape(count, -1, 2)
        found = hermite(points, slopes, position.reshape(-1, tau.shape[-1]), self.step)
        return found.view(*shape, -1, 2)


def decay(law: Law, start: Tensor, until: float, step: float, **solver: Any) -> Path:
    """Solve from τ = 0.

    Args:
        law: of C.
        start: states at τ = 0, (..., B, 2 + H).
        until: the last τ that will be read.
        step: of the grid, in θ.
        solver: changes of the fixed steps by `rk4`: `method`, `rtol`, `atol`, `adjoint`, ...

    Raises:
        SolverError: the solve fails, or needs more evaluations than a solver may.
    """
    count = max(1, math.ceil(math.log1p(until) / step))
    grid = step * torch.arange(count + 1).to(start)
    chosen = Solver("rk4", steps=count).but(**solver)
    solution = solve(law.field, start, grid, chosen, law.parameters)
    return Path(solution.states, law, step, solution.evaluations)


def _turnovers(theta: Tensor, z: Tensor) -> Tensor:
    """ds/dθ = (1 + τ) e^(y - x), (...)."""
    return (theta + z[..., 1] - z[..., 0]).exp()
