"""Forecasters of decaying isotropic turbulence: the state, its groups, and the surface they share.

Without production the kinetic energy k and its dissipation ε of isotropic turbulence obey

    dk/dt = -ε,    dε/dt = -C ε²/k

of which the first is exact and C is what a model has to say. What C can depend on has no units, and
the state at the start has three groups,

    Re_T = k²/(ν ε),    S = -⟨(∂u/∂x)³⟩ / ⟨(∂u/∂x)²⟩^(3/2),    G = 4 ν² P k/ε²

with the palinstrophy P = ½⟨|∇×ω|²⟩; for isotropic turbulence C = G - 7/(3√15) S √Re_T exactly: the
enstrophy's destruction less its production.

Models see k/k₀ and ε/ε₀ of the start (subscript 0) against τ = t ε₀/k₀, whatever the units.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo._names import did_you_mean

__all__ = [
    "INPUTS",
    "PRODUCTION",
    "RangeWarning",
    "Start",
    "TurbulenceForecaster",
    "elapsed",
    "read_state",
]

INPUTS = ("skewness", "palinstrophy")
"""What a model may use of a state beside k, epsilon and nu."""
PRODUCTION = 7 / (3 * math.sqrt(15))
"""The enstrophy's production is this times S √Re_T, in the units of C."""


class RangeWarning(UserWarning):
    """A state outside the range of those that a model was trained on."""


@dataclass(frozen=True)
class Start:
    """The state at the start of a forecast.

    Args:
        k: kinetic energy, (..., B).
        epsilon: its dissipation.
        log_reynolds: ln Re_T.
        skewness: S, minus the skewness of the velocity derivative, positive in turbulence; or None.
        log_destruction: ln G; or None.
    """

    k: Tensor
    epsilon: Tensor
    log_reynolds: Tensor
    skewness: Tensor | None = None
    log_destruction: Tensor | None = None

    def identity(self) -> Tensor:
        """C = G - 7/(3√15) S √Re_T, (..., B)."""
        if self.skewness is None or self.log_destruction is None:
            raise ValueError("the identity of C needs skewness and palinstrophy")
        production = PRODUCTION * self.skewness * (self.log_reynolds / 2).exp()
        return self.log_destruction.exp() - production

    def groups(self, inputs: Sequence[str]) -> dict[str, Tensor]:
        """`ln Re_T`, and of the inputs `S` and `ln G`, the dimensionless groups that there are."""
        groups = {"ln Re_T": self.log_reynolds}
        if "skewness" in inputs and self.skewness is not None:
            groups["S"] = self.skewness
        if "palinstrophy" in inputs and self.log_destruction is not None:
            groups["ln G"] = self.log_destruction
        return groups

    def map(self, function: Callable[[Tensor], Tensor]) -> "Start":
        """`function` of each tensor."""
        skewness, destruction = self.skewness, self.log_destruction
        return Start(
            function(self.k),
            function(self.epsilon),
            function(self.log_reynolds),
            None if skewness is None else function(skewness),
            None if destruction is None else function(destruction),
        )


def read_state(state: Mapping[str, Tensor], inputs: Sequence[str] = INPUTS) -> Start:
    """Check a state in physical units, any consistent ones, and make its groups.

    Args:
        state: `k`, `epsilon`, `nu` (the kinematic viscosity) and `inputs`, each (B,) and of the
            statistics of a flow: `skewness` is that of the velocity derivative, negative in
            turbulence. More may be there.
        inputs: some of `INPUTS`.

    Raises:
        ValueError: one is missing, is not a tensor (B,) of finite numbers, or should be positive.
    """
    needed = ("k", "epsilon", "nu", *inputs)
    for name in needed:
        if name not in state:
            hint = did_you_mean(name, tuple(state))
            found = ", ".join(state) or "nothing"
            raise ValueError(
                f"state: {name!r} is missing{hint}; this model needs {', '.join(needed)}, "
                f"found {found}"
            )
    shape = tuple(state["k"].shape)
    for name in needed:
        _check(name, state[name], shape)
    k, epsilon, nu = (state[name] for name in ("k", "epsilon", "nu"))
    skewness = -state["skewness"] if "skewness" in inputs else None
    destruction = None
    if "palinstrophy" in inputs:
        # As logarithms: ν² and ε² of a flow in millimetres have no place in float32.
        destruction = (
            math.log(4) + 2 * (nu.log() - epsilon.log()) + state["palinstrophy"].log() + k.log()
        )
    log_reynolds = 2 * k.log() - nu.log() - epsilon.log()
    return Start(k, epsilon, log_reynolds, skewness, destruction)


