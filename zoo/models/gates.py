"""The gates of a perceptron at one time, folded into its matrices, and back.

With one time for a whole batch a gate scales the rows of a matrix, once, and not every point.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["fold", "unfold"]


def fold(conditions: Tensor, weights: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Matrices with their gates, and shifts, of the layers at one time.

    Args:
        conditions: g of all layers, then c of all layers, (2 Σ outputs,).
        weights: W of the layers, (outputs, inputs).
    """
    sizes = [len(weight) for weight in weights]
    gates, shifts = conditions.chunk(2)
    columns = torch.split(torch.sigmoid(gates)[:, None], sizes)
    folded = [weight * gate for weight, gate in zip(weights, columns, strict=True)]
    return folded, list(torch.split(shifts, sizes))


def unfold(
    conditions: Tensor,
    matrices: Sequence[Tensor],
    weight_bars: Sequence[Tensor],
    shift_bars: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Derivatives by the conditions and by the matrices, from those by what `fold` gave."""
    gates = torch.sigmoid(conditions[: len(conditions) // 2])
    gate_bars = torch.cat(
        [
            torch.linalg.vecdot(bar, matrix)
            for bar, matrix in zip(weight_bars, matrices, strict=True)
        ]
    )
    gate_bars *= gates * (1 - gates)
    columns = torch.split(gates[:, None], [len(matrix) for matrix in matrices])
    for bar, gate in zip(weight_bars, columns, strict=True):
        bar *= gate
    return torch.cat([gate_bars, *shift_bars]), *weight_bars
