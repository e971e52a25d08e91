"""The discriminator of a StyleGAN that is also the encoder: one trunk, two last layers.

The logit says whether an image is real, the raw codes which values its factors have. Both read the
same features; the encoder costs one linear layer. After the predecessor code of Nie et al.,
"Semi-Supervised StyleGAN for Disentanglement Learning", ICML 2020, arXiv 2003.03461.

One departure: near its end the trunk sees how much the images of a group of four differ. For the
codes that number is 0, or what an image shows would depend on the images beside it.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.equalised import EqualisedConv2d, EqualisedLinear, blur
from zoo.models.style_generator import SLOPE, SMALLEST

__all__ = ["Discriminator", "batch_deviation"]


class Reduction(nn.Module):
    """Half the side: convolution; blur, convolution, average."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv = EqualisedConv2d(channels, channels, bias=True)
        self.down = EqualisedConv2d(channels, outputs, bias=True, resample="down")

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv(x), SLOPE)
        return F.leaky_relu(self.down(blur(x)), SLOPE)


class Discriminator(nn.Module):
    """Logits and raw codes of images.

    Args:
        channels: channels of the maps at 4, 8, 16 ... pixels; their number gives the side.
        code_dim: K, numbers of a code; with 0 there is no encoder.
        image_channels: C.
        features: numbers that the last layers read.
        group: images whose spread the trunk sees.
        progressive: whether there is an entry at every size, as in the generator.
    """

    def __init__(
        self,
        channels: Sequence[int],
        code_dim: int,
        image_channels: int = 3,
        *,
        features: int = 512,
        group: int = 4,
        progressive: bool = False,
    ) -> None:
        super().__init__()
        last = len(channels) - 1
        self.group, self.code_dim = group, code_dim
        self.from_image = nn.ModuleDict(
            {
                str(SMALLEST * 2**i): EqualisedConv2d(image_channels, channels[i], 1, bias=True)
                for i in (range(len(channels)) if progressive else [last])
            }
        )
        # From the largest maps to the smallest.
        self.reductions = nn.ModuleList(
            Reduction(channels[i], channels[i - 1]) for i in range(last, 0, -1)
        )
        self.conv = EqualisedConv2d(channels[0] + 1, channels[0], bias=True)
        self.dense = EqualisedLinear(channels[0] * SMALLEST**2, features, gain=math.sqrt(2))
        self.logit = EqualisedLinear(features, 1, bias=None)
        self.code = EqualisedLinear(features, code_dim, bias=0.5) if code_dim else None

    def forward(self, images: Tensor, level: float | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B,) and raw codes (B, K), in the precision of the weights.

        Args:
            images: (B, C, side, side) in [0, 1].
            level: while the network grows, as in the generator.
        """
        maps = self.maps(images, level)
        return self.judge(maps), self.read(maps)

    def maps(self, images: Tensor, level: float | None = None) -> Tensor:
        """Maps (B, channels, 4, 4), which both ends read."""
        images = (images * 2 - 1).contiguous(memory_format=torch.channels_last)
        last = len(self.reductions)
        level = float(last) if level is None else level
        upper, share = math.ceil(level), level - math.floor(level)
        x = self._enter(images, upper)
        for index in range(upper, 0, -1):
            x = self.reductions[last - index](x)
            if index == upper and share > 0:
                small = self._enter(F.avg_pool2d(images, 2), upper - 1)
                x = torch.lerp(small, x, share)
        return x

    def judge(self, maps: Tensor) -> Tensor:
        """Logits (B,)."""
        spread = batch_deviation(maps, self.group)
        return _precise(self.logit, self._end(maps, spread)).squeeze(1)

    def read(self, maps: Tensor) -> Tensor:
        """Raw codes (B, K): numbers for ordinal factors, logits for categorical ones."""
        if self.code is None:
            return maps.new_zeros(len(maps), 0)
        return _precise(self.code, self._end(maps, _nothing(maps)))

    def features(self, images: Tensor) -> Tensor:
        """What the encoder's last layer reads, (B, features)."""
        maps = self.maps(images)
        return self._end(maps, _nothing(maps))

    def _end(self, maps: Tensor, spread: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv(torch.cat([maps, spread], 1)), SLOPE)
        return F.leaky_relu(self.dense(x.flatten(1)), SLOPE)

    def _enter(self, images: Tensor, index: int) -> Tensor:
        return F.leaky_relu(self.from_image[str(SMALLEST * 2**index)](images), SLOPE)


def batch_deviation(x: Tensor, group: int) -> Tensor:
    """The standard deviation over a group of images, averaged over channels and pixels.

    Images that follow one another make a group.

    Args:
        x: maps (B, C, H, W).
        group: images of a group; the largest divisor of B up to this is taken.

    Returns:
        One channel with the same number everywhere, (B, 1, H, W).
    """
    size = next(each for each in range(min(group, len(x)), 0, -1) if len(x) % each == 0)
    wide = x if x.dtype == torch.float64 else x.float()
    groups = wide.view(-1, size, *x.shape[1:])
    variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
    deviation = (variance + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)
    spread = deviation.repeat_interleave(size, 0).to(x.dtype)
    return spread.expand(-1, 1, x.shape[2], x.shape[3])


def _nothing(maps: Tensor) -> Tensor:
    """What stands in the place of the deviation where the images beside must not count."""
    return maps.new_zeros(len(maps), 1, *maps.shape[2:])


def _precise(layer: EqualisedLinear, features: Tensor) -> Tensor:
    """A last layer in the precision of its weights, which autocast would round."""
    with torch.autocast(features.device.type, enabled=False):
        out: Tensor = layer(features.to(layer.weight.dtype))
    return out
