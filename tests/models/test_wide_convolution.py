"""Convolutions with a wide border: those of torch, and their gradients."""

import pytest
import torch
import torch.nn.functional as F

from zoo.models.wide_convolution import convolution, transposed_convolution

CASES = [(3, 0), (3, 1), (3, 2), (5, 4), (4, 2)]


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape) + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


@pytest.mark.parametrize(("kernel", "padding"), CASES)
def test_values_and_gradients_are_those_of_torch(kernel: int, padding: int) -> None:
    x, weight = drawn(2, 3, 7, 6), drawn(4, 3, kernel, kernel)
    y = convolution(x, weight, padding)
    reference = F.conv2d(x, weight, padding=padding)
    torch.testing.assert_close(y, reference)
    g = drawn(*y.shape)
    for found, expected in zip(
        torch.autograd.grad(y, (x, weight), g),
        torch.autograd.grad(reference, (x, weight), g),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)

    back = transposed_convolution(g, weight, padding)
    reference = F.conv_transpose2d(g, weight, padding=padding)
    torch.testing.assert_close(back, reference)
    assert back.shape == x.shape
    for found, expected in zip(
        torch.autograd.grad(back, (g, weight), x),
        torch.autograd.grad(reference, (g, weight), x),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kernel", "padding"), [(3, 2), (5, 4)])
def test_gradients_by_differences(kernel: int, padding: int) -> None:
    x, weight = drawn(1, 2, 4, 4), drawn(2, 2, kernel, kernel)
    assert torch.autograd.gradcheck(lambda a, b: convolution(a, b, padding), (x, weight))
    g = drawn(1, 2, 4 + 2 * padding - kernel + 1, 4 + 2 * padding - kernel + 1)
    assert torch.autograd.gradcheck(lambda a, b: transposed_convolution(a, b, padding), (g, weight))


def test_autocast_keeps_gradients_in_the_dtype_of_the_weights() -> None:
    x, weight = drawn(2, 3, 6, 6, dtype=torch.float32), drawn(4, 3, 3, 3, dtype=torch.float32)
    x, weight = (t.detach().requires_grad_() for t in (x, weight))
    with torch.autocast("cpu", torch.bfloat16):
        y = convolution(x, weight, 2)
        back = transposed_convolution(y, weight, 2)
    assert y.dtype == back.dtype == torch.bfloat16
    found = torch.autograd.grad(back.float().square().sum(), (x, weight))
    with torch.autocast("cpu", torch.bfloat16):
        reference = F.conv_transpose2d(F.conv2d(x, weight, padding=2), weight, padding=2)
    expected = torch.autograd.grad(reference.float().square().sum(), (x, weight))
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).norm() / theirs.norm() < 0.02
