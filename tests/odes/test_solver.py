"""Solves against closed forms: orders, counts, gradients, memory, and errors that say where."""

import math
import weakref

import pytest
import torch
from scipy.linalg import expm
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.odes import ADAPTIVE, FIXED, Solver, SolverError, solve

A = torch.tensor([[0.3, -1.0], [1.2, -0.5]], dtype=torch.float64)
TIMES = torch.tensor([0.0, 1.0])


def linear(t: Tensor, z: Tensor) -> Tensor:
    return z @ A.T.to(z)


def start(n: int = 5) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def exact(z: Tensor, t: float = 1.0) -> Tensor:
    return z @ torch.as_tensor(expm(t * A.numpy())).T


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-8])
@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_a_linear_system_is_followed_within_five_tolerances(method: str, tolerance: float) -> None:
    z, times = start(), torch.tensor([0.0, 0.3, 1.0])
    states = solve(linear, z, times, Solver(method, rtol=tolerance, atol=tolerance)).states
    wanted = torch.stack([exact(z, float(t)) for t in times])
    assert 0 < (states - wanted).abs().max() <= 5 * tolerance


@pytest.mark.parametrize("method", sorted({*ADAPTIVE} - {"dopri8"}))
def test_every_adaptive_method_gets_more_exact_with_the_tolerance(method: str) -> None:
    z = start()
    errors = [
        (solve(linear, z, TIMES, Solver(method, rtol=tol, atol=tol)).last - exact(z)).abs().max()
        for tol in (1e-3, 1e-5)
    ]
    assert errors[1] <= 5e-3 and errors[1] < errors[0] / 5


@pytest.mark.parametrize(
    ("method", "order"),
    [("euler", 1), ("midpoint", 2), ("heun2", 2), ("heun3", 3), ("rk4", 4)],
)
def test_the_error_of_a_fixed_method_falls_with_its_order(method: str, order: int) -> None:
    z = start()
    errors = [
        (solve(linear, z, TIMES, Solver(method, steps=n)).last - exact(z)).abs().max()
        for n in (32, 64)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("method", FIXED)
def test_every_fixed_method_runs_backwards_in_time(method: str) -> None:
    z = start()
    back = solve(linear, exact(z), TIMES.flip(0), Solver(method, steps=400)).last
    torch.testing.assert_close(back, z, rtol=0, atol=1e-2)


def test_evaluations_are_counted() -> None:
    assert solve(linear, start(), TIMES, Solver("rk4", steps=7)).evaluations == 28
    calls = []

    def field(t: Tensor, z: Tensor) -> Tensor:
        calls.append(t)
        return linear(t, z)

    assert solve(field, start(), TIMES).evaluations == len(calls) > 6


def test_states_between_the_steps_are_of_fourth_order() -> None:
    z, times = start(), torch.tensor([0.0, 0.31, 0.77, 1.0])
    wanted = torch.stack([exact(z, float(t)) for t in times])
    errors = [
        (solve(linear, z, times, Solver("rk4", steps=n)).states - wanted).abs().max()
        for n in (20, 40)
    ]
    assert errors[1] < 2e-7 and errors[0] / errors[1] > 10


def test_states_of_an_adaptive_method_at_all_times() -> None:
    z, times = start(), torch.tensor([1.0, 0.4, 0.1])
    states = solve(linear, z, times, Solver(rtol=1e-7, atol=1e-7)).states
    wanted = torch.stack([exact(z, float(t) - 1) for t in times])
    torch.testing.assert_close(states, wanted, rtol=0, atol=2e-6)


class Field(nn.Module):
    """3 · MLP 2-32-2, tanh."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2)).double()

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return 3 * self.net(z)


def gradient(field: Field, z: Tensor, solver: Solver) -> Tensor:
    field.zero_grad()
    z = z.clone().requires_grad_(True)
    solve(field, z, TIMES, solver, field.parameters()).last.square().sum().backward()
    parts = [z.grad, *(parameter.grad for parameter in field.parameters())]
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_gradients_are_within_ten_tolerances_of_a_reference(
    adjoint: bool, tolerance: float
) -> None:
    field, z = Field(), start(16)
    wanted = gradient(field, z, Solver("dopri8", rtol=1e-12, atol=1e-12))
    found = gradient(field, z, Solver(rtol=tolerance, atol=tolerance, adjoint=adjoint))
    assert (found - wanted).norm() <= 10 * tolerance * wanted.norm()


@pytest.mark.parametrize("adjoint", [False, True])
def test_gradients_through_fixed_steps_and_several_times(adjoint: bool) -> None:
    field, z = Field(), start(4)
    times = torch.tensor([0.0, 0.25, 1.0])

    def sum_of_states(solver: Solver) -> Tensor:
        field.zero_grad()
        solve(field, z, times, solver, field.parameters()).states.sin().sum().backward()
        return torch.cat([parameter.grad.flatten() for parameter in field.parameters()])

    wanted = sum_of_states(Solver("dopri8", rtol=1e-12, atol=1e-12))
    found = sum_of_states(Solver("rk4", steps=64, adjoint=adjoint))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


class PeakMemory(TorchDispatchMode):
    """The largest number of bytes of tensors that are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        out = function(*arguments, **(keywords or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.seen:
            return
        self.seen.add(key)
        size = storage.nbytes()
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.alive -= size


def peak(steps: int, adjoint: bool) -> int:
    weight, z = A.clone().requires_grad_(True), start(4096)
    solver = Solver("euler", steps=steps, adjoint=adjoint)
    with PeakMemory() as memory:
        solve(lambda t, state: state @ weight, z, TIMES, solver, [weight]).last.sum().backward()
    return memory.peak


def test_the_memory_of_the_adjoint_does_not_grow_with_the_steps() -> None:
    few, many = peak(10, adjoint=True), peak(1000, adjoint=True)
    assert many <= 1.05 * few
    assert peak(100, adjoint=False) > 5 * peak(10, adjoint=False)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"method": "dopri6"}, "did you mean"),
        ({"rtol": 0.0}, "rtol: expected a tolerance above 0, found 0.0"),
        ({"atol": -1e-5}, "atol: expected a tolerance above 0"),
        ({"rtol": float("nan")}, "rtol: expected a tolerance above 0"),
        ({"method": "rk4"}, "rk4 has equal steps; say how many"),
        ({"method": "rk4", "steps": 0}, "at least 1, found 0"),
        ({"steps": 5}, "dopri5 chooses its own steps"),
        ({"norm": "max"}, "norm: expected batch or example"),
        ({"max_evaluations": 0}, "max_evaluations: expected at least 1"),
    ],
)
def test_a_setting_that_no_solve_can_have_is_refused(settings: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Solver(**settings)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6])
def test_the_norm_of_the_examples_hides_no_hard_one_behind_easy_ones(tolerance: float) -> None:
    rate = torch.zeros(1000, 1, dtype=torch.float64)
    rate[0] = 12.0
    z = torch.ones(1000, 1, dtype=torch.float64)
    settings = {"rtol": tolerance, "atol": tolerance}
    errors, counts = {}, {}
    for norm in ("batch", "example"):
        solution = solve(
            lambda t, state: rate * torch.cos(12 * t) * state,
            z,
            TIMES,
            Solver(norm=norm, **settings),
        )
        errors[norm] = abs(float(solution.last[0]) - math.exp(math.sin(12)))
        counts[norm] = solution.evaluations
    assert errors["example"] <= 10 * tolerance < errors["batch"]
    assert counts["example"] > counts["batch"]