def elapsed(start: Start, times: Tensor) -> Tensor:
    """τ = (t - t₀) ε₀/k₀ of checked times, (B, T).

    Args:
        times: (T,) or (B, T), strictly increasing; the state is at the first.

    Raises:
        ValueError: they are not so.
    """
    batch = len(start.k)
    if times.dim() not in (1, 2) or times.shape[-1] == 0 or len(times) == 0:
        found = tuple(times.shape)
        raise ValueError(
            f"times: expected (T,) or ({batch}, T) with T of at least 1, found {found}"
        )
    if times.dim() == 2 and len(times) != batch:
        raise ValueError(
            f"times: expected ({batch}, T) for {batch} states, found {len(times)} rows"
        )
    if not bool(times.isfinite().all()):
        raise ValueError("times: expected finite times, found NaN or infinity")
    gaps = times.diff(dim=-1)
    if bool((gaps <= 0).any()):
        index = (gaps <= 0).nonzero()[0].tolist()
        before, after = times[(*index,)].item(), times[(*index[:-1], index[-1] + 1)].item()
        raise ValueError(
            f"times: expected strictly increasing times, found {before:g} followed by {after:g}"
        )
    since = times - times[..., :1]
    return since.to(start.k) * (start.epsilon / start.k).unsqueeze(1)


