"""A flow of the shape of `NavierStokes` whose statistics are known in closed form.

    k(t) = K (1 + (t + S)²)^(-3/5)        ε(t) = -dk/dt = 6/5 K (t + S) (1 + (t + S)²)^(-8/5)

The dissipation rises to a peak at t + S = √(5/11), then k decays like t^(-6/5). The velocity holds
the time that it belongs to, in its real part, and the numbers that were drawn, in the other.
"""

import math
from types import SimpleNamespace

import pytest
import torch

K, S = 1.5, 0.1
PEAK = math.sqrt(5 / 11) - S
"""Time of the peak."""


def kinetic_energy(t):
    return K * (1 + (t + S) ** 2) ** -0.6


def dissipation(t):
    return 1.2 * K * (t + S) * (1 + (t + S) ** 2) ** -1.6


class ClosedFormFlow:
    """Takes two steps from one output to the next."""

    shift = 0.0
    """Of the time: from about 0.6 on the peak is over at the start."""
    runs = 0
    """Calls of `run`, of all flows."""

    def __init__(self, points, viscosity, dtype=torch.float64, device="cpu"):
        self.points, self.viscosity, self.dtype = points, viscosity, dtype

    def random_isotropic(self, peak_wavenumber, rms_velocity, batch, generator, spectrum):
        drawn = torch.randn(batch, 3, 4, 4, 3, generator=generator, dtype=self.dtype)
        return torch.complex(torch.full_like(drawn, self.shift), drawn)

    def run(self, velocity, *, start, until, every, cfl, resolution):
        assert until - start == pytest.approx(every)
        ClosedFormFlow.runs += 1
        for steps, time in ((0, start), (2, until)):
            now = velocity + (time - start)
            yield SimpleNamespace(
                time=time, velocity=now, steps=steps, statistics=self.statistics(now)
            )

    def statistics(self, velocity):
        t = velocity.real.mean(dim=(1, 2, 3, 4)).double()
        drawn = velocity.imag.mean(dim=(1, 2, 3, 4)).double()
        return SimpleNamespace(
            kinetic_energy=kinetic_energy(t),
            dissipation=dissipation(t),
            enstrophy_production=t,
            palinstrophy=1 + t,
            skewness=drawn,
            integral_scale=0.5 + t / 10,
            reynolds_lambda=30 - t,
            kmax_eta=2 + t,
            spectrum=torch.stack([t, drawn, t], dim=-1),
        )
