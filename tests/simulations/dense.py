"""The same physics once more, the straightforward way: numpy, full complex transforms, sums over
points, the non-linear term in convective form with 3/2 padding. Nothing here is taken from `zoo`.

A velocity is (3, N, N, N) on the points x = 2 pi i / N.
"""

import numpy as np

AXES = (1, 2, 3)


def wavenumbers(n):
    """(3, N, N, N), in the order of numpy's transforms."""
    line = np.fft.fftfreq(n, 1 / n)
    return np.stack(np.meshgrid(line, line, line, indexing="ij"))


def gradient(u):
    """du_i / dx_j, (3, 3, N, N, N)."""
    modes = np.fft.fftn(u, axes=AXES)
    kappa = wavenumbers(u.shape[-1])
    return np.fft.ifftn(1j * modes[:, None] * kappa[None], axes=(2, 3, 4)).real


def curl(u):
    a = gradient(u)
    return np.stack([a[2, 1] - a[1, 2], a[0, 2] - a[2, 0], a[1, 0] - a[0, 1]])


def statistics(u, nu):
    """Every statistic from its definition, most of them as means over the points."""
    a, w = gradient(u), curl(u)
    strain = (a + a.transpose(1, 0, 2, 3, 4)) / 2
    k = (u**2).sum(0).mean() / 2
    epsilon = 2 * nu * (strain**2).sum((0, 1)).mean()
    longitudinal = np.stack([a[i, i] for i in range(3)])
    rms = np.sqrt(2 * k / 3)
    spectrum, kappa = spectra(u)
    taylor = np.sqrt(15 * nu * rms**2 / epsilon)
    return {
        "kinetic_energy": k,
        "dissipation": epsilon,
        "enstrophy": (w**2).sum(0).mean() / 2,
        "enstrophy_production": np.einsum("i...,ij...,j...->...", w, strain, w).mean(),
        "palinstrophy": (curl(w) ** 2).sum(0).mean() / 2,
        "skewness": (longitudinal**3).mean() / (longitudinal**2).mean() ** 1.5,
        "integral_scale": np.pi / (2 * rms**2) * (spectrum[1:] / kappa[1:]).sum(),
        "taylor_scale": taylor,
        "reynolds_lambda": rms * taylor / nu,
    }


def spectra(u):
    """Energy of every mode and its wavenumber, flat, the mean flow first."""
    n = u.shape[-1]
    energy = (np.abs(np.fft.fftn(u, axes=AXES) / n**3) ** 2).sum(0) / 2
    return energy.ravel(), np.sqrt((wavenumbers(n) ** 2).sum(0)).ravel()


def shell_spectrum(u, shells):
    energy, kappa = spectra(u)
    return np.array([energy[np.abs(kappa - shell) < 0.5].sum() for shell in range(shells)])


def resample(u, n):
    """The same field on n points a side, more or fewer; modes beyond either grid are left out."""
    old = u.shape[-1]
    largest = (min(n, old) - 1) // 2
    keep = np.r_[0 : largest + 1, -largest:0]
    modes = np.zeros((3, n, n, n), complex)
    index = np.ix_(range(3), keep, keep, keep)
    modes[index] = np.fft.fftn(u, axes=AXES)[index] * (n / old) ** 3
    return np.fft.ifftn(modes, axes=AXES).real


def solenoidal(u, largest):
    """Without divergence, and without wavenumbers above `largest` along any axis."""
    n = u.shape[-1]
    kappa = wavenumbers(n)
    modes = np.fft.fftn(u, axes=AXES) * (np.abs(kappa).max(0) <= largest)
    squared = np.maximum((kappa**2).sum(0), 1)
    return np.fft.ifftn(modes - kappa * (kappa * modes).sum(0) / squared, axes=AXES).real


def advection(u, largest):
    """-P [(u . grad) u] of a field without wavenumbers above `largest`, free of aliasing."""
    n = u.shape[-1]
    # Products reach 2 largest: enough points that these do not fold back at all.
    fine = resample(u, 4 * (largest + 1))
    product = -np.einsum("j...,ij...->i...", fine, gradient(fine))
    return resample(solenoidal(product, largest), n)
