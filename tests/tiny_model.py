"""A small model with all that a weights file can hold: floating tensors and a whole number."""

from __future__ import annotations

import torch
from torch import nn


class Tiny(nn.Module):
    """A linear layer and a batch norm."""

    def __init__(self, *, width: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x))
