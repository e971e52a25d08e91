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

__all__ = [
    "blur",
    "brightness",
    "contrast",
    "direction",
    "dropout",
    "gaussian",
    "impulse",
    "motion_blur",
    "noise",
    "nothing",
    "occlusion",
    "pixelate",
    "pixels",
    "place",
    "shot",
    "speckle",
    "stripe",
    "uniform",
]

GREY = 0.5
"""Colour of the occluding patch: unlike the black background, it hides something everywhere."""

STOPS = 64
"""Points along the path of a motion blur at which the image is added up."""

Shape = tuple[int, ...]


def nothing(n: int, shape: Shape, generator: Generator) -> Tensor:
    """Of a corruption without a random part: (n, 0)."""
    return torch.empty(n, 0)


def gaussian(n: int, shape: Shape, generator: Generator) -> Tensor:
    """A standard normal number for each value: (n, C, H, W)."""
    return torch.randn(n, *shape, generator=generator)


def uniform(n: int, shape: Shape, generator: Generator) -> Tensor:
    """A number in [0, 1) for each value: (n, C, H, W), float32."""
    return torch.rand(n, *shape, generator=generator)


def pixels(n: int, shape: Shape, generator: Generator) -> Tensor:
    """A number in [0, 1) for each pixel, the same one for its channels: (n, 1, H, W), float32."""
    return torch.rand(n, 1, *shape[1:], generator=generator)


def direction(n: int, shape: Shape, generator: Generator) -> Tensor:
    """An angle in [0, π): (n, 1), float64."""
    return math.pi * torch.rand(n, 1, generator=generator, dtype=torch.float64)


def place(n: int, shape: Shape, generator: Generator) -> Tensor:
    """A point of the unit square, uniform: (n, 2), float64."""
    return torch.rand(n, 2, generator=generator, dtype=torch.float64)


def noise(images: Tensor, drawn: Tensor, sigma: Tensor) -> Tensor:
    """x + σ z with z standard normal."""
    return images + _factor(sigma, images) * drawn.to(images)


def speckle(images: Tensor, drawn: Tensor, sigma: Tensor) -> Tensor:
    """x + σ x z with z standard normal: noise in proportion to the light."""
    return images + _factor(sigma, images) * images * drawn.to(images)


def shot(images: Tensor, drawn: Tensor, sigma: Tensor) -> Tensor:
    """Poisson(P x) / P: what a sensor counts of P = 1 / σ² photons from each white pixel.

    Its mean is x and its standard deviation σ √x. The count is the quantile at the number drawn, so
    that brighter pixels of an image never get fewer photons by chance alone.
    """
    photons = sigma.view(-1, 1, 1, 1) ** -2
    # On the CPU: a last bit that another device rounds otherwise could be a whole photon.
    counts = _poisson_quantile(images.cpu().double() * photons, drawn.double())
    return (counts / photons).to(images)


def _poisson_quantile(rates: Tensor, levels: Tensor) -> Tensor:
    """The least k with P(Poisson(rate) ≤ k) ≥ level.

    Args:
        rates: float64, at most a few hundred, beyond which exp(-rate) is lost.
        levels: float32 numbers in [0, 1) as float64. They end at 1 - 2⁻²⁴, which a sum of
            probabilities in float64 is sure to reach.
    """
    counts = torch.zeros_like(rates)
    term = torch.exp(-rates)
    total = term.clone()
    k = 0
    while bool((below := total < levels).any()):
        k += 1
        counts += below
        term *= rates / k
        total += term
    return counts


def impulse(images: Tensor, drawn: Tensor, share: Tensor) -> Tensor:
    """Salt and pepper: `share` of the pixels become black or white, either with equal chance."""
    half = share.view(-1, 1, 1, 1) / 2
    black, white = (mask.to(images.device) for mask in (drawn < half, drawn >= 1 - half))
    return images.masked_fill(black, 0).masked_fill(white, 1)


def dropout(images: Tensor, drawn: Tensor, share: Tensor) -> Tensor:
    """`share` of the pixels become black."""
    return images.masked_fill((drawn < share.view(-1, 1, 1, 1)).to(images.device), 0)


