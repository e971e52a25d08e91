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

import torch
from torch import Tensor

from zoo.training.flows.coupling import optimal_pairs

__all__ = ["Velocity", "draw_pairs", "matching_loss"]

Velocity = Callable[[Tensor, Tensor], Tensor]
"""v(t, x): times (B,) and points (B, ...) to velocities (B, ...)."""


def draw_pairs(
    data: Tensor, *, optimal: bool, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What one step of flow matching draws for a batch of data.

    Args:
        data: standardised, (B, ...).
        optimal: whether the pairs are those of the optimal transport, or independent.
        generator: of noise and times, drawn on the CPU.

    Returns:
        Noise (B, ...), the data in the order of the pairs, and times (B,), on the device of `data`.
    """
    noise = torch.randn(data.shape, generator=generator, dtype=data.dtype).to(data.device)
    times = torch.rand(len(data), generator=generator, dtype=data.dtype).to(data.device)
    return noise, data[optimal_pairs(noise, data)] if optimal else data, times


def matching_loss(
    velocity: Velocity,
    noise: Tensor,
    data: Tensor,
    times: Tensor,
    *,
    sigma: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean squared distance of the velocity from the direction of each pair; without dimensions.

    Args:
        velocity: the field, at one time per point.
        noise: (B, ...).
        data: (B, ...), standardised, paired with the noise.
        times: (B,) in [0, 1].
        sigma: standard deviation of the blur around each line.
        generator: of the blur, drawn on the CPU.
    """
    t = times.view(-1, *[1] * (data.dim() - 1))
    between = torch.lerp(noise, data, t)
    if sigma > 0:
        blur = torch.randn(data.shape, generator=generator, dtype=data.dtype).to(data.device)
        between = between + sigma * blur
    error = velocity(times, between) - (data - noise)
    return error.square().flatten(1).sum(1).mean()
