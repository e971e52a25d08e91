"""Statistics against closed forms, and against the definitions written out in numpy."""

import numpy as np
import pytest
import torch

from tests.simulations import dense
from tests.simulations.fields import developed
from zoo.simulations.navier_stokes import NavierStokes
from zoo.simulations.statistics import spectral_moments


def on_points(flow, *components):
    """A velocity from functions of (x, y, z)."""
    line = torch.arange(flow.grid.points, dtype=torch.float64) * flow.grid.spacing
    grid = torch.meshgrid(line, line, line, indexing="ij")
    return torch.stack([part(*grid) for part in components])[None]


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-14), (torch.float32, 2e-6)])
def test_taylor_green(dtype, error):
    """Eight modes of |kappa|² = 3: every mean square is that of the velocity times a power of 3."""
    nu = 0.02
    s = NavierStokes(points=16, viscosity=nu, dtype=dtype).statistics(
        NavierStokes(points=16, viscosity=nu, dtype=dtype).taylor_green(2)
    )
    expected = {
        "kinetic_energy": 1 / 8,
        "enstrophy": 3 / 8,
        "dissipation": 2 * nu * 3 / 8,
        "palinstrophy": 9 / 8,
        "integral_scale": np.pi * 3 / 4 / 3**0.5,
        "taylor_scale": (5 / 3) ** 0.5,
        "reynolds_lambda": (1 / 12) ** 0.5 * (5 / 3) ** 0.5 / nu,
        "kmax_eta": 5 * (nu**3 / (2 * nu * 3 / 8)) ** 0.25,
        "enstrophy_production": 0.0,
        "skewness": 0.0,
    }
    for name, value in expected.items():
        found = getattr(s, name)
        assert found.shape == (2,) and found.dtype == torch.float64
        assert found.tolist() == pytest.approx([value] * 2, rel=error, abs=error), name
    # sqrt 3 rounds to 2
    assert s.spectrum[:, 2].tolist() == pytest.approx([1 / 8] * 2, rel=error)
    assert s.spectrum.sum(-1).tolist() == pytest.approx([1 / 8] * 2, rel=error)


def test_beltrami():
    """ABC flow of wavenumber 2: curl u = 2 u, so that nothing stretches and nothing advects."""
    a, b, c = 1.0, 0.7, 0.4
    flow = NavierStokes(points=16, viscosity=0.2)
    values = on_points(
        flow,
        lambda x, y, z: a * torch.sin(2 * z) + c * torch.cos(2 * y),
        lambda x, y, z: b * torch.sin(2 * x) + a * torch.cos(2 * z),
        lambda x, y, z: c * torch.sin(2 * y) + b * torch.cos(2 * x),
    )
    u = flow.spectral(values)
    s = flow.statistics(u)
    k = (a**2 + b**2 + c**2) / 2
    assert s.kinetic_energy.item() == pytest.approx(k, rel=1e-14)
    assert s.enstrophy.item() == pytest.approx(4 * k, rel=1e-14)
    assert s.palinstrophy.item() == pytest.approx(16 * k, rel=1e-14)
    assert s.integral_scale.item() == pytest.approx(3 * np.pi / 8, rel=1e-14)
    assert s.taylor_scale.item() == pytest.approx((5 / 4) ** 0.5, rel=1e-14)
    assert s.spectrum[0, 2].item() == pytest.approx(k, rel=1e-14)
    assert abs(s.enstrophy_production.item()) < 1e-13
    assert flow.vorticity(u) == pytest.approx(2 * values, abs=1e-13)
    assert flow.advection(u).abs().max() < 1e-15
    *_, last = flow.run(u, until=1.0, dt=0.1)
    # It decays as a whole: u exp(-nu |kappa|² t).
    assert flow.physical(last.velocity) == pytest.approx(values * np.exp(-0.2 * 4), abs=1e-13)


NAMES = (
    "kinetic_energy",
    "dissipation",
    "enstrophy",
    "enstrophy_production",
    "palinstrophy",
    "skewness",
    "integral_scale",
    "taylor_scale",
    "reynolds_lambda",
)


