"""Layers with an equalised learning rate, against the slow way of the same."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.equalised import EqualisedConv2d, EqualisedLinear, blur


def draw(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [4, 6])
def test_up_is_nearest_enlargement_then_convolution(size: int) -> None:
    layer = EqualisedConv2d(3, 5, resample="up").double()
    x = draw(2, 3, size, size)
    slow = F.conv2d(F.interpolate(x, scale_factor=2.0), layer.weight * layer.scale, padding=1)
    torch.testing.assert_close(layer(x), slow, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [4, 6])
def test_down_is_convolution_then_average(size: int) -> None:
    layer = EqualisedConv2d(3, 5, resample="down", bias=True).double()
    torch.nn.init.normal_(layer.bias)  # type: ignore[arg-type]
    x = draw(2, 3, size, size)
    slow = F.avg_pool2d(F.conv2d(x, layer.weight * layer.scale, layer.bias, padding=1), 2)
    torch.testing.assert_close(layer(x), slow, rtol=0, atol=1e-13)


def test_the_scale_makes_unit_variance() -> None:
    # He et al. 2015: gain / root of fan-in, here √2 because half of a ReLU's input is lost.
    torch.manual_seed(0)
    layer = EqualisedConv2d(64, 256)
    assert layer.scale == pytest.approx(math.sqrt(2 / (64 * 9)))
    out = layer(torch.randn(8, 64, 8, 8))[:, :, 1:-1, 1:-1]
    assert out.std().item() == pytest.approx(math.sqrt(2), rel=0.05)


def test_a_rate_changes_how_fast_a_layer_learns_and_not_what_it_is() -> None:
    torch.manual_seed(0)
    slow = EqualisedLinear(16, 8, rate=0.01)
    fast = EqualisedLinear(16, 8)
    with torch.no_grad():
        fast.weight.copy_(slow.weight * 0.01)
    x = torch.randn(5, 16)
    torch.testing.assert_close(slow(x), fast(x))
    # Adam moves every weight by its learning rate: the slow layer's function by 0.01 of that.
    with torch.no_grad():
        slow.weight += 1e-3
        fast.weight += 1e-3 * 0.01
    torch.testing.assert_close(slow(x), fast(x))


def test_blur_filters_every_channel_by_itself() -> None:
    x = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    x[0, 1, 2, 2] = 16
    out = blur(x)
    assert torch.equal(out[0, 0], torch.zeros(5, 5, dtype=torch.float64))
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64)
    torch.testing.assert_close(out[0, 1, 1:4, 1:4], expected)
    assert out.sum() == 16
