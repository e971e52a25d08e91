"""Batch norm with moments: the layer of torch, and gradients of what it measured."""

import pytest
import torch
from torch import nn

from zoo.models.batch_norm import BatchNorm


def maps(n: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 4, 5, generator=generator, dtype=torch.float64) * 2 + 0.5


@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_layer_of_torch(training: bool) -> None:
    mine, theirs = BatchNorm(3).double(), nn.BatchNorm2d(3).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        theirs.weight.uniform_(0.5, 2.0, generator=generator)
        theirs.bias.normal_(generator=generator)
        mine.gain.copy_(theirs.weight)
    mine.train(training), theirs.train(training)
    for _ in range(3):
        expected = theirs(maps())
        torch.testing.assert_close(mine(maps(), theirs.bias), expected)
    torch.testing.assert_close(mine.running_mean, theirs.running_mean)
    torch.testing.assert_close(mine.running_variance, theirs.running_var)
    y, _ = mine.with_moments(maps(), theirs.bias)
    torch.testing.assert_close(y, theirs(maps()))
    torch.testing.assert_close(mine.running_mean, theirs.running_mean)


def test_moments_are_those_of_the_batch_or_the_running_ones() -> None:
    norm = BatchNorm(3).double()
    _, found = norm.with_moments(maps(), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(found.mean, maps().mean((0, 2, 3)))
    torch.testing.assert_close(found.variance, maps().var((0, 2, 3), correction=0))
    norm.eval()
    _, found = norm.with_moments(maps(), torch.zeros(3, dtype=torch.float64))
    assert found.mean is norm.running_mean and found.variance is norm.running_variance


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_gradients_of_the_maps_and_of_their_moments(used: tuple[int, ...]) -> None:
    norm = BatchNorm(3).double()

    def outputs(x: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor) -> tuple:
        with torch.no_grad():
            norm.running_mean.zero_(), norm.running_variance.fill_(1.0)
        y, moments = torch.func.functional_call(_WithMoments(norm), {"norm.gain": gain}, (x, shift))
        every = (y, *moments)
        return tuple(every[i] for i in used)

    arguments = (
        maps(3).requires_grad_(),
        torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True),
        torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(outputs, arguments if 0 in used else (arguments[0], *(
        each.detach() for each in arguments[1:]
    )))  # fmt: skip


class _WithMoments(nn.Module):
    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor, shift: torch.Tensor) -> tuple:
        return self.norm.with_moments(x, shift)
