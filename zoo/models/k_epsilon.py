"""The k-ε model of decaying turbulence: the closures that a learnt one is compared with.

    dk/dt = -ε,    dε/dt = -C ε²/k

With a constant C the solution is

    k/k₀ = (1 + (C - 1) τ)^(-1/(C - 1)),    ε/ε₀ = (k/k₀)^C,    τ = t ε₀/k₀

and e^(-τ) for C = 1. For C < 1 both reach 0 at τ = 1/(1 - C) and stay there. C is 1.92 in the
standard model (Launder, Sharma 1974) and 11/6 for Saffman's decay, n = 6/5; or it is fitted.

The other closure has C = a + b (ln Re_T - 4), to be fitted, and is solved numerically.
"""

from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.decay import Law, decay
from zoo.models.turbulence import Start, TurbulenceForecaster

__all__ = ["CENTRE", "KEpsilon", "power_law"]

CENTRE = 4.0
"""ln Re_T at which C is `constant`."""


class KEpsilon(TurbulenceForecaster):
    """Forecasts k and ε by a constant C, or one that depends on Re_T.

    Args:
        constant: C, or a where there is a slope.
        slope: b; None for a constant C.
        step: of the solver where there is a slope, see `zoo.models.decay`.

    Attributes:
        constant, slope: parameters.
    """

    def __init__(
        self, constant: float = 1.92, slope: float | None = None, step: float = 1 / 16
    ) -> None:
        super().__init__(())
        self.constant = nn.Parameter(torch.tensor(float(constant)))
        self.slope = None if slope is None else nn.Parameter(torch.tensor(float(slope)))
        self.step = step

    def curves(self, start: Start, tau: Tensor, **solver: Any) -> Tensor:
        tau = tau if tau.dim() == 3 else tau.unsqueeze(0)
        if self.slope is None:
            return power_law(self.constant, tau)
        first = tau.new_zeros(*tau.shape[:-1], 2)
        path = decay(self._law(start, self.slope), first, float(tau.max()), self.step, **solver)
        self.nfe = path.evaluations
        return path.read(tau)

    def _law(self, start: Start, slope: Tensor) -> Law:
        def coefficient(z: Tensor) -> Tensor:
            log_reynolds = start.log_reynolds + 2 * z[..., 0] - z[..., 1]
            return self.constant + slope * (log_reynolds - CENTRE)

        return Law(coefficient, parameters=tuple(self.parameters()))


def power_law(coefficient: Tensor, tau: Tensor) -> Tensor:
    """ln k/k₀ and ln ε/ε₀ of a constant C, (..., 2) of τ (...).

    Args:
        coefficient: C, of no dimension.
    """
    excess = (coefficient - 1) * tau
    # ln(1 + w)/w by its series about C = 1, with no 0/0 in either branch or its gradient.
    near = excess.abs() < 1e-3
    apart = torch.where(near, torch.ones_like(excess), excess)
    series = 1 - excess / 2 + excess.square() / 3 - excess**3 / 4
    ratio = torch.where(near, series, apart.clamp(min=-1).log1p() / apart)
    log_k = -tau * ratio
    return torch.stack([log_k, coefficient * log_k], dim=-1)
