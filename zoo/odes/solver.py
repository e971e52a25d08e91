"""One call for every solve: torchdiffeq's methods, counted, with errors that say where.

torchdiffeq stops a solve that stalls with an assertion about an underflow. Here it is a
`SolverError` with the time, the step and the norm of the state; so is a state that is no longer
finite, and a solve that would take more evaluations than it may.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Self

import torch
from torch import Tensor
from torchdiffeq import odeint, odeint_adjoint

from zoo._names import did_you_mean
from zoo.errors import ZooError

__all__ = ["ADAPTIVE", "FIXED", "Field", "Solution", "Solver", "SolverError", "solve"]

Field = Callable[[Tensor, Tensor], Tensor]
"""f(t, z) of dz/dt = f(t, z): a time without dimensions and a state to the state's derivative."""

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
"""Methods that choose their steps by the tolerances."""
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams")
"""Methods with equal steps. torchdiffeq's `rk4` is the 3/8 rule, also of fourth order."""


class SolverError(ZooError, RuntimeError):
    """A solve that could not be finished.

    Attributes:
        time: where it stopped.
        step: the step that was tried there.
        norm: root mean square of the state there.
    """

    def __init__(self, message: str, *, time: float, step: float, norm: float) -> None:
        super().__init__(message)
        self.time, self.step, self.norm = time, step, norm


@dataclass(frozen=True)
class Solver:
    """How an ordinary differential equation is solved.

    Args:
        method: one of `ADAPTIVE` or `FIXED`.
        rtol: relative tolerance of an adaptive method, for the error of one step.
        atol: absolute tolerance of an adaptive method.
        steps: number of equal steps of a fixed method between the first and the last time.
        adjoint: gradients by integrating the adjoint equation backwards (Chen et al. 2018), in
            memory that does not grow with the steps, and as exact as the tolerance; otherwise by
            backpropagation through the steps, exact for the discrete solve.
        norm: what an adaptive method holds its tolerances against: "batch", the root mean square of
            the error over the whole state, torchdiffeq's own; or "example", the largest over the
            examples of that of each, so that an easy neighbour hides no error of a hard one.
        max_evaluations: of the field in one solve; a solve that needs more is an error.

    Raises:
        ValueError: a setting that no solve can have; the text says which.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    steps: int | None = None
    adjoint: bool = False
    norm: Literal["batch", "example"] = "batch"
    max_evaluations: int = 10_000

    def __post_init__(self) -> None:
        known = (*ADAPTIVE, *FIXED)
        if self.method not in known:
            hint = did_you_mean(str(self.method), known)
            raise ValueError(
                f"method: no solver {self.method!r}{hint}; there are {', '.join(known)}"
            )
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}: expected a tolerance above 0, found {value!r}")
        if self.method in FIXED:
            if not _is_count(self.steps):
                raise ValueError(
                    f"steps: {self.method} has equal steps; say how many, at least 1, "
                    f"found {self.steps!r}"
                )
        elif self.steps is not None:
            raise ValueError(
                f"steps: {self.method} chooses its own steps, found {self.steps!r}; "
                'leave it out, or choose a method of equal steps such as method="rk4"'
            )
        if self.norm not in ("batch", "example"):
            raise ValueError(f"norm: expected batch or example, found {self.norm!r}")
        if not _is_count(self.max_evaluations):
            found = self.max_evaluations
            raise ValueError(f"max_evaluations: expected at least 1, found {found!r}")

    def but(self, **changes: Any) -> Self:
        """This solver with the changes that are not None.

        A method without `steps` that takes the place of one with `steps` drops them, so that
        `but(method="dopri5")` is possible for every solver.

        Raises:
            TypeError: there is no such setting.
            ValueError: see the class.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        if given.get("method") in ADAPTIVE and "steps" not in given:
            given["steps"] = None
        return replace(self, **given)


@dataclass(frozen=True)
class Solution:
    """What a solve gives.

    Args:
        states: (T, *shape of the state), at the times that were asked for.
        evaluations: how often the field was evaluated.
    """

    states: Tensor
    evaluations: int

    @property
    def last(self) -> Tensor:
        """The state at the last time."""
        return self.states[-1]


