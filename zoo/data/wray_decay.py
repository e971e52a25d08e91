"""Decaying isotropic turbulence of 512³ points, A. A. Wray (1997): one run of another code.

A run from a Gaussian field of Re_λ = 952 in a periodic box of side 2π with ν = 3.5014006e-4, case
HOM02 of the AGARD database for large-eddy simulation, "unpublished data from A. A. Wray (1997)",
and much used since. Its files may not come with the package. Whoever has them puts `CB512.f_t` and
`CB512.es` into `turbulence/decaying-512` of the data folder.

Until t ≈ 2.2 the run is under-resolved (kmax η below 1). From there on it is one realisation of a
decay at Re_T = k²/(νε) of 620 and Re_λ of 64, in a box that confines nothing.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from zoo.data.decaying_turbulence import Problem
from zoo.errors import DataError

__all__ = ["START", "VISCOSITY", "Decay", "find", "problem"]

VISCOSITY = 3.5014006e-4
START = 2.214
"""The first row of the series with kmax η of 1."""

FOLDER = Path("turbulence", "decaying-512")
SERIES, SPECTRA = "CB512.f_t", "CB512.es"
SHA256 = {
    SERIES: "a43268533cb3181e4f5e2e39564421b01117cc641e4cb89032fdb91f71c4adce",
    SPECTRA: "1bdcd02637caf646cbbdea07c59d65c2477651abfd5f2249383147c67cc51210",
}


@dataclass(frozen=True)
class Decay:
    """The run in time, all of length T and float64, in units of the box.

    Args:
        time, kinetic_energy, dissipation: t, k, and ε = ν⟨ω²⟩.
        skewness: of the velocity derivative, negative.
        spectra_time: the times of the spectra, (28,).
        palinstrophy: P = Σ κ⁴E(κ) at those, (28,).
    """

    time: Tensor
    kinetic_energy: Tensor
    dissipation: Tensor
    skewness: Tensor
    spectra_time: Tensor
    palinstrophy: Tensor


def find(root: str | Path | None = None) -> Decay | None:
    """The run, if its files are below `root` (default $ZOO_DATA).

    Raises:
        DataError: a file is there, but another one than it should be.
    """
    named = root or os.environ.get("ZOO_DATA")
    folder = Path(named).expanduser() / FOLDER if named else None
    if folder is None or not all((folder / name).is_file() for name in SHA256):
        return None
    series, spectra = (_read(folder / name) for name in (SERIES, SPECTRA))
    table = np.loadtxt(series.splitlines()[13:])
    time, energy, square_vorticity, _, minus_skewness = torch.from_numpy(table).double().T
    blocks = _blocks(spectra)
    return Decay(
        time=time,
        kinetic_energy=energy,
        dissipation=VISCOSITY * square_vorticity,
        skewness=-minus_skewness,
        spectra_time=torch.tensor(list(blocks), dtype=torch.float64),
        palinstrophy=torch.stack([_palinstrophy(spectrum) for spectrum in blocks.values()]),
    )


def problem(decay: Decay, start: float = START) -> Problem:
    """The forecast of the rest of the run from the row at `start`, at the rows' own times.

    P is interpolated between the spectra, as a cubic spline of its logarithm.
    """
    rows = decay.time >= start - 1e-9
    time, k, epsilon = (
        each[rows] for each in (decay.time, decay.kinetic_energy, decay.dissipation)
    )
    spline = CubicSpline(decay.spectra_time.numpy(), decay.palinstrophy.log().numpy())
    palinstrophy = torch.tensor([float(np.exp(spline(float(time[0]))))], dtype=torch.float64)
    return Problem(
        state={
            "k": k[:1],
            "epsilon": epsilon[:1],
            "nu": torch.tensor([VISCOSITY], dtype=torch.float64),
            "skewness": decay.skewness[rows][:1],
            "palinstrophy": palinstrophy,
        },
        times=(time - time[0]).unsqueeze(0),
        k=k.unsqueeze(0),
        epsilon=epsilon.unsqueeze(0),
        names=("wray-512",),
    )


def _read(path: Path) -> str:
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[path.name]:
        raise DataError(
            f"{path} is another file: expected sha256 {SHA256[path.name]}, found {found}; "
            "remove it, or get it again from the AGARD database, case HOM02"
        )
    return content.decode("ascii")


def _blocks(text: str) -> dict[float, Tensor]:
    """Time -> E(κ) for κ = 0, 1, ...; a block begins with a line of their number and the time."""
    lines, found = text.splitlines(), {}
    first = next(index for index, line in enumerate(lines) if line.split()[:1] == ["242"])
    for begin in range(first, len(lines), 243):
        values = [float(line) for line in lines[begin + 1 : begin + 243]]
        found[float(lines[begin].split()[1])] = torch.tensor(values, dtype=torch.float64)
    return found


def _palinstrophy(spectrum: Tensor) -> Tensor:
    wavenumber = torch.arange(len(spectrum), dtype=torch.float64)
    return (wavenumber**4 * spectrum).sum()