class TurbulenceForecaster(nn.Module):
    """The surface of all forecasters of k and ε; a model implements `curves`.

    Args:
        inputs: which of `INPUTS` the model uses.
        members: M, number of models in one.

    Attributes:
        lowest, highest: buffers, the range of the groups at the starts that the model was trained
            on, in the order of `Start.groups`; infinite before that.
        nfe: evaluations of the equation in the last forecast.
    """

    lowest: Tensor
    highest: Tensor
    golden_row: ClassVar[str] = "forecasting-from-a-state"
    """The row of `zoo.golden` for this surface."""

    def __init__(self, inputs: Sequence[str] = INPUTS, members: int = 1) -> None:
        super().__init__()
        unknown = [name for name in inputs if name not in INPUTS]
        if unknown or len(set(inputs)) != len(inputs):
            raise ValueError(f"inputs: expected some of {', '.join(INPUTS)}, found {list(inputs)}")
        check_counts(members=members)
        self.inputs = tuple(name for name in INPUTS if name in inputs)
        self.members, self.nfe = members, 0
        groups = 1 + len(self.inputs)
        self.register_buffer("lowest", torch.full((groups,), -math.inf))
        self.register_buffer("highest", torch.full((groups,), math.inf))

    def curves(self, start: Start, tau: Tensor, **solver: Any) -> Tensor:
        """ln k/k₀ and ln ε/ε₀ of each member, with gradients.

        Args:
            start: of tensors (B,), or (M, B) with a start of its own for each member.
            tau: (B, T) or (M, B, T), from 0 and increasing.
            solver: changes of how the equation is solved, see `zoo.odes.Solver`.

        Returns:
            (M, B, T, 2).
        """
        raise NotImplementedError

    def forward(
        self, state: Mapping[str, Tensor], times: Tensor, **solver: Any
    ) -> dict[str, Tensor]:
        """`forecast`, with gradients."""
        start, curves = self._solved(state, times, solver)
        return _in_units(start, curves.mean(0))

    @torch.no_grad()
    def forecast(
        self, state: Mapping[str, Tensor], times: Tensor, **solver: Any
    ) -> dict[str, Tensor]:
        """How the energy and its dissipation go on from a state.

        What is forecast for one state does not depend on the others, nor on which times are asked
        for beside one. Of several members it is the geometric mean.

        Args:
            state: `k`, `epsilon`, `nu` and what `inputs` names, each (B,), see `read_state`.
            times: (T,) or (B, T), strictly increasing; the state is at the first.
            solver: as in `curves`.

        Returns:
            `k` and `epsilon`, (B, T), in the units of the state, which they begin with.

        Raises:
            ValueError: a state or times that are not so.
            SolverError: the solve fails, or needs more evaluations than a solver may.

        Warns:
            RangeWarning: a state is outside the range of the training.
        """
        start, curves = self._solved(state, times, solver)
        return _in_units(start, curves.mean(0))

    @torch.no_grad()
    def forecast_members(
        self, state: Mapping[str, Tensor], times: Tensor, **solver: Any
    ) -> dict[str, Tensor]:
        """`forecast` of each member, (M, B, T): their spread says how sure the mean is."""
        return _in_units(*self._solved(state, times, solver))

    def features(self, start: Start) -> Tensor:
        """The groups of what the model uses, (..., B, 1 + number of inputs)."""
        groups = start.groups(self.inputs).values()
        return torch.stack(list(groups), dim=-1).to(self.lowest.dtype)

    def golden_states(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """States within the range of the training, in units of their own, and `times` (n, 5)."""
        typical = torch.tensor([[3.0, 0.3, 0.8], [5.5, 0.55, 1.6]])
        used = [0, *(1 + INPUTS.index(name) for name in self.inputs)]
        low = torch.where(self.lowest.isfinite(), self.lowest, typical[0, used])
        high = torch.where(self.highest.isfinite(), self.highest, typical[1, used])
        drawn = low + (high - low) * (0.1 + 0.8 * torch.rand(n, len(used), generator=generator))
        groups = dict(zip(used, drawn.unbind(1), strict=True))
        k, turnover = (0.5 + torch.rand(2, n, generator=generator)).unbind(0)
        epsilon = k / turnover
        nu = k.square() / (epsilon * groups[0].exp())
        state = {"k": k, "epsilon": epsilon, "nu": nu}
        if 1 in groups:
            state["skewness"] = -groups[1]
        if 2 in groups:
            state["palinstrophy"] = groups[2].exp() * epsilon.square() / (4 * nu.square() * k)
        times = torch.cat([torch.zeros(n, 1), torch.rand(n, 4, generator=generator)], 1).cumsum(1)
        return {**state, "times": times * turnover.unsqueeze(1)}

    def _solved(
        self, state: Mapping[str, Tensor], times: Tensor, solver: Mapping[str, Any]
    ) -> tuple[Start, Tensor]:
        """The start and the curves of all members, after a warning if there is need for one."""
        start = read_state(state, self.inputs)
        dtype = torch.promote_types(start.k.dtype, self.lowest.dtype)
        start = start.map(lambda each: each.to(dtype))
        tau = elapsed(start, times)
        self._warn(start)
        return start, self.curves(start, tau, **solver).to(dtype)

    def _warn(self, start: Start) -> None:
        features = self.features(start).detach()
        below, above = self.lowest - features, features - self.highest
        for index, name in enumerate(start.groups(self.inputs)):
            outside = torch.maximum(below, above)[:, index]
            if bool((outside > 0).any()):
                state = int(outside.argmax())
                warnings.warn(
                    f"{name} = {features[state, index]:.3g} of state {state} is outside the range "
                    f"of the training, {self.lowest[index]:.3g} to {self.highest[index]:.3g}, by "
                    f"{outside[state]:.2g} ({int((outside > 0).sum())} of {len(features)} states "
                    "are): the forecast is an extrapolation",
                    RangeWarning,
                    stacklevel=5,
                )


def check_counts(**counts: int) -> None:
    """Refuse arguments that are not whole numbers of at least 1.

    Raises:
        ValueError: one is not; the text names it.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, found {value!r}")


def _in_units(start: Start, curves: Tensor) -> dict[str, Tensor]:
    """k and ε, (..., T), of ln k/k₀ and ln ε/ε₀, (..., T, 2)."""
    k, epsilon = curves.exp().unbind(-1)
    return {"k": start.k.unsqueeze(1) * k, "epsilon": start.epsilon.unsqueeze(1) * epsilon}


def _check(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if value.dim() != 1 or len(value) == 0 or tuple(value.shape) != shape:
        found = tuple(value.shape)
        raise ValueError(
            f"state: expected tensors (B,) of one length, found {found} for {name!r} "
            f"and {shape} for 'k'"
        )
    wrong = ~value.isfinite()
    if bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise ValueError(
            f"state: expected finite numbers, found {value[index]:g} in {name}[{index}]"
        )
    wrong = value <= 0
    if name != "skewness" and bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise ValueError(
            f"state: expected {name} above 0, found {value[index]:g} in {name}[{index}]"
        )
