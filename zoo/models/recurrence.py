"""One step of a gated recurrent unit, for loops in which more happens than that."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["gru_step"]


def gru_step(gates: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A step of `torch.nn.GRUCell` whose product with the inputs is already done.

    Args:
        gates: W_i x + b_i, (B, 3R): reset, update, new.
        state: (B, R).
        weight: W_h, (3R, R).
        bias: b_h, (3R,).

    Returns:
        The next state, (B, R).
    """
    reset, update, new = gates.chunk(3, dim=1)
    own_reset, own_update, own_new = F.linear(state, weight, bias).chunk(3, dim=1)
    candidate = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
    return torch.lerp(candidate, state, torch.sigmoid(update + own_update))
