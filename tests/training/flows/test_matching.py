"""Flow matching between Gaussians, where the best velocity is known."""

import pytest
import torch
from torch import Tensor

from zoo.training.flows.matching import Pairs, draw_pairs, matching_loss

MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)
SPREAD = torch.tensor([0.5, 2.0], dtype=torch.float64)


def data(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return MEAN + SPREAD * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def best(t: Tensor, x: Tensor, sigma: float = 0.0) -> Tensor:
    """E[x₁ - x₀ | x_t = x] for independent x₀ ~ N(0, I), x₁ ~ N(m, s²): a linear regression."""
    t = t[:, None]
    variance = (1 - t) ** 2 + (t * SPREAD) ** 2 + sigma**2
    covariance = t * SPREAD**2 - (1 - t)
    return MEAN + covariance / variance * (x - t * MEAN)


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_the_gradient_vanishes_at_the_known_velocity(sigma: float) -> None:
    n = 100_000
    pairs = draw_pairs(data(n), optimal=False, sigma=sigma, generator=generator())
    # Ways in which the field could change: each must leave the loss as it is, to first order.
    t, x = pairs.times[:, None], pairs.points
    error = best(pairs.times, x, sigma) - pairs.directions
    for change in (torch.ones_like(x), x, t * x, x.sin(), x.square(), t.square().expand_as(x)):
        products = (error * change).sum(1)
        assert products.mean().abs() < 4 * products.std() / n**0.5
    # And the wrong blur would be noticed.
    wrong = ((best(pairs.times, x, sigma + 0.5) - pairs.directions) * t * x).sum(1)
    assert wrong.mean().abs() > 10 * wrong.std() / n**0.5


def test_the_loss_at_the_known_velocity_is_the_conditional_variance() -> None:
    pairs = draw_pairs(data(200_000), optimal=False, generator=generator())
    t = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None]
    a, b = (1 - t) ** 2, (t * SPREAD) ** 2
    residual = 1 + SPREAD**2 - (t * SPREAD**2 - (1 - t)) ** 2 / (a + b)
    expected = torch.trapezoid(residual.sum(1), t[:, 0])
    assert matching_loss(best, pairs).item() == pytest.approx(expected.item(), rel=0.01)


def test_points_lie_on_the_lines_of_their_pairs() -> None:
    points = data(64)
    for optimal in (True, False):
        pairs = draw_pairs(points, optimal=optimal, generator=generator())
        noise = pairs.points - pairs.times[:, None] * pairs.directions
        ends = noise + pairs.directions
        drawn = torch.randn(64, 2, generator=generator(), dtype=torch.float64)
        torch.testing.assert_close(noise, drawn)
        order = ends[:, 0].argsort() if optimal else torch.arange(64)
        expected = points[points[:, 0].argsort()] if optimal else points
        torch.testing.assert_close(ends[order], expected)


def test_optimal_pairs_are_closer() -> None:
    lengths = [
        draw_pairs(data(256), optimal=optimal, generator=generator()).directions.square().sum()
        for optimal in (True, False)
    ]
    assert lengths[0] < 0.7 * lengths[1]


def test_images_are_paired_and_regressed_too() -> None:
    images = torch.rand(8, 1, 4, 4, generator=generator())
    pairs = draw_pairs(images, optimal=True, sigma=0.1, generator=generator())
    assert [tuple(each.shape) for each in pairs] == [(8, 1, 4, 4), (8, 1, 4, 4), (8,)]
    ones = Pairs(pairs.points, pairs.points + 1, pairs.times)
    assert matching_loss(lambda t, x: x, ones).item() == pytest.approx(16)
