"""What controllable generators share: factors and their codes, the encoder, what they are asked."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.codes import Layout
from zoo.models.factors import Factor, find
from zoo.models.images import check_images
from zoo.models.style_discriminator import Discriminator
from zoo.models.style_generator import SMALLEST

__all__ = ["Controllable", "check_widths"]


class Controllable(nn.Module):
    """A model whose codes can be chosen for an image, and read from one.

    Attributes:
        discriminator: images -> logits and raw codes.
        factors: in the order of the codes.
        layout: where they lie in a code.
        latent_dim: numbers of z.
        image_shape: (C, H, W).
        image_size: H and W.
    """

    discriminator: Discriminator

    def __init__(
        self,
        factors: Iterable[Factor | Mapping[str, Any]],
        image_size: int,
        image_channels: int,
        latent_dim: int,
    ) -> None:
        super().__init__()
        self.layout = Layout(factors)
        self.latent_dim, self.image_size = latent_dim, image_size
        self.image_shape = (image_channels, image_size, image_size)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors, each with its name, number of values and meaning."""
        return self.layout.factors

    def encode(self, images: Tensor) -> Tensor:
        """The codes (B, K) in [0, 1] that images (B, C, H, W) in [0, 1] show.

        Ordinal factors are clamped; of a categorical one come the probabilities of its values.

        Raises:
            ValueError: if these are no images of the model's size.
        """
        check_images(images, self.image_shape, self.discriminator.dense.weight.dtype)
        raw = self.discriminator.read(self.discriminator.maps(images))
        parts = [
            part.softmax(1) if factor.categorical else part.clamp(0, 1)
            for factor, part in zip(self.factors, self.split(raw), strict=True)
        ]
        return torch.cat(parts, 1) if parts else raw

    def split(self, codes: Tensor) -> list[Tensor]:
        """The columns of codes (B, K), factor by factor."""
        return [codes[:, self.layout.columns(factor.name)] for factor in self.factors]

    def code_of(self, factor: str, values: Tensor) -> Tensor:
        """Codes (N, width) of one factor: numbers in [0, 1] if ordinal, indices if categorical.

        Raises:
            ValueError: if there is no such factor, or a value is out of range.
        """
        found = self.factors[find(self.factors, factor)]
        last = found.values - 1 if found.categorical else 1
        if values.numel() and not (values.amin() >= 0 and values.amax() <= last):
            raise ValueError(
                f"{factor}: expected values in [0, {last}], found "
                f"{values.amin().item():.3g} to {values.amax().item():.3g}"
            )
        if not found.categorical:
            return values.float()[:, None]
        if not torch.equal(values, values.round()):
            raise ValueError(f"{factor} has no order: expected one of 0 ... {last}")
        return nn.functional.one_hot(values.long(), found.values).float()

    def latent(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Latent vectors (n, latent_dim) from N(0, I), drawn on the CPU."""
        return torch.randn(n, self.latent_dim, generator=generator)

    def _check(self, z: Tensor, codes: Tensor) -> None:
        if z.dim() != 2 or z.shape[1] != self.latent_dim or not z.is_floating_point():
            raise ValueError(
                f"expected latent vectors of shape (B, {self.latent_dim}), "
                f"found {z.dtype} {tuple(z.shape)}"
            )
        self.layout.check(codes)
        if len(z) != len(codes):
            raise ValueError(
                f"expected a code for every latent vector, found {len(codes)} and {len(z)}"
            )


def check_widths(channels: Sequence[int], image_size: int, **numbers: int) -> None:
    """Refuse sizes that make no network.

    Args:
        channels: of the maps at 4, 8, 16 ... pixels.
        image_size: what the last of them has to be.
        numbers: further numbers, which have to be at least 1.

    Raises:
        ValueError: says which and what was expected.
    """
    octaves = math.log2(image_size / SMALLEST) if image_size >= SMALLEST else 0.5
    if octaves != int(octaves):
        raise ValueError(f"image_size: expected 4, 8, 16, 32 ..., found {image_size}")
    expected = int(octaves) + 1
    if len(channels) != expected:
        raise ValueError(
            f"channels: expected {expected} numbers, for 4 to {image_size} pixels; "
            f"found {len(channels)}"
        )
    named = [(f"channels[{i}]", each) for i, each in enumerate(channels)]
    for name, value in [*named, *numbers.items()]:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, found {value!r}")
