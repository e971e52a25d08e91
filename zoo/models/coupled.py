"""A gated perceptron with two hidden layers: its divergence costs as much as its value.

    v = W₃ f(W₂ f(W₁ x + c₁) + c₂) + c₃,    sₗ = f'(aₗ)

    tr ∂v/∂x = tr(W₃ S₂ W₂ S₁ W₁) = s₂ · M s₁,    M = W₂ ⊙ (W₁ W₃)ᵀ

whatever the dimension of x: one matrix product more, and no Jacobian. The pass backward is derived
by hand: automatic differentiation would take several times as many operations on (B, width).
With the bar for the derivative of the loss, q = M s₁ and P = W₁ W₃,

    q̄ = d̄iv s₂,   s̄₂ = d̄iv q,   s̄₁ = Mᵀ q̄,   M̄ = Σ q̄ s₁ᵀ,
    W̄₂ = Σ ā₂ h₁ᵀ + M̄ ⊙ Pᵀ,   P̄ = (M̄ ⊙ W₂)ᵀ,   W̄₁ = Σ ā₁ xᵀ + P̄ W₃ᵀ,   W̄₃ = Σ v̄ h₂ᵀ + W₁ᵀ P̄.
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
        weights: three matrices (outputs, inputs).
        activation: f.

    Returns:
        The value (B, D) and the divergence (B,).
    """
    value, divergence = _Coupled.apply(activation, x, conditions, *weights)
    return value, divergence


class _Coupled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, activation: Activation, x: Tensor, conditions: Tensor, *matrices: Tensor
    ) -> tuple[Tensor, Tensor]:
        weights, shifts = fold(conditions, matrices)
        first, middle, last = weights
        a1 = torch.addmm(shifts[0], x, first.T)
        h1, s1 = activation.with_slope(a1)
        a2 = torch.addmm(shifts[1], h1, middle.T)
        h2, s2 = activation.with_slope(a2)
        value = torch.addmm(shifts[2], h2, last.T)
        product = (first @ last).T
        coupling = middle * product
        q = s1 @ coupling.T
        ctx.activation = activation
        ctx.save_for_backward(
            x, conditions, *matrices, *weights, product, coupling, a1, h1, s1, a2, h2, s2, q
        )
        return value, (q * s2).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> Any:
        value_bar, divergence_bar = above
        pull = ctx.activation.pull
        x, conditions, *rest = ctx.saved_tensors
        matrices, (first, middle, last) = rest[:3], rest[3:6]
        product, coupling, a1, h1, s1, a2, h2, s2, q = rest[6:]
        divergence_bar = divergence_bar[:, None]
        q_bar = divergence_bar * s2
        coupling_bar = q_bar.T @ s1
        a2_bar = pull(a2, h2, s2, value_bar @ last, divergence_bar * q)
        a1_bar = pull(a1, h1, s1, a2_bar @ middle, q_bar @ coupling)
        product_bar = coupling_bar * middle
        weight_bars = [
            torch.addmm(product_bar.T @ last.T, a1_bar.T, x),
            torch.addmm(coupling_bar.mul_(product), a2_bar.T, h1),
            torch.addmm(first.T @ product_bar.T, value_bar.T, h2),
        ]
        shift_bars = [a1_bar.sum(0), a2_bar.sum(0), value_bar.sum(0)]
        return None, a1_bar @ first, *unfold(conditions, matrices, weight_bars, shift_bars)