def contrast(images: Tensor, drawn: Tensor, lost: Tensor) -> Tensor:
    """m + (1 - lost) (x - m), where m is the mean of the image, each channel for itself."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + (1 - _factor(lost, images)) * (images - mean)


def brightness(images: Tensor, drawn: Tensor, added: Tensor) -> Tensor:
    """x + added."""
    return images + _factor(added, images)


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


def motion_blur(images: Tensor, drawn: Tensor, length: Tensor) -> Tensor:
    """The mean of the image along a straight path of `length` pixels that is centred on each pixel.

    Its direction is the angle drawn. Between pixels the image is interpolated; beyond its edge it
    goes on.
    """
    radius = math.ceil(float(length.max()) / 2)
    along = (torch.arange(STOPS, dtype=torch.float64) + 0.5) / STOPS - 0.5
    path = along * length.view(-1, 1)  # (N or 1, stops)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    shares = [  # of each offset in each stop, in rows and in columns: linear interpolation
        (1 - (offsets - (step * path)[:, :, None]).abs()).clamp(min=0)
        for step in (drawn.sin(), drawn.cos())
    ]
    kernels = torch.einsum("njy,njx->nyx", *shares) / STOPS
    n, channels, height, width = images.shape
    planes = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    planes = planes.reshape(1, n * channels, height + 2 * radius, width + 2 * radius)
    weight = kernels.to(images).repeat_interleave(channels, 0)[:, None]
    return F.conv2d(planes, weight, groups=n * channels).reshape(images.shape)


def pixelate(images: Tensor, drawn: Tensor, side: Tensor) -> Tensor:
    """Each pixel becomes the mean of its block; blocks are squares of `side` pixels, 1 or more.

    Where `side` is not a whole number, pixel i lies in block ⌊i / side⌋ of its row or column.
    """

    def matrices(size: int) -> Tensor:
        blocks = (torch.arange(size) / side.view(-1, 1)).floor()
        same = (blocks[:, :, None] == blocks[:, None, :]).double()
        return same / same.sum(2, keepdim=True)

    return _both_ways(images, matrices(images.shape[2]), matrices(images.shape[3]))


def stripe(images: Tensor, drawn: Tensor, share: Tensor) -> Tensor:
    """A stripe across the image is inverted, x → 1 - x; it is upright or level, with equal chance.

    Its width is `share` of the image's, or of its height, rounded to pixels.
    """
    height, width = images.shape[2:]
    share = share.expand(len(images))
    rows, columns = (
        _stretch(size, (share * size).round(), drawn[:, 1]) for size in (height, width)
    )
    upright = drawn[:, 0, None, None, None] < 0.5
    inside = torch.where(upright, columns[:, None, None, :], rows[:, None, :, None])
    return torch.where(inside.to(images.device), 1 - images, images)


def occlusion(images: Tensor, drawn: Tensor, share: Tensor) -> Tensor:
    """A grey square at a place that is uniform among those inside the image.

    Its side is `share` of the shorter side of the image, rounded to pixels.
    """
    height, width = images.shape[2:]
    side = (share * min(height, width)).round().expand(len(images))
    rows, columns = (
        _stretch(size, side, drawn[:, axis]) for axis, size in enumerate((height, width))
    )
    patch = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(patch.to(images.device), GREY)


def _factor(strength: Tensor, images: Tensor) -> Tensor | float:
    """`strength` such that it multiplies images (N, C, H, W)."""
    return strength.to(images).view(-1, 1, 1, 1) if strength.ndim else float(strength)


def _stretch(size: int, length: Tensor, where: Tensor) -> Tensor:
    """Which of `size` pixels lie in a stretch of `length` of them: (N, size).

    Args:
        length: (N,), whole numbers up to `size`.
        where: (N,), in [0, 1): from the first place that it can have to the last.
    """
    begin = (where * (size - length + 1)).floor()[:, None]
    positions = torch.arange(size)
    return (positions >= begin) & (positions < begin + length[:, None])


def _both_ways(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A x Bᵀ for every channel: A = `rows` (N or 1, H, H), B = `columns` (N or 1, W, W)."""
    left, right = rows.to(images)[:, None], columns.to(images)[:, None]
    return left @ images @ right.transpose(2, 3)
