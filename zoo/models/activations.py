"""Activations with the derivatives that a divergence and its gradient need."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo._names import did_you_mean

__all__ = ["ACTIVATIONS", "Activation", "activation"]


class Activation(NamedTuple):
    """A smooth function of every element.

    Args:
        value: σ(a).
        with_slope: σ(a) and σ'(a), in fewer passes than one by one.
        curvature: σ''(a) of (a, σ(a), σ'(a)).
    """

    value: Callable[[Tensor], Tensor]
    with_slope: Callable[[Tensor], tuple[Tensor, Tensor]]
    curvature: Callable[[Tensor, Tensor, Tensor], Tensor]


def _tanh(a: Tensor) -> tuple[Tensor, Tensor]:
    h = torch.tanh(a)
    return h, 1 - h * h


def _softplus(a: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(a), torch.sigmoid(a)


def _silu(a: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(a)
    h = a * gate
    return h, gate + h * (1 - gate)


def _silu_curvature(a: Tensor, h: Tensor, slope: Tensor) -> Tensor:
    gate = torch.sigmoid(a)
    return gate * (1 - gate) * (2 + a * (1 - 2 * gate))


ACTIVATIONS = {
    "silu": Activation(F.silu, _silu, _silu_curvature),
    "softplus": Activation(F.softplus, _softplus, lambda a, h, slope: slope * (1 - slope)),
    "tanh": Activation(torch.tanh, _tanh, lambda a, h, slope: -2 * h * slope),
}


def activation(name: str) -> Activation:
    """The activation of that name, a key of `ACTIVATIONS`.

    Raises:
        ValueError: there is none.
    """
    if name not in ACTIVATIONS:
        hint = did_you_mean(name, ACTIVATIONS)
        raise ValueError(f"no activation {name!r}{hint}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
