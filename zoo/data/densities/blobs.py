"""Densities in closed form: eight Gaussians, a checkerboard, noisy circles."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from zoo.data.densities.base import Density, mixture_log_prob, normal, uniform

__all__ = ["Checkerboard", "Circles", "EightGaussians"]


@dataclass(frozen=True)
class EightGaussians(Density):
    """Eight equal Gaussians on a circle: radius 4 / 1.414, σ = 0.5 / 1.414, as FFJORD has them.

    The entropy is a two-dimensional quadrature: ln 8 + ln 2πeσ² = 2.8382, that of Gaussians which
    do not overlap, is too large by 0.0063.
    """

    radius: float = 4 / 1.414
    sigma: float = 0.5 / 1.414

    def _centres(self) -> Tensor:
        angles = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
        return self.radius * torch.stack([angles.cos(), angles.sin()], 1)

    def _draw(self, n: int, generator: Generator | None) -> Tensor:
        which = torch.randint(8, (n,), generator=generator)
        return self._centres()[which] + self.sigma * normal(n, generator)

    def _log_prob(self, x: Tensor) -> Tensor:
        weights = torch.full((8,), 1 / 8, dtype=torch.float64)
        return mixture_log_prob(x, self._centres(), weights, self.sigma)


@dataclass(frozen=True)
class Checkerboard(Density):
    """Uniform on eight of the sixteen squares of side 2 in [-4, 4)², an area of 32: H = ln 32.

    A square is dark where the whole numbers ⌊x/2⌋ + ⌊y/2⌋ are even together. Outside ln p is -∞.
    """

    steps: int = 2**20
    """A draw is in the middle of one of so many steps per side: float32 holds it exactly, and no
    rounding takes it across an edge, where the density is 0."""

    def _draw(self, n: int, generator: Generator | None) -> Tensor:
        place = torch.stack([uniform(n, generator), uniform(n, generator)], 1)
        inside = ((place * self.steps).floor() + 0.5) / self.steps
        column = torch.randint(-2, 2, (n,), generator=generator)
        row = 2 * torch.randint(-1, 1, (n,), generator=generator) + column % 2
        return 2 * (torch.stack([column, row], 1) + inside)

    def _log_prob(self, x: Tensor) -> Tensor:
        square = (x / 2).floor()
        dark = (square.sum(1) % 2 == 0) & ((square >= -2) & (square < 2)).all(1)
        level = -math.log(32)
        return torch.where(dark, level, -math.inf).to(x)


@dataclass(frozen=True)
class Circles(Density):
    """Concentric circles, each as likely as the others, with Gaussian noise of σ.

    The density of a circle of radius R at the distance r is the mean of N(x; c, σ² I) over it,

        exp(-(r² + R²) / 2σ²) I₀(rR / σ²) / 2πσ²

    with the modified Bessel function I₀. The entropy is -∫ 2πr p ln p dr.
    """

    radii: tuple[float, ...]
    sigma: float

    def _draw(self, n: int, generator: Generator | None) -> Tensor:
        which = torch.randint(len(self.radii), (n,), generator=generator)
        radii = torch.tensor(self.radii, dtype=torch.float64)[which]
        angles = 2 * math.pi * uniform(n, generator)
        centres = torch.stack([angles.cos(), angles.sin()], 1) * radii[:, None]
        return centres + self.sigma * normal(n, generator)

    def _log_prob(self, x: Tensor) -> Tensor:
        r = torch.linalg.vector_norm(x, dim=1)[:, None]
        radii = torch.tensor(self.radii, dtype=torch.float64, device=x.device)
        variance = self.sigma**2
        # i0e(z) = exp(-z) I₀(z), which turns r² + R² into (r - R)².
        bessel = torch.special.i0e(r * radii / variance).log()
        exponents = -(r - radii).square() / (2 * variance) + bessel
        logs: Tensor = exponents.logsumexp(1)
        return logs - math.log(len(self.radii) * 2 * math.pi * variance)
