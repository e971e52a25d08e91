"""What a toy density offers: samples, its exact log-density, and its entropy."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Generator, Tensor

__all__ = ["Density", "legendre", "mixture_log_prob", "normal", "uniform"]

CHUNK = 512
"""Points whose density is computed together: with some hundred nodes each, about what the cache
holds."""


@dataclass(frozen=True)
class Density(ABC):
    """A probability density on the plane.

    Args:
        name: As cards and recipes write it.
        entropy: -∫ p ln p in nats: the mean negative log-likelihood that no model can go below.
        box: The square [low, high]² holds all of the mass but less than 1e-6.
    """

    name: str
    entropy: float
    box: tuple[float, float]

    def sample(
        self, n: int, generator: Generator | None = None, *, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Independent draws: (n, 2), on the CPU. They are made in float64, whatever `dtype`.

        Raises:
            ValueError: `n` is negative.
        """
        if n < 0:
            raise ValueError(f"expected a number of points n >= 0, found {n}")
        return self._draw(n, generator).to(dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """ln p(x) in nats: (n,), float64, on the device of `x`.

        Args:
            x: Finite, (n, 2), of any floating dtype.

        Raises:
            ValueError: `x` has another shape, or a value that is not finite.
        """
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"expected points of shape (n, 2), found {tuple(x.shape)}")
        if not bool(x.isfinite().all()):
            raise ValueError("expected finite points, found NaN or infinity")
        parts = [self._log_prob(part) for part in torch.split(x.double(), CHUNK)]
        return torch.cat(parts)

    @abstractmethod
    def _draw(self, n: int, generator: Generator | None) -> Tensor:
        """(n, 2), float64."""

    @abstractmethod
    def _log_prob(self, x: Tensor) -> Tensor:
        """(n,) for a chunk (n, 2) of float64."""


def uniform(n: int, generator: Generator | None) -> Tensor:
    """(n,), float64, in [0, 1)."""
    return torch.rand(n, generator=generator, dtype=torch.float64)


def normal(n: int, generator: Generator | None) -> Tensor:
    """(n, 2), float64, standard."""
    return torch.randn(n, 2, generator=generator, dtype=torch.float64)


@lru_cache(maxsize=16)
def legendre(nodes: int) -> tuple[Tensor, Tensor]:
    """The Gauss-Legendre rule on [0, 1]: its nodes and its weights, (nodes,), float64."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy((places + 1) / 2), torch.from_numpy(weights / 2)


def mixture_log_prob(x: Tensor, centres: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """ln Σ_k w_k N(x; c_k, σ² I): (n,) for x (n, 2), centres (K, 2) and weights (K,)."""
    centres, weights = centres.to(x.device), weights.to(x.device)
    # |x - c|² = |x|² - 2 x·c + |c|², of which the first term does not depend on k.
    exponents = (x @ centres.T - centres.square().sum(1) / 2) / sigma**2 + weights.log()
    constant = x.square().sum(1) / (2 * sigma**2) + math.log(2 * math.pi * sigma**2)
    return exponents.logsumexp(1) - constant
