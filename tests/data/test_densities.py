"""The toy densities against scipy's integrals, roots and moments worked out by hand."""

import dataclasses
import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from scipy.optimize import brentq

from zoo.data import densities
from zoo.data.densities.curves import TwoSpirals
from zoo.errors import UnknownNameError

SIDES = {name: 192 if name == "pinwheel" else 128 for name in densities.NAMES}
"""Points of the grid per axis: the midpoint rule converges exponentially for what is analytic, once
they are closer than the noise is wide; the blades of the pinwheel are sheared to less."""

CELLS = 16
"""Of the histogram, per axis."""


@cache
def on_grid(name: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The points of the grid (N, 2), ln p there, and the area that belongs to each."""
    density = densities.get(name)
    low, high = density.box
    step = (high - low) / SIDES[name]
    axis = low + step * (torch.arange(SIDES[name], dtype=torch.float64) + 0.5)
    points = torch.cartesian_prod(axis, axis)
    return points, density.log_prob(points), step**2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", densities.NAMES)
def test_the_mass_in_the_box_is_one(name):
    _, logs, area = on_grid(name)
    assert float(logs.exp().sum() * area) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", densities.NAMES)
def test_the_entropy_is_the_integral_over_the_box(name):
    _, logs, area = on_grid(name)
    p = logs.exp()
    entropy = -float(torch.special.xlogy(p, p).sum() * area)
    assert densities.get(name).entropy == pytest.approx(entropy, abs=2e-6)


E_T_SPIRAL = 2 / (9 * math.pi**2) * (9 * math.pi**2 - 4 + 6 * math.pi)  # E[t (sin t - cos t)]
SECOND_MOMENTS = {
    "8gaussians": (4 / 1.414) ** 2 + 2 * (0.5 / 1.414) ** 2,
    "checkerboard": 2 * 4**2 / 3,
    "circles": (3**2 + 1.5**2) / 2 + 2 * 0.24**2,
    "rings": (3**2 + 2.25**2 + 1.5**2 + 0.75**2) / 4 + 2 * 0.08**2,
    "moons": 5.34 - 4 / math.pi + 2 * 0.2**2,
    "swissroll": 9.75 * math.pi**2 / 25 + 2 * 0.2**2,
    "pinwheel": 4 * (1 + 0.3**2 + 0.1**2),
    "2spirals": math.pi**2 / 2 + E_T_SPIRAL / 18 + 2 / 3 / 36 + 2 * 0.1**2,
}
"""E|x|² of the laws of the generators, by hand: length of curve plus variance of noise."""


@pytest.mark.parametrize("name", densities.NAMES)
def test_the_second_moment_is_that_of_the_generator(name):
    points, logs, area = on_grid(name)
    found = float((points.square().sum(1) * logs.exp()).sum() * area)
    # The checkerboard is not smooth: its midpoints miss step² / 12 in each coordinate, exactly.
    missed = 2 * (8 / SIDES[name]) ** 2 / 12 if name == "checkerboard" else 0
    assert found + missed == pytest.approx(SECOND_MOMENTS[name], abs=1e-5)


@pytest.mark.parametrize("name", densities.NAMES)
def test_samples_follow_the_density(name):
    n, density = 20_000, densities.get(name)
    x = density.sample(n, seeded())
    # A histogram, by Pearson's test: cells that expect fewer than ten points count as one.
    _, logs, area = on_grid(name)
    fine = SIDES[name] // CELLS
    mass = (logs.exp() * area).view(CELLS, fine, CELLS, fine).sum((1, 3)).flatten()
    low, high = density.box
    cell = ((x.double() - low) / (high - low) * CELLS).floor().clamp(0, CELLS - 1).long()
    counts = torch.bincount(cell[:, 0] * CELLS + cell[:, 1], minlength=CELLS**2).double()
    big = n * mass >= 10
    observed = torch.cat([counts[big], counts[~big].sum()[None]])
    expected = torch.cat([n * mass[big], (n * mass[~big].sum()).clamp(min=1)[None]])
    statistic = float(((observed - expected).square() / expected).sum())
    assert stats.chi2.sf(statistic, int(big.sum())) > 1e-4


@pytest.mark.parametrize("name", densities.NAMES)
def test_the_mean_log_density_of_samples_is_minus_the_entropy(name):
    density = densities.get(name)
    logs = density.log_prob(density.sample(10_000, seeded(1)))
    error = float(logs.std()) / 100
    assert -float(logs.mean()) == pytest.approx(density.entropy, abs=4 * error + 1e-6)


POINTS = [(0.3, -0.2), (2.1, 0.7), (-1.6, 1.3), (-0.4, -2.9), (3.1, 3.3), (6.1, -1.2)]
"""On the curves, between and beyond them."""


def gauss(x, mean, sigma):
    return math.exp(-(((x - mean) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))


def mean_normal(curve, sigma, low, high):
    """ln of the mean over t in [low, high] of N(x; curve(t), σ² I), by scipy's quadrature."""

    def log_density(x):
        def value(t):
            return gauss(x[0], curve(t)[0], sigma) * gauss(x[1], curve(t)[1], sigma) / (high - low)

        breaks = np.linspace(low, high, 41)
        pieces = [integrate.quad(value, *ends)[0] for ends in pairwise(breaks)]
        return math.log(math.fsum(pieces))

    return log_density


def log_mean(*parts):
    """ln of the equal mixture of densities that are given by their logarithms."""
    return lambda x: math.log(np.mean([math.exp(part(x)) for part in parts]))


def circle(radius):
    return lambda t: (radius * math.cos(t), radius * math.sin(t))


def normal_about(centre, sigma):
    return lambda x: math.log(gauss(x[0], centre[0], sigma) * gauss(x[1], centre[1], sigma))


def scikit_moons(t):
    """scikit-learn's two moons, moved and doubled."""
    first, second = (math.cos(t), math.sin(t)), (1 - math.cos(t), 1 - math.sin(t) - 0.5)
    return [(2 * a - 1, 2 * b - 0.2) for a, b in (first, second)]


def roll(t):
    return t * math.cos(t) / 5, t * math.sin(t) / 5


REFERENCES = {
    "8gaussians": log_mean(*(normal_about(circle(4 / 1.414)(k * math.pi / 4), 0.5 / 1.414)
                             for k in range(8))),
    "circles": log_mean(*(mean_normal(circle(r), 0.24, 0, 2 * math.pi) for r in (3, 1.5))),
    "rings": log_mean(
        *(mean_normal(circle(3 * r), 0.08, 0, 2 * math.pi) for r in (1, 0.75, 0.5, 0.25))
    ),
    "moons": log_mean(
        *(mean_normal(lambda t, k=k: scikit_moons(t)[k], 0.2, 0, math.pi) for k in range(2))
    ),
    "swissroll": mean_normal(roll, 0.2, 1.5 * math.pi, 4.5 * math.pi),
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCES)
def test_the_log_density_is_scipys_integral(name):
    found = densities.get(name).log_prob(torch.tensor(POINTS[:4], dtype=torch.float64))
    expected = [REFERENCES[name](point) for point in POINTS[:4]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def noisy(base, weights, sigma):
    """Points and weights of a mean over base points (N, 2) plus Gaussian noise, by the trapezoidal
    rule, which suits the bends of ln p between two parts better than Gauss-Hermite's."""
    places = np.linspace(-7, 7, 43)
    shares = np.exp(-(places**2) / 2) / np.exp(-(places**2) / 2).sum()
    grid = sigma * np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
    noise = np.outer(shares, shares).ravel()
    points = (np.asarray(base)[:, None] + grid).reshape(-1, 2)
    return points, np.outer(weights, noise).ravel()


def along(curve, sigma, low, high, n):
    """The same for a base point that is uniform in the parameter of a curve, by Gauss-Legendre's
    rule."""
    places, shares = np.polynomial.legendre.leggauss(n)
    base = [curve(low + (high - low) * (place + 1) / 2) for place in places]
    return noisy(base, shares / 2, sigma)


def blade():
    """The same for the blade k = 0 of the pinwheel: features, turned and doubled."""
    features, weights = noisy([(0, 0)], [1], np.array([0.3, 0.1]))
    f1, f2 = features[:, 0] + 1, features[:, 1]
    z = 2 * (f1 + 1j * f2) * np.exp(-0.25j * np.exp(f1))
    return np.stack([z.real, z.imag], 1), weights


LAWS = {
    "8gaussians": [noisy([(4 / 1.414, 0)], [1], 0.5 / 1.414)],
    "circles": [noisy([(r, 0)], [1], 0.24) for r in (3, 1.5)],
    "rings": [noisy([(3 * r, 0)], [1], 0.08) for r in (1, 0.75, 0.5, 0.25)],
    "moons": [along(lambda t: scikit_moons(t)[0], 0.2, 0, math.pi, 24)],
    "swissroll": [along(roll, 0.2, 1.5 * math.pi, 4.5 * math.pi, 60)],
    "pinwheel": [blade()],
}
"""Rules for means over the laws of the generators, up to their symmetries."""


@pytest.mark.parametrize("name", LAWS)
def test_the_entropy_is_the_mean_over_what_the_generator_draws(name):
    density, means = densities.get(name), []
    for points, weights in LAWS[name]:
        means.append(weights @ density.log_prob(torch.from_numpy(points)).numpy())
    assert -np.mean(means) == pytest.approx(density.entropy, abs=1e-5)


def spiral_log_prob(x):
    """ln p of 2spirals: a mean over u of the densities of uniform plus normal noise."""

    def coordinate(d):
        return 6 * (special.ndtr(d / 0.1) - special.ndtr((d - 1 / 6) / 0.1))

    def value(t):
        c = (-math.cos(t) * t / 3, math.sin(t) * t / 3)
        both = (
            math.prod(coordinate(s * a - b) for a, b in zip(x, c, strict=True)) for s in (1, -1)
        )
        return sum(both) / 2 * 2 * t / (3 * math.pi) ** 2

    breaks = np.linspace(0, 3 * math.pi, 41)
    pieces = [integrate.quad(value, *ends)[0] for ends in pairwise(breaks)]
    return math.log(math.fsum(pieces))


def test_two_spirals_are_scipys_integral():
    points = [(0.0, 0.0), (1.0, 0.4), (-2.9, 1.1)]
    found = densities.get("2spirals").log_prob(torch.tensor(points, dtype=torch.float64))
    expected = [spiral_log_prob(point) for point in points]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_far_from_the_spirals_the_logarithm_takes_over_without_a_step():
    spirals = densities.get("2spirals")
    assert isinstance(spirals, TwoSpirals)
    m = torch.linspace(0, 20, 41, dtype=torch.float64)
    torch.testing.assert_close(spirals._kernel(m).log(), spirals._log_kernel(m))
    # Where erfc would underflow there is the tail of a normal law: -d² / 2σ² to leading order.
    far = spirals.log_prob(torch.tensor([[1000.0, 0.0]]))
    assert float(far) == pytest.approx(-(996.9**2) / 0.02, rel=1e-3)


def pinwheel_log_prob(x):
    """ln p of the pinwheel by its first feature: its roots by scipy, slopes by differences."""
    r, phi = math.hypot(*x) / 2, math.atan2(x[1], x[0])
    total, roots = 0.0, 0
    for k in range(5):

        def wind(u, k=k):
            return phi + 2 * math.pi * k / 5 + 0.25 * math.exp(u)

        def gap(u, wind=wind):
            return u - r * math.cos(wind(u))

        grid = np.linspace(-r - 1e-9, r + 1e-9, 4001)
        signs = np.sign([gap(u) for u in grid])
        for i in np.flatnonzero(signs[1:] != signs[:-1]):
            u = brentq(gap, grid[i], grid[i + 1], xtol=1e-14)
            slope = (gap(u + 1e-6) - gap(u - 1e-6)) / 2e-6
            blade = gauss(u, 1, 0.3) * gauss(r * math.sin(wind(u)), 0, 0.1)
            total += blade / (5 * 4 * abs(slope))
            roots += 1
    return math.log(total), roots


def test_the_pinwheel_is_the_sum_over_all_features_that_lead_to_a_point():
    found = densities.get("pinwheel").log_prob(torch.tensor(POINTS, dtype=torch.float64))
    expected = [pinwheel_log_prob(point) for point in POINTS]
    np.testing.assert_allclose(found, [value for value, _ in expected], rtol=0, atol=1e-6)
    assert min(roots for _, roots in expected) == 5 and max(roots for _, roots in expected) > 5


@pytest.mark.parametrize("name", ["moons", "swissroll", "2spirals"])
def test_twice_as_many_nodes_change_nothing(name):
    density = densities.get(name)
    low, high = density.box
    points = low + (high - low) * torch.rand(2000, 2, generator=seeded(), dtype=torch.float64)
    finer = dataclasses.replace(density, nodes=2 * density.nodes)
    difference = (density.log_prob(points) - finer.log_prob(points)).abs().max()
    assert float(difference) < 1e-6


def test_a_finer_circle_changes_nothing_of_the_pinwheel():
    density = densities.get("pinwheel")
    angles = 2 * math.pi * torch.rand(500, generator=seeded(), dtype=torch.float64)
    radii = torch.linspace(0, 8, 500, dtype=torch.float64)
    points = radii[:, None] * torch.stack([angles.cos(), angles.sin()], 1)
    finer = dataclasses.replace(density, cells=4096)
    torch.testing.assert_close(density.log_prob(points), finer.log_prob(points), rtol=0, atol=1e-6)


def test_the_checkerboard_has_even_squares_and_nothing_else():
    board = densities.get("checkerboard")
    level = -math.log(32)
    points = torch.tensor([[1.0, 1], [1, -1], [-1, -1], [-3.9, -3.9], [3.9, 3.9], [4.1, 1], [4, 4]])
    expected = torch.tensor([level, -torch.inf, level, level, level, -torch.inf, -torch.inf])
    torch.testing.assert_close(board.log_prob(points), expected.double(), rtol=0, atol=1e-7)


def test_no_draw_of_the_checkerboard_is_rounded_across_an_edge():
    board = densities.get("checkerboard")
    finest = dataclasses.replace(board, steps=8)  # every step, the first and the last, is drawn
    for density in (board, finest):
        x = density.sample(50_000, seeded())
        assert bool(board.log_prob(x).isfinite().all())
    assert float(x.frac().abs().min()) == 0.125 and float(x.max()) == 3.875


@pytest.mark.parametrize("name", densities.NAMES)
def test_draws_depend_on_the_generator_alone(name):
    density = densities.get(name)
    x = density.sample(50, seeded(3))
    assert x.shape == (50, 2) and x.dtype == torch.float32
    double = density.sample(50, seeded(3), dtype=torch.float64)
    assert double.dtype == torch.float64 and torch.equal(double.float(), x)
    assert not torch.equal(density.sample(50, seeded(4)), x)
    assert density.sample(0).shape == (0, 2)


@pytest.mark.parametrize("name", densities.NAMES)
def test_points_may_be_many_few_or_far(name):
    density = densities.get(name)
    x = density.sample(1100, seeded(), dtype=torch.float64)
    logs = density.log_prob(x)
    assert logs.shape == (1100,) and logs.dtype == torch.float64
    torch.testing.assert_close(density.log_prob(x[1020:]), logs[1020:], rtol=0, atol=1e-9)
    assert density.log_prob(x[:0]).shape == (0,)
    far = float(density.log_prob(torch.tensor([[60.0, -80.0]])))
    assert far == -math.inf if name == "checkerboard" else -1e7 < far < -1e3


def test_what_is_no_point_of_the_plane_is_refused():
    moons = densities.get("moons")
    with pytest.raises(ValueError, match=r"expected points of shape \(n, 2\), found \(3, 3\)"):
        moons.log_prob(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="finite points"):
        moons.log_prob(torch.tensor([[0.0, torch.nan]]))
    with pytest.raises(ValueError, match="n >= 0, found -1"):
        moons.sample(-1)


def test_an_unknown_name_is_told_the_nearest():
    assert len(densities.NAMES) == 8
    with pytest.raises(UnknownNameError, match=r"'moon' \(did you mean 'moons'\?\)"):
        densities.get("moon")
