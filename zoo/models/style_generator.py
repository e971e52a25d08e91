"""The generator of a StyleGAN that is told codes: a mapping to styles, and a synthesis by AdaIN.

    w = mapping([z / rms(z), c W]),      x = synthesis(w)

W is a free K × Z matrix: the codes reach every block of the synthesis through the style w alone.
Only z is normalised, so that the size of a code matters. After the predecessor code of Nie et al.,
"Semi-Supervised StyleGAN for Disentanglement Learning", ICML 2020, arXiv 2003.03461 (its body could
not be checked), in the blocks of Karras et al., "A Style-Based Generator Architecture for
Generative Adversarial Networks", CVPR 2019, arXiv 1812.04948. No noise inputs unless asked for, no
mixing of styles.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.equalised import EqualisedConv2d, EqualisedLinear, blur

__all__ = ["Epilogue", "Mapping", "Synthesis", "normalise_and_style"]

SLOPE = 0.2
"""Of every leaky ReLU where it is negative."""
EPSILON = 1e-8
SMALLEST = 4
"""Height and width of the smallest maps."""
MEAN_DECAY = 0.995
"""Of the running mean of w, which truncation draws towards."""


class Mapping(nn.Module):
    """Styles w (B, S) for latent vectors z (B, Z) and codes c (B, K).

    Args:
        latent_dim: Z.
        code_dim: K; with 0 there are no codes.
        style_dim: S.
        layers: fully connected layers.
        rate: their learning rate multiplier.
    """

    mean: Tensor

    def __init__(
        self, latent_dim: int, code_dim: int, style_dim: int, layers: int, rate: float = 0.01
    ) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.randn(code_dim, latent_dim)) if code_dim else None
        width = 2 * latent_dim if code_dim else latent_dim
        self.layers = nn.ModuleList(
            EqualisedLinear(width if i == 0 else style_dim, style_dim, gain=math.sqrt(2), rate=rate)
            for i in range(layers)
        )
        self.register_buffer("mean", torch.zeros(style_dim))

    def forward(self, z: Tensor, codes: Tensor) -> Tensor:
        """Styles (B, S) in the precision of the weights.

        In train mode the running mean of w takes them in.
        """
        with torch.autocast(z.device.type, enabled=False):
            w = self._styles(z, codes)
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(w.mean(0), 1 - MEAN_DECAY)
        return w

    def _styles(self, z: Tensor, codes: Tensor) -> Tensor:
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + EPSILON)
        if self.embed is not None:
            w = torch.cat([w, codes @ self.embed], 1)
        for layer in self.layers:
            w = F.leaky_relu(layer(w), SLOPE)
        return w


def normalise_and_style(x: Tensor, bias: Tensor, style: Tensor) -> Tensor:
    """(1 + y_s) IN(a) + y_b with a = leaky ReLU (x + bias): what follows every convolution.

    IN takes from every channel of every image its mean and divides by its standard deviation.
    Statistics are computed in float32 whatever the precision of the maps.

    Args:
        x: maps (B, C, H, W).
        bias: (C,).
        style: y_s and y_b, (B, 2C).
    """
    a = F.leaky_relu(x + bias.to(x.dtype)[:, None, None], SLOPE)
    # float64 stays what it is.
    wide = a if a.dtype == torch.float64 else a.float()
    variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
    scale, shift = style.to(wide.dtype)[:, :, None, None].chunk(2, 1)
    factor = (1 + scale) * torch.rsqrt(variance + EPSILON)
    return (wide * factor + (shift - mean * factor)).to(x.dtype)


class Epilogue(nn.Module):
    """Bias, leaky ReLU, instance norm and style; with noise also a noise image before the bias.

    Args:
        channels: C.
        style_dim: numbers of w.
        noise: whether there is a weight for noise, one for each channel, 0 at the beginning.
    """

    def __init__(self, channels: int, style_dim: int, *, noise: bool = False) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.style = EqualisedLinear(style_dim, 2 * channels)
        self.noise = nn.Parameter(torch.zeros(channels)) if noise else None
        # A training may put a compiled version here.
        self.function = normalise_and_style

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps (B, C, H, W) for maps of the same shape and styles (B, S)."""
        if self.noise is not None and self.training:
            drawn = torch.randn_like(x[:, :1])
            x = x + drawn * self.noise.to(x.dtype)[:, None, None]
        return self.function(x, self.bias, self.style(w))


