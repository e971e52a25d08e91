"""What a caller sees: states and their times, starts, and errors that say what to do."""

import math
import warnings

import numpy as np
import pytest
import torch

from tests.simulations import dense
from zoo.errors import SimulationError
from zoo.simulations.navier_stokes import NavierStokes


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def flow():
    """Of which the Taylor-Green vortex is resolved."""
    return NavierStokes(points=8, viscosity=0.5)


# Shapes and types.


@pytest.mark.parametrize(("points", "largest"), [(8, 2), (12, 3), (16, 5), (64, 21), (96, 31)])
def test_modes_kept(points, largest):
    """K is the largest integer below N/3, so that 3 K < N; without de-aliasing below N/2."""
    u = NavierStokes(points=points).taylor_green(batch=2)
    assert u.shape == (2, 3, 2 * largest + 1, 2 * largest + 1, largest + 1)
    all_of_them = NavierStokes(points=points, dealias=False).taylor_green()
    assert all_of_them.shape[-1] == points // 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_and_modes(dtype):
    """There and back, and what the coefficients mean: u = sum of u_kappa exp(i kappa . x)."""
    flow = NavierStokes(points=12, viscosity=0.1, dtype=dtype)
    u = flow.random_isotropic(2.0, batch=2, generator=seeded())
    v = flow.physical(u)
    error = 1e-14 if dtype == torch.float64 else 1e-6
    assert v.shape == (2, 3, 12, 12, 12) and v.dtype == dtype
    assert flow.spectral(v).numpy() == pytest.approx(u.numpy(), abs=error)
    modes = np.fft.fftn(v.double().numpy(), axes=(2, 3, 4)) / 12**3
    order = [0, 1, 2, 3, -3, -2, -1]
    expected = modes[np.ix_(range(2), range(3), order, order, range(4))]
    assert u.numpy() == pytest.approx(expected, abs=error)


def test_spectral_truncates_and_projects():
    """Against numpy, of noise that has all wavenumbers, a divergence and a mean."""
    noise = torch.randn(1, 3, 16, 16, 16, generator=seeded(), dtype=torch.float64) + 0.5
    flow = NavierStokes(points=16)
    found = flow.physical(flow.spectral(noise))[0].numpy()
    assert found == pytest.approx(dense.solenoidal(noise[0].numpy(), 5), abs=1e-14)
    assert found.mean((1, 2, 3)) == pytest.approx(noise[0].numpy().mean((1, 2, 3)), abs=1e-14)


# Starts.


def test_taylor_green(flow):
    line = torch.arange(8, dtype=torch.float64) * 2 * math.pi / 8
    x, y, z = torch.meshgrid(line, line, line, indexing="ij")
    u, v = x.sin() * y.cos() * z.cos(), -x.cos() * y.sin() * z.cos()
    expected = torch.stack([u, v, torch.zeros_like(u)])
    found = flow.physical(flow.taylor_green(batch=2))
    assert found.numpy() == pytest.approx(expected.expand(2, -1, -1, -1, -1).numpy(), abs=1e-15)


@pytest.mark.parametrize(("spectrum", "power"), [("k4", 4), ("k2", 2)])
@pytest.mark.parametrize(("peak", "rms"), [(3.0, 1.0), (2.5, 0.7)])
def test_random_isotropic_has_the_spectrum_asked_for(spectrum, power, peak, rms):
    """Shell by shell, of every realisation, measured in numpy on the points."""
    flow = NavierStokes(points=24)
    u = flow.random_isotropic(peak, rms, 2, spectrum=spectrum, generator=seeded())
    shells = np.arange(8)
    expected = shells**power * np.exp(-power / 2 * (shells / peak) ** 2)
    expected *= 1.5 * rms**2 / expected.sum()
    for values in flow.physical(u).numpy():
        found = dense.shell_spectrum(values, 14)
        assert found[:8] == pytest.approx(expected, rel=1e-12, abs=1e-16)
        assert found[8:].max() < 1e-30
        assert np.abs(values.mean((1, 2, 3))).max() < 1e-15
        assert np.abs(np.einsum("iixyz->xyz", dense.gradient(values))).max() < 1e-13
        assert (values**2).mean() ** 0.5 == pytest.approx(rms, rel=1e-13)


