"""A StyleGAN that edits the fine factors of an image: image to image.

The constant at the beginning of the synthesis is replaced by the image, averaged to 16 × 16 pixels:
from there comes what is coarse, position and shape. Codes of the fine factors, such as colour and
light, reach the blocks through the style. Nothing ties the result to the image but those pixels.

After "FC-StyleGAN", the predecessor of Semi-StyleGAN-fine, in the authors' public code: Nie et al.,
"Semi-Supervised StyleGAN for Disentanglement Learning", ICML 2020, arXiv 2003.03461. How far the
paper's own generator is the same could not be checked.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from zoo.models.controllable import Controllable, check_widths
from zoo.models.disentangled_style_gan import CHANNELS, Generator
from zoo.models.factors import Factor
from zoo.models.images import check_images
from zoo.models.style_discriminator import Discriminator
from zoo.models.style_generator import Mapping as StyleMapping
from zoo.models.style_generator import Synthesis

__all__ = ["FineStyleGAN"]


class FineStyleGAN(Controllable):
    """Generator from images to images, discriminator and encoder of the fine factors.

    Args:
        factors: the fine factors, at least one: `Factor` or the JSON objects of a card.
        image_size: side of the images, more than `coarse_size`.
        image_channels: 3 or 1.
        coarse_size: side that images are averaged to before they enter.
        latent_dim: numbers of z.
        style_dim: numbers of w.
        mapping_layers: fully connected layers from z and codes to w.
        mapping_rate: their learning rate multiplier.
        channels: channels of the maps at 4, 8, 16 ... pixels; the generator uses those from
            `coarse_size` on. As in `DisentangledStyleGAN` if None.
        features: numbers that the last layers of discriminator and encoder read.
        progressive: whether the network can grow.

    Attributes:
        generator: latent vectors, codes and coarse images -> images.
    """

    golden_row = "image-editing"

    def __init__(
        self,
        factors: Iterable[Factor | Mapping[str, Any]],
        image_size: int = 64,
        image_channels: int = 3,
        coarse_size: int = 16,
        latent_dim: int = 512,
        style_dim: int = 512,
        mapping_layers: int = 8,
        mapping_rate: float = 0.01,
        channels: Sequence[int] | None = None,
        features: int = 512,
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
        if not self.factors:
            raise ValueError("factors: expected at least one, found none")
        if coarse_size not in [4 * 2**i for i in range(len(channels) - 1)]:
            raise ValueError(
                f"coarse_size: expected 4, 8, 16 ... below {image_size}, found {coarse_size}"
            )
        self.coarse_size = coarse_size
        code_dim = self.layout.width
        self.generator = Generator(
            StyleMapping(latent_dim, code_dim, style_dim, mapping_layers, mapping_rate),
            Synthesis(
                channels,
                style_dim,
                image_channels,
                progressive=progressive,
                coarse_size=coarse_size,
            ),
        )
        self.discriminator = Discriminator(
            channels, code_dim, image_channels, features=features, progressive=progressive
        )

    def coarse(self, images: Tensor) -> Tensor:
        """What the generator sees of images: their averages over `coarse_size` squares a side."""
        return adaptive_avg_pool2d(images, self.coarse_size)

    def forward(self, images: Tensor, z: Tensor, codes: Tensor) -> Tensor:
        """Edited images (B, C, H, W) in [0, 1].

        Args:
            images: (B, C, H, W) in [0, 1].
            z: latent vectors (B, Z).
            codes: what the fine factors shall be, (B, K) in [0, 1].

        Raises:
            ValueError: if a shape or a range is wrong.
        """
        self._check(z, codes)
        dtype = self.generator.mapping.mean.dtype
        check_images(images, self.image_shape, dtype)
        if len(images) != len(codes):
            raise ValueError(
                f"expected a code for every image, found {len(codes)} for {len(images)}"
            )
        coarse = self.coarse(images.to(dtype))
        out: Tensor = self.generator(z.to(dtype), codes.to(dtype), coarse=coarse)
        return out

    @torch.no_grad()
    def edit(self, images: Tensor, z: Tensor | None = None, **values: float) -> Tensor:
        """Images (B, C, H, W) with some fine factors changed; the others stay as they are read.

        Args:
            images: (B, C, H, W) in [0, 1].
            z: latent vectors (B, Z); zeros if None.
            values: name of a factor = its new value, in [0, 1] if it is ordinal, its index if not:
                `model.edit(images, wall_color=1.0)`.

        Raises:
            ValueError: if there is no such factor, a value is out of range, or these are no images.
        """
        codes = self.encode(images)
        for name, value in values.items():
            new = self.code_of(name, torch.tensor([float(value)]))
            codes[:, self.layout.columns(name)] = new.to(codes)
        z = torch.zeros(len(images), self.latent_dim, device=images.device) if z is None else z
        edited: Tensor = self(images, z, codes)
        return edited