class Octave(nn.Module):
    """Twice the side: enlargement, convolution, blur, epilogue; convolution, epilogue."""

    def __init__(self, inputs: int, channels: int, style_dim: int, *, noise: bool = False) -> None:
        super().__init__()
        self.up = EqualisedConv2d(inputs, channels, resample="up")
        self.first = Epilogue(channels, style_dim, noise=noise)
        self.conv = EqualisedConv2d(channels, channels)
        self.second = Epilogue(channels, style_dim, noise=noise)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = self.first(blur(self.up(x)), w)
        out: Tensor = self.second(self.conv(x), w)
        return out


class Synthesis(nn.Module):
    """Images (B, C, side, side) in [-1, 1] for styles (B, S).

    Args:
        channels: channels of the maps at 4, 8, 16 ... pixels; their number gives the side.
        style_dim: S.
        image_channels: C.
        noise: whether every epilogue has noise (in train mode).
        progressive: whether there is an image at every size, to begin the training at a small one.
        coarse_size: side of the images that take the place of the constant beginning, or None.
    """

    def __init__(
        self,
        channels: Sequence[int],
        style_dim: int,
        image_channels: int = 3,
        *,
        noise: bool = False,
        progressive: bool = False,
        coarse_size: int | None = None,
    ) -> None:
        super().__init__()
        # The index of the size where the maps begin: 0 for 4 pixels.
        self.begin = 0 if coarse_size is None else int(math.log2(coarse_size // SMALLEST))
        width = channels[self.begin]
        if coarse_size is None:
            self.constant = nn.Parameter(torch.ones(1, width, SMALLEST, SMALLEST))
        else:
            self.from_image = EqualisedConv2d(image_channels, width, 1)
        self.first = Epilogue(width, style_dim, noise=noise)
        self.conv = EqualisedConv2d(width, width)
        self.second = Epilogue(width, style_dim, noise=noise)
        sizes = range(self.begin + 1, len(channels))
        self.octaves = nn.ModuleList(
            Octave(channels[i - 1], channels[i], style_dim, noise=noise) for i in sizes
        )
        shown = range(self.begin, len(channels)) if progressive else [len(channels) - 1]
        self.to_image = nn.ModuleDict(
            {
                str(SMALLEST * 2**i): EqualisedConv2d(
                    channels[i], image_channels, 1, gain=1.0, bias=True
                )
                for i in shown
            }
        )

    def forward(
        self, w: Tensor, level: float | None = None, coarse: Tensor | None = None
    ) -> Tensor:
        """Images (B, C, side, side).

        Args:
            w: styles (B, S).
            level: while the network grows, log2(side / 4) of the images; between i and i + 1 the
                images of side 4 · 2^(i+1) fade in over the enlarged ones of half the side. None:
                the full size.
            coarse: small images (B, C, coarse_size, coarse_size) in [-1, 1], if it begins there.
        """
        if coarse is None:
            x = self.constant.expand(len(w), -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = self.from_image(coarse)
        x = self.second(self.conv(self.first(x, w)), w)
        last = self.begin + len(self.octaves)
        level = float(last) if level is None else level
        previous = x
        for octave in self.octaves[: math.ceil(level) - self.begin]:
            previous, x = x, octave(x, w)
        return torch.tanh(self._faded(x, previous, level).to(w.dtype))

    def _faded(self, x: Tensor, previous: Tensor, level: float) -> Tensor:
        image: Tensor = self._image(x, math.ceil(level))
        share = level - math.floor(level)
        if share == 0:
            return image
        small = self._image(previous, math.floor(level))
        return torch.lerp(F.interpolate(small, scale_factor=2.0), image, share)

    def _image(self, x: Tensor, index: int) -> Tensor:
        out: Tensor = self.to_image[str(SMALLEST * 2**index)](x)
        return out
