"""Forecasters of series by a recurrent network alone: the baselines of the latent ODE.

Each step takes in a point and predicts the next one; past the last observation a prediction is the
next input. With `gaps` a step is also told how long it is to the next point, observed or asked for
(GRU-Δt), without them the network does not know the times at all.

The two recurrent networks of Chen, Rubanova, Bettencourt, Duvenaud, "Neural Ordinary Differential
Equations", NeurIPS 2018, arXiv 1806.07366, section 5.1, with gates.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.recurrence import gru_step
from zoo.models.series import Forecast, Observations, check_queries, observations

__all__ = ["GRUForecaster"]


class GRUForecaster(nn.Module):
    """A GRU that forecasts one point after the other.

    Args:
        dim: D, coordinates of a point.
        recurrent: size of its state.
        hidden: width of the layer between the state and the prediction.
        gaps: whether it is given the time to the next point.

    Attributes:
        shift, scale: buffers (D,); points are standardised as (x - shift) / scale.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, dim: int = 2, recurrent: int = 60, hidden: int = 48, gaps: bool = True
    ) -> None:
        super().__init__()
        for name, size in {"dim": dim, "recurrent": recurrent, "hidden": hidden}.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be an integer of at least 1, found {size!r}")
        self.dim, self.gaps = dim, gaps
        self.gru = nn.GRU(2 * dim + int(gaps), recurrent, batch_first=True)
        self.readout = nn.Sequential(
            nn.Linear(recurrent, hidden), nn.Tanh(), nn.Linear(hidden, dim)
        )
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def forward(
        self, times_observed: Tensor, values: Tensor, mask: Tensor, times_query: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predictions of each observed point from those before it, and of the future.

        Args:
            times_observed, values, mask: as in `forecast`.
            times_query: as in `forecast`.

        Returns:
            Predictions (B, N - 1, D) of the observed points from the second on, moved to the front
            of each series as `observations` does it, and (B, Q, D) at the times that were asked
            for; both in units of the data.

        Raises:
            ValueError: as `forecast`.
        """
        seen = observations(times_observed, values, mask, self.dim)
        self._check_future(seen, times_query)
        gaps = self._gaps(seen, times_query)
        points = (seen.values.to(self.shift.dtype) - self.shift) / self.scale
        inputs = self._inputs(points, seen.mask, gaps[:, : seen.times.shape[1]])
        states, _ = self.gru(inputs)
        last = (seen.counts - 1).view(-1, 1, 1).expand(-1, 1, states.shape[2])
        state = states.gather(1, last).squeeze(1)
        future = self._roll(state, gaps[:, seen.times.shape[1] :].unbind(1))
        return self._in_units(self.readout(states[:, :-1])), self._in_units(future)

    @torch.no_grad()
    def forecast(
        self,
        times_observed: Tensor,
        values: Tensor,
        mask: Tensor,
        times_query: Tensor,
    ) -> Forecast:
        """Where series are after their last observation.

        Args:
            times_observed: (B, N), strictly increasing over the observed points of a series.
            values: (B, N, D), in units of the data.
            mask: which of them are observed, (B, N) or (B, N, D), bool or 0 and 1.
            times_query: (B, Q), strictly increasing, after the series' last observation.

        Returns:
            The forecast; it has no spread, and its one sample is its mean.

        Raises:
            ValueError: a wrong shape, an empty batch, an unobserved series, times that do not
                increase, NaN, or a time before a series' last observation.
        """
        _, future = self(times_observed, values, mask, times_query)
        return Forecast(future, future.unsqueeze(0))

    def _inputs(self, points: Tensor, mask: Tensor, gaps: Tensor) -> Tensor:
        """Standardised points (B, N, D), their mask, and (B, N) the time to the next: (B, N, I)."""
        parts = [torch.where(mask, points, 0), mask.to(points.dtype)]
        if self.gaps:
            parts.append(gaps.unsqueeze(2))
        return torch.cat(parts, dim=2)

    def _gaps(self, seen: Observations, times_query: Tensor) -> Tensor:
        """Time from each point to the next one, observed or asked for: (B, N + Q - 1)."""
        first = times_query[:, :1]
        own = torch.cat([seen.times.diff(dim=1), first - seen.times[:, -1:]], dim=1)
        # The last observed point of a shorter series is followed by the first time asked for.
        is_last = torch.arange(own.shape[1], device=own.device) == seen.counts.unsqueeze(1) - 1
        own = torch.where(is_last, first - seen.times, own)
        return torch.cat([own, times_query.diff(dim=1)], dim=1).to(self.shift.dtype)

    def _roll(self, state: Tensor, gaps: tuple[Tensor, ...]) -> Tensor:
        """Predictions (B, Q, D), each but the first made from the one before."""
        names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
        weight, bias, weight_hh, bias_hh = (cast(Tensor, getattr(self.gru, name)) for name in names)
        predicted = [self.readout(state)]
        seen = torch.ones_like(predicted[0])
        for gap in gaps:
            parts = [predicted[-1], seen, gap.unsqueeze(1)][: 2 + self.gaps]
            gates = F.linear(torch.cat(parts, dim=1), weight, bias)
            state = gru_step(gates, state, weight_hh, bias_hh)
            predicted.append(self.readout(state))
        return torch.stack(predicted, dim=1)

    def _in_units(self, points: Tensor) -> Tensor:
        return points * self.scale + self.shift

    def _check_future(self, seen: Observations, times_query: Tensor) -> None:
        check_queries(times_query, len(seen.times))
        steps = torch.cat([times_query[:, :1] - seen.last.unsqueeze(1), times_query.diff(dim=1)], 1)
        if bool((steps <= 0).any()):
            index = int((steps <= 0).any(1).nonzero()[0])
            raise ValueError(
                "times_query: expected strictly increasing times after the last observation, at "
                f"{seen.last[index].item():g}, found others in series {index}; a recurrent network "
                "only goes on"
            )
