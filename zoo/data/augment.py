"""Augmentation of batches of images: the same generator gives the same batch on every device."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["crop_and_flip"]


def crop_and_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Shift each image by up to `padding` pixels, black at the edges, and mirror every other one.

    The usual augmentation of CIFAR-10: a random crop of the padded image and a random flip.

    Args:
        images: (B, C, H, W).
        generator: on the CPU.
        padding: pixels added on every side before the crop.
    """
    n, _, height, width = images.shape
    shift = torch.randint(2 * padding + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.arange(width).expand(n, -1)
    columns = torch.where(mirrored, columns.flip(1), columns) + shift[1]
    rows = torch.arange(height) + shift[0]
    padded = F.pad(images, (padding, padding, padding, padding))
    batch = torch.arange(n)[:, None, None]
    # Indexing with the channels in between moves them last.
    chosen = padded[batch, :, rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2)