def test_random_isotropic_has_no_favourite_direction():
    """Each component has a third of the energy, and no two are correlated, within the noise.

    About 100 energetic modes in each of 16 realisations: a standard error of one or two per cent.
    """
    flow = NavierStokes(points=24, dtype=torch.float32)
    v = flow.physical(flow.random_isotropic(3.0, 1.0, 16, generator=seeded()))
    stress = torch.einsum("bixyz,bjxyz->ij", v, v) / v[:, 0].numel()
    assert stress.numpy() == pytest.approx(np.eye(3), abs=0.08)
    # Gaussian: no skewness, a flatness of 3.
    assert v.pow(3).mean().item() == pytest.approx(0, abs=0.05)
    assert v.pow(4).mean().item() == pytest.approx(3, abs=0.15)


def test_the_seed_makes_the_field():
    flow = NavierStokes(points=16)
    u = flow.random_isotropic(3.0, batch=2, generator=seeded(5))
    assert torch.equal(u, flow.random_isotropic(3.0, batch=2, generator=seeded(5)))
    assert not torch.allclose(u, flow.random_isotropic(3.0, batch=2, generator=seeded(6)))
    assert not torch.allclose(u[0], u[1])
    # The global generator has nothing to do with it; without a generator it has.
    torch.manual_seed(1)
    before = torch.get_rng_state()
    flow.random_isotropic(3.0, generator=seeded())
    assert torch.equal(before, torch.get_rng_state())
    first = flow.random_isotropic(3.0)
    assert not torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert torch.equal(first, flow.random_isotropic(3.0))


def test_the_precision_does_not_change_the_draw():
    double, single = (NavierStokes(points=16, dtype=d) for d in (torch.float64, torch.float32))
    u, v = (flow.random_isotropic(3.0, generator=seeded()) for flow in (double, single))
    assert torch.equal(u.to(torch.complex64), v)


# Time.


def times(flow, **kwargs):
    return [state.time for state in flow.run(flow.taylor_green(), **kwargs)]


def test_every_step_is_yielded(flow):
    states = list(flow.run(flow.taylor_green(), until=0.35, dt=0.1))
    assert [s.time for s in states] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.35], abs=1e-12)
    assert [s.steps for s in states] == [0, 1, 2, 3, 4]
    assert states[-1].time == 0.35
    assert states[1].velocity.numpy() == pytest.approx(
        flow.step(flow.taylor_green(), 0.1).numpy(), abs=1e-16
    )


def test_many_steps_end_on_time(flow):
    """A tenth is no binary number: no step of 1e-16 is added at the end."""
    assert len(times(flow, until=1.0, dt=0.1)) == 11
    assert times(flow, until=1.0, dt=0.1)[-1] == 1.0


def test_every(flow):
    """Multiples, and the end; equal steps of at most dt in between."""
    states = list(flow.run(flow.taylor_green(), until=0.25, every=0.1, dt=0.04))
    assert [s.time for s in states] == pytest.approx([0, 0.1, 0.2, 0.25], abs=1e-12)
    assert [s.steps for s in states] == [0, 3, 6, 8]
    direct = flow.taylor_green()
    for _ in range(3):
        direct = flow.step(direct, 0.1 / 3)
    assert states[1].velocity.numpy() == pytest.approx(direct.numpy(), abs=1e-16)


def test_a_start_between_multiples(flow):
    assert times(flow, start=0.03, until=0.2, every=0.05) == pytest.approx(
        [0.03, 0.05, 0.1, 0.15, 0.2]
    )
    # The sum of three steps lies just beside 0.3.
    assert times(flow, start=0.1 + 0.1 + 0.1, until=0.5, every=0.1) == pytest.approx(
        [0.3, 0.4, 0.5]
    )


def test_a_run_in_two_parts_is_one_run(flow):
    """To the bit, when it is taken up at an output: an ensemble relies on it."""
    u = flow.random_isotropic(1.5, 0.5, generator=seeded())
    *_, whole = flow.run(u, until=0.6, every=0.2, cfl=0.5, resolution=0)
    *_, half = flow.run(u, until=0.4, every=0.2, cfl=0.5, resolution=0)
    *_, rest = flow.run(
        half.velocity.clone(), start=half.time, until=0.6, every=0.2, cfl=0.5, resolution=0
    )
    assert torch.equal(whole.velocity, rest.velocity) and whole.time == rest.time


