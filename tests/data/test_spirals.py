"""Spirals: the curves, the noise, the starts, and what is seen of them."""

import math

import pytest
import torch
from torch import Tensor

from zoo.data import spirals
from zoo.errors import UnknownNameError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_curves_are_those_of_the_example_of_torchdiffeq() -> None:
    series = spirals.make(200, seeded())
    x, y = series.clean.double().unbind(2)
    clockwise = x.mean(1) < 0
    assert 70 < int(clockwise.sum()) < 130
    # The angle about the centre tells the time of the curve, up to whole turns.
    centred = torch.where(clockwise[:, None], x + 5, x - 5)
    radius, angle = torch.hypot(centred, y), torch.atan2(y, centred)
    t = torch.where(clockwise[:, None], 15 / radius, radius / 0.3)
    turns = (t - angle) / (2 * math.pi)
    assert (turns - turns.round()).abs().max() < 1e-4
    elapsed = torch.where(clockwise[:, None], t[:, :1] - t, t - t[:, :1])
    expected = series.times.double().expand(200, -1)
    torch.testing.assert_close(elapsed, expected, rtol=0, atol=2e-4)
    starts = torch.where(clockwise, 6 * math.pi + 1 - t[:, 0], t[:, 0]) / spirals.DT
    assert 100 - 1e-2 < starts.min() < 115 and 785 < starts.max() < 800 + 1e-2


def test_the_noise_is_independent_and_of_the_stated_size() -> None:
    series = spirals.make(400, seeded(1))
    noise = (series.noisy - series.clean).double()
    n = noise.numel()
    assert abs(noise.mean().item()) < 4 * 0.3 / math.sqrt(n)
    # The standard deviation of a sample standard deviation is σ / sqrt(2n).
    assert abs(noise.std().item() - 0.3) < 4 * 0.3 / math.sqrt(2 * n)
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean().item()
    assert abs(neighbours) < 4 * 0.09 / math.sqrt(n)


def test_jitter_makes_the_curves_differ() -> None:
    plain, jittered = spirals.make(300, seeded(2)), spirals.make(300, seeded(2), jitter=0.1)
    ratio = (_radius(jittered) / _radius(plain)).mean(1)
    assert 0.07 < float(ratio.std()) < 0.16
    with pytest.raises(ValueError, match="jitter: expected at least 0"):
        spirals.make(3, jitter=-1)


def _radius(series: spirals.Spirals) -> Tensor:
    x, y = series.clean.unbind(2)
    return torch.hypot(torch.where(x.mean(1, keepdim=True) < 0, x + 5, x - 5), y)


def test_splits_are_always_the_same_and_share_no_series() -> None:
    train, again = spirals.load("train", 50), spirals.load("train", 50)
    assert torch.equal(train.noisy, again.noisy)
    assert train.noisy.shape == (50, 200, 2) and train.noisy.dtype == torch.float32
    test, validation = spirals.load("test", 50), spirals.load("validation", 50)
    for one, other in ((train, test), (train, validation), (test, validation)):
        distance = torch.cdist(one.clean.flatten(1), other.clean.flatten(1))
        assert distance.min() > 0
    with pytest.raises(UnknownNameError, match="no split 'all'"):
        spirals.load("all", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one series"):
        spirals.make(0)


def test_observed_points_are_a_random_part_of_the_window_in_order() -> None:
    series = spirals.load("test", 500)
    batch = spirals.observe(series, 30, seeded())
    assert batch.values.shape == (500, 30, 2) and batch.mask.all()
    assert (batch.times.diff(dim=1) > 0).all()
    index = (batch.times / spirals.DT).round().long()
    assert index.min() == 0 and index.max() == 99
    picked = series.noisy.gather(1, index.unsqueeze(2).expand(-1, -1, 2))
    assert torch.equal(picked, batch.values)
    # Every point is as likely: 150 of 500 series on average, with a deviation of about ten.
    counts = torch.bincount(index.flatten(), minlength=100)
    assert counts.min() > 105 and counts.max() < 195
    assert len({tuple(row) for row in index.tolist()}) == 500
    assert torch.equal(batch.targets, series.clean[:, 100:])
    assert torch.equal(batch.times_query[7], series.times[100:])


def test_all_points_can_be_observed_but_no_more() -> None:
    series = spirals.load("test", 4)
    batch = spirals.observe(series, 100, seeded())
    assert torch.equal(batch.values, series.noisy[:, :100])
    for count in (0, 101):
        with pytest.raises(ValueError, match="expected 1 to 100 observed points"):
            spirals.observe(series, count)
