"""A direct numerical simulation that is small enough to be run while one waits."""

import math
from dataclasses import dataclass

import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from zoo.simulations.navier_stokes import NavierStokes

__all__ = ["Live", "simulate", "slice_of_vorticity"]

PEAK = 3.0
UNTIL, EVERY = 1.0, 0.05
"""About one turnover of the energetic eddies."""
RESOLUTION = 1.1
"""kmax η at the start; it is about the same at the peak of the dissipation of so slow a flow."""


@dataclass(frozen=True)
class Live:
    """Decaying isotropic turbulence, simulated just now.

    Args:
        points: N, of the grid N³.
        viscosity: ν.
        steps: of the solver.
        time: (T,).
        energy, dissipation: k and ε, (T,).
        reynolds: Re_λ at the end.
        vorticity: |ω| in a plane of the box at the end, (N, N).
    """

    points: int
    viscosity: float
    steps: int
    time: Tensor
    energy: Tensor
    dissipation: Tensor
    reynolds: float
    vorticity: Tensor

    @property
    def lost(self) -> Tensor:
        """The energy that is gone at each time, (T,)."""
        return self.energy[0] - self.energy

    @property
    def dissipated(self) -> Tensor:
        """∫ε dt from the start to each time, (T,): of a cubic spline."""
        time = self.time.numpy()
        integral = CubicSpline(time, self.dissipation.numpy()).antiderivative()
        return torch.from_numpy(integral(time))


def simulate(points: int, seed: int) -> Live:
    """Simulate a flow as those of the ensemble, on a grid of N³, more viscous the smaller it is."""
    viscosity = viscosity_of(points)
    flow = NavierStokes(points=points, viscosity=viscosity, dtype=torch.float64)
    start = flow.random_isotropic(
        peak_wavenumber=PEAK,
        rms_velocity=1.0,
        batch=1,
        generator=torch.Generator().manual_seed(seed),
    )
    rows = []
    # A picture is no measurement: an unlucky seed may be a little less resolved than that.
    for state in flow.run(start, until=UNTIL, cfl=0.6, every=EVERY, resolution=RESOLUTION / 2):
        found = state.statistics
        rows.append((state.time, found.kinetic_energy.item(), found.dissipation.item()))
    time, energy, dissipation = torch.tensor(rows, dtype=torch.float64).T
    return Live(
        points=points,
        viscosity=viscosity,
        steps=state.steps,
        time=time,
        energy=energy,
        dissipation=dissipation,
        reynolds=found.reynolds_lambda.item(),
        vorticity=slice_of_vorticity(flow, state.velocity),
    )


def slice_of_vorticity(flow: NavierStokes, velocity: Tensor) -> Tensor:
    """|ω| of the first realisation in the plane z = 0, (N, N)."""
    plane: Tensor = flow.vorticity(velocity)[0, :, :, :, 0].norm(dim=0)
    return plane


def viscosity_of(points: int) -> float:
    """ν for which kmax η at the start is `RESOLUTION`, with kmax = N/3.

    The start has k = 3/2 and E ∝ κ⁴ exp(-2 (κ/κp)²), so that ⟨ω²⟩ = 2 Σκ²E = 2 · (5/4) κp² · k;
    and η⁴ = ν³/ε = ν²/⟨ω²⟩.
    """
    square_vorticity = 2 * (5 / 4) * PEAK**2 * (3 / 2)
    return (RESOLUTION * 3 / points) ** 2 * math.sqrt(square_vorticity)
