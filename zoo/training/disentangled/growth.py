"""How a training grows: sizes of the images, one after the other, each faded in.

Karras et al., "Progressive Growing of GANs", ICLR 2018, arXiv 1710.10196.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch.nn.functional as F
from torch import Tensor

from zoo.models.style_generator import SMALLEST

__all__ = ["Growth", "at_level"]


@dataclass(frozen=True)
class Growth:
    """Which size the images have at which step.

    Args:
        sizes: sides of the images, each twice the one before.
        steps: steps at each of them.
        fade: share of the steps of a size, not the first, during which it fades in.
    """

    sizes: Sequence[int]
    steps: Sequence[int]
    fade: float

    @property
    def total(self) -> int:
        """All steps."""
        return sum(self.steps)

    def stage(self, step: int) -> int:
        """The position in `sizes` of the size at this step."""
        return next(i for i, end in enumerate(accumulate(self.steps)) if step < end)

    def begins(self, step: int) -> bool:
        """Whether a new size begins at this step."""
        return step > 0 and self.stage(step) != self.stage(step - 1)

    def level(self, step: int) -> float:
        """log2(size / 4); a fraction while the size fades in."""
        stage = self.stage(step)
        full = math.log2(self.sizes[stage] / SMALLEST)
        done = step - sum(self.steps[:stage])
        fading = self.fade * self.steps[stage] if stage else 0.0
        # From the first step on there is a little of the new size.
        return full if done + 1 >= fading else full - 1 + (done + 1) / fading


def at_level(images: Tensor, level: float) -> Tensor:
    """Real images (B, C, side, side) as the discriminator shall see them at `level`.

    Averaged to the size; while a size fades in, mixed with what they were at half of it.
    """
    side = SMALLEST * 2 ** math.ceil(level)
    if side < images.shape[-1]:
        images = F.avg_pool2d(images, images.shape[-1] // side)
    share = level - math.floor(level)
    if share == 0:
        return images
    small = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0)
    return small.lerp(images, share)
