"""A gated perceptron's value and divergence in one pass forward and, by hand, one backward.

With gates γ_l = σ(g_l), a_l = γ_l ⊙ W_l h_{l-1} + c_l, h_l = f(a_l) and s_l = f'(a_l), the columns
of the Jacobian are carried along with the activations:

    u_l = γ_l ⊙ W_l t_{l-1},   t_l = s_l ⊙ u_l,   t_0 = I,   div = Σ_d (γ ⊙ W)_{L+1}[d] · t_L^d.

The gates, which are those of one time, are folded into the matrices. Value and D columns then go
through each layer as one matrix product of (1 + D) B rows. Differentiating backwards from the value
and the divergence, with ā for the derivative of the loss by a,

    ū = t̄ ⊙ s,   s̄ = Σ_d t̄^d ⊙ u^d,   ā = h̄ ⊙ s + s̄ ⊙ f''(a).

Automatic differentiation would do the same in several times as many operations on (B, width).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoo.models.activations import Activation
from zoo.models.gates import fold, unfold

__all__ = ["value_and_divergence"]


def value_and_divergence(
    x: Tensor, conditions: Tensor, weights: Sequence[Tensor], activation: Activation
) -> tuple[Tensor, Tensor]:
    """The perceptron from ℝᴰ to ℝᴰ at one time, and its divergence.

    Can be differentiated once, by points, conditions and weights.

    Args:
        x: (B, D).
        conditions: see `zoo.models.gates.fold`.
        weights: L + 1 matrices (outputs, inputs), L at least 1.
        activation: f.

    Returns:
        The value (B, D) and the divergence (B,).
    """
    value, divergence = _Tangents.apply(activation, x, conditions, *weights)
    return value, divergence


class _Tangents(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, activation: Activation, x: Tensor, conditions: Tensor, *matrices: Tensor
    ) -> tuple[Tensor, Tensor]:
        weights, shifts = fold(conditions, matrices)
        batch, dim = x.shape
        a = torch.addmm(shifts[0], x, weights[0].T)
        h, s = activation.with_slope(a)
        # (D, 1, width): before the first activation the columns are the same for all points.
        u = weights[0].T.contiguous()[:, None]
        saved = [a, h, s, u]
        for weight, shift in zip(weights[1:-1], shifts[1:-1], strict=True):
            rows = h.new_empty(1 + dim, batch, weight.shape[1])
            rows[0] = h
            torch.mul(u, s, out=rows[1:])
            product = (rows.reshape(-1, rows.shape[2]) @ weight.T).reshape(1 + dim, batch, -1)
            a, u = product[0].add_(shift), product[1:]
            h, s = activation.with_slope(a)
            saved += [rows, a, h, s, u]
        value = torch.addmm(shifts[-1], h, weights[-1].T)
        traced = _sum_of_products(u, weights[-1])
        divergence = (s * traced).sum(1)
        ctx.activation, ctx.count = activation, len(weights)
        ctx.save_for_backward(x, conditions, *matrices, *weights, traced, *saved)
        return value, divergence

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> Any:
        value_bar, divergence_bar = above
        count, pull = ctx.count, ctx.activation.pull
        x, conditions, *rest = ctx.saved_tensors
        matrices, weights = rest[:count], rest[count : 2 * count]
        traced, *saved = rest[2 * count :]
        dim, last = x.shape[1], weights[-1]
        *_, a, h, s, u = saved
        divergence_bar = divergence_bar[:, None]
        s_bar, traced_bar = divergence_bar * traced, divergence_bar * s
        weight_bars = [torch.addmm(_products_summed(traced_bar, u), value_bar.T, h)]
        shift_bars = [value_bar.sum(0)]
        h_bar = value_bar @ last
        # ū is t̄ ⊙ scale: at the top traced_bar ⊙ W[d], further down t̄ ⊙ s.
        t_bar, scale = traced_bar.expand(dim, -1, -1), last[:, None]
        for index in range(count - 2, 0, -1):
            rows = saved[5 * index - 1]
            bars = a.new_empty(1 + dim, *a.shape)
            bars[0] = pull(a, h, s, h_bar, s_bar)
            torch.mul(t_bar, scale, out=bars[1:])
            shift_bars.append(bars[0].sum(0))
            flat = bars.reshape(-1, bars.shape[2])
            weight_bars.append(flat.T @ rows.reshape(-1, rows.shape[2]))
            below = (flat @ weights[index]).reshape(rows.shape)
            a, h, s, u = saved[5 * index - 5 : 5 * index - 1]
            h_bar, t_bar, scale = below[0], below[1:], s
            s_bar = _sum_of_products(t_bar, u)
        a_bar = pull(a, h, s, h_bar, s_bar)
        shift_bars.append(a_bar.sum(0))
        weight_bars.append(torch.addmm((t_bar * scale).sum(1).T, a_bar.T, x))
        x_bar = a_bar @ weights[0]
        return None, x_bar, *unfold(conditions, matrices, weight_bars[::-1], shift_bars[::-1])


def _sum_of_products(left: Tensor, right: Tensor) -> Tensor:
    """Σ_d left^d ⊙ right^d: (B or 1, width) for (D, B or 1, width) and (D, [B or 1,] width)."""
    total = left[0] * right[0]
    for one, other in zip(left[1:], right[1:], strict=True):
        total.addcmul_(one, other)
    return total


def _products_summed(weight: Tensor, u: Tensor) -> Tensor:
    """Σ_b weight ⊙ u^d, (D, width), for weight (B, width) and u (D, B or 1, width)."""
    return torch.stack([(weight * column).sum(0) for column in u])