def test_a_change_of_method_drops_the_steps() -> None:
    fixed = Solver().but(method="rk4", steps=7)
    assert (fixed.method, fixed.steps) == ("rk4", 7)
    assert fixed.but(method="dopri5", rtol=1e-3) == Solver(rtol=1e-3)
    assert fixed.but(method=None, steps=None) == fixed


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ([0.0], "two or more"),
        ([[0.0, 1.0]], "two or more"),
        ([0.0, 1.0, 1.0], "strictly"),
        ([0.0, 1.0, 0.5], "strictly"),
        ([0.0, float("nan")], "finite"),
    ],
)
def test_times_that_are_no_times_are_refused(times: list, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        solve(linear, start(), torch.tensor(times))


def explosion(t: Tensor, z: Tensor) -> Tensor:
    return z.square()


def test_a_solve_that_stalls_says_where() -> None:
    # dz/dt = z², z(0) = 2 has its pole at t = 1/2.
    z = torch.full((3, 1), 2.0, dtype=torch.float64)
    with pytest.raises(SolverError, match=r"stopped at time 0\.5") as raised:
        solve(explosion, z, TIMES)
    assert raised.value.time == pytest.approx(0.5, abs=1e-3)
    assert raised.value.norm > 1e3
    assert "step" in str(raised.value) and "stiff" in str(raised.value)


def test_a_state_that_leaves_the_finite_numbers_says_where() -> None:
    z = torch.full((3, 1), 2.0)
    with pytest.raises(SolverError, match="no longer finite") as raised:
        solve(explosion, z, TIMES, Solver("rk4", steps=40))
    assert 0.5 <= raised.value.time <= 1


def test_a_solve_with_too_many_evaluations_says_where() -> None:
    def stiff(t: Tensor, z: Tensor) -> Tensor:
        return -1e5 * (z - t.cos())

    with pytest.raises(SolverError, match="more than 500 evaluations") as raised:
        solve(stiff, start(), TIMES, Solver(max_evaluations=500))
    assert 0 < raised.value.time < 1


def test_the_adjoint_that_explodes_says_where() -> None:
    # The steps are too long for the decay: what grows forwards grows again backwards.
    weight = torch.tensor(-100.0, requires_grad=True)
    z = torch.ones(2, 1)
    solution = solve(
        lambda t, state: weight * state, z, TIMES, Solver("rk4", steps=20, adjoint=True), [weight]
    )
    with pytest.raises(SolverError, match="finite"):
        solution.last.sum().backward()
