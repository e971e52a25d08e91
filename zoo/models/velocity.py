"""The velocity field of a flow: a perceptron that knows its own divergence.

Layer l computes a = σ(G φ(t) + g) ⊙ W h + C φ(t) + c with features φ(t) of the time: FFJORD's
`concatsquash` layer with one shift instead of two. With one time for the whole batch, as in every
solve, the gate is folded into W, so that time costs nothing per example.

The likelihood needs tr ∂v/∂x. By automatic differentiation that is a pass backwards for every
dimension, and one through these for the gradient. Here it is a formula: with S = diag σ'(a),

- two hidden layers:  tr(W₃ S₂ W₂ S₁ W₁) = s₂ · (W₂ ⊙ (W₁ W₃)ᵀ) s₁, whose cost does not grow with D
  (`zoo.models.coupled`);
- any other number: the D columns of the Jacobian are carried along (`zoo.models.tangents`).

Grathwohl et al., "FFJORD", ICLR 2019, arXiv 1810.01367 (the layer; its divergence is by automatic
differentiation).
"""

import itertools
import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models import coupled, tangents
from zoo.models.activations import activation as named
from zoo.models.gates import fold

__all__ = ["VelocityMLP"]


class VelocityMLP(nn.Module):
    """v(t, x) with its exact divergence.

    The last layer begins at zero: the untrained flow is the identity.

    Args:
        dim: D, number of variables.
        hidden: widths of the hidden layers, one or more.
        activation: a key of `zoo.models.activations.ACTIVATIONS`.
        frequencies: K; φ(t) = (t, cos πkt, sin πkt for k = 1 ... K). 0 is FFJORD's φ.

    Raises:
        ValueError: sizes below 1, or an unknown activation.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (128, 128, 128),
        activation: str = "tanh",
        frequencies: int = 0,
    ) -> None:
        super().__init__()
        widths = tuple(hidden)
        if dim < 1 or not widths or min(widths) < 1 or frequencies < 0:
            raise ValueError(
                "expected dim and every width of at least 1, one hidden layer or more, and no "
                f"negative number of frequencies, found {dim}, {widths}, {frequencies}"
            )
        self.activation = named(activation)
        self.dim, self.hidden, self.frequencies = dim, widths, frequencies
        self.layers = nn.ModuleList(
            nn.Linear(*sizes, bias=False) for sizes in itertools.pairwise((dim, *widths, dim))
        )
        # Gates, then shifts, of all layers at once.
        self.time = nn.Linear(1 + 2 * frequencies, 2 * (sum(widths) + dim))
        with torch.no_grad():
            self.matrices[-1].zero_()
            self.time.weight[-dim:].zero_()
            self.time.bias[-dim:].zero_()

    @torch.no_grad()
    def scale_first_layer(self, factor: float) -> None:
        """Multiply W₁: what the untrained network tells apart is finer by so much.

        With sines this is the ω₀ of Sitzmann et al., "Implicit neural representations with periodic
        activation functions", NeurIPS 2020, arXiv 2006.09661.
        """
        self.matrices[0].mul_(factor)

    @property
    def matrices(self) -> list[Tensor]:
        """W of every layer, (outputs, inputs)."""
        return [layer.weight for layer in self.layers]  # type: ignore[misc]

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity (B, D) of points x (B, D) at time t: without dimensions, or (B,)."""
        conditions, matrices = self.time(self._features(t)), self.matrices
        if t.dim() == 0:
            layers = zip(*fold(conditions, matrices), strict=True)
            products = [partial(F.linear, weight=weight, bias=shift) for weight, shift in layers]
        else:
            gates, shifts = conditions.chunk(2, -1)
            sizes = [len(matrix) for matrix in matrices]
            parts = zip(
                matrices, gates.sigmoid().split(sizes, -1), shifts.split(sizes, -1), strict=True
            )
            products = [partial(_gated, weight=w, gate=g, shift=c) for w, g, c in parts]
        for product in products[:-1]:
            x = self.activation.value(product(x))
        return products[-1](x)

    def with_divergence(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity (B, D) and tr ∂v/∂x (B,) of points x (B, D) at one time t.

        Can be differentiated once; `zoo.odes.exact_divergence` serves those who need more.
        """
        formula = coupled if len(self.hidden) == 2 else tangents
        conditions = self._conditions(t)
        value, divergence = formula.value_and_divergence(
            x, conditions, self.matrices, self.activation
        )
        return value, divergence

    def with_jacobian(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity (B, D) and ∂vᵢ/∂xⱼ (B, D, D) of points x (B, D) at one time t.

        The D columns are carried along: meant for small D.
        """
        weights, shifts = fold(self._conditions(t), self.matrices)
        h, columns = x, torch.eye(self.dim, dtype=x.dtype, device=x.device)[:, None]
        for weight, shift in zip(weights[:-1], shifts[:-1], strict=True):
            h, slope = self.activation.with_slope(F.linear(h, weight, shift))
            columns = F.linear(columns, weight) * slope
        v = F.linear(h, weights[-1], shifts[-1])
        return v, F.linear(columns, weights[-1]).permute(1, 2, 0)

    def _conditions(self, t: Tensor) -> Tensor:
        """Gates before their sigmoid, and shifts, at one time, (2 Σ outputs,)."""
        if t.dim():
            raise ValueError(f"expected one time for the batch, found shape {tuple(t.shape)}")
        conditions: Tensor = self.time(self._features(t))
        return conditions

    def _features(self, t: Tensor) -> Tensor:
        """φ(t): (F,) for a time without dimensions, (B, F) for t (B,)."""
        t = t.to(self.time.weight)[..., None]
        if not self.frequencies:
            return t
        turns = t * (math.pi * torch.arange(1, self.frequencies + 1).to(t))
        return torch.cat([t, turns.cos(), turns.sin()], -1)


def _gated(h: Tensor, weight: Tensor, gate: Tensor, shift: Tensor) -> Tensor:
    """A layer with a gate and a shift for every point."""
    return torch.addcmul(shift, F.linear(h, weight), gate)
