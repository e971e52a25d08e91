"""What the equations conserve and balance, and the orders of accuracy.

The energy balance does not see aliasing errors, since the rotational form conserves energy with
or without them; the enstrophy balance does.
"""

import numpy as np
import pytest
import torch

from tests.simulations import dense
from tests.simulations.balances import balance_errors, order_in_time
from tests.simulations.fields import developed
from zoo.simulations.navier_stokes import NavierStokes


@pytest.fixture(scope="module")
def with_dealiasing():
    return balance_errors(32, 0.016)


@pytest.fixture(scope="module")
def without_dealiasing():
    """All modes below N/2, and no room for their products."""
    return balance_errors(24, 0.02, dealias=False)


def test_energy_balance(with_dealiasing, without_dealiasing):
    """dk/dt = -epsilon, whether or not products are aliased."""
    assert with_dealiasing[0] <= 1e-6
    assert without_dealiasing[0] <= 1e-6


def test_enstrophy_balance(with_dealiasing):
    """dZ/dt = <omega_i S_ij omega_j> - 2 nu P."""
    _, error, kmax_eta = with_dealiasing
    assert error <= 1e-5
    # The cut-off is in the middle of the action, otherwise nothing would be tested.
    assert kmax_eta < 0.7


def test_enstrophy_balance_fails_with_aliasing(without_dealiasing):
    assert without_dealiasing[1] > 1e-2


@pytest.mark.parametrize("points", [14, 16, 24])
def test_advection_against_the_convective_form(points):
    """P [u x omega] = -P [(u . grad) u], with padding until nothing folds back, in numpy."""
    flow = NavierStokes(points=points, viscosity=0.01)
    # White noise: energy up to the last mode, and a mean flow.
    noise = torch.randn(1, 3, *[points] * 3, generator=torch.Generator().manual_seed(points)) + 1.0
    u = flow.spectral(noise.double())
    values = flow.physical(u)[0].numpy()
    expected = dense.advection(values, flow.grid.largest)
    found = flow.physical(flow.advection(u))[0].numpy()
    assert found == pytest.approx(expected, abs=1e-12 * np.abs(expected).max())


def test_aliased_advection_differs():
    """So the test above can fail."""
    flow = NavierStokes(points=16, viscosity=0.01, dealias=False)
    u = flow.random_isotropic(6.0, 1.0, generator=torch.Generator().manual_seed(0))
    expected = dense.advection(flow.physical(u)[0].numpy(), flow.grid.largest)
    found = flow.physical(flow.advection(u))[0].numpy()
    assert np.abs(found - expected).max() > 0.1 * np.abs(expected).max()


def test_advection_conserves_energy_and_helicity():
    """<u . N> = 0 and <omega . N> = 0, by the detailed balance of triads."""
    flow, u = developed(24, 0.02)
    values, n = flow.physical(u), flow.physical(flow.advection(u))
    omega = flow.vorticity(u)
    for field in (values, omega):
        scale = (field**2).mean().sqrt() * (n**2).mean().sqrt()
        assert abs((field * n).mean() / scale) < 1e-14


def test_fourth_order_in_time():
    assert order_in_time() == pytest.approx(4, abs=0.1)


def test_viscosity_is_exact_whatever_the_step():
    """A single shear wave has no advection: u exp(-nu kappa² t), also in one step."""
    flow = NavierStokes(points=8, viscosity=[0.3, 0.7])
    u = torch.zeros(2, 3, 5, 5, 3, dtype=torch.complex128)
    u[:, 1, 2, 0, 0], u[:, 1, -2, 0, 0] = 0.5, 0.5  # cos 2x in y
    found = flow.step(u, 0.5)
    for i, nu in enumerate((0.3, 0.7)):
        assert found[i].numpy() == pytest.approx(u[i].numpy() * np.exp(-nu * 4 * 0.5), rel=1e-14)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-13), (torch.float32, 2e-5)])
def test_divergence_stays_at_round_off(dtype, error):
    flow, u = developed(24, 0.02, turns=1.0, dtype=dtype)
    gradient = dense.gradient(flow.physical(u)[0].double().numpy())
    assert np.abs(np.einsum("iixyz->xyz", gradient)).max() < error * np.abs(gradient).max()


def test_skewness_after_a_turnover():
    """From that of Gaussian noise to that of turbulence in one turnover L / u'."""
    flow = NavierStokes(points=32, viscosity=0.025, dtype=torch.float32)
    start = flow.random_isotropic(2.5, 1.0, 2, generator=torch.Generator().manual_seed(1))
    first = flow.statistics(start)
    assert first.skewness.abs().max() < 0.1
    turnover = first.integral_scale.max().item()
    *_, last = flow.run(start, until=turnover, cfl=0.7, resolution=0)
    skewness = last.statistics.skewness
    assert ((skewness > -0.6) & (skewness < -0.35)).all()
