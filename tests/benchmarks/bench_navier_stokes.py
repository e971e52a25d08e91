"""What one step of the direct numerical simulation costs, per core, against peers.

    python -m venv peers && peers/bin/pip install fluidsim==26.10.0 pyfftw exponax==0.2.0
    python tests/benchmarks/bench_navier_stokes.py --peers peers/bin/python [--points 32 64 128]

All contestants go on with the Taylor-Green vortex at viscosity 0.01 in equal steps, de-alias by the
2/3 rule with the same modes, use the rotational form and a fourth-order method whose viscous part
is exact: an integrating factor (ours, fluidsim), or ETDRK4 (exponax; its state stays in Fourier
space and its step is compiled). Each has an interpreter of its own, one thread and the same core,
and they take their turns, one at a time; CPU time of the process counts, since the machine may have
other things to do, and the least of all rounds. Before the clock starts, all take the same steps,
and what their kinetic energy differs from that of ours in float64 is printed: contestants who do
not agree do not solve the same problem.

Targets: ours at most 0.8 times the best peer of the same precision at 64³, and no cliff at 128³.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

VISCOSITY = 0.01
STEP = 0.005
COMMON = 10
"""Steps that all take before the clock starts."""
TURN = 0.3
"""About how many seconds a turn of a contestant takes."""


@dataclass(frozen=True)
class Solver:
    """A contestant inside its own interpreter."""

    advance: Callable[[int], None]
    """Takes so many steps, and has finished them when it returns."""
    energy: Callable[[], float]


def vortex(points: int) -> Any:
    """The Taylor-Green vortex on the grid, (3, N, N, N), float64."""
    import numpy as np

    x, y, z = np.meshgrid(*[np.arange(points) * 2 * np.pi / points] * 3, indexing="ij")
    return np.stack([np.sin(x) * np.cos(y) * np.cos(z), -np.cos(x) * np.sin(y) * np.cos(z), 0 * x])


def mean_energy(velocity: Any) -> float:
    """Half the mean square of a velocity on the grid."""
    import numpy as np

    return float(0.5 * (np.asarray(velocity, dtype=np.float64) ** 2).sum(0).mean())


def ours(points: int, precision: str) -> Solver:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import torch

    from zoo.simulations.navier_stokes import NavierStokes

    torch.set_num_threads(1)
    flow = NavierStokes(points=points, viscosity=VISCOSITY, dtype=getattr(torch, precision))
    state = [flow.taylor_green()]

    def advance(steps: int) -> None:
        for _ in range(steps):
            state[0] = flow.step(state[0], STEP)

    return Solver(advance, lambda: mean_energy(flow.physical(state[0])[0]))


def fluidsim(points: int, precision: str) -> Solver:
    del precision  # it knows float64 only
    # It asks for these when it is imported.
    os.environ["FLUIDSIM_PATH"] = tempfile.mkdtemp()
    import numpy as np
    from fluidsim.solvers.ns3d.solver import Simul

    params = Simul.create_default_params()
    params.oper.nx = params.oper.ny = params.oper.nz = points
    params.oper.Lx = params.oper.Ly = params.oper.Lz = 2 * np.pi
    params.oper.coef_dealiasing = 2 / 3
    params.oper.type_fft = "fft3d.with_pyfftw"
    params.nu_2 = VISCOSITY
    params.time_stepping.type_time_scheme = "RK4"
    params.time_stepping.USE_CFL = False
    params.time_stepping.deltat0 = STEP
    params.init_fields.type = "in_script"
    params.output.HAS_TO_SAVE = False
    simulation = Simul(params)
    # Its first axis is z.
    u, v, w = np.ascontiguousarray(vortex(points).transpose(0, 3, 2, 1))
    simulation.state.init_statephys_from(vx=u, vy=v, vz=w)
    simulation.state.statespect_from_statephys()
    simulation.oper.dealiasing(simulation.state.state_spect)
    simulation.state.statephys_from_statespect()

    def advance(steps: int) -> None:
        for _ in range(steps):
            simulation.time_stepping.one_time_step_computation()

    return Solver(advance, lambda: mean_energy(simulation.state.state_phys))


def exponax(points: int, precision: str) -> Solver:
    # Read when jax is imported; the one core of `sched_setaffinity` limits what this does not.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import exponax as package
    import jax
    import numpy as np

    jax.config.update("jax_enable_x64", precision == "float64")
    stepper = package.stepper.NavierStokesVelocity(
        3, 2 * np.pi, points, STEP, diffusivity=VISCOSITY, order=4
    )
    step = jax.jit(lambda u: stepper.step_fourier(u))
    start = jax.numpy.asarray(vortex(points).astype(precision))
    state = [package.fft(start, num_spatial_dims=3)]

    def advance(steps: int) -> None:
        for _ in range(steps):
            state[0] = step(state[0])
        state[0].block_until_ready()

    return Solver(advance, lambda: mean_energy(package.ifft(state[0], num_spatial_dims=3)))


BUILDERS: dict[str, Callable[[int, str], Solver]] = {
    "ours": ours,
    "fluidsim": fluidsim,
    "exponax": exponax,
}
CONTESTANTS = [
    ("ours", "float32"),
    ("exponax", "float32"),
    ("ours", "float64"),
    ("fluidsim", "float64"),
    ("exponax", "float64"),
]


def work(name: str, precision: str, points: int) -> None:
    """Inside a worker: a line "steps n" or "energy" comes in, a number goes out."""
    # Peers print what they do; answers go through a copy of stdout that they do not know.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        solver = BUILDERS[name](points, precision)
    except ImportError as error:
        print(f"missing {error}", file=answers)
        return
    print("ready", file=answers)
    for line in sys.stdin:
        order, *count = line.split()
        if order == "energy":
            print(repr(solver.energy()), file=answers)
            continue
        begin = time.process_time()
        solver.advance(int(count[0]))
        print(repr(time.process_time() - begin), file=answers)


@dataclass
class Worker:
    """A contestant, seen from outside, and what it took."""

    name: str
    precision: str
    process: subprocess.Popen[str]
    steps: int = 1
    """Of a turn."""
    seconds: list[float] = field(default_factory=list)
    """Per step, a value a turn."""

    def ask(self, order: str) -> str:
        """Send a line; returns the answer.

        Raises:
            RuntimeError: The worker has died.
        """
        orders, answers = self.process.stdin, self.process.stdout
        assert orders is not None and answers is not None
        if order:
            print(order, file=orders, flush=True)
        answer = answers.readline().strip()
        if not answer:
            raise RuntimeError(f"{self.name} {self.precision} has died; its last words are above")
        return answer

    def turn(self) -> float:
        """Take the steps of a turn; returns the seconds of one step."""
        return float(self.ask(f"steps {self.steps}")) / self.steps


def start(name: str, precision: str, points: int, python: str) -> Worker | None:
    """Start a contestant; None, and a line, where it is not installed."""
    command = [python, __file__, "--worker", name, "--precision", precision]
    process = subprocess.Popen(
        [*command, "--points", str(points)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    worker = Worker(name, precision, process)
    answer = worker.ask("")
    if answer == "ready":
        return worker
    print(f"({name} is left out: {answer}; see --peers)")
    process.communicate()
    return None


@contextlib.contextmanager
def workers(points: int, python: str) -> Iterator[list[Worker]]:
    """All contestants that can be had, ended afterwards."""
    found: list[Worker] = []
    try:
        for name, precision in CONTESTANTS:
            own = sys.executable if name == "ours" else python
            if worker := start(name, precision, points, own):
                found.append(worker)
        yield found
    finally:
        for worker in found:
            worker.process.communicate()


def best_peer(all_of_them: list[Worker], precision: str) -> float | None:
    """The least seconds a step of the peers of that precision."""
    peers = [w for w in all_of_them if w.precision == precision and w.name != "ours"]
    return min((min(w.seconds) for w in peers), default=None)


def compete(points: int, rounds: int, python: str, out: TextIO) -> None:
    with workers(points, python) as found:
        for worker in found:
            worker.ask(f"steps {COMMON}")
        energies = {(w.name, w.precision): float(w.ask("energy")) for w in found}
        reference = energies["ours", "float64"]
        for worker in found:
            worker.steps = max(1, round(TURN / worker.turn()))
        for _ in range(rounds):
            for worker in found:
                worker.seconds.append(worker.turn())
    title = f"{points}³, a step"
    head = f"{'min ms':>9}{'median':>9}{'/ best peer':>13}{'energy off by':>15}"
    print(f"\n{title:24}{head}", file=out, flush=True)
    for worker in found:
        least, middle = min(worker.seconds), statistics.median(worker.seconds)
        peer = best_peer(found, worker.precision)
        ratio = f"{least / peer:13.2f}" if peer else f"{'-':>13}"
        off = abs(energies[worker.name, worker.precision] / reference - 1)
        label = f"{worker.name}, {worker.precision}"
        times = f"{least * 1e3:9.2f}{middle * 1e3:9.2f}"
        print(f"{label:24}{times}{ratio}{off:15.1e}", file=out, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[32, 64, 128], help="grids")
    parser.add_argument("--rounds", type=int, default=15, help="turns of every contestant")
    parser.add_argument(
        "--peers", default=sys.executable, help="the interpreter that has the peers"
    )
    parser.add_argument("--worker", choices=BUILDERS, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float64", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if options.worker:
        work(options.worker, options.precision, options.points[0])
        return
    for points in options.points:
        compete(points, options.rounds, options.peers, sys.stdout)


if __name__ == "__main__":
    main()
