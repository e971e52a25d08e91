"""Activations with what a divergence and its gradient need of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo._names import did_you_mean

__all__ = ["ACTIVATIONS", "Activation", "activation"]


class Activation(NamedTuple):
    """A smooth function h = σ(a) of every element, with its slope s = σ'(a).

    Args:
        value: σ(a).
        with_slope: h and s, in fewer passes than one by one.
        pull: of (a, h, s, h̄, s̄) the derivative by a, ā = h̄ σ'(a) + s̄ σ''(a).
    """

    value: Callable[[Tensor], Tensor]
    with_slope: Callable[[Tensor], tuple[Tensor, Tensor]]
    pull: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def _tanh(a: Tensor) -> tuple[Tensor, Tensor]:
    h = torch.tanh(a)
    return h, torch.addcmul(h.new_ones(()), h, h, value=-1)


def _tanh_pull(a: Tensor, h: Tensor, s: Tensor, h_bar: Tensor, s_bar: Tensor) -> Tensor:
    # σ'' = -2 h s, so that s comes out of the sum.
    return torch.addcmul(h_bar, h, s_bar, value=-2).mul_(s)


def _softplus(a: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(a), torch.sigmoid(a)


def _softplus_pull(a: Tensor, h: Tensor, s: Tensor, h_bar: Tensor, s_bar: Tensor) -> Tensor:
    return torch.addcmul(h_bar, s_bar, 1 - s).mul_(s)


def _silu(a: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(a)
    h = a * gate
    return h, torch.addcmul(gate, h, 1 - gate)


def _silu_pull(a: Tensor, h: Tensor, s: Tensor, h_bar: Tensor, s_bar: Tensor) -> Tensor:
    gate = torch.sigmoid(a)
    curvature = (1 - gate) * torch.addcmul(2 * gate, h, 1 - 2 * gate)
    return torch.addcmul(h_bar * s, s_bar, curvature)


def _sine(a: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sin(a), torch.cos(a)


def _sine_pull(a: Tensor, h: Tensor, s: Tensor, h_bar: Tensor, s_bar: Tensor) -> Tensor:
    return torch.addcmul(h_bar * s, h, s_bar, value=-1)


ACTIVATIONS = {
    "silu": Activation(F.silu, _silu, _silu_pull),
    "sine": Activation(torch.sin, _sine, _sine_pull),
    "softplus": Activation(F.softplus, _softplus, _softplus_pull),
    "tanh": Activation(torch.tanh, _tanh, _tanh_pull),
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
