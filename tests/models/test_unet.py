"""The velocity network of image flows: arithmetic, preconditioning, beginning."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.unet import UNet


def draw(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def network() -> UNet:
    """One whose weights are all random: some begin at zero, which would hide them."""
    network = UNet(channels=2, width=16, blocks=1).double()
    for index, parameter in enumerate(network.parameters()):
        parameter.data = 0.2 * draw(*parameter.shape, seed=index)
    return network


def normed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Mean and variance of every 16 channels of an image."""
    groups = x.unflatten(1, (-1, 16))
    mean = groups.mean((2, 3, 4), keepdim=True)
    variance = groups.var((2, 3, 4), correction=0, keepdim=True)
    flat = ((groups - mean) / (variance + 1e-5).sqrt()).flatten(1, 2)
    return flat * weight[:, None, None] + bias[:, None, None]


def silu(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def by_the_book(network: UNet, t: float, x: Tensor) -> Tensor:
    """The formulas of the module's docstring, with the weights by name and patches by slices."""
    w = dict(network.named_parameters())

    def conv(name: str, h: Tensor, **options: int) -> Tensor:
        return F.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], **options)

    def norm(name: str, h: Tensor) -> Tensor:
        return normed(h, w[f"{name}.weight"], w[f"{name}.bias"])

    def linear(name: str, h: Tensor) -> Tensor:
        return w[f"{name}.weight"] @ h + w[f"{name}.bias"]

    angles = torch.pi * t * 2.0 ** torch.arange(6, dtype=torch.float64)
    waves = torch.cat([torch.tensor([t], dtype=torch.float64), angles.sin(), angles.cos()])
    time = silu(linear("time.2", silu(linear("time.0", waves))))

    def block(name: str, h: Tensor) -> Tensor:
        scale, shift = linear(f"{name}.film", time)[:, None, None].chunk(2)
        inner = norm(
            f"{name}.norm2", conv(f"{name}.conv1", silu(norm(f"{name}.norm1", h)), padding=1)
        )
        inner = conv(f"{name}.conv2", silu(inner * (1 + scale) + shift), padding=1)
        return inner + (conv(f"{name}.skip", h) if f"{name}.skip.weight" in w else h)

    s2 = t**2 + (1 - t) ** 2
    h = x / s2**0.5
    # Pixels (0, 0), (0, 1), (1, 0), (1, 1) of each patch, channel by channel.
    patches = [h[:, c, i::2, j::2] for c in range(2) for i in range(2) for j in range(2)]
    fine = block("before", conv("stem", torch.stack(patches, 1), padding=1))
    coarse = block("middle.0", conv("down", fine, stride=2))
    up = torch.zeros_like(fine)
    for i in range(2):
        for j in range(2):
            up[:, :, i::2, j::2] = torch.einsum("bchw,cd->bdhw", coarse, w["up.weight"][:, :, i, j])
    up = up + w["up.bias"][:, None, None]
    h = conv("head", silu(norm("norm", block("after", torch.cat([fine, up], 1)))), padding=1)
    out = torch.zeros_like(x)
    for c in range(2):
        for i in range(2):
            for j in range(2):
                out[:, c, i::2, j::2] = h[:, 4 * c + 2 * i + j]
    return (2 * t - 1) / s2 * x + out / s2**0.5


def test_the_network_is_the_one_by_the_book(network: UNet) -> None:
    x = draw(3, 2, 8, 12)
    for t in (0.0, 0.37, 1.0):
        found = network(torch.tensor(t, dtype=x.dtype), x)
        torch.testing.assert_close(found, by_the_book(network, t, x), rtol=1e-9, atol=1e-9)


def test_it_begins_with_the_best_linear_velocity() -> None:
    x, t = draw(4, 1, 8, 8), torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    found = UNet(1, 16, 1).double()(t, x)
    slopes = torch.tensor([-1.0, -0.8, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(found, slopes[:, None, None, None] * x)


def test_what_is_left_for_the_network_has_variance_one() -> None:
    n, t = 200_000, 0.8
    noise, data = draw(n, seed=1), draw(n, seed=2)
    between, direction = (1 - t) * noise + t * data, data - noise
    s = (t**2 + (1 - t) ** 2) ** 0.5
    slope = (between @ direction) / (between @ between)
    assert float(slope) == pytest.approx((2 * t - 1) / s**2, abs=0.02)
    rest = (direction - (2 * t - 1) / s**2 * between) * s
    assert float(rest.var()) == pytest.approx(1, abs=0.02)
    assert float((between / s).var()) == pytest.approx(1, abs=0.02)


def test_every_image_has_its_own_time_and_no_neighbours(network: UNet) -> None:
    x, t = draw(3, 2, 8, 8), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    together = network(t, x)
    alone = torch.cat([network(t[i], x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone)


@torch.no_grad()
def test_in_bfloat16_it_is_nearly_the_same(network: UNet) -> None:
    network.float()
    x, t = draw(2, 2, 8, 8).float(), torch.tensor([0.2, 0.8])
    exact = network(t, x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(t, x)
    assert rough.dtype == torch.float32
    assert float((rough - exact).norm() / exact.norm()) < 0.02
