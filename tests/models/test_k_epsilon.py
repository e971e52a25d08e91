"""The k-epsilon model: closed forms, an independent solver, and the ends of its range."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from tests.models.turbulence_states import states
from zoo.models.decay import Law, decay
from zoo.models.k_epsilon import CENTRE, KEpsilon, power_law

TIMES = torch.tensor([0.0, 0.3, 1.0, 2.7], dtype=torch.float64)


def by_the_book(state: dict[str, Tensor], times: Tensor, constant: float) -> tuple[Tensor, Tensor]:
    """k = k₀ (1 + (C - 1) ε₀ t/k₀)^(-n), ε = ε₀ (...)^(-(n + 1)), n = 1/(C - 1)."""
    n = 1 / (constant - 1)
    grown = 1 + times * (state["epsilon"] / state["k"]).unsqueeze(1) / n
    return state["k"].unsqueeze(1) * grown**-n, state["epsilon"].unsqueeze(1) * grown ** -(n + 1)


@pytest.mark.parametrize("constant", [1.92, 11 / 6, 1.4, 1.0005, 0.9])
def test_a_constant_gives_the_power_law(constant: float) -> None:
    state, model = states(), KEpsilon(constant).double()
    found = model.forecast(state, TIMES)
    # The constant is stored in single precision.
    k, epsilon = by_the_book(state, TIMES, model.constant.item())
    torch.testing.assert_close(found["k"], k, rtol=1e-12, atol=0)
    torch.testing.assert_close(found["epsilon"], epsilon, rtol=1e-12, atol=0)


def test_one_gives_the_exponential() -> None:
    state = states()
    found = KEpsilon(1.0).double().forecast(state, TIMES)
    share = (-TIMES * (state["epsilon"] / state["k"]).unsqueeze(1)).exp()
    torch.testing.assert_close(found["k"], state["k"].unsqueeze(1) * share)
    torch.testing.assert_close(found["epsilon"], state["epsilon"].unsqueeze(1) * share)


def test_about_one_it_is_smooth_in_value_and_gradient() -> None:
    tau = torch.linspace(0, 20, 41).double()
    constant = torch.tensor([1 + sign * 10**-e for sign in (-1, 1) for e in range(2, 16)] + [1.0])
    for each in constant.double():
        value = each.clone().requires_grad_()
        found = power_law(value, tau)[..., 0]
        (slope,) = torch.autograd.grad(found.sum(), value)
        u = (each - 1).item()
        # ln k/k₀ = -τ + u τ²/2 - u² τ³/3 + ...
        terms = [(-1) ** (j + 1) * u**j * tau ** (j + 1) / (j + 1) for j in range(200)]
        torch.testing.assert_close(found, sum(terms), rtol=1e-12, atol=1e-12)
        slopes = [(-1) ** (j + 1) * j * u ** (j - 1) * tau ** (j + 1) for j in range(1, 200)]
        expected = sum(s / (j + 2) for j, s in enumerate(slopes)).sum()
        torch.testing.assert_close(slope, expected, rtol=1e-8, atol=0)


def test_below_one_everything_is_gone_after_a_finite_time() -> None:
    state = states(1)
    turnover = (state["k"] / state["epsilon"]).item()
    times = turnover * torch.tensor([0.0, 1.9, 2.0001, 50.0]).double()
    found = KEpsilon(0.5).double().forecast(state, times)
    for name in ("k", "epsilon"):
        assert found[name][0, 1] > 0
        assert found[name][0, 2:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("solver", [{}, {"method": "dopri5", "rtol": 1e-9, "atol": 1e-9}])
def test_a_slope_gives_the_solution_of_another_solver(solver: dict[str, object]) -> None:
    state = states()
    model = KEpsilon(1.1, -0.3, step=1 / 64).double()
    found = model.forecast(state, TIMES, **solver)
    assert model.nfe > 0
    a, b = model.constant.item(), model.slope.item()
    for row in range(3):
        k, epsilon, nu = (float(state[name][row]) for name in ("k", "epsilon", "nu"))

        def rates(t: float, z: np.ndarray, nu: float = nu) -> list[float]:
            coefficient = a + b * (math.log(z[0] ** 2 / (nu * z[1])) - CENTRE)
            return [-z[1], -coefficient * z[1] ** 2 / z[0]]

        exact = solve_ivp(rates, (0, 2.7), [k, epsilon], t_eval=TIMES, rtol=1e-11, atol=1e-13).y
        np.testing.assert_allclose(found["k"][row], exact[0], rtol=2e-6)
        np.testing.assert_allclose(found["epsilon"][row], exact[1], rtol=2e-6)


def test_no_slope_is_a_constant() -> None:
    state = states()
    one, other = (KEpsilon(1.7, slope).double().forecast(state, TIMES) for slope in (None, 0.0))
    for name in ("k", "epsilon"):
        torch.testing.assert_close(one[name], other[name], rtol=1e-6, atol=0)


def test_the_solver_converges_with_the_fourth_power_of_its_step() -> None:
    constant, tau = 1.45, torch.tensor([[0.31, 2.2, 9.7]], dtype=torch.float64)
    exact = power_law(torch.tensor(constant, dtype=torch.float64), tau)
    law = Law(lambda z: torch.full_like(z[..., 0], constant))
    errors = []
    for step in (1 / 8, 1 / 16, 1 / 32):
        path = decay(law, torch.zeros(1, 2).double(), 9.7, step)
        errors.append(float((path.read(tau) - exact).abs().max()))
    orders = [math.log2(one / other) for one, other in itertools.pairwise(errors)]
    assert all(3.5 < order < 5.0 for order in orders), (errors, orders)
    assert errors[1] < 1e-6
