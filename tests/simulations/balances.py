"""How well a simulation keeps the balances of the equations, and its order in time."""

import torch

from tests.simulations import dense
from tests.simulations.fields import developed

DT = 0.005


def rate(values):
    """Time derivative in the middle of five values DT apart, of the fourth order."""
    a, b, _, c, d = values
    return (a - 8 * b + 8 * c - d) / (12 * DT)


def balance_errors(points, viscosity, *, dealias=True):
    """Errors of dk/dt = -epsilon and dZ/dt = <omega_i S_ij omega_j> - 2 nu P, and kmax eta.

    Relative to epsilon and to 2 nu P; of a random field after 0.8 time units. The right-hand sides
    are means over twice the points, which are exact with and without de-aliasing: what fails, if
    something does, is the simulation.
    """
    flow, u = developed(points, viscosity, turns=0.8, dealias=dealias)
    states = list(flow.run(u, until=4 * DT, dt=DT, resolution=0))
    middle = dense.resample(flow.physical(states[2].velocity)[0].numpy(), 2 * points)
    exact = dense.statistics(middle, viscosity)
    energy = rate([s.statistics.kinetic_energy.item() for s in states])
    enstrophy = rate([s.statistics.enstrophy.item() for s in states])
    destruction = 2 * viscosity * exact["palinstrophy"]
    return (
        abs(energy / exact["dissipation"] + 1),
        abs((enstrophy - exact["enstrophy_production"]) / destruction + 1),
        states[2].statistics.kmax_eta.item(),
    )


def order_in_time():
    """Slope of the error after 0.4 time units between 10 and 20 steps, against 80."""
    flow, u = developed(16, 0.03, turns=0.3)

    def final(steps):
        *_, state = flow.run(u, until=0.4, dt=0.4 / steps, resolution=0)
        return state.velocity

    # The reference has an error too, 1/4096 and 1/256 of theirs.
    reference = final(80)
    coarse, fine = ((final(steps) - reference).abs().pow(2).sum().sqrt() for steps in (10, 20))
    return torch.log2(coarse / fine).item()
