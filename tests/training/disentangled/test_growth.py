"""How a training grows."""

import pytest
import torch
import torch.nn.functional as F

from zoo.training.disentangled.growth import Growth, at_level

GROWTH = Growth(sizes=(8, 16, 32), steps=(4, 10, 4), fade=0.5)


def test_levels_and_stages() -> None:
    assert GROWTH.total == 18
    levels = [GROWTH.level(step) for step in range(18)]
    expected = [1.0] * 4 + [1.2, 1.4, 1.6, 1.8] + [2.0] * 6 + [2.5] + [3.0] * 3
    assert levels == pytest.approx(expected)
    assert [step for step in range(18) if GROWTH.begins(step)] == [4, 14]


def test_without_fading_a_size_is_there_at_once() -> None:
    growth = Growth(sizes=(4, 8), steps=(2, 2), fade=0.0)
    assert [growth.level(step) for step in range(4)] == [0, 0, 1, 1]


def test_real_images_fade_like_generated_ones() -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    half = F.avg_pool2d(images, 2)
    assert torch.equal(at_level(images, 2.0), images)
    torch.testing.assert_close(at_level(images, 1.0), half)
    blurred = F.interpolate(half, scale_factor=2.0)
    torch.testing.assert_close(at_level(images, 1.25), 0.75 * blurred + 0.25 * images)
    torch.testing.assert_close(at_level(images, 0.5).mean((2, 3)), images.mean((2, 3)))
