"""A StyleGAN that can be told the values of factors, with the encoder that reads them.

After Nie et al., "Semi-Supervised StyleGAN for Disentanglement Learning", ICML 2020, arXiv
2003.03461: Info-StyleGAN where no labels are used in training, Semi-StyleGAN where some are. The
networks are those of the authors' predecessor code; see `style_generator` and
`style_discriminator`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.models.controllable import Controllable, check_widths
from zoo.models.factors import Factor, find
from zoo.models.style_discriminator import Discriminator
from zoo.models.style_generator import Mapping as StyleMapping
from zoo.models.style_generator import Synthesis

__all__ = ["DisentangledStyleGAN", "Generator"]

CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
"""Width of the maps of each size, where nothing else is said."""


class Generator(nn.Module):
    """Images (B, C, H, W) in [0, 1] for latent vectors (B, Z) and codes (B, K)."""

    def __init__(self, mapping: StyleMapping, synthesis: Synthesis) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis

    def forward(
        self,
        z: Tensor,
        codes: Tensor,
        *,
        level: float | None = None,
        truncation: float = 1.0,
        coarse: Tensor | None = None,
    ) -> Tensor:
        """Images in [0, 1].

        Args:
            z: latent vectors (B, Z).
            codes: (B, K) in [0, 1].
            level: while the network grows, see `Synthesis`.
            truncation: ψ; styles become mean + ψ (w - mean), those of codes like those of z.
            coarse: images to begin with, (B, C, side, side) in [0, 1], if the synthesis does.
        """
        w = self.mapping(z, codes)
        if truncation != 1:
            w = torch.lerp(self.mapping.mean, w, truncation)
        images = self.synthesis(w, level, None if coarse is None else coarse * 2 - 1)
        return cast(Tensor, images) * 0.5 + 0.5


class DisentangledStyleGAN(Controllable):
    """Generator, discriminator and encoder.

    Args:
        factors: what the codes mean: `Factor` or the JSON objects of a card; none for a plain
            StyleGAN.
        image_size: side of the images, a power of 2 from 4 on.
        image_channels: 3 or 1.
        latent_dim: numbers of z.
        style_dim: numbers of w.
        mapping_layers: fully connected layers from z and codes to w.
        mapping_rate: their learning rate multiplier.
        channels: channels of the maps at 4, 8, 16 ... pixels; if None, 512 up to 32 pixels and
            half as many for every octave above.
        features: numbers that the last layers of discriminator and encoder read.
        noise: whether the generator has noise inputs in train mode.
        progressive: whether the network can grow: images and entries at every size.

    Attributes:
        generator: latent vectors and codes -> images.
    """

    def __init__(
        self,
        factors: Iterable[Factor | Mapping[str, Any]],
        image_size: int = 64,
        image_channels: int = 3,
        latent_dim: int = 512,
        style_dim: int = 512,
        mapping_layers: int = 8,
        mapping_rate: float = 0.01,
        channels: Sequence[int] | None = None,
        features: int = 512,
        noise: bool = False,
        progressive: bool = False,
    ) -> None:
        super().__init__(factors, image_size, image_channels, latent_dim)
        if channels is None:
            channels = [width for side, width in CHANNELS.items() if side <= image_size]
        check_widths(
            channels,
            image_size,
            image_channels=image_channels,
            latent_dim=latent_dim,
            style_dim=style_dim,
            mapping_layers=mapping_layers,
            features=features,
        )
        code_dim = self.layout.width
        self.generator = Generator(
            StyleMapping(latent_dim, code_dim, style_dim, mapping_layers, mapping_rate),
            Synthesis(channels, style_dim, image_channels, noise=noise, progressive=progressive),
        )
        self.discriminator = Discriminator(
            channels, code_dim, image_channels, features=features, progressive=progressive
        )

    def forward(self, z: Tensor, codes: Tensor, truncation: float = 1.0) -> Tensor:
        """Images (B, C, H, W) in [0, 1] for latent vectors (B, Z) and codes (B, K) in [0, 1].

        Raises:
            ValueError: if a shape is wrong or a code outside [0, 1].
        """
        self._check(z, codes)
        dtype = self.generator.mapping.mean.dtype
        out: Tensor = self.generator(z.to(dtype), codes.to(dtype), truncation=truncation)
        return out

    @torch.no_grad()
    def sample(
        self,
        n: int,
        codes: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        truncation: float = 1.0,
        batch_size: int = 64,
    ) -> Tensor:
        """Draw images (n, C, H, W) in [0, 1], on the device of the model.

        Args:
            n: how many.
            codes: (n, K), or (K,) for all; if None, values are drawn uniformly.
            generator: of latent vectors and codes, which are drawn on the CPU.
            truncation: ψ, see `Generator`.
            batch_size: images made at once; makes no difference to them.

        Raises:
            ValueError: if there is not one code for each image.
        """
        z = self.latent(n, generator)
        codes = self.layout.sample(n, generator) if codes is None else codes
        codes = codes.expand(n, -1) if codes.dim() == 1 else codes
        self._check(z, codes)
        device = self.generator.mapping.mean.device
        parts = [
            self(z[i : i + batch_size].to(device), codes[i : i + batch_size].to(device), truncation)
            for i in range(0, n, batch_size)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, *self.image_shape, device=device)

    @torch.no_grad()
    def traverse(
        self,
        codes: Tensor,
        factor: str,
        steps: int | None = None,
        z: Tensor | None = None,
        *,
        truncation: float = 1.0,
    ) -> Tensor:
        """Images (steps, C, H, W) along which one factor goes from its first value to its last.

        Args:
            codes: of the other factors, (K,) or (1, K).
            factor: name of the one that moves.
            steps: how many; its number of values if None, as always for a categorical factor.
            z: one latent vector for all, (Z,) or (1, Z); zeros if None.
            truncation: ψ, see `Generator`.

        Raises:
            ValueError: if there is no such factor, or a shape is wrong.
        """
        found = self.factors[find(self.factors, factor)]
        count = found.values if steps is None or found.categorical else steps
        if count < 1:
            raise ValueError(f"steps: expected at least 1, found {count}")
        last = found.values - 1 if found.categorical else 1
        device = self.generator.mapping.mean.device
        many = codes.reshape(-1, codes.shape[-1]).to(device).expand(count, -1).clone()
        moving = self.code_of(factor, torch.linspace(0, last, count))
        many[:, self.layout.columns(factor)] = moving.to(many)
        z = torch.zeros(self.latent_dim) if z is None else z
        same = z.reshape(-1, z.shape[-1]).to(device).expand(count, -1)
        images: Tensor = self(same, many, truncation)
        return images
