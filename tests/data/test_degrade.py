"""The operators that the corruptions are made of, each against a closed form or torch's own."""

import math

import pytest
import torch
import torch.nn.functional as F

from zoo.data import degrade


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator) -> torch.Tensor:
    return torch.rand(4, 2, 26, 31, generator=generator)


def number(value: float) -> torch.Tensor:
    """One strength for all images."""
    return torch.tensor(value, dtype=torch.float64)


NOTHING = torch.empty(1, 0)


def test_a_photon_count_is_the_quantile_of_poissons_law(generator):
    rates = 60 * torch.rand(3, 1, 20, 20, generator=generator, dtype=torch.float64)
    levels = torch.rand(3, 1, 20, 20, generator=generator)
    levels[0, 0, 0, :2] = torch.tensor([0.0, 1 - 2**-24])  # the ends of what can be drawn
    photons = 64.0
    counts = photons * degrade.shot(rates / photons, levels, number(1 / 8)).double()
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-9)

    def distribution(k: torch.Tensor) -> torch.Tensor:
        return torch.special.gammaincc(k + 1, rates)  # P(Poisson(rate) ≤ k)

    assert (distribution(counts) >= levels).all()
    one_less = torch.where(counts > 0, distribution((counts - 1).clamp(min=0)), -1.0)
    assert (one_less < levels).all()


def test_shot_noise_keeps_the_mean_and_has_a_standard_deviation_of_sigma_sqrt_x(generator):
    shape = (40, 1, 28, 28)
    for value, sigma in ((1.0, 0.25), (0.36, 0.5), (0.1, 1.0)):
        drawn = degrade.uniform(40, shape[1:], generator)
        noisy = degrade.shot(torch.full(shape, value), drawn, number(sigma))
        spread = sigma * math.sqrt(value)
        # Four standard errors of the mean, and of the deviation of a skewed law.
        assert noisy.mean() == pytest.approx(value, abs=4 * spread / math.sqrt(noisy.numel()))
        assert noisy.std() == pytest.approx(spread, rel=0.04)


def test_speckle_is_noise_in_proportion_to_the_light(generator):
    drawn = degrade.gaussian(40, (1, 28, 28), generator)
    for value in (0.0, 0.2, 0.8):
        noise = degrade.speckle(torch.full(drawn.shape, value), drawn, number(0.5)) - value
        torch.testing.assert_close(noise, 0.5 * value * drawn)


def test_impulses_are_black_and_white_in_the_stated_shares(generator):
    grey = torch.full((50, 3, 28, 28), 0.4)
    drawn = degrade.pixels(50, (3, 28, 28), generator)
    mild, strong = (degrade.impulse(grey, drawn, number(share)) for share in (0.1, 0.3))
    # Four standard errors of a share of 39,200 pixels are at most 0.008.
    assert (strong == 0).double().mean() == pytest.approx(0.15, abs=0.008)
    assert (strong == 1).double().mean() == pytest.approx(0.15, abs=0.008)
    assert ((strong == 0) | (strong == 1) | (strong == grey)).all()
    assert torch.equal(strong[:, 0], strong[:, 2])
    hit = mild != grey
    assert torch.equal(mild[hit], strong[hit])  # the same pixels and more


def test_dropped_pixels_are_black_in_the_stated_share(generator):
    grey = torch.full((50, 3, 28, 28), 0.4)
    drawn = degrade.pixels(50, (3, 28, 28), generator)
    dropped = degrade.dropout(grey, drawn, number(0.3))
    assert (dropped == 0).double().mean() == pytest.approx(0.3, abs=0.01)
    assert ((dropped == 0) | (dropped == grey)).all()
    assert torch.equal(dropped[:, 0], dropped[:, 1])


def test_contrast_shrinks_about_the_mean_of_each_channel(images):
    result = degrade.contrast(images, NOTHING, number(0.7))
    means = images.mean((2, 3))
    torch.testing.assert_close(result.mean((2, 3)), means)
    torch.testing.assert_close(result.std((2, 3)), 0.3 * images.std((2, 3)))
    torch.testing.assert_close(
        result[2, 1, 3, 4], means[2, 1] + 0.3 * (images[2, 1, 3, 4] - means[2, 1])
    )


