"""Layers with an equalised learning rate, and convolutions fused with resampling and blur.

Weights are drawn from N(0, 1) and scaled by gain / √fan-in at run time, so that Adam moves every
layer by the same share of its weights: Karras et al., "Progressive Growing of GANs", ICLR 2018,
arXiv 1710.10196, section 4.1.

A convolution behind a nearest-neighbour enlargement by 2, or before an average over 2 × 2, is one
strided convolution with a 4 × 4 kernel: the same numbers for 4/9 of the multiplications.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EqualisedConv2d", "EqualisedLinear", "blur"]

Resample = Literal["none", "up", "down"]


class EqualisedLinear(nn.Module):
    """y = x (s W)ᵀ + m b with W ~ N(0, 1) / m and s = m gain / √in.

    Args:
        inputs: numbers of x.
        outputs: numbers of y.
        gain: of the initialisation; √2 before a leaky ReLU, 1 before none.
        bias: value of b at the beginning, or None for no bias.
        rate: m, how much faster or slower than Adam's learning rate the layer learns.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        gain: float = 1.0,
        bias: float | None = 0.0,
        rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = None if bias is None else nn.Parameter(torch.full((outputs,), float(bias)))
        self.scale, self.rate = gain * rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in) to (B, out)."""
        bias = self.bias if self.bias is None or self.rate == 1 else self.bias * self.rate
        return F.linear(x, self.weight * self.scale, bias)


class EqualisedConv2d(nn.Module):
    """A convolution that keeps the side, doubles it or halves it.

    "up" is a nearest-neighbour enlargement followed by the convolution, "down" the convolution
    followed by an average over 2 × 2; both are computed as one strided convolution.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side of the kernel, odd; 3 for "up" and "down".
        gain: of the initialisation.
        bias: whether there is one, 0 at the beginning.
        resample: "none", "up" or "down".
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        gain: float = math.sqrt(2),
        bias: bool = False,
        resample: Resample = "none",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.resample = gain / math.sqrt(inputs * kernel**2), resample

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in, H, W) to (B, out, H, W), (B, out, 2H, 2W) or (B, out, H/2, W/2)."""
        weight = self.weight * self.scale
        if self.resample == "up":
            fused = _spread(weight.flip(2, 3)).transpose(0, 1)
            return F.conv_transpose2d(x, fused, self.bias, stride=2, padding=1)
        if self.resample == "down":
            return F.conv2d(x, _spread(weight) / 4, self.bias, stride=2, padding=1)
        return F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)


def blur(x: Tensor) -> Tensor:
    """Every channel of (B, C, H, W) filtered by [1, 2, 1]ᵀ [1, 2, 1] / 16, zeros outside."""
    line = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device)
    kernel = torch.outer(line, line) / 16
    channels = x.shape[1]
    return F.conv2d(x, kernel.expand(channels, 1, 3, 3), padding=1, groups=channels)


def _spread(weight: Tensor) -> Tensor:
    """The sum of the four shifts of a 3 × 3 kernel in a 4 × 4 one."""
    return (
        F.pad(weight, (0, 1, 0, 1))
        + F.pad(weight, (1, 0, 0, 1))
        + F.pad(weight, (0, 1, 1, 0))
        + F.pad(weight, (1, 0, 1, 0))
    )