def test_courant_number_of_the_steps(flow):
    """dt = cfl dx / max(|u| + |v| + |w|), of the points at the start of the step."""
    u = flow.random_isotropic(1.5, 1.0, generator=seeded())
    speed = flow.physical(u).abs().sum(1).max().item()
    states = flow.run(u, until=1.0, cfl=0.3, resolution=0)
    next(states)
    assert next(states).time == pytest.approx(0.3 * 2 * math.pi / 8 / speed, rel=1e-12)


def test_a_flow_at_rest_stays_there(flow):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        states = list(flow.run(torch.zeros_like(flow.taylor_green()), until=1.0, cfl=0.5))
    assert states[-1].time == 1.0 and not states[-1].velocity.any()


def test_the_start_is_left_alone(flow):
    u = flow.taylor_green()
    kept = u.clone()
    list(flow.run(u, until=0.3, dt=0.1))
    flow.statistics(u), flow.vorticity(u), flow.advection(u), flow.physical(u)
    assert torch.equal(u, kept)


def test_statistics_of_a_state_are_measured_once(flow):
    state = next(iter(flow.run(flow.taylor_green(), until=1.0)))
    assert state.statistics is state.statistics
    assert state.statistics.kinetic_energy.item() == pytest.approx(1 / 8)


# Bad input.


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"points": 33}, "even number of points a side, at least 8; got 33"),
        ({"points": 6}, "even number of points a side, at least 8; got 6"),
        ({"points": -8}, "at least 8; got -8"),
        ({"viscosity": -0.01}, r"viscosity >= 0, or one per realisation \(B,\); got -0.01"),
        ({"viscosity": [0.01, -0.02]}, r"viscosity >= 0.*got \[0.01, -0.02\]"),
        ({"viscosity": math.nan}, "viscosity >= 0.*got nan"),
        ({"viscosity": torch.full((2, 2), 0.1)}, "viscosity >= 0, or one per realisation"),
        ({"dtype": torch.float16}, "float32 or torch.float64; got torch.float16"),
    ],
)
def test_bad_flow(kwargs, message):
    with pytest.raises(ValueError, match=message):
        NavierStokes(**{"points": 8, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"spectrum": "k3"}, "a spectrum of k2, k4; got 'k3'"),
        ({"peak_wavenumber": 3.0}, r"peak wavenumber in \[1, 2\], which 8 points .* got 3.0"),
        ({"peak_wavenumber": 0.5}, r"peak wavenumber in \[1, 2\]"),
        ({"peak_wavenumber": math.nan}, r"peak wavenumber in \[1, 2\]"),
        ({"rms_velocity": 0.0}, "rms_velocity > 0; got 0.0"),
        ({"rms_velocity": math.inf}, "rms_velocity > 0; got inf"),
        ({"batch": 0}, "batch of at least 1; got 0"),
    ],
)
def test_bad_start(flow, kwargs, message):
    with pytest.raises(ValueError, match=message):
        flow.random_isotropic(**{"peak_wavenumber": 1.5, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"until": 0.0}, "until > start = 0.0; got 0.0"),
        ({"until": -1.0}, "until > start"),
        ({"until": math.nan}, "until > start"),
        ({"until": math.inf}, "until > start"),
        ({"until": 1.0, "start": 2.0}, "until > start = 2.0; got 1.0"),
        ({"until": 1.0, "dt": 0.1, "cfl": 0.5}, "dt or cfl, not both"),
        ({"until": 1.0, "dt": 0.0}, "dt > 0; got 0.0"),
        ({"until": 1.0, "dt": math.nan}, "dt > 0; got nan"),
        ({"until": 1.0, "cfl": -0.5}, "cfl > 0; got -0.5"),
        ({"until": 1.0, "every": 0.0}, "every > 0; got 0.0"),
    ],
)
def test_bad_times(flow, kwargs, message):
    """At the call, not when the first state is asked for."""
    with pytest.raises(ValueError, match=message):
        flow.run(flow.taylor_green(), **kwargs)


