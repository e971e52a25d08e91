"""Exponential moving average of a module's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["EMA"]

M = TypeVar("M", bound=nn.Module)


class EMA(Generic[M]):
    """A copy of a module whose parameters are the moving average θ' ← d·θ' + (1 − d)·θ.

    Buffers are copied, not averaged: they are statistics or counters of the module itself.

    Args:
        module: The module that is trained; the average starts at its weights.
        decay: d in [0, 1); 0.999 averages over about the last 1,000 updates.

    Attributes:
        module: The averaged module, in eval mode, without gradients.

    Example:
        >>> ema = EMA(model, decay=0.999)
        >>> for step in run.steps(total, {"model": model, "ema": ema}):
        ...     optimizer.step()
        ...     ema.update(model)
    """

    def __init__(self, module: M, decay: float) -> None:
        _check(decay)
        self.decay = decay
        self.module: M = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, decay: float | None = None) -> None:
        """Take in the present weights of `module`, with another `decay` this time if given."""
        decay = self.decay if decay is None else decay
        _check(decay)
        pairs = zip(self.module.parameters(), module.parameters(), strict=True)
        for average, parameter in pairs:
            average.lerp_(parameter, 1 - decay)
        for kept, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(buffer)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights and buffers."""
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.module.load_state_dict(state)


def _check(decay: float) -> None:
    if not 0 <= decay < 1:
        raise ValueError(f"decay: expected a number in [0, 1), found {decay}")
