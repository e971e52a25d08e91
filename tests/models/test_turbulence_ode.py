"""The neural ODE of turbulence: closed forms, an independent solver, what holds by structure."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import zoo.models
from tests.models.turbulence_states import states
from zoo.models.k_epsilon import KEpsilon
from zoo.models.turbulence import Start, read_state
from zoo.models.turbulence_ode import (
    CORRECTION,
    FASTEST,
    FINAL,
    LEAST,
    MOST,
    SLOWEST,
    TurbulenceODE,
)
from zoo.odes import SolverError

TIGHT = {"method": "dopri8", "rtol": 1e-10, "atol": 1e-11}


@pytest.fixture
def model() -> TurbulenceODE:
    """Of large weights, so that everything bends."""
    torch.manual_seed(0)
    made = TurbulenceODE(members=3, latent=2, hidden=8, encoder=6).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2)
        made.shift.copy_(torch.tensor([4.0, 0.47, 1.1]))
        made.scale.copy_(torch.tensor([0.7, 0.05, 0.1]))
    return made.eval()


def frozen(constant: float) -> TurbulenceODE:
    """C starts at a constant, and does not move from it: C∞ is the same."""
    model = TurbulenceODE(inputs=(), members=2, step=1 / 32).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.encoder[-1].bias[..., 0] = math.atanh((constant - 1) / CORRECTION)
        share = (constant - LEAST) / (MOST - LEAST)
        model.field[-1].bias[..., 1] = torch.tensor(share).logit()
    return model


def test_it_is_an_architecture_of_the_zoo() -> None:
    assert zoo.models.architecture("turbulence-ode") is TurbulenceODE
    with torch.device("meta"):
        made = TurbulenceODE()
    assert all(each.is_meta for each in made.state_dict().values())


def test_a_constant_coefficient_is_the_k_epsilon_model() -> None:
    """At the Re_T of turbulence; there, what is left of the final period is 1/Re_T."""
    constant = 1.7
    state = states()
    state["nu"] = state["nu"] * 1e-12
    times = torch.linspace(0, 4, 9).double()
    found = frozen(constant).forecast(state, times)
    exact = KEpsilon(constant).double().forecast(state, times)
    for name in ("k", "epsilon"):
        torch.testing.assert_close(found[name], exact[name], rtol=1e-6, atol=0)


def test_it_solves_the_equation_that_it_says(model: TurbulenceODE) -> None:
    """Against SciPy, in physical time and physical units, with a field written out again."""
    state, times = states(2), np.linspace(0, 3, 7)
    found = model.forecast_members(state, torch.from_numpy(times), **TIGHT)
    coarse = model.forecast_members(state, torch.from_numpy(times))
    begin = model.begin(read_state(state))
    weights = [each.detach().numpy() for each in model.field.parameters()]
    for member in range(3):
        for row in range(2):
            nu = float(state["nu"][row])

            def rates(t: float, z: np.ndarray, nu: float = nu, m: int = member) -> np.ndarray:
                k, epsilon, coefficient, b = z[0], z[1], z[2], z[3:]
                reynolds = k**2 / (nu * epsilon)
                out = np.concatenate([[(np.log(reynolds) - 4.0) / 0.7, coefficient], b])
                for layer in range(3):
                    out = out @ weights[2 * layer][m] + weights[2 * layer + 1][m, 0]
                    out = np.tanh(out) if layer < 2 else out
                rate = SLOWEST + (FASTEST - SLOWEST) / (1 + np.exp(1 - out[0]))
                limit = LEAST + (MOST - LEAST) / (1 + np.exp(-out[1]))
                limit = FINAL + (limit - FINAL) * reynolds / (1 + reynolds)
                hidden = [rate * (limit - coefficient), *(np.tanh(out[2:]) - b)]
                turnover = k / epsilon
                return np.array(
                    [-epsilon, -coefficient * epsilon / turnover]
                    + [each / turnover for each in hidden]
                )

            first = [float(state["k"][row]), float(state["epsilon"][row])]
            first += begin[member, row].tolist()
            exact = solve_ivp(rates, (0, 3), first, t_eval=times, rtol=1e-11, atol=1e-13).y
            for index, name in enumerate(("k", "epsilon")):
                np.testing.assert_allclose(found[name][member, row], exact[index], rtol=1e-5)
                np.testing.assert_allclose(coarse[name][member, row], exact[index], rtol=1e-3)


def test_what_is_lost_by_k_is_the_dissipation(model: TurbulenceODE) -> None:
    times = torch.linspace(0, 3, 1201).double()
    model.step = 1 / 64
    found = model.forecast_members(states(), times)
    # Simpson's rule on pairs of intervals.
    epsilon, step = found["epsilon"], float(times[1])
    lost = (epsilon[..., :-2:2] + 4 * epsilon[..., 1:-1:2] + epsilon[..., 2::2]) * step / 3
    torch.testing.assert_close(
        found["k"][..., :1] - found["k"][..., 2::2], lost.cumsum(-1), rtol=1e-5, atol=1e-7
    )


def test_it_does_not_matter_where_one_begins_to_count(model: TurbulenceODE) -> None:
    """Stopped on the way and begun again with the hidden variables of there, it goes on alike."""
    model.step = 1 / 64
    start = read_state(states())
    tau = torch.linspace(0, 4, 9).double().expand(3, 6, -1)
    whole = model.curves(start, tau)
    seen, path = [], model.path(start, model.begin(start), 4.0)
    # τ of the 30th point of the grid.
    passed, state = float(np.expm1(30 / 64)), path.states[30]
    k, epsilon = start.k * state[..., 0].exp(), start.epsilon * state[..., 1].exp()
    there = Start(k, epsilon, (k.square() / (epsilon * (states()["nu"]))).log())
    rest = model.path(there, state[..., 2:], 20.0)
    # From there on time is counted in the turnovers of there.
    since = (tau - passed) * (start.k / start.epsilon * epsilon / k).unsqueeze(-1)
    after = tau[0, 0] > passed
    seen = rest.read(since[..., after]) + state[..., :2].unsqueeze(-2)
    torch.testing.assert_close(seen, whole[:, :, after], rtol=0, atol=2e-6)


def test_c_begins_with_the_identity(model: TurbulenceODE) -> None:
    with torch.no_grad():
        model.encoder[-1].weight.zero_()
        model.encoder[-1].bias.zero_()
    state = states()
    model.step = 1 / 64
    early = torch.tensor([0.0, 1e-4]).double()
    found = model.forecast_members(state, early)
    change = (found["epsilon"][..., 1] / found["epsilon"][..., 0]).log() / 1e-4
    coefficient = -change * state["k"] / state["epsilon"]
    expected = read_state(state).identity().expand(3, -1)
    torch.testing.assert_close(coefficient, expected, rtol=1e-2, atol=2e-3)


def test_the_decay_is_positive_and_monotone_however_long_and_whatever_the_weights() -> None:
    state = states()
    # At the peak of the dissipation: C = 0.
    start = read_state(state)
    production = start.log_destruction.exp() - start.identity()
    state["palinstrophy"] = state["palinstrophy"] * production / start.log_destruction.exp()
    times = torch.cat([torch.zeros(1), torch.logspace(-3, 3, 40)]).double()
    for seed in (0, 4):
        torch.manual_seed(seed)
        model = TurbulenceODE(members=4).double().eval()
        with torch.no_grad():
            for parameter in model.field.parameters():
                parameter.mul_(5 * (seed + 1))
            for parameter in model.encoder[-1].parameters():
                parameter[..., :1].zero_()
        found = model.forecast_members(state, times)
        for name in ("k", "epsilon"):
            assert bool(found[name].isfinite().all()) and bool((found[name] > 0).all())
            assert bool((found[name].diff(dim=-1) < 0).all())


def test_the_end_of_the_decay_is_the_final_period(model: TurbulenceODE) -> None:
    """As Re_T -> 0 k falls as t^(-5/2), C = 7/5, and everything stays finite on the way."""
    state = states()
    state["nu"] = state["nu"] * 1e7
    state["palinstrophy"] = state["palinstrophy"] * 1e-14
    times = torch.tensor([0.0, 1e5, 1e6]).double()
    found = model.forecast_members(state, times)
    slope = (found["k"][..., 2] / found["k"][..., 1]).log() / np.log(10.0)
    torch.testing.assert_close(slope, torch.full_like(slope, -2.5), rtol=5e-3, atol=0)


def test_gradients_are_those_of_differences(model: TurbulenceODE) -> None:
    start, tau = read_state(states(2)), torch.linspace(0, 2, 5).double().expand(2, -1)

    def value() -> Tensor:
        return model.curves(start, tau).square().sum()

    value().backward()
    for parameter in (model.field[0].weight, model.encoder[-1].bias):
        with torch.no_grad():
            at = (1, 0, 1)
            parameter[at] += 1e-6
            above = value()
            parameter[at] -= 2e-6
            below = value()
            parameter[at] += 1e-6
        torch.testing.assert_close(parameter.grad[at], (above - below) / 2e-6, rtol=1e-5, atol=1e-7)


def test_a_solver_that_gives_up_says_so(model: TurbulenceODE) -> None:
    with pytest.raises(SolverError, match="evaluations"):
        model.forecast(states(), torch.tensor([0.0, 1.0]), max_evaluations=5)
