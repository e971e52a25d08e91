"""Densities along curves with noise: an integral over the curve, by a Gauss-Legendre rule.

The rules have as many nodes as bring ln p within 1e-6 of its limit anywhere in the box (a test
doubles them); far outside the box the relative error stays small and ln p finite.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from zoo.data.densities.base import Density, legendre, mixture_log_prob, normal, uniform

__all__ = ["Moons", "SwissRoll", "TwoSpirals"]


@dataclass(frozen=True)
class Moons(Density):
    """Two half circles, interleaved: scikit-learn's with noise 0.1, times 2, shifted.

        (2 cos t - 1, 2 sin t - 0.2)   and   (1 - 2 cos t, 0.8 - 2 sin t)

    with equal chance, t uniform in [0, π], plus Gaussian noise of σ = 0.2.

        p(x) = 1/2π Σ ∫ N(x; c(t), σ² I) dt

    The entropy is a two-dimensional quadrature.
    """

    sigma: float = 0.2
    nodes: int = 96
    """On each moon."""

    @staticmethod
    def _moons(u: Tensor) -> tuple[Tensor, Tensor]:
        """Both moons at t = π u: (n, 2) each. The second is the first turned by π."""
        t = math.pi * u
        first = torch.stack([2 * t.cos() - 1, 2 * t.sin() - 0.2], 1)
        return first, torch.tensor([0.0, 0.6], dtype=u.dtype) - first

    def _draw(self, n: int, generator: Generator | None) -> Tensor:
        first, second = self._moons(uniform(n, generator))
        which = torch.randint(2, (n, 1), generator=generator)
        return torch.where(which == 0, first, second) + self.sigma * normal(n, generator)

    def _log_prob(self, x: Tensor) -> Tensor:
        places, weights = legendre(self.nodes)
        centres = torch.cat(self._moons(places))
        return mixture_log_prob(x, centres, weights.repeat(2) / 2, self.sigma)


@dataclass(frozen=True)
class SwissRoll(Density):
    """A spiral: scikit-learn's roll with noise 1, its first and third coordinates, over 5.

        (t cos t, t sin t) / 5,   t = 3π/2 (1 + 2u),   u uniform in [0, 1]

    plus Gaussian noise of σ = 0.2: p(x) = ∫ N(x; c(u), σ² I) du. The entropy is a two-dimensional
    quadrature.
    """

    sigma: float = 0.2
    nodes: int = 256

    @staticmethod
    def _curve(u: Tensor) -> Tensor:
        t = 1.5 * math.pi * (1 + 2 * u)
        return torch.stack([t * t.cos(), t * t.sin()], 1) / 5

    def _draw(self, n: int, generator: Generator | None) -> Tensor:
        return self._curve(uniform(n, generator)) + self.sigma * normal(n, generator)

    def _log_prob(self, x: Tensor) -> Tensor:
        places, weights = legendre(self.nodes)
        return mixture_log_prob(x, self._curve(places), weights, self.sigma)


@dataclass(frozen=True)
class TwoSpirals(Density):
    """Two spirals, each the other turned by π, with noise that is uniform and Gaussian.

        ± ((-t cos t, t sin t) + U) / 3 + σ z,   t = 3π s,   s = √u

    with u uniform in [0, 1], U uniform in [0, 1/2]², z standard normal and σ = 0.1. Given t and
    the sign, the coordinates are independent; a difference d from the curve has the density

        k(d) = (Φ(d/σ) - Φ((d - w)/σ)) / w,   w = 1/6,

    that of a uniform plus a Gaussian variable. The density of s is 2s, hence for the first spiral

        q(x) = ∫ 2s k(x₁ - c₁(s)) k(x₂ - c₂(s)) ds,   p(x) = (q(x) + q(-x)) / 2.

    The entropy is a two-dimensional quadrature.
    """

    sigma: float = 0.1
    width: float = 0.5 / 3
    nodes: int = 448

    @staticmethod
    def _curve(s: Tensor) -> Tensor:
        t = 3 * math.pi * s
        return torch.stack([-t * t.cos(), t * t.sin()], 1) / 3

    def _draw(self, n: int, generator: Generator | None) -> Tensor:
        curve = self._curve(uniform(n, generator).sqrt())
        offset = torch.stack([uniform(n, generator), uniform(n, generator)], 1)
        sign = 1 - 2 * torch.randint(2, (n, 1), generator=generator)
        return sign * (curve + self.width * offset) + self.sigma * normal(n, generator)

    def _log_prob(self, x: Tensor) -> Tensor:
        return torch.logaddexp(self._first(x), self._first(-x)) - math.log(2)

    def _first(self, x: Tensor) -> Tensor:
        """ln q(x)."""
        places, weights = (part.to(x.device) for part in legendre(self.nodes))
        curve, weights = self._curve(places) / self._unit, 2 * places * weights
        points = (x - self.width / 2) / self._unit
        distances = [(points[:, axis, None] - curve[:, axis]).abs() for axis in range(2)]
        first, second = (self._kernel(m) for m in distances)
        density = (first * second) @ weights
        # Some 30 σ from the curve the product underflows; its logarithm takes six times longer.
        far = density < 1e-200
        logs = density.clamp(min=1e-200).log()
        if bool(far.any()):
            terms = sum(self._log_kernel(m[far]) for m in distances) + weights.log()
            logs[far] = terms.logsumexp(1)
        return logs - 2 * math.log(2 * self.width)

    @property
    def _unit(self) -> float:
        """Of distances in the kernel, whose Gaussian is then exp(-m²)."""
        return math.sqrt(2) * self.sigma

    def _kernel(self, m: Tensor) -> Tensor:
        """2 w k(d) for m = |d - w/2|, the distance from the middle of the uniform part.

        k is symmetric about w/2, and on the right of it the difference loses no digits.
        """
        half = self.width / 2 / self._unit
        return torch.erfc(m - half) - torch.erfc(m + half)

    def _log_kernel(self, m: Tensor) -> Tensor:
        """ln 2 w k(d), which does not underflow."""
        half = self.width / 2 / self._unit
        low, high = (torch.special.log_ndtr(-math.sqrt(2) * t) for t in (m - half, m + half))
        logs: Tensor = low + torch.log1p(-(high - low).exp()) + math.log(2)
        return logs
