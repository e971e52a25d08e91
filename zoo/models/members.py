"""Ensembles as one computation: M perceptrons of one shape, each with weights of its own."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["MemberLinear", "member_perceptron"]


class MemberLinear(nn.Module):
    """y_m = x_m W_m + b_m for m = 1 ... M, by one batched product.

    The weights begin uniform on (-1/√inputs, 1/√inputs), as those of `nn.Linear`.

    Args:
        members: M.
        inputs: size of x.
        outputs: size of y.
    """

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(M, N, outputs) of (M, N, inputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


def member_perceptron(members: int, widths: Sequence[int]) -> nn.Sequential:
    """M perceptrons with tanh between their layers.

    Args:
        members: M.
        widths: sizes of the input, the hidden layers and the output.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [MemberLinear(members, inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])
