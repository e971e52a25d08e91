"""The velocity field of a flow: a perceptron that knows its own divergence.

Layer l computes a = σ(G φ(t) + g) ⊙ W h + C φ(t) + c with features φ(t) of the time: FFJORD's
`concatsquash` layer with one shift instead of two. With one time for the whole batch, as in every
solve, the gate is folded into W, so that time costs nothing per example.

The likelihood needs tr ∂v/∂x. By automatic differentiation that is a pass backwards for every
dimension, and one through these for the gradient. Here it is a formula: with S = diag σ'(a),

- one hidden layer:  tr(W₂ S W₁) = s · diag(W₁ W₂);
- two:  tr(W₃ S₂ W₂ S₁ W₁) = s₂ · (W₂ ⊙ (W₁ W₃)ᵀ) s₁, whose cost does not grow with D;
- more: the D columns of the Jacobian are carried along (`zoo.models.tangents`).

Grathwohl et al., "FFJORD", ICLR 2019, arXiv 1810.01367 (the layer; its divergence is by automatic
differentiation).
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.activations import activation as named
from zoo.models.tangents import value_and_divergence

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

    @property
    def matrices(self) -> list[Tensor]:
        """W of every layer, (outputs, inputs)."""
        return [layer.weight for layer in self.layers]  # type: ignore[misc]

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity (B, D) of points x (B, D) at time t: without dimensions, or (B,)."""
        gates, shifts = self._conditions(t)
        h = x
        for index, weight in enumerate(self.matrices):
            if t.dim():
                h = torch.addcmul(shifts[index], F.linear(h, weight), gates[index])
            else:
                h = F.linear(h, weight * gates[index][:, None], shifts[index])
            if index < len(self.hidden):
                h = self.activation.value(h)
        return h

    def with_divergence(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity (B, D) and tr ∂v/∂x (B,) of points x (B, D) at one time t.

        Can be differentiated once; `zoo.odes.exact_divergence` serves those who need more.
        """
        weights, shifts = self._fold(t)
        if len(self.hidden) == 2:
            return self._with_two_layers(x, weights, shifts)
        return value_and_divergence(x, weights, shifts, self.activation)

    def with_jacobian(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity (B, D) and ∂vᵢ/∂xⱼ (B, D, D) of points x (B, D) at one time t.

        The D columns are carried along: meant for small D.
        """
        weights, shifts = self._fold(t)
        h, columns = x, torch.eye(self.dim, dtype=x.dtype, device=x.device)[:, None]
        for weight, shift in zip(weights[:-1], shifts[:-1], strict=True):
            h, slope = self.activation.with_slope(F.linear(h, weight, shift))
            columns = F.linear(columns, weight) * slope
        v = F.linear(h, weights[-1], shifts[-1])
        return v, F.linear(columns, weights[-1]).permute(1, 2, 0)

    def _with_two_layers(
        self, x: Tensor, weights: Sequence[Tensor], shifts: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        first, middle, last = weights
        h, inner = self.activation.with_slope(F.linear(x, first, shifts[0]))
        h, outer = self.activation.with_slope(F.linear(h, middle, shifts[1]))
        coupling = middle * (first @ last).T
        divergence = torch.linalg.vecdot(F.linear(inner, coupling), outer)
        return F.linear(h, last, shifts[2]), divergence

    def _fold(self, t: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Matrices, with their gates, and shifts of the layers at one time."""
        if t.dim():
            raise ValueError(f"expected one time for the batch, found shape {tuple(t.shape)}")
        gates, shifts = self._conditions(t)
        folded = [weight * gate[:, None] for weight, gate in zip(self.matrices, gates, strict=True)]
        return folded, shifts

    def _conditions(self, t: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Gates and shifts of the layers: (width,) for a time without dimensions, (B, width)."""
        t = t.to(self.time.weight)[..., None]
        if self.frequencies:
            turns = t * (math.pi * torch.arange(1, self.frequencies + 1).to(t))
            t = torch.cat([t, turns.cos(), turns.sin()], -1)
        gates, shifts = self.time(t).chunk(2, -1)
        sizes = [*self.hidden, self.dim]
        return list(torch.split(torch.sigmoid(gates), sizes, -1)), list(
            torch.split(shifts, sizes, -1)
        )
