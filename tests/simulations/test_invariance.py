"""What must not matter: the names of the axes, the origin, the frame, the batch, the precision."""

import numpy as np
import pytest
import torch

from tests.simulations.fields import developed
from zoo.simulations.navier_stokes import NavierStokes

STEPS, DT = 5, 0.02


def evolve(flow, u):
    *_, last = flow.run(u, until=STEPS * DT, dt=DT, resolution=0)
    return last.velocity


@pytest.fixture(scope="module")
def developed_flow():
    flow, u = developed(16, 0.03)
    return flow, flow.physical(u), flow.physical(evolve(flow, u))


def permuted(order):
    """The field after the axes are renamed: components and coordinates."""

    def change(v):
        return v[:, order].permute(0, 1, *[2 + axis for axis in order])

    return change


def reflected(axis):
    def change(v):
        v = v.flip(2 + axis).roll(1, 2 + axis)  # x -> -x, and 0 stays where it is
        sign = torch.ones(3, dtype=v.dtype)
        sign[axis] = -1
        return v * sign.view(1, 3, 1, 1, 1)

    return change


def shifted(*cells):
    return lambda v: v.roll(cells, (2, 3, 4))


CHANGES = {
    "xyz -> yzx": permuted([1, 2, 0]),
    "xyz -> yxz": permuted([1, 0, 2]),
    "xyz -> zyx": permuted([2, 1, 0]),
    "x -> -x": reflected(0),
    "y -> -y": reflected(1),
    "z -> -z": reflected(2),
    "shift": shifted(1, 5, 11),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_of_coordinates(developed_flow, name):
    """Change, then evolve, is evolve, then change."""
    flow, start, end = developed_flow
    change = CHANGES[name]
    u = flow.spectral(change(start))
    assert not torch.allclose(change(start), start, atol=0.1)
    assert flow.physical(evolve(flow, u)) == pytest.approx(change(end), abs=1e-13)
    before, after = flow.statistics(flow.spectral(start)), flow.statistics(u)
    for quantity in ("kinetic_energy", "enstrophy_production", "skewness", "integral_scale"):
        value = getattr(after, quantity).item()
        assert value == pytest.approx(getattr(before, quantity).item(), rel=1e-12), quantity


def test_a_moving_frame(developed_flow):
    """With a mean flow that moves by three cells: up to the error of the time step."""
    flow, start, end = developed_flow
    wind = torch.zeros(1, 3, 1, 1, 1, dtype=torch.float64)
    wind[:, 1] = 3 * flow.grid.spacing / (STEPS * DT)
    u = flow.spectral(start + wind)

    def error(dt):
        *_, last = flow.run(u, until=STEPS * DT, dt=dt, resolution=0)
        expected = end.roll(3, 3) + wind
        return (flow.physical(last.velocity) - expected).abs().max().item()

    coarse, fine = error(DT / 2), error(DT / 4)
    assert fine < 1e-3
    # Nothing else is left: it goes like the fourth power.
    assert np.log2(coarse / fine) == pytest.approx(4, abs=0.5)


def test_batch_is_its_realisations():
    """Three viscosities and three starts at once, and one by one."""
    nu = [0.02, 0.03, 0.05]
    flow, u = developed(16, nu, batch=3)
    together = evolve(flow, u)
    statistics = flow.statistics(together)
    for i, viscosity in enumerate(nu):
        single = NavierStokes(points=16, viscosity=viscosity)
        alone = evolve(single, u[i : i + 1])
        assert together[i].numpy() == pytest.approx(alone[0].numpy(), abs=1e-15)
        for name, value in vars(single.statistics(alone)).items():
            found = getattr(statistics, name)[i].numpy()
            assert found == pytest.approx(value[0].numpy(), rel=1e-12, abs=1e-18), name
    # The order of the realisations does not matter either.
    turned = NavierStokes(points=16, viscosity=nu[::-1])
    assert evolve(turned, u.flip(0)).numpy() == pytest.approx(together.flip(0).numpy(), abs=1e-15)


def test_one_viscosity_for_all_is_the_same_for_each():
    flow, u = developed(16, 0.03, batch=2)
    each = NavierStokes(points=16, viscosity=[0.03, 0.03])
    assert torch.equal(evolve(flow, u), evolve(each, u))


def test_single_precision():
    """The same run in float32 to a few units of its last digit."""
    double, u = developed(16, 0.03)
    single = NavierStokes(points=16, viscosity=0.03, dtype=torch.float32)
    a, b = evolve(double, u), evolve(single, u)
    assert b.dtype == torch.complex64
    scale = double.physical(a).abs().max()
    assert (double.physical(a) - single.physical(b)).abs().max() < 3e-6 * scale
    for name, value in vars(double.statistics(a)).items():
        found = getattr(single.statistics(b), name).numpy()
        assert found == pytest.approx(value.numpy(), rel=2e-5, abs=1e-8), name


def test_more_points_change_nothing_that_is_resolved():
    """A viscous flow on 16 and on 24 points a side."""
    coarse, fine = (NavierStokes(points=n, viscosity=0.3) for n in (16, 24))
    results = []
    for flow in (coarse, fine):
        *_, last = flow.run(flow.taylor_green(), until=1.0, dt=0.05)
        results.append(last.statistics)
    assert results[0].kinetic_energy.item() == pytest.approx(
        results[1].kinetic_energy.item(), rel=1e-9
    )


def test_the_same_run_twice_is_the_same_to_the_bit():
    flow, u = developed(16, 0.03, dtype=torch.float32)
    again, v = developed(16, 0.03, dtype=torch.float32)
    assert torch.equal(u, v)
    assert torch.equal(evolve(flow, u), evolve(again, u))
