"""What is measured of a velocity field: one number per realisation.

k = 1/2 <u^2>, Z = 1/2 <omega^2>, P = 1/2 <|curl omega|^2>, epsilon = 2 nu Z; u' = sqrt(2 k / 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.simulations.grid import FourierGrid, as_pairs
from zoo.simulations.initial import shell_spectrum

__all__ = ["FlowStatistics", "measure", "spectral_moments"]


@dataclass(frozen=True)
class FlowStatistics:
    """Statistics of B realisations; every field is (B,), the spectrum (B, shells).

    Attributes:
        kinetic_energy: k.
        dissipation: epsilon = 2 nu Z.
        enstrophy: Z, with the 1/2.
        enstrophy_production: <omega_i S_ij omega_j>, by which vortex stretching raises Z.
        palinstrophy: P, with the 1/2; 2 nu P is the rate by which viscosity lowers Z.
        skewness: <(du/dx)^3> / <(du/dx)^2>^(3/2), moments averaged over the three directions
            before the quotient; negative in turbulence.
        integral_scale: L = pi / (2 u'^2) sum E/kappa.
        taylor_scale: lambda = sqrt(15 nu u'^2 / epsilon) = sqrt(5 k / Z).
        reynolds_lambda: u' lambda / nu; infinite for an inviscid flow.
        kmax_eta: Largest wavenumber kept times Kolmogorov's length (nu^3 / epsilon)^(1/4).
        spectrum: E(kappa) in the shells around 0, 1, 2, ...; its sum is k.
    """

    kinetic_energy: Tensor
    dissipation: Tensor
    enstrophy: Tensor
    enstrophy_production: Tensor
    palinstrophy: Tensor
    skewness: Tensor
    integral_scale: Tensor
    taylor_scale: Tensor
    reynolds_lambda: Tensor
    kmax_eta: Tensor
    spectrum: Tensor


def spectral_moments(kappa: Tensor, energy: Tensor) -> dict[str, Tensor]:
    """The statistics that a spectrum determines.

    Args:
        kappa: Wavenumbers, (n,), of which the first may be 0.
        energy: Energy at each, (..., n).

    Returns:
        kinetic_energy = sum E, enstrophy = sum kappa^2 E, palinstrophy = sum kappa^4 E and
        integral_scale = pi / (2 u'^2) sum E / kappa, each (...).
    """
    k = energy.sum(-1)
    inverse = torch.where(kappa > 0, 1 / kappa.clamp_min(1e-30), torch.zeros_like(kappa))
    return {
        "kinetic_energy": k,
        "enstrophy": (energy * kappa**2).sum(-1),
        "palinstrophy": (energy * kappa**4).sum(-1),
        "integral_scale": torch.pi / (4 * k / 3) * (energy * inverse).sum(-1),
    }


def measure(grid: FourierGrid, modes: Tensor, viscosity: Tensor) -> FlowStatistics:
    """Statistics of modes (kx, B, 3, ky, kz) at viscosities (B,); sums in double precision."""
    per_mode = grid.energy(modes).transpose(0, 1).flatten(1).double()
    moments = spectral_moments(grid.squared.double().sqrt().reshape(-1), per_mode)
    nu = viscosity.double()
    k, z = moments["kinetic_energy"], moments["enstrophy"]
    taylor = (5 * k / z).sqrt()
    production, skewness = _gradient_moments(grid, modes)
    return FlowStatistics(
        kinetic_energy=k,
        dissipation=2 * nu * z,
        enstrophy=z,
        enstrophy_production=production,
        palinstrophy=moments["palinstrophy"],
        skewness=skewness,
        integral_scale=moments["integral_scale"],
        taylor_scale=taylor,
        reynolds_lambda=(2 * k / 3).sqrt() * taylor / nu,
        kmax_eta=resolution(grid, nu, z),
        spectrum=shell_spectrum(grid, modes).double(),
    )


def resolution(grid: FourierGrid, viscosity: Tensor, enstrophy: Tensor) -> Tensor:
    """kmax eta = K (nu^3 / epsilon)^(1/4) = K (nu^2 / (2 Z))^(1/4), (B,)."""
    return grid.largest * (viscosity**2 / (2 * enstrophy)) ** 0.25


def enstrophy(grid: FourierGrid, modes: Tensor) -> Tensor:
    """Z = 1/2 <omega^2> of solenoidal modes (kx, B, 3, ky, kz), (B,)."""
    weighted = (
        as_pairs(modes) ** 2 * (grid.squared * grid.weight).repeat_interleave(2, -1)[:, :, None]
    )
    return weighted.sum((0, 2, 3, 4)) / 2


def _gradient_moments(grid: FourierGrid, modes: Tensor) -> tuple[Tensor, Tensor]:
    """<omega_i S_ij omega_j> and the skewness of the longitudinal derivatives, each (B,).

    Means over the points of products of three fields: exact, because the wavenumbers of three kept
    modes add up to less than N.
    """
    batch = modes.shape[1]
    pairs = as_pairs(modes)
    gradient = modes.new_empty(*modes.shape[:2], 9, *modes.shape[3:])
    for j, kappa in enumerate(grid.kappa):
        for i in range(3):
            torch.mul(pairs[:, :, i], kappa, out=as_pairs(gradient)[:, :, 3 * i + j])
    gradient.mul_(1j)
    sums = torch.zeros(3, batch, dtype=torch.float64, device=modes.device)
    for _, values in grid.slabs(gradient):
        a = values.view(*values.shape[:2], 3, 3, *values.shape[3:])  # a[i, j] = du_i / dx_j
        omega = [a[:, :, k, j] - a[:, :, j, k] for j, k in ((1, 2), (2, 0), (0, 1))]
        stretched = [a[:, :, i, 0] * omega[0] for i in range(3)]
        for i, j in ((0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)):
            stretched[i] += a[:, :, i, j] * omega[j]
        production = omega[0] * stretched[0] + omega[1] * stretched[1] + omega[2] * stretched[2]
        longitudinal = torch.stack([a[:, :, i, i] for i in range(3)], 2)
        square = longitudinal**2
        sums[0] += production.sum((0, 2, 3), dtype=torch.float64)
        sums[1] += square.sum((0, 2, 3, 4), dtype=torch.float64)
        sums[2] += (square * longitudinal).sum((0, 2, 3, 4), dtype=torch.float64)
    production, second, third = sums / grid.points**3
    return production, (third / 3) / (second / 3) ** 1.5
