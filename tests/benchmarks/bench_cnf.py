"""What a continuous flow costs: a step of maximum likelihood, densities and samples, against peers.

    pip install zuko==1.6.0 torchdyn==1.0.6 torchode==1.0.1
    python tests/benchmarks/bench_cnf.py [--rounds N] [--batch N] [--hidden N,N,N]

All contestants have the same velocity field, `VelocityMLP` 2-64-64-2 with tanh (`--hidden 64,64,64`
is another), the same weights and the same batches of 8gaussians, one thread, float32, and take
their turns in one process; CPU time of that process counts, since the machine may have other things
to do. Ours differs in how the divergence is found; the textbook and the peers differentiate the
field automatically, which is the only way that they have. Tolerances are 1e-5 absolute and
relative; zuko lets the log-determinant err a hundred times as much.

Targets: a training step of ours at most 0.5 times the textbook's at as many evaluations, and faster
than that of every peer; densities and samples of 100,000 points at most 0.5 times zuko's time.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from zoo.data import densities
from zoo.models.cnf import CNF, standard_normal
from zoo.models.velocity import VelocityMLP

TOLERANCE = 1e-5
POINTS = 100_000


class Counted(nn.Module):
    """The field as one writes it down, layer by layer; it counts its evaluations."""

    def __init__(self, velocity: VelocityMLP) -> None:
        super().__init__()
        self.velocity, self.count = velocity, 0

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        self.count += 1
        field = self.velocity
        gates, shifts = field.time(t[..., None]).chunk(2, -1)
        sizes = [*field.hidden, field.dim]
        layers = zip(field.layers, gates.split(sizes, -1), shifts.split(sizes, -1), strict=True)
        for index, (layer, gate, shift) in enumerate(layers):
            x = layer(x) * torch.sigmoid(gate) + shift
            if index < len(field.hidden):
                x = torch.tanh(x)
        return x


LogProb = Callable[[Tensor], Tensor]


def divergence(v: Tensor, x: Tensor, keep: bool) -> Tensor:
    """Textbook: one product with the Jacobian for every dimension."""
    total = torch.zeros_like(x[:, 0])
    for index in range(x.shape[1]):
        (row,) = torch.autograd.grad(v[:, index].sum(), x, create_graph=keep, retain_graph=True)
        total = total + row[:, index]
    return total


def textbook(net: Counted, **options: object) -> LogProb:
    """The example of torchdiffeq: a tuple of the state and its log-density."""

    def augmented(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            x = state[0].requires_grad_(True)
            v = net(t, x)
            rate = divergence(v, x, keep)
        return (v, rate) if keep else (v.detach(), rate.detach())

    def log_prob(x: Tensor) -> Tensor:
        start = x.clone(), torch.zeros_like(x[:, 0])
        z, integral = odeint(augmented, start, torch.tensor([1.0, 0.0]), **options)
        return standard_normal(z[-1]) + integral[-1]

    return log_prob


def ours(flow: CNF, net: Counted, **options: object) -> LogProb:
    def log_prob(x: Tensor) -> Tensor:
        value = flow.log_prob(x, **options)
        net.count = flow.nfe
        return value

    return log_prob


def zuko(net: Counted) -> LogProb:
    from zuko.transforms import FreeFormJacobianTransform

    transform = FreeFormJacobianTransform(
        net, 1.0, 0.0, tuple(net.parameters()), atol=TOLERANCE, rtol=TOLERANCE
    )

    def log_prob(x: Tensor) -> Tensor:
        z, integral = transform.call_and_ladj(x)
        return standard_normal(z) + integral

    return log_prob


def torchdyn(net: Counted) -> LogProb:
    from torchdyn.numerics import odeint as solve

    def augmented(t: Tensor, state: Tensor) -> Tensor:
        with torch.enable_grad():
            # As in its CNF; time runs forwards only, so it is turned round.
            x = state[:, :-1].requires_grad_(True)
            v = net(1 - t, x)
            rate = divergence(v, x, keep=True)
        return -torch.cat([v, rate[:, None]], 1)

    def log_prob(x: Tensor) -> Tensor:
        start = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        _, states = solve(
            augmented, start, torch.tensor([0.0, 1.0]), "dopri5", atol=TOLERANCE, rtol=TOLERANCE
        )
        return standard_normal(states[-1][:, :-1]) + states[-1][:, -1]

    return log_prob


def torchode(net: Counted) -> LogProb:
    import torchode as to

    def augmented(t: Tensor, state: Tensor) -> Tensor:
        with torch.enable_grad():
            x = state[:, :-1].requires_grad_(True)
            v = net(t, x)
            rate = divergence(v, x, keep=True)
        return torch.cat([v, rate[:, None]], 1)

    term = to.ODETerm(augmented)
    step_size = to.IntegralController(atol=TOLERANCE, rtol=TOLERANCE, term=term)
    solver = to.AutoDiffAdjoint(to.Dopri5(term=term), step_size)

    def log_prob(x: Tensor) -> Tensor:
        start = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        ends = torch.tensor([1.0, 0.0]).expand(len(x), 2)
        states = solver.solve(to.InitialValueProblem(y0=start, t_eval=ends)).ys[:, -1]
        return standard_normal(states[:, :-1]) + states[:, -1]

    return log_prob


@dataclass
class Contestant:
    """One way to do the same thing, and what it took."""

    name: str
    run: Callable[[], int]
    """Does it once; returns the evaluations."""
    seconds: list[float] = field(default_factory=list)
    evaluations: int = 0

    def turn(self, keep: bool) -> None:
        begin = time.thread_time()
        self.evaluations = self.run()
        if keep:
            self.seconds.append(time.thread_time() - begin)


def trained(hidden: tuple[int, ...], steps: int) -> CNF:
    """A flow on its way: matched to 8gaussians for some steps, so that the solves are real ones."""
    torch.manual_seed(0)
    flow, target = CNF(2, hidden=hidden), densities.get("8gaussians")
    optimizer = torch.optim.Adam(flow.velocity.parameters(), 3e-3)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        x = target.sample(512, generator)
        z, t = torch.randn(512, 2, generator=generator), torch.rand(512, generator=generator)
        way = torch.lerp(z, x, t[:, None])
        loss = (flow.velocity(t, way) - (x - z)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return flow


def training_step(
    build: Callable[[CNF, Counted], LogProb], flow: CNF, batch: int
) -> Callable[[], int]:
    flow = copy.deepcopy(flow)
    net = Counted(flow.velocity)
    optimizer = torch.optim.Adam(net.parameters(), 1e-6)
    log_prob, target, step = build(flow, net), densities.get("8gaussians"), [0]

    def run() -> int:
        x = target.sample(batch, torch.Generator().manual_seed(step[0]))
        step[0] += 1
        net.count = 0
        optimizer.zero_grad()
        (-log_prob(x).mean()).backward()
        optimizer.step()
        return net.count

    return run


def evaluation(build: Callable[[CNF, Counted], LogProb], flow: CNF) -> Callable[[], int]:
    net = Counted(flow.velocity)
    log_prob = build(flow, net)
    x = densities.get("8gaussians").sample(POINTS, torch.Generator().manual_seed(0))

    @torch.no_grad()
    def run() -> int:
        net.count = 0
        log_prob(x)
        return net.count

    return run


def sampling_zuko(flow: CNF) -> Callable[[], int]:
    from zuko.transforms import FreeFormJacobianTransform

    net = Counted(flow.velocity)
    transform = FreeFormJacobianTransform(
        net, 0.0, 1.0, tuple(net.parameters()), atol=TOLERANCE, rtol=TOLERANCE
    )

    @torch.no_grad()
    def run() -> int:
        net.count = 0
        transform(torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(0)))
        return net.count

    return run


def sampling_ours(flow: CNF) -> Callable[[], int]:
    def run() -> int:
        flow.sample(POINTS, torch.Generator().manual_seed(0), rtol=TOLERANCE, atol=TOLERANCE)
        return flow.nfe

    return run


ADAPTIVE = {"method": "dopri5", "rtol": TOLERANCE, "atol": TOLERANCE}
WAYS: dict[str, Callable[[CNF, Counted], LogProb]] = {
    "torchdiffeq, textbook": lambda flow, net: textbook(net, **ADAPTIVE),
    "ours": lambda flow, net: ours(flow, net, **ADAPTIVE),
    "zuko": lambda flow, net: zuko(net),
    "torchdyn": lambda flow, net: torchdyn(net),
    "torchode": lambda flow, net: torchode(net),
}
FIXED: dict[str, Callable[[CNF, Counted], LogProb]] = {
    "torchdiffeq, textbook, rk4, 7 steps": lambda flow, net: textbook(
        net, method="rk4", options={"step_size": 1 / 7 + 1e-6}
    ),
    "ours, rk4, 7 steps": lambda flow, net: ours(flow, net, method="rk4", steps=7),
}


def compete(title: str, contestants: list[Contestant], rounds: int, reference: str) -> None:
    for turn in range(rounds + 1):
        for each in contestants:
            each.turn(keep=turn > 0)
    base = min(next(each.seconds for each in contestants if each.name == reference))
    print(f"\n{title}\n{'':38}{'min ms':>9}{'median':>9}{'NFE':>6}{'ms/NFE':>9}{'ratio':>8}")
    for each in contestants:
        best, middle = min(each.seconds) * 1e3, statistics.median(each.seconds) * 1e3
        print(
            f"{each.name:38}{best:9.1f}{middle:9.1f}{each.evaluations:6d}"
            f"{best / each.evaluations:9.2f}{best / 1e3 / base:8.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns of every contestant")
    parser.add_argument("--batch", type=int, default=512, help="points of a training step")
    parser.add_argument("--hidden", default="64,64", help="widths of the hidden layers")
    parser.add_argument("--warm-up", type=int, default=1000, help="steps of flow matching first")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    hidden = tuple(map(int, options.hidden.split(",")))
    flow = trained(hidden, options.warm_up)
    steps = [
        Contestant(name, training_step(build, flow, options.batch))
        for name, build in {**WAYS, **FIXED}.items()
    ]
    compete(
        f"A training step, batch {options.batch}", steps, options.rounds, "torchdiffeq, textbook"
    )
    few = max(2, options.rounds // 5)
    density = [Contestant(name, evaluation(WAYS[name], flow)) for name in list(WAYS)[:3]]
    compete(f"log_prob of {POINTS:,} points", density, few, "zuko")
    samples = [
        Contestant("zuko", sampling_zuko(flow)),
        Contestant("ours", sampling_ours(flow)),
    ]
    compete(f"{POINTS:,} samples", samples, few, "zuko")


if __name__ == "__main__":
    main()