@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 2e-5)], ids=["double", "single"]
)
def test_against_the_definitions(dtype, error):
    """A developed field, and two viscosities, against sums over the points in numpy."""
    nu = [0.03, 0.05]
    _, u = developed(16, nu, batch=2, turns=1.0)
    flow = NavierStokes(points=16, viscosity=nu, dtype=dtype)
    u = u.to(flow.grid.complex_dtype)
    found = flow.statistics(u)
    for i, values in enumerate(flow.physical(u).double().numpy()):
        expected = dense.statistics(values, nu[i])
        # A field without structure would hide mistakes in these two.
        assert expected["skewness"] < -0.1 and expected["enstrophy_production"] > 0.1
        for name in NAMES:
            value = getattr(found, name)[i].item()
            assert value == pytest.approx(expected[name], rel=error), name
        eta = (nu[i] ** 3 / expected["dissipation"]) ** 0.25
        assert found.kmax_eta[i].item() == pytest.approx(5 * eta, rel=error)
        shells = dense.shell_spectrum(values, found.spectrum.shape[1])
        assert found.spectrum[i].numpy() == pytest.approx(shells, rel=error, abs=error * 1e-2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_vorticity_and_divergence(dtype):
    flow, u = developed(16, 0.03, dtype=dtype)
    error = 1e-13 if dtype == torch.float64 else 1e-5
    values = flow.physical(u)[0].double().numpy()
    assert flow.vorticity(u)[0].double().numpy() == pytest.approx(dense.curl(values), abs=error)
    assert flow.divergence(u).abs().max() < error
    # On its own transforms too: the trace of the gradient.
    assert np.abs(np.einsum("iixyz->xyz", dense.gradient(values))).max() < error


def test_divergence_is_that_of_the_field():
    """Of a field that has one, written into the modes by hand."""
    flow = NavierStokes(points=8, viscosity=0.1)
    u = torch.zeros_like(flow.taylor_green())
    u[0, 0, 1, 0, 0], u[0, 0, -1, 0, 0] = -0.5j, 0.5j  # sin x in x
    u[0, 2, 0, 0, 1] = 1.0  # 2 cos z in z
    expected = on_points(flow, lambda x, y, z: torch.cos(x) - 2 * torch.sin(z))[:, 0]
    assert flow.divergence(u) == pytest.approx(expected, abs=1e-14)


def test_isotropy_ties_stretching_to_skewness():
    """<omega_i S_ij omega_j> = -7 / (6 sqrt 15) S (omega'²)^(3/2), omega'² = 2 Z, if isotropic.

    Batchelor and Townsend (1947). A few realisations of a small box are isotropic to some per cent.
    """
    flow, u = developed(24, 0.03, batch=8, turns=1.0, dtype=torch.float32)
    s = flow.statistics(u)
    tied = -7 / (6 * 15**0.5) * s.skewness * (2 * s.enstrophy) ** 1.5
    assert (tied.mean() / s.enstrophy_production.mean()).item() == pytest.approx(1, abs=0.1)


def test_moments_of_a_spectrum():
    """From a spectrum alone: k⁴ exp(-2 (k/kp)²), against its integrals by Gaussian moments."""
    kappa = torch.arange(0, 400, dtype=torch.float64)
    kp = 20.0
    found = spectral_moments(kappa, kappa**4 * torch.exp(-2 * (kappa / kp) ** 2))

    def moment(n):
        """Integral of kappa^n exp(-a kappa²); the sum over integers is as good as equal to it."""
        a = 2 / kp**2
        return torch.exp(torch.lgamma(torch.tensor((n + 1) / 2))).item() / (2 * a ** ((n + 1) / 2))

    assert found["kinetic_energy"].item() == pytest.approx(moment(4), rel=1e-6)
    assert found["enstrophy"].item() == pytest.approx(moment(6), rel=1e-6)
    assert found["palinstrophy"].item() == pytest.approx(moment(8), rel=1e-6)
    scale = 3 * np.pi / 4 * moment(3) / moment(4)
    assert found["integral_scale"].item() == pytest.approx(scale, rel=1e-5)
