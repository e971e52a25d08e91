"""Where a simulation starts: the Taylor-Green vortex and random isotropic fields."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.simulations.grid import FourierGrid, as_complex, as_pairs

__all__ = ["SPECTRA", "project", "random_isotropic", "taylor_green"]

SPECTRA = {"k2": 2, "k4": 4}
"""Names of initial spectra and their power of the wavenumber at the largest scales."""


def project(grid: FourierGrid, modes: Tensor) -> Tensor:
    """Take the part along the wavevector out of modes (kx, B, 3, ky, kz), in place.

    What stays is free of divergence: u - kappa (kappa . u) / |kappa|^2.
    """
    pairs = as_pairs(modes)
    along = pairs[:, :, 0] * grid.kappa[0]
    along.addcmul_(pairs[:, :, 1], grid.kappa[1])
    along.addcmul_(pairs[:, :, 2], grid.kappa[2])
    along.mul_(grid.inverse_squared)
    for i, kappa in enumerate(grid.kappa):
        pairs[:, :, i].addcmul_(along, kappa, value=-1)
    return modes


def taylor_green(grid: FourierGrid, batch: int) -> Tensor:
    """u = (sin x cos y cos z, -cos x sin y cos z, 0), modes (kx, B, 3, ky, kz).

    Written down mode by mode, so that all others are exactly zero. (Taylor and Green, 1937.)
    """
    shape = (grid.modes, batch, 3, grid.modes, grid.largest + 1)
    modes = torch.zeros(shape, dtype=grid.complex_dtype, device=grid.device)
    # cos z is half a mode at kz = 1 and half its conjugate, which is not stored; sin is -i/2, i/2.
    for sign_x in (1, -1):
        for sign_y in (1, -1):
            x, y = 1 + (sign_x < 0) * grid.largest, 1 + (sign_y < 0) * grid.largest
            modes.imag[x, :, 0, y, 1] = -sign_x / 8
            modes.imag[x, :, 1, y, 1] = sign_y / 8
    return modes


def random_isotropic(
    grid: FourierGrid,
    *,
    peak_wavenumber: float,
    rms_velocity: float,
    batch: int,
    spectrum: str,
    generator: torch.Generator | None,
) -> Tensor:
    """Gaussian solenoidal noise with a given spectrum, modes (kx, B, 3, ky, kz).

    E(kappa) ~ kappa^p exp(-(p/2) (kappa/kp)^2), p = 4 or 2, is set exactly in each shell up to the
    last full one; so k and epsilon at the start are the same for all draws. The noise is drawn on
    the CPU in double precision: the device and the precision do not change it.

    Args:
        grid: The modes kept.
        peak_wavenumber: kp, where the spectrum is largest.
        rms_velocity: u', root mean square of one component; k = 3/2 u'^2.
        batch: Number of realisations.
        spectrum: "k4" or "k2".
        generator: Source of the noise.

    Raises:
        ValueError: an unknown spectrum, or a peak outside the wavenumbers kept.
    """
    if spectrum not in SPECTRA:
        names = ", ".join(SPECTRA)
        raise ValueError(f"expected a spectrum of {names}; got {spectrum!r}")
    if not 1 <= peak_wavenumber <= grid.largest:
        raise ValueError(
            f"expected a peak wavenumber in [1, {grid.largest}], which {grid.points} points a side"
            f" keep; got {peak_wavenumber}"
        )
    if not 0 < rms_velocity < float("inf"):
        raise ValueError(f"expected rms_velocity > 0; got {rms_velocity}")
    if batch < 1:
        raise ValueError(f"expected a batch of at least 1; got {batch}")
    double = FourierGrid(grid.points, dtype=torch.float64, dealias=grid.dealias)
    noise = torch.randn(batch, 3, *[grid.points] * 3, dtype=torch.float64, generator=generator)
    modes = project(double, double.to_modes(noise))
    shells = torch.arange(int(double.shell.max()) + 1, dtype=torch.float64)
    power = SPECTRA[spectrum]
    wanted = shells**power * torch.exp(-power / 2 * (shells / peak_wavenumber) ** 2)
    # What is far below round-off is left out: its numbers would be denormal, and those are slow.
    wanted[(shells > grid.largest) | (wanted < 1e-30 * wanted.max())] = 0
    wanted *= 1.5 * rms_velocity**2 / wanted.sum()
    found = shell_spectrum(double, modes)
    factor = torch.where(wanted > 0, (wanted / found).sqrt(), 0.0)
    scale = factor[:, double.shell].transpose(0, 1)
    modes = as_complex(as_pairs(modes) * scale.repeat_interleave(2, -1))
    return modes.to(device=grid.device, dtype=grid.complex_dtype)


def shell_spectrum(grid: FourierGrid, modes: Tensor) -> Tensor:
    """E(kappa), energy in the shells of width one around 0, 1, 2, ..., (B, shells)."""
    energy = grid.energy(modes).transpose(0, 1).flatten(1)
    shell = grid.shell.reshape(-1)
    spectrum = energy.new_zeros(len(energy), int(shell.max()) + 1)
    return spectrum.index_add_(1, shell, energy)
