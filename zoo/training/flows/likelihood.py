"""Maximum likelihood of a continuous normalising flow, with the regularisers of RNODE.

Along dz/dt = v(z, t) from noise at t = 0 to data at t = 1 (Chen et al. 2018; FFJORD)

    log p(x) = log N(z(0); 0, I) - ∫₀¹ tr ∂v/∂z dt

The integral, and those of the regularisers, are further columns of the state of one solve from
t = 1 back to 0:

    kinetic   ∫₀¹ ‖v‖² dt           straight paths at an even speed, few steps of a solver
    Jacobian  ∫₀¹ ‖∂v/∂z‖²_F dt     a smooth field

The trace is exact for a network that knows it (`VelocityMLP.with_divergence`), or Hutchinson's
estimate εᵀ(∂v/∂z)ε; the product εᵀ∂v/∂z that it needs also estimates the Jacobian's norm.

Grathwohl et al., "FFJORD", ICLR 2019, arXiv 1810.01367; Finlay et al., "How to Train Your Neural
ODE", ICML 2020, arXiv 2002.02798.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.models.velocity import VelocityMLP
from zoo.odes import Solver, hutchinson_divergence, solve

__all__ = ["PathTerms", "path_terms"]

Rate = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class PathTerms:
    """Integrals along the paths of a batch, each (B,).

    Args:
        log_prob: of the standardised data, in nats.
        kinetic: ∫₀¹ ‖v‖² dt.
        jacobian: ∫₀¹ ‖∂v/∂z‖²_F dt.
        evaluations: of the field, forward.
    """

    log_prob: Tensor
    kinetic: Tensor | None
    jacobian: Tensor | None
    evaluations: int


def path_terms(
    velocity: nn.Module,
    data: Tensor,
    solver: Solver,
    *,
    kinetic: bool = False,
    jacobian: bool = False,
    probes: Tensor | None = None,
) -> PathTerms:
    """Follow the flow from data to noise and gather the terms of the loss on the way.

    Args:
        velocity: a `VelocityMLP`; with probes any module of (t, x (B, ...)).
        data: standardised, (B, D); with probes (B, ...).
        solver: steps or tolerances, and whether gradients take the adjoint equation.
        kinetic: whether to integrate ‖v‖².
        jacobian: whether to integrate ‖∂v/∂z‖²_F. Exactly it costs D columns carried through the
            network.
        probes: (P, B, ...) for Hutchinson's estimates; exact if None. They must be the same
            throughout a solve, and are.

    Raises:
        SolverError: the solve stalls or diverges.
    """
    shape, size = data.shape, data[0].numel()
    rate = _exact(velocity, jacobian) if probes is None else _estimated(velocity, probes)
    extra = 1 + kinetic + jacobian

    def field(t: Tensor, state: Tensor) -> Tensor:
        v, trace, squared = rate(t, state[:, :size].view(shape))
        v = v.flatten(1)
        columns = [v, trace[:, None]]
        if kinetic:
            columns.append(v.square().sum(1, keepdim=True))
        if jacobian:
            columns.append(squared[:, None])
        return torch.cat(columns, 1)

    start = torch.cat([data.flatten(1), data.new_zeros(len(data), extra)], 1)
    times = torch.tensor([1.0, 0.0], dtype=data.dtype, device=data.device)
    solution = solve(field, start, times, solver, tuple(velocity.parameters()))
    end = solution.last
    noise, trace = end[:, :size], end[:, size]
    # The solve runs backwards in time: its columns are minus the integrals from 0 to 1.
    return PathTerms(
        log_prob=trace - 0.5 * noise.square().sum(1) - 0.5 * size * math.log(2 * math.pi),
        kinetic=-end[:, size + 1] if kinetic else None,
        jacobian=-end[:, -1] if jacobian else None,
        evaluations=solution.evaluations,
    )


def _exact(
    velocity: nn.Module, jacobian: bool
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """(t, x) -> the velocity, its divergence, and ‖J‖² if asked for (else the divergence again)."""
    if not isinstance(velocity, VelocityMLP):
        raise TypeError(
            f"{type(velocity).__name__} does not know its divergence: pass probes for an estimate"
        )

    def rate(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not jacobian:
            v, trace = velocity.with_divergence(t, x)
            return v, trace, trace
        v, matrix = velocity.with_jacobian(t, x)
        trace = matrix.diagonal(dim1=1, dim2=2).sum(1)
        return v, trace, matrix.square().sum((1, 2))

    return rate


def _estimated(
    velocity: nn.Module, probes: Tensor
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    def rate(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return hutchinson_divergence(lambda points: velocity(t, points), x, probes)

    return rate
