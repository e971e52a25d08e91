"""A neural ODE of decaying turbulence: an exact energy balance around a learnt relaxation of C.

With time in eddy turnovers, ds = (ε/k) dt,

    d ln k/ds = -1,    d ln ε/ds = -C,    dC/ds = r (C∞ - C),    db/ds = g - b

where the rate r, the coefficient C∞ that C relaxes to and g are a network of (ln Re_T, C, b), and b
are hidden variables of the flow. Whatever the network says:

- it sees neither time nor the start, so that a forecast does not depend on where one begins to
  count, and no units;
- k falls; ε stays positive; once C > 0 it remains so and ε falls, too, as r > 0 and C∞ > 1. And
  C∞ > 1 means that k does not reach 0 in a finite time;
- as Re_T → 0, C∞ → 7/5, the final period of decay of a k⁴ spectrum.

C is started by what the state says of it. With skewness and palinstrophy that is the identity of
`zoo.models.turbulence` and a learnt correction; without them it is learnt from what there is, as
b always is.

After Portwood et al., "Turbulence forecasting via Neural ODE", arXiv 1911.05180, whose idea this
is: the transient of the dissipation is learnt where a closure has a constant. The form is our own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.models.decay import Law, Path, decay
from zoo.models.members import member_perceptron
from zoo.models.turbulence import INPUTS, Start, TurbulenceForecaster, check_counts

__all__ = ["TurbulenceODE"]

FINAL = 7 / 5
"""C of the final period of decay of a k⁴ spectrum."""
LEAST, MOST = 1.2, 2.2
"""Bounds of C∞ at finite Re_T; constants in use lie between 1.4 and 1.92."""
SLOWEST, FASTEST = 1.0, 6.0
"""Bounds of r, per eddy turnover: with slower ones a flow could all but vanish before C has grown
above 1, and the solver's steps are made for no faster ones."""
IDENTITY = (-3.0, 4.0)
"""Bounds of what is believed of the identity; -1 to 2 are found from shortly before the peak on."""
CORRECTION = 2.0
"""Bound of what the network adds to it."""


class TurbulenceODE(TurbulenceForecaster):
    """Forecasts k and ε from one state; an ensemble of small networks.

    Args:
        inputs: which of skewness and palinstrophy are used.
        members: M, networks in the ensemble.
        latent: number of hidden variables b.
        hidden: width of the two hidden layers of the field.
        encoder: width of the hidden layer that reads the start.
        step: of the solver, in ln(1 + τ), see `zoo.models.decay`.

    Attributes:
        shift, scale: buffers; the groups of the start are standardised as (x - shift) / scale.
        lowest, highest, nfe: see `TurbulenceForecaster`.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        inputs: Sequence[str] = INPUTS,
        members: int = 5,
        latent: int = 1,
        hidden: int = 16,
        encoder: int = 8,
        step: float = 1 / 16,
    ) -> None:
        super().__init__(inputs, members)
        check_counts(latent=latent, hidden=hidden, encoder=encoder)
        if not 0 < step <= 1:
            raise ValueError(f"step must be above 0 and at most 1, found {step!r}")
        self.latent, self.step = latent, step
        groups = 1 + len(self.inputs)
        self.field = member_perceptron(members, (2 + latent, hidden, hidden, 2 + latent))
        self.encoder = member_perceptron(members, (groups, encoder, 1 + latent))
        self.register_buffer("shift", torch.zeros(groups))
        self.register_buffer("scale", torch.ones(groups))

    def begin(self, start: Start) -> Tensor:
        """(C, b) of each member at the start, (M, B, 1 + latent)."""
        seen = (self.features(start) - self.shift) / self.scale
        found = self.encoder(seen.expand(self.members, -1, -1))
        known = torch.ones_like(start.k)
        if self.inputs == INPUTS:
            # Both parts are large: what is not of a turbulent flow may leave any difference.
            known = start.identity().clamp(*IDENTITY)
        coefficient = known.to(found).unsqueeze(-1) + CORRECTION * found[..., :1].tanh()
        return torch.cat([coefficient, found[..., 1:].tanh()], dim=-1)

    def law(self, start: Start) -> Law:
        """The equation of all members for flows that start so."""
        log_reynolds = start.log_reynolds.to(self.shift)

        def hidden(z: Tensor) -> Tensor:
            x, y, coefficient = z[..., 0], z[..., 1], z[..., 2]
            here = log_reynolds + 2 * x - y
            seen = torch.cat([self._standard(here).unsqueeze(-1), z[..., 2:]], dim=-1)
            rate, limit, others = self._rates(here, self.field(seen))
            relaxation = rate * (limit - coefficient)
            return torch.cat([relaxation.unsqueeze(-1), others - z[..., 3:]], dim=-1)

        return Law(lambda z: z[..., 2], hidden, tuple(self.parameters()))

    def curves(self, start: Start, tau: Tensor, **solver: Any) -> Tensor:
        path = self.path(start, self.begin(start), float(tau.max()), **solver)
        self.nfe = path.evaluations
        return path.read(tau)

    def path(self, start: Start, hidden: Tensor, until: float, **solver: Any) -> Path:
        """The decay of flows with hidden variables (C, b), (M, B, 1 + latent), up to τ = until."""
        first = torch.cat([torch.zeros_like(hidden[..., :1]).expand(-1, -1, 2), hidden], dim=-1)
        return decay(self.law(start), first, until, self.step, **solver)

    def _rates(self, log_reynolds: Tensor, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """r, C∞ and g of what the network says, (M, B), (M, B) and (M, B, latent)."""
        rate = SLOWEST + (FASTEST - SLOWEST) * (raw[..., 0] - 1).sigmoid()
        turbulent = LEAST + (MOST - LEAST) * raw[..., 1].sigmoid()
        # Re_T/(1 + Re_T): 1 but for the very end of the decay.
        share = log_reynolds.sigmoid()
        return rate, FINAL + share * (turbulent - FINAL), raw[..., 2:].tanh()

    def _standard(self, log_reynolds: Tensor) -> Tensor:
        """ln Re_T of a flow on its way, in the units of the start's."""
        return (log_reynolds - self.shift[0]) / self.scale[0]
