"""The adaptive operators against naive loops and worked examples."""

import pytest
import torch

from zoo.models.adaptive import (
    ReLUState,
    ada_pool,
    ada_pool_feedback,
    ada_relu,
    ada_relu_feedback,
    conv_feedback,
    rms_norm,
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("damping", "expected"), [(0.0, [2.0, 0.0, 0.0, -2.0]), (0.1, [1.9, 0.0, 0.0, -1.9])]
)
def test_ada_relu_worked_example(damping: float, expected: list[float]) -> None:
    f = torch.tensor([2.0, -2.0, 2.0, -2.0], dtype=torch.float64)
    g = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    out, _ = ada_relu(f, ReLUState(f > 0, g), damping)
    torch.testing.assert_close(out, torch.tensor(expected, dtype=torch.float64))


def test_ada_relu_first_pass_is_relu() -> None:
    f = draw(3, 4)
    out, state = ada_relu(f, None, 0.1)
    assert torch.equal(out, f.clamp(min=0))
    assert torch.equal(state.drive > 0, f > 0)
    assert state.feedback is None


def test_ada_relu_against_a_loop() -> None:
    f, g = draw(4, 5, seed=1), draw(4, 5, seed=2)
    g[0, 0] = 0.0
    out, state = ada_relu(f, ReLUState(f > 0, g), 0.3)
    for i, j in torch.cartesian_prod(torch.arange(4), torch.arange(5)).tolist():
        blended = f[i, j] + 0.3 * (g[i, j] - f[i, j])
        if g[i, j] > 0:
            expected = max(float(blended), 0.0)
        elif g[i, j] < 0:
            expected = min(float(blended), 0.0)
        else:
            expected = 0.0
        assert float(out[i, j]) == pytest.approx(expected, abs=1e-15)
    masked, after = ada_relu_feedback(g, state)
    assert torch.equal(masked, torch.where(state.drive > 0, g, 0.0))
    assert after.feedback is g


def test_ada_pool_worked_example() -> None:
    f = torch.tensor([[[[1.0, 2.0, 5.0, -3.0], [0.0, -4.0, 7.0, 6.0]]]])
    _, state = ada_pool(f, None, 2)
    _, state = ada_pool_feedback(torch.tensor([[[[1.0, -1.0]]]]), state, 2)
    out, state = ada_pool(f, state, 2)
    assert out.tolist() == [[[[2.0, -3.0]]]]
    unpooled, _ = ada_pool_feedback(torch.tensor([[[[9.0, -8.0]]]]), state, 2)
    assert unpooled.tolist() == [[[[0.0, 9.0, 0.0, -8.0], [0.0, 0.0, 0.0, 0.0]]]]


@pytest.mark.parametrize("kernel", [2, 3])
def test_ada_pool_against_a_loop(kernel: int) -> None:
    f = draw(2, 3, 4 * kernel, 2 * kernel, seed=3)
    g = draw(2, 3, 4, 2, seed=4)
    g[0, 0, 0, 0] = 0.0
    _, state = ada_pool(f, None, kernel)
    _, state = ada_pool_feedback(g, state, kernel)
    out, state = ada_pool(f, state, kernel)
    unpooled, _ = ada_pool_feedback(g, state, kernel)
    for b, c, i, j in torch.cartesian_prod(*map(torch.arange, g.shape)).tolist():
        rows, columns = slice(i * kernel, (i + 1) * kernel), slice(j * kernel, (j + 1) * kernel)
        cell, drive = f[b, c, rows, columns], float(g[b, c, i, j])
        chosen = cell.argmax() if drive >= 0 else cell.argmin()
        expected = float(cell.flatten()[chosen]) if drive else 0.0
        assert float(out[b, c, i, j]) == expected
        placed = torch.zeros_like(cell).flatten()
        placed[chosen] = drive
        assert torch.equal(unpooled[b, c, rows, columns].flatten(), placed)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_ties_go_to_the_first_entry_in_row_major_order(sign: float) -> None:
    f = torch.tensor([[[[1.0, 3.0], [3.0, 3.0]]]]) * sign
    _, state = ada_pool(f, None, 2)
    _, state = ada_pool_feedback(torch.full((1, 1, 1, 1), sign), state, 2)
    _, state = ada_pool(f, state, 2)
    unpooled, _ = ada_pool_feedback(torch.full((1, 1, 1, 1), 5.0), state, 2)
    assert unpooled.tolist() == [[[[0.0, 5.0], [0.0, 0.0]]]]


def test_pool_gradients_flow_to_the_chosen_entries_only() -> None:
    f = draw(1, 2, 4, 4, seed=5).requires_grad_()
    g = draw(1, 2, 2, 2, seed=6)
    _, state = ada_pool(f.detach(), None, 2)
    _, state = ada_pool_feedback(g, state, 2)

    def pooled(x: torch.Tensor) -> torch.Tensor:
        return ada_pool(x, state, 2)[0]

    assert torch.autograd.gradcheck(pooled, f)
    _, state = ada_pool(f.detach(), state, 2)

    def unpooled(x: torch.Tensor) -> torch.Tensor:
        return ada_pool_feedback(x, state, 2)[0]

    assert torch.autograd.gradcheck(unpooled, g.clone().requires_grad_())


def test_rms_norm_is_the_formula_and_passes_gradcheck() -> None:
    x = draw(2, 3, 4, 5, seed=7)
    expected = x / torch.sqrt((x * x).mean(dim=(2, 3), keepdim=True) + 1e-8)
    torch.testing.assert_close(rms_norm(x), expected, rtol=1e-14, atol=1e-14)
    bias = draw(3, seed=11)
    shifted = expected + bias[:, None, None]
    torch.testing.assert_close(rms_norm(x, bias), shifted, rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradcheck(rms_norm, (x.requires_grad_(), bias.requires_grad_()))
    assert torch.autograd.gradcheck(rms_norm, x)


def test_rms_norm_of_a_dead_channel_is_zero_with_finite_gradients() -> None:
    x = torch.zeros(1, 2, 3, 3, requires_grad=True)
    rms_norm(x).sum().backward()
    assert torch.equal(rms_norm(x), torch.zeros_like(x))
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("stride", "padding", "size", "kernel"),
    [(1, 1, 7, 3), (2, 1, 8, 3), (1, 0, 5, 1), (2, 0, 8, 1)],
)
def test_conv_feedback_is_the_adjoint_and_autograds_transpose(
    stride: int, padding: int, size: int, kernel: int
) -> None:
    weight = draw(4, 3, kernel, kernel, seed=8)
    x = draw(2, 3, size, size, seed=9).requires_grad_()
    out = torch.nn.functional.conv2d(x, weight, stride=stride, padding=padding)
    g = draw(*out.shape, seed=10)
    feedback = conv_feedback(g, weight, stride=stride, padding=padding)
    (transposed,) = torch.autograd.grad(out, x, g)
    torch.testing.assert_close(feedback, transposed, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((out * g).sum(), (x * feedback).sum(), rtol=1e-12, atol=1e-12)