def solve(
    field: Field,
    state: Tensor,
    times: Tensor,
    solver: Solver | None = None,
    parameters: Iterable[Tensor] = (),
) -> Solution:
    """Solve dz/dt = field(t, z) with z(times[0]) = state.

    The steps of an adaptive method, and within the tolerance the results, of one example depend on
    the others of its batch. Between the steps of a fixed method states are read off a cubic Hermite
    interpolant.

    Args:
        field: function of the time, without dimensions, and the state.
        state: of any shape, floating point.
        times: (T,), two or more, strictly increasing or strictly decreasing.
        solver: see `Solver`; its defaults if None.
        parameters: what the field depends on and what shall have gradients; only `adjoint` asks.

    Raises:
        ValueError: times that are not so.
        SolverError: the solve stalls, or leaves the finite numbers, or takes too long.
    """
    solver = Solver() if solver is None else solver
    times = torch.as_tensor(times, dtype=state.dtype, device=state.device)
    _check_times(times)
    watched = _Watched(field, solver.max_evaluations)
    arguments: dict[str, Any] = {"method": solver.method, "rtol": solver.rtol, "atol": solver.atol}
    options, adjoint_options = _options(solver, times)
    if solver.adjoint:
        arguments |= {"adjoint_params": tuple(parameters), "adjoint_options": adjoint_options}
        states = odeint_adjoint(watched, state, times, options=options, **arguments)
    else:
        states = odeint(watched, state, times, options=options, **arguments)
    if not bool(torch.isfinite(states[-1]).all()):
        watched.fail("the state is no longer finite", times[-1], states[-1], torch.zeros(()))
    return Solution(states, watched.evaluations)


def _options(solver: Solver, times: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """torchdiffeq's options of the method, forwards and for the adjoint equation.

    An adaptive method would step past the last time and interpolate back, with the interpolant's
    fourth order: it is told to land there. The adjoint goes from time to time.
    """
    if solver.steps is None:
        landings = times if solver.method == "dopri8" else times[-1:]
        norm = {"norm": _largest} if solver.norm == "example" else {}
        return {"step_t": landings} | norm, {"step_t": times}
    first, last = float(times[0]), float(times[-1])
    grid = torch.linspace(first, last, solver.steps + 1, dtype=times.dtype).to(times.device)
    constructor = {"grid_constructor": _Grid(grid)}
    interpolation = "linear" if len(times) == 2 else "cubic"
    return constructor | {"interp": interpolation}, constructor


def _largest(error: Tensor) -> Tensor:
    """The largest root mean square of the examples, along the first dimension."""
    if error.dim() < 2:
        return error.abs().max()
    return error.flatten(1).square().mean(1).max().sqrt()


class _Grid:
    """The grid of a fixed method; in the adjoint's backward pass, of the part that it asks for."""

    def __init__(self, grid: Tensor) -> None:
        self.grid = grid

    def __call__(self, field: Any, state: Any, times: Tensor) -> Tensor:
        first, last = times[0], times[-1]
        low, high = torch.minimum(first, last), torch.maximum(first, last)
        inner = self.grid[(self.grid > low) & (self.grid < high)]
        inner = inner.sort(descending=bool(first > last)).values
        return torch.cat([first[None], inner, last[None]])


class _Watched:
    """A field that counts its evaluations, with torchdiffeq's callbacks at every step."""

    def __init__(self, field: Field, limit: int) -> None:
        self.field, self.limit = field, limit
        self.evaluations = 0

    def __call__(self, t: Tensor, state: Tensor) -> Tensor:
        self.evaluations += 1
        if self.evaluations > self.limit:
            self.fail(f"more than {self.limit} evaluations", t, state, torch.zeros(()))
        return self.field(t, state)

    def callback_step(self, t: Tensor, state: Tensor, step: Tensor) -> None:
        """Called before every step."""
        if not bool(torch.isfinite(state).all()):
            self.fail("the state is no longer finite", t, state, step)
        if not bool(t.abs() + step.abs() > t.abs()) and not bool(step == 0):
            self.fail("the step has become too small", t, state, step)

    def callback_step_adjoint(self, t: Tensor, state: tuple[Tensor, ...], step: Tensor) -> None:
        """Called before every step of the adjoint equation; state: (adjoint of t, z, of z, ...)."""
        for each in state[1:3]:
            self.callback_step(t, each, step)

    def fail(self, what: str, t: Tensor, state: Tensor, step: Tensor) -> NoReturn:
        """Raise the error of a solve that stops at `t`."""
        time, dt = float(t), float(step)
        norm = float(state.detach().double().square().mean().sqrt())
        raise SolverError(
            f"the solve stopped at time {time:.6g}: {what} (step {dt:.3g}, root mean square of the "
            f"state {norm:.3g}); the equation may be stiff there or the tolerance too small for "
            f"{state.dtype}: try larger rtol and atol, float64, or look for inputs far outside "
            "the data",
            time=time,
            step=dt,
            norm=norm,
        )


def _check_times(times: Tensor) -> None:
    if times.dim() != 1 or len(times) < 2:
        raise ValueError(f"times: expected two or more, found shape {tuple(times.shape)}")
    if not bool(torch.isfinite(times).all()):
        raise ValueError(f"times: expected finite times, found {times.tolist()}")
    gaps = times.diff()
    if not (bool((gaps > 0).all()) or bool((gaps < 0).all())):
        raise ValueError("times: expected strictly increasing or strictly decreasing times")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
