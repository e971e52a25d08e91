"""A small convolutional network that reads the factors of variation off an image.

It is the oracle of metrics of controllability: trained with all labels on real images, it says what
a generated image shows. Four convolutions 3 × 3 with batch norm and ReLU, a linear layer to the
features, and one to the codes:

    (C, S, S) → 32 → 64, pool → 96, pool → 128, pool → 1 × 1 to 32 → D features → K codes

The first convolution has stride 2, pools are maxima over 2 × 2 pixels. What is left of the picture
has S/16 × S/16 places, and is not averaged over them: where something is matters here.

The architecture is the zoo's own. After the oracle of Nie et al., "Semi-Supervised StyleGAN for
Disentanglement Learning", ICML 2020, arXiv 2003.03461, whose network is not known to us.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.codes import Layout
from zoo.models.factors import Factor
from zoo.models.images import check_images

__all__ = ["FactorEncoder"]

WIDTHS = (32, 64, 96, 128)
NARROW = 32
"""Channels before the places of the picture are put side by side."""


class FactorEncoder(nn.Module):
    """Images to codes of their factors.

    Args:
        factors: what is read, as `Factor` or as the JSON objects of a card; at least one.
        image_size: S, height and width; a multiple of 2^len(widths).
        image_channels: C.
        widths: channels of the convolutions, each of which halves the picture.
        features: D, numbers before the last layer.

    Attributes:
        factors: the factors, a tuple of `Factor`.
        layout: where they lie in a code.
        image_shape: (C, S, S).

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        *,
        factors: Iterable[Factor | Mapping[str, Any]],
        image_size: int = 64,
        image_channels: int = 3,
        widths: Sequence[int] = WIDTHS,
        features: int = 256,
    ) -> None:
        super().__init__()
        self.layout = Layout(factors)
        self.factors = self.layout.factors
        if not self.factors:
            raise ValueError("factors: expected at least one, found none")
        if not widths or min(widths) < 1 or image_channels < 1 or features < 1:
            raise ValueError(
                "expected positive numbers of channels and features, found "
                f"widths={tuple(widths)}, image_channels={image_channels}, features={features}"
            )
        shrink = 2 ** len(widths)
        if image_size < shrink or image_size % shrink:
            raise ValueError(
                f"image_size: expected a multiple of {shrink}, found {image_size}; "
                "every convolution halves it"
            )
        self.image_shape = (image_channels, image_size, image_size)
        places = (image_size // shrink) ** 2
        inputs = (image_channels, *widths)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, 2 if stage == 0 else 1, padding=1, bias=False)
            for stage, (before, after) in enumerate(zip(inputs, widths, strict=False))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.narrow = nn.Conv2d(widths[-1], NARROW, 1)
        self.hidden = nn.Linear(NARROW * places, features)
        self.head = nn.Linear(features, self.layout.width)

    def forward(self, images: Tensor) -> Tensor:
        """Raw codes (B, K) of images (B, C, S, S) in [0, 1].

        One number for an ordinal factor, not clamped; logits for a categorical one.

        Raises:
            ValueError: if the images have another shape, dtype or range.
        """
        raw: Tensor = self.head(self.features(images))
        return raw

    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, K) in [0, 1]: ordinal ones clamped, categorical ones probabilities.

        Raises:
            ValueError: as of `forward`.
        """
        raw = self.forward(images)
        codes = [
            raw[:, columns].softmax(1) if factor.categorical else raw[:, columns].clamp(0, 1)
            for factor in self.factors
            for columns in [self.layout.columns(factor.name)]
        ]
        return torch.cat(codes, 1)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees, (B, D), none of them negative.

        Raises:
            ValueError: as of `forward`.
        """
        dtype = self.head.weight.dtype
        check_images(images, self.image_shape, dtype)
        # Convolutions are faster in it.
        x = (2 * images.to(dtype) - 1).contiguous(memory_format=torch.channels_last)
        for stage, (convolve, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = F.relu(norm(convolve(x)), inplace=True)
            x = F.max_pool2d(x, 2) if stage > 0 else x
        flat = F.relu(self.narrow(x)).flatten(1)
        return F.relu(self.hidden(flat))
