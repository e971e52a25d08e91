"""Five Gaussian blades, sheared by a turn that grows with the first feature."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from zoo.data.densities.base import Density, normal

__all__ = ["Pinwheel"]


@dataclass(frozen=True)
class Pinwheel(Density):
    """Features f = (f₁, f₂) ~ N(1, 0.3²) x N(0, 0.1²), turned clockwise and doubled:

        x = 2 R(-α) f,   α = 2πk/5 + exp(f₁)/4,   k uniform in 0..4.

    **Density.** A turn keeps the length r = |f| = |x|/2. With f = r (cos θ, sin θ) the angle φ of
    x is θ - α, so that the features which lead to x, for any k, are the roots θ of

        θ - exp(r cos θ)/4 - φ ≡ 0   (mod 2π/5).

    The Jacobian determinant of f -> R(-α) f is 1 + f₂ exp(f₁)/4: a turn by itself would have 1, and
    the growth of α adds -∂α/∂f₁ times the turned vector. Hence, with 4 from the doubling,

        p(x) = 1/5 Σ_roots N(f₁; 1, 0.3²) N(f₂; 0, 0.1²) / (4 |1 + f₂ exp(f₁)/4|).

    There is one root for each k, and more of them behind the folds where the determinant is 0,
    which carry a mass of about 1e-8. Roots are sought as changes of sign between `cells` points on
    the circle, close enough together up to |x| = 8, where ln p < -40.

    The entropy is a two-dimensional quadrature.
    """

    mean: float = 1.0
    radial: float = 0.3
    tangential: float = 0.1
    rate: float = 0.25
    blades: int = 5
    cells: int = 512

    def _draw(self, n: int, generator: Generator | None) -> Tensor:
        spread = torch.tensor([self.radial, self.tangential], dtype=torch.float64)
        f1, f2 = (normal(n, generator) * spread).unbind(1)
        f1 = f1 + self.mean
        blade = torch.randint(self.blades, (n,), generator=generator)
        alpha = 2 * math.pi / self.blades * blade + self.rate * f1.exp()
        cos, sin = alpha.cos(), alpha.sin()
        return 2 * torch.stack([f1 * cos + f2 * sin, f2 * cos - f1 * sin], 1)

    def _log_prob(self, x: Tensor) -> Tensor:
        r = torch.linalg.vector_norm(x, dim=1) / 2
        phi = torch.atan2(x[:, 1], x[:, 0])
        which, theta = self._roots(r, phi)
        terms = self._log_branch(r[which], theta)
        # ln Σ exp over the roots of each point, of which there are at least as many as blades.
        top = torch.full_like(r, -math.inf).scatter_reduce(0, which, terms, "amax")
        total = torch.zeros_like(r).index_add(0, which, (terms - top[which]).exp())
        return top + total.log()

    def _roots(self, r: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """All θ that lead to the points (r, φ): the points' numbers and the angles, (roots,)."""
        grid = torch.linspace(-math.pi, math.pi, self.cells + 1, dtype=r.dtype, device=r.device)
        turns = self._turns(r[:, None], phi[:, None], grid)
        whole = turns.floor()
        which, cell = (whole[:, 1:] != whole[:, :-1]).nonzero(as_tuple=True)
        level = torch.maximum(whole[which, cell], whole[which, cell + 1])
        rising = turns[which, cell + 1] > turns[which, cell]
        low, high = grid[cell], grid[cell + 1]
        for _ in range(45):  # bisection, to the last digits of an angle
            middle = (low + high) / 2
            before = (self._turns(r[which], phi[which], middle) < level) == rising
            low, high = torch.where(before, middle, low), torch.where(before, high, middle)
        return which, (low + high) / 2

    def _turns(self, r: Tensor, phi: Tensor, theta: Tensor) -> Tensor:
        """θ - exp(r cos θ)/4 - φ in units of 2π/5: whole at the roots."""
        angle = theta - self.rate * (r * theta.cos()).exp() - phi
        return angle * (self.blades / (2 * math.pi))

    def _log_branch(self, r: Tensor, theta: Tensor) -> Tensor:
        """What the features r (cos θ, sin θ) contribute to the density, its logarithm."""
        f1, f2 = r * theta.cos(), r * theta.sin()
        exponent = ((f1 - self.mean) / self.radial).square() + (f2 / self.tangential).square()
        determinant = 4 * (1 + self.rate * f2 * f1.exp()).abs()
        constant = self.blades * 2 * math.pi * self.radial * self.tangential
        return -exponent / 2 - math.log(constant) - determinant.log()
