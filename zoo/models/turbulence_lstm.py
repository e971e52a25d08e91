"""A recurrent network that forecasts decaying turbulence: the baseline without an equation.

From the groups of the start it makes the state of an LSTM (Hochreiter, Schmidhuber 1997), which
then goes from one step of ln(1 + τ) to the next, as many as the neural ODE's solver takes: it is
given ln k/k₀, ln ε/ε₀ and ln Re_T as it has predicted them, and adds to the first two. Between the
steps they are interpolated. Nothing ties ε to the loss of k, or keeps either from growing.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.models.latent_ode import hermite
from zoo.models.members import MemberLinear, member_perceptron
from zoo.models.turbulence import INPUTS, Start, TurbulenceForecaster, check_counts

__all__ = ["TurbulenceLSTM"]


class TurbulenceLSTM(TurbulenceForecaster):
    """Forecasts k and ε step by step; an ensemble of small networks.

    Args:
        inputs: which of skewness and palinstrophy are used.
        members: M, networks in the ensemble.
        recurrent: R, size of the state of an LSTM.
        encoder: width of the hidden layer that reads the start.
        step: in ln(1 + τ).

    Attributes:
        shift, scale: buffers; the groups of the start are standardised as (x - shift) / scale.
        lowest, highest: see `TurbulenceForecaster`.
        nfe: steps of the last forecast.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        inputs: Sequence[str] = INPUTS,
        members: int = 5,
        recurrent: int = 7,
        encoder: int = 8,
        step: float = 1 / 16,
    ) -> None:
        super().__init__(inputs, members)
        check_counts(recurrent=recurrent, encoder=encoder)
        if not 0 < step <= 1:
            raise ValueError(f"step must be above 0 and at most 1, found {step!r}")
        self.recurrent, self.step = recurrent, step
        groups = 1 + len(self.inputs)
        self.encoder = member_perceptron(members, (groups, encoder, 2 * recurrent))
        self.gates = MemberLinear(members, 3 + recurrent, 4 * recurrent)
        self.readout = MemberLinear(members, recurrent, 2)
        self.register_buffer("shift", torch.zeros(groups))
        self.register_buffer("scale", torch.ones(groups))
        with torch.no_grad():
            # It begins by remembering (Jozefowicz, Zaremba, Sutskever 2015).
            self.gates.bias[..., recurrent : 2 * recurrent] += 1

    def curves(self, start: Start, tau: Tensor, **solver: Any) -> Tensor:
        """As `TurbulenceForecaster.curves`; there is no solver to be changed."""
        if solver:
            raise ValueError(f"an LSTM has no solver: expected nothing, found {', '.join(solver)}")
        count = max(1, math.ceil(math.log1p(float(tau.max())) / self.step))
        # One step more, as the interpolant looks a point ahead; what is read ends before it.
        states = self._roll(start, count + 1)
        self.nfe = count + 1
        slopes = torch.gradient(states, spacing=self.step, dim=0)[0]
        position = tau.to(states).log1p().expand(self.members, -1, -1) / self.step
        points, tangents = (each.flatten(1, 2) for each in (states, slopes))
        found = hermite(points, tangents, position.flatten(0, 1), self.step)
        return found.view(self.members, -1, tau.shape[-1], 2)

    def _roll(self, start: Start, count: int) -> Tensor:
        """Predictions after 0 ... count steps, (count + 1, M, B, 2)."""
        seen = (self.features(start) - self.shift) / self.scale
        state, cell = self.encoder(seen.expand(self.members, -1, -1)).tanh().chunk(2, dim=-1)
        first = seen[..., :1].expand(self.members, -1, -1)
        predicted = [torch.zeros_like(first).expand(-1, -1, 2)]
        for _ in range(count):
            x, y = predicted[-1].chunk(2, dim=-1)
            inputs = torch.cat([predicted[-1], first + (2 * x - y) / self.scale[0], state], dim=-1)
            add, keep, show, new = self.gates(inputs).chunk(4, dim=-1)
            cell = keep.sigmoid() * cell + add.sigmoid() * new.tanh()
            state = show.sigmoid() * cell.tanh()
            predicted.append(predicted[-1] + self.step * self.readout(state))
        return torch.stack(predicted)
