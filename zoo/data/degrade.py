"""The arithmetic of the corruptions: what is drawn for an image, and what then happens to it.

A corruption is a pair. A draw, `draw(n, shape, generator)`, is the random part for `n` images of
`shape` (C, H, W), one row each; it knows neither the image nor the strength. An operator,
`operator(images, drawn, strength)`, is a deterministic function of images (N, C, H, W) in [0, 1],
what was drawn, and the strength: a float64 tensor on the CPU, () where all images have the same,
else (N,). What it returns may leave [0, 1]; its callers clamp.

Draws are made on the CPU in float32 or float64: the same ones on every device and in every dtype.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

__all__ = ["blur", "gaussian", "noise", "nothing", "occlusion", "place"]

GREY = 0.5
"""Colour of the occluding patch: unlike the black background, it hides something everywhere."""

Shape = tuple[int, ...]


def nothing(n: int, shape: Shape, generator: Generator) -> Tensor:
    """Of a corruption without a random part: (n, 0)."""
    return torch.empty(n, 0)


def gaussian(n: int, shape: Shape, generator: Generator) -> Tensor:
    """A standard normal number for each value: (n, C, H, W)."""
    return torch.randn(n, *shape, generator=generator)


def place(n: int, shape: Shape, generator: Generator) -> Tensor:
    """A point of the unit square, uniform: (n, 2), float64."""
    return torch.rand(n, 2, generator=generator, dtype=torch.float64)


def noise(images: Tensor, drawn: Tensor, sigma: Tensor) -> Tensor:
    """x + σ z with z standard normal."""
    return images + _factor(sigma, images) * drawn.to(images)


def blur(images: Tensor, drawn: Tensor, sigma: Tensor) -> Tensor:
    """Convolution with a Gaussian of σ pixels, cut at ⌈3 σ⌉; the edge goes on beyond the image."""
    radius = math.ceil(3 * float(sigma.max()))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    if sigma.ndim:
        return _blur_each(images, offsets, sigma)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images)
    n, channels, height, width = images.shape
    planes = images.reshape(n * channels, 1, height, width)
    planes = F.pad(planes, (radius, radius, radius, radius), mode="replicate")
    planes = F.conv2d(F.conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return planes.reshape(images.shape)


def _blur_each(images: Tensor, offsets: Tensor, sigma: Tensor) -> Tensor:
    """`blur` with another σ for each image: A x Bᵀ, where A and B blur columns and rows."""
    sigma = sigma[:, None].clamp(min=1e-3)  # at which the kernel is one pixel
    kernels = torch.exp(-0.5 * (offsets / sigma) ** 2) * (offsets.abs() <= (3 * sigma).ceil())
    kernels = kernels / kernels.sum(1, keepdim=True)

    def matrices(size: int) -> Tensor:
        sources = (torch.arange(size)[:, None] + offsets.long()).clamp(0, size - 1)
        shape = (len(sigma), size, -1)
        blank = torch.zeros(len(sigma), size, size, dtype=kernels.dtype)
        return blank.scatter_add(2, sources.expand(shape), kernels[:, None].expand(shape))

    return _both_ways(images, matrices(images.shape[2]), matrices(images.shape[3]))


def occlusion(images: Tensor, drawn: Tensor, share: Tensor) -> Tensor:
    """A grey square at a place that is uniform among those inside the image.

    Its side is `share` of the shorter side of the image, rounded to pixels.
    """
    height, width = images.shape[2:]
    side = (share * min(height, width)).round().expand(len(images))
    spare = torch.stack([height - side + 1, width - side + 1], dim=1)
    top, left = (drawn * spare).floor().unbind(1)
    inside_rows = _between(height, top, top + side)
    inside_columns = _between(width, left, left + side)
    patch = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return images.masked_fill(patch.to(images.device), GREY)


def _factor(strength: Tensor, images: Tensor) -> Tensor | float:
    """`strength` such that it multiplies images (N, C, H, W)."""
    return strength.to(images).view(-1, 1, 1, 1) if strength.ndim else float(strength)


def _between(size: int, begin: Tensor, end: Tensor) -> Tensor:
    """Which of `size` positions lie in [begin, end): (N, size)."""
    positions = torch.arange(size)
    return (positions >= begin[:, None]) & (positions < end[:, None])


def _both_ways(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A x Bᵀ for every channel: A = `rows` (N or 1, H, H), B = `columns` (N or 1, W, W)."""
    left, right = rows.to(images)[:, None], columns.to(images)[:, None]
    return left @ images @ right.transpose(2, 3)
