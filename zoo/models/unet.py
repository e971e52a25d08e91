"""A small U-Net for the velocity of an image flow.

    v(t, x) = c(t) x + F(x / s(t), t) / s(t)
    c(t) = (2t - 1) / s²,     s² = t² + (1 - t)²

F is the network. For x_t = (1 - t) x_0 + t x_1 with independent x_0 and x_1 of unit variance, s is
the standard deviation of x_t, c x_t the best linear guess of x_1 - x_0 and 1 / s the deviation of
what remains: F sees and gives numbers of order one at every time. F begins at zero, where the flow
from t = 0 to 1 is the identity.

The preconditioning is that of Karras et al., "Elucidating the Design Space of Diffusion-Based
Generative Models", NeurIPS 2022, arXiv 2206.00364, for straight paths; blocks and U-Net after Ho,
Jain, Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020, arXiv 2006.11239, on patches
of 2 × 2 pixels and without attention.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Block", "UNet"]

PATCH = 2
"""Side of the squares of pixels that become channels: most of the cost is at full resolution."""
GROUP = 16
"""Channels of a group of the normalisation."""
OCTAVES = 6
"""Of the waves that tell the time; the shortest has a period of 1/16."""


class Block(nn.Module):
    """A residual block: norm, SiLU, convolution, twice; the time scales and shifts the second norm.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        time: features of the time.
    """

    def __init__(self, inputs: int, outputs: int, time: int) -> None:
        super().__init__()
        self.norm1 = _norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.film = nn.Linear(time, 2 * outputs)
        self.norm2 = _norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Maps (B, outputs, H, W) for maps (B, inputs, H, W) and features of the time (B, time)."""
        scale, shift = self.film(time)[..., None, None].chunk(2, 1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        return cast(Tensor, self.skip(x) + self.conv2(F.silu(h)))


class UNet(nn.Module):
    """The velocity of images at a time, of the images' shape.

    Args:
        channels: of the images.
        width: channels of the wider maps, at half the images' resolution; at a quarter there are
            twice as many. A multiple of 16.
        blocks: residual blocks at a quarter of the resolution.
    """

    def __init__(self, channels: int = 1, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        for name, value in {"channels": channels, "width": width, "blocks": blocks}.items():
            multiple = GROUP if name == "width" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected an integer of at least 1, found {value!r}")
            if value % multiple:
                raise ValueError(f"{name}: expected a multiple of {multiple}, found {value}")
        inner, time = channels * PATCH**2, 2 * width
        self.time = nn.Sequential(
            nn.Linear(1 + 2 * OCTAVES, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU()
        )
        self.stem = nn.Conv2d(inner, width, 3, padding=1)
        self.before = Block(width, width, time)
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.middle = nn.ModuleList(Block(2 * width, 2 * width, time) for _ in range(blocks))
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.after = Block(2 * width, width, time)
        self.norm = _norm(width)
        self.head = nn.Conv2d(width, inner, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """v(t, x) of x (B, C, H, W), with H and W multiples of 4, at times t, () or (B,)."""
        t = t.to(x.dtype).expand(len(x))
        s = (t.square() + (1 - t).square()).sqrt()[:, None, None, None]
        c = (2 * t - 1)[:, None, None, None] / s.square()
        residual = self._network(t, x / s)
        return torch.addcdiv(c * x, residual.to(x.dtype), s)

    def _network(self, t: Tensor, x: Tensor) -> Tensor:
        time = self.time(_waves(t))
        x = F.pixel_unshuffle(x, PATCH).contiguous(memory_format=torch.channels_last)
        fine = self.before(self.stem(x), time)
        coarse = self.down(fine)
        for block in self.middle:
            coarse = block(coarse, time)
        h = self.after(torch.cat([fine, self.up(coarse)], 1), time)
        return F.pixel_shuffle(self.head(F.silu(self.norm(h))), PATCH)


def _waves(t: Tensor) -> Tensor:
    """Features (B, 1 + 2 OCTAVES) of times (B,)."""
    angles = t[:, None] * (math.pi * 2 ** torch.arange(OCTAVES, device=t.device, dtype=t.dtype))
    return torch.cat([t[:, None], angles.sin(), angles.cos()], 1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // GROUP, channels)