def test_brightness_is_added(images):
    assert torch.equal(degrade.brightness(images, NOTHING, number(0.25)), images + 0.25)


def spread(length: float, angle: float) -> torch.Tensor:
    """What a motion blur makes of a point in the middle of 15 × 15 pixels."""
    point = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    point[..., 7, 7] = 1
    drawn = torch.tensor([[angle]], dtype=torch.float64)
    return degrade.motion_blur(point, drawn, number(length))[0, 0]


def test_a_level_motion_blur_is_a_box_between_pixels():
    # The mean of the hat 1 - |t - i| over t in [-3/2, 3/2].
    box = torch.tensor([1, 7, 8, 7, 1], dtype=torch.float64) / 24
    expected = torch.zeros(15, 15, dtype=torch.float64)
    expected[7, 5:10] = box
    torch.testing.assert_close(spread(3, 0), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(spread(3, math.pi / 2), expected.T, rtol=0, atol=1e-4)


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.5])
def test_a_motion_blur_spreads_a_point_along_its_path(angle):
    result = spread(9, angle)
    assert result.sum() == pytest.approx(1)
    offsets = torch.arange(15, dtype=torch.float64) - 7
    rows, columns = offsets[:, None].expand(15, 15), offsets.expand(15, 15)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    assert (result * along).sum() == pytest.approx(0, abs=1e-9)
    # A box of length L has the variance L² / 12; the interpolation adds between 0 and 1/4.
    assert 9**2 / 12 - 0.01 <= (result * along.square()).sum() <= 9**2 / 12 + 0.25
    assert (result * across.square()).sum() <= 0.25


def test_a_constant_image_is_not_blurred():
    grey = torch.full((2, 3, 28, 20), 0.7)
    drawn = torch.tensor([[0.4], [2.0]], dtype=torch.float64)
    torch.testing.assert_close(degrade.motion_blur(grey, drawn, number(12)), grey)
    torch.testing.assert_close(degrade.blur(grey, NOTHING, torch.tensor([0.5, 3.0])), grey)


@pytest.mark.parametrize("side", [2, 4, 5, 7])
def test_pixelate_is_a_mean_over_blocks(images, side):
    height, width = images.shape[2:]
    blocks = F.avg_pool2d(images, side, ceil_mode=True)  # which divides by the pixels that exist
    expected = blocks.repeat_interleave(side, 2).repeat_interleave(side, 3)[..., :height, :width]
    torch.testing.assert_close(degrade.pixelate(images, NOTHING, number(side)), expected)


def test_a_stripe_of_the_stated_width_is_inverted(generator):
    drawn = degrade.place(60, (2, 20, 30), generator)
    result = degrade.stripe(torch.full((60, 2, 20, 30), 0.2), drawn, number(0.3))
    inverted = (result - 0.8).abs() < 1e-6
    assert (inverted | (result == 0.2)).all()
    rows, columns = inverted[:, 0].all(2).sum(1), inverted[:, 0].all(1).sum(1)
    level = drawn[:, 0] >= 0.5
    assert 15 < int(level.sum()) < 45
    assert (rows[level] == 6).all() and (columns[~level] == 9).all()
    assert torch.equal(inverted.flatten(1).sum(1), torch.where(level, 2 * 6 * 30, 2 * 9 * 20))
    assert torch.equal(inverted[:, 0], inverted[:, 1])


def test_a_stripe_can_be_at_either_edge():
    ends = torch.tensor([[0.9, 0.0], [0.9, 1 - 1e-9]], dtype=torch.float64)
    first, last = degrade.stripe(torch.zeros(2, 1, 10, 10), ends, number(0.2))[:, 0, :, 0]
    assert first.tolist() == [1, 1] + [0] * 8 and last.tolist() == [0] * 8 + [1, 1]
