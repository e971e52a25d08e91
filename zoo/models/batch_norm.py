"""Batch norm that also says what it measured: mean and variance per channel, with their gradients.

Moment matching compares the statistics of two maps that are normalised anyway, so the statistics
come from the normalisation, and a loss of them costs one more pass over the map, backward.

Source: Ioffe, Szegedy, "Batch Normalization", ICML 2015, arXiv 1502.03167.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["BatchNorm", "Moments"]

EPSILON = 1e-5
MOMENTUM = 0.1
"""Share of a batch in the running statistics."""


class Moments(NamedTuple):
    """Statistics per channel, over batch and space, each (C,)."""

    mean: Tensor
    variance: Tensor
    """Of the population: divided by the number of values."""


class BatchNorm(nn.Module):
    """(x - mean) / √(variance + 1e-5) · gain + shift, per channel.

    In training the statistics are those of the batch, and running ones follow them; otherwise they
    are the running ones. The shift is the caller's: in the bottom-up direction of a rendering model
    it is the layer's bias, which its prior uses as well.

    Args:
        channels: C of the maps.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_variance", torch.ones(channels))

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        """Maps (B, C, H, W), normalised, plus the shift (C,)."""
        running = (self.running_mean, self.running_variance)
        return F.batch_norm(x, *running, self.gain, shift, self.training, MOMENTUM, EPSILON)

    def with_moments(self, x: Tensor, shift: Tensor) -> tuple[Tensor, Moments]:
        """As `forward`, and the moments of x; outside training the running ones."""
        if not self.training:
            return self(x, shift), Moments(self.running_mean, self.running_variance)
        running = (self.running_mean, self.running_variance)
        y, mean, variance = _BatchNormMoments.apply(x, self.gain, shift, *running)
        return y, Moments(mean, variance)


class _BatchNormMoments(torch.autograd.Function):
    """Batch norm in training, and the mean and variance of x, which are differentiable as well.

    With N values a channel, ∂mean/∂x = 1 / N and ∂variance/∂x = 2 (x - mean) / N.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, batch_mean, inverse = torch.native_batch_norm(
            x, gain, shift, mean, variance, True, MOMENTUM, EPSILON
        )
        ctx.save_for_backward(x, gain, batch_mean, inverse)
        ctx.set_materialize_grads(False)
        return y, batch_mean.clone(), inverse.pow(-2) - EPSILON

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor | None, of_mean: Tensor | None, of_variance: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, gain, mean, inverse = ctx.saved_tensors
        grad_x, grad_gain, grad_shift = None, None, None
        if grad is not None:
            grad_x, grad_gain, grad_shift = torch.ops.aten.native_batch_norm_backward(
                grad, x, gain, None, None, mean, inverse, True, EPSILON, [True, True, True]
            )
        if of_mean is not None or of_variance is not None:
            count = x.numel() // x.shape[1]
            slope = torch.zeros_like(mean) if of_variance is None else 2 * of_variance / count
            level = torch.zeros_like(mean) if of_mean is None else of_mean / count
            slope, level = (
                v.to(x.dtype).view(1, -1, *[1] * (x.dim() - 2))
                for v in (slope, level - slope * mean)
            )
            extra = torch.addcmul(level, slope, x)
            grad_x = extra if grad_x is None else grad_x.add_(extra)
        return grad_x, grad_gain, grad_shift, None, None
