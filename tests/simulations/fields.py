"""Flows that several tests start from."""

import torch

from zoo.simulations.navier_stokes import NavierStokes


def developed(points, viscosity, *, seed=0, batch=1, turns=0.5, **kwargs):
    """A flow and a random field of it that has run for a while, so that no symmetry is left."""
    flow = NavierStokes(points=points, viscosity=viscosity, **kwargs)
    start = flow.random_isotropic(
        2.0, 1.0, batch, generator=torch.Generator().manual_seed(seed), spectrum="k4"
    )
    *_, last = flow.run(start, until=turns, cfl=0.6, resolution=0)
    return flow, last.velocity