def test_wrong_shapes(flow):
    u = flow.taylor_green()
    other = NavierStokes(points=12).taylor_green()
    expected = r"complex modes \(B, 3, 5, 5, 3\) for 8 points a side; got "
    calls = (flow.physical, flow.statistics, flow.vorticity, flow.advection, flow.divergence)
    for call in calls:
        with pytest.raises(ValueError, match=expected + r"torch.complex128 \(1, 3, 7, 7, 4\)"):
            call(other)
    for wrong in (u[0], u[:, :2], u.real, u[:0]):
        with pytest.raises(ValueError, match=expected):
            flow.run(wrong, until=1.0)
    for wrong in (torch.zeros(1, 3, 8, 8, 6), torch.zeros(3, 8, 8, 8), torch.zeros(1, 2, 8, 8, 8)):
        with pytest.raises(ValueError, match=r"on the points \(B, 3, 8, 8, 8\); got"):
            flow.spectral(wrong)


def test_a_viscosity_for_each_realisation():
    flow = NavierStokes(points=8, viscosity=[0.1, 0.2])
    with pytest.raises(ValueError, match="as many realisations as viscosities, 2; got 3"):
        flow.step(flow.taylor_green(3), 0.1)


@pytest.mark.parametrize("dt", [0.0, -0.1, math.nan, math.inf])
def test_bad_step(flow, dt):
    with pytest.raises(ValueError, match="expected dt > 0; got"):
        flow.step(flow.taylor_green(), dt)


def test_a_step_beyond_stability():
    """The message names a step that is fine, and that one is."""
    flow = NavierStokes(points=16, viscosity=0.05)
    u = flow.random_isotropic(2.0, 1.0, generator=seeded())
    with pytest.raises(SimulationError, match=r"time step 1 is beyond stability.*take dt <= ") as e:
        flow.step(u, 1.0)
    fine = float(str(e.value).split("<= ")[1])
    assert torch.isfinite(torch.view_as_real(flow.step(u, 0.99 * fine))).all()
    with pytest.raises(SimulationError, match="beyond stability at t = 0: its Courant number is 2"):
        list(flow.run(u, until=1.0, cfl=2.0, resolution=0))


def test_the_courant_limit_is_where_it_becomes_unstable(monkeypatch):
    """Waves on a uniform wind grow beyond it, as nothing damps them, and not below."""
    flow = NavierStokes(points=8, viscosity=0.0)
    k = flow.grid.largest
    start = torch.zeros_like(flow.taylor_green())
    start[0, 0, 0, 0, 0] = 1.0  # a wind along x carries a wave in y
    start[0, 1, k, 0, 0] = start[0, 1, -k, 0, 0] = 1e-6
    monkeypatch.setattr(flow, "_check", lambda *_, **__: None)

    def amplitude(factor):
        u = start
        for _ in range(10):
            u = flow.step(u, factor * flow.courant_limit * flow.grid.spacing)
        return u[0, 1, k, 0, 0].abs().item()

    assert amplitude(0.99) < 1e-6 < amplitude(1.01)


@pytest.mark.parametrize("resolution", [0.0, 1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_start_that_is_not_finite(flow, resolution, value):
    u = flow.taylor_green()
    u[0, 0, 1, 1, 1] = value
    with pytest.raises(SimulationError, match="not finite at t = 0"):
        list(flow.run(u, until=1.0, dt=0.1, resolution=resolution))
    with pytest.raises(SimulationError, match="not finite"):
        flow.step(u, 0.1)


def test_an_under_resolved_run():
    """The error comes when the smallest scales have left the grid, and can be asked not to."""
    flow = NavierStokes(points=16, viscosity=0.02)
    u = flow.random_isotropic(2.0, 1.0, generator=seeded())
    at_start = flow.statistics(u).kmax_eta.item()
    reached = []
    with pytest.raises(
        SimulationError, match=r"under-resolved at t = .*kmax eta >= 0\.[0-9]+"
    ) as e:
        for state in flow.run(u, until=2.0, cfl=0.6, resolution=0.95 * at_start):
            reached.append(state)
    assert len(reached) > 1
    assert all(s.statistics.kmax_eta.item() >= 0.95 * at_start for s in reached)
    assert "more points a side than 16" in str(e.value)
    *_, last = flow.run(u, until=0.5, cfl=0.6, resolution=0)
    assert last.time == 0.5


def test_resolution_is_that_of_the_worst_realisation():
    flow = NavierStokes(points=16, viscosity=[0.5, 0.001])
    with pytest.raises(SimulationError, match="under-resolved"):
        next(flow.run(flow.taylor_green(2), until=1.0))
