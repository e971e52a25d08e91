"""Conditional flow matching: a flow is learnt by regression, without solving an equation.

Noise x₀ ~ N(0, I) and data x₁ are joined by straight lines, x_t = (1 - t) x₀ + t x₁ + σ ε with
t ~ U[0, 1], and the velocity is regressed on their direction:

    E ‖v(x_t, t) - (x₁ - x₀)‖²

Its minimiser v(x, t) = E[x₁ - x₀ | x_t = x] carries the noise to the data (to the data blurred by
σ). With independent pairs this is I-CFM, with pairs of the optimal transport between the two
halves of the batch OT-CFM (`zoo.training.flows.coupling`).

Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, arXiv 2210.02747; Tong et al.,
TMLR 2024, arXiv 2302.00482.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.training.flows.coupling import optimal_pairs

__all__ = ["Pairs", "Velocity", "draw_pairs", "matching_loss"]

Velocity = Callable[[Tensor, Tensor], Tensor]
"""v(t, x): times (B,) and points (B, ...) to velocities (B, ...)."""


class Pairs(NamedTuple):
    """What the velocity is regressed on."""

    points: Tensor
    """x_t, (B, ...)."""
    directions: Tensor
    """x₁ - x₀, (B, ...)."""
    times: Tensor
    """t, (B,)."""


def draw_pairs(
    data: Tensor,
    *,
    optimal: bool,
    sigma: float = 0.0,
    generator: torch.Generator | None = None,
) -> Pairs:
    """Draw noise and times for a batch of data, and join them.

    Args:
        data: standardised, (B, ...).
        optimal: whether the pairs are those of the optimal transport, or independent.
        sigma: standard deviation of the blur around the lines.
        generator: of noise, times and blur, drawn on the CPU.
    """
    shape, dtype, device = data.shape, data.dtype, data.device
    noise = torch.randn(shape, generator=generator, dtype=dtype).to(device)
    times = torch.rand(len(data), generator=generator, dtype=dtype).to(device)
    if optimal:
        data = data[optimal_pairs(noise, data)]
    points = torch.lerp(noise, data, times.view(-1, *[1] * (data.dim() - 1)))
    if sigma > 0:
        blur = torch.randn(shape, generator=generator, dtype=dtype).to(device)
        points = points + sigma * blur
    return Pairs(points, data - noise, times)


def matching_loss(velocity: Velocity, pairs: Pairs) -> Tensor:
    """Mean squared distance of the velocity from the directions of the pairs, one number."""
    error = velocity(pairs.times, pairs.points) - pairs.directions
    return error.square().flatten(1).sum(1).mean()
