"""What a forecast of decaying turbulence costs, against its simulation, on one thread.

    python tests/benchmarks/bench_turbulence.py [--states 10000] [--rounds 5]

The state is a flow at the peak of its dissipation, viscosity 0.022 on 80³ points, as in the
ensemble that comes with the package. It is simulated from there over 2 k/ε, in single precision at
a Courant number of 1, once; and `node-turbulence`, with all its members, forecasts as many states
over as long a time, the least of the rounds.
"""

from __future__ import annotations

import argparse
import time

import torch

import zoo
from zoo.simulations.navier_stokes import NavierStokes

VISCOSITY, POINTS, PEAK, HORIZON = 0.022, 80, 0.45, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=int, default=10_000, help="states at once (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="forecasts (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)

    flow = NavierStokes(POINTS, VISCOSITY, dtype=torch.float32)
    start = flow.random_isotropic(generator=torch.Generator().manual_seed(0))
    *_, peak = flow.run(start, until=PEAK, cfl=1.0, every=PEAK)
    now = peak.statistics
    end = HORIZON * float(now.kinetic_energy / now.dissipation)
    began = time.perf_counter()
    *_, last = flow.run(peak.velocity, until=end, cfl=1.0, every=0.05)
    simulated = time.perf_counter() - began
    print(f"simulation of one state: {simulated:.1f} s, {last.steps} steps")

    model = zoo.create("node-turbulence", pretrained=True)
    names = {"k": "kinetic_energy", "epsilon": "dissipation"}
    names |= {name: name for name in ("skewness", "palinstrophy")}
    state = {name: getattr(now, field).float() for name, field in names.items()}
    state["nu"] = flow.viscosity.float().view(1)
    many = {name: value.expand(options.states) for name, value in state.items()}
    times = torch.linspace(0, end, 65)
    seconds = []
    with torch.inference_mode():
        for _ in range(options.rounds):
            began = time.perf_counter()
            model.forecast(many, times)
            seconds.append(time.perf_counter() - began)
    least = min(seconds)
    each = simulated * options.states / least
    print(f"forecast of {options.states:,} states at 65 times: {least:.2f} s")
    print(f"a state is forecast {each:,.0f} times as fast as it is simulated")


if __name__ == "__main__":
    main()
