"""What a training step of a StyleGAN costs: ours beside a public one, in turns, on one thread.

    git clone https://github.com/rosinality/stylegan2-pytorch PEER
    python tests/benchmarks/bench_style_gan.py --peer PEER [--rounds N] [--batch N] [--size 64]

The peer (MIT licence) is run from its folder, with the widths of ours at every size. A step is one
of the discriminator on as many real as generated images, one of the generator, and the moving
average of the generator; R1 comes every 16 steps: a step with it and one without are timed, and
counted 1 to 15. Both: Adam, the logistic loss, latent and style of 512 numbers, a mapping of 8
layers, the statistic of the batch, a low-pass filter at every change of size.

What differs. The peer is StyleGAN2: modulated and demodulated weights, one convolution for every
image (its own fast path for them is for GPUs), noise inputs, skips to the image, residual blocks in
the discriminator, and filters of 4 taps. Ours is StyleGAN1: instance norm, no noise, no skips,
3 taps; but its discriminator is also the encoder, and both players pay for the codes. Style mixing
and path lengths, which are the peer's only, are switched off. R1 is a step of its own there.

CPU time of the thread counts, since the machine may have other things to do. Target: ours in
float32 at least 1.2 times as many images a second as the peer in float32; without a compiler for
the epilogues, and with bfloat16, for information.
"""

from __future__ import annotations

import argparse
import copy
import random
import re
import statistics
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils import cpp_extension

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.simulations.robot_factors import FACTORS
from zoo.training.disentangled.draws import Draws
from zoo.training.disentangled.fit import Average, Players, compile_epilogues
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.run import Run

R1_EVERY = 16
LATENT, LAYERS = 512, 8
IMAGES = 256
Step = Callable[[bool], object]
"""One step of both players, with R1 or without."""


def peer_modules(folder: Path, channels: Sequence[int]) -> types.ModuleType:
    """The peer's `model.py` with other widths, nothing else changed.

    At the import it would build kernels for GPUs, which a CPU never calls.
    """
    sys.path.insert(0, str(folder))
    build = cpp_extension.load
    cpp_extension.load = lambda *_, **__: None
    source = (folder / "model.py").read_text()
    for index, width in enumerate(channels):
        side = 4 * 2**index
        source, count = re.subn(
            rf"^(\s+){side}: [^,\n]+,$", rf"\g<1>{side}: {width},", source, flags=re.MULTILINE
        )
        if count != 2:
            raise SystemExit(f"{folder}/model.py: expected two widths at {side} px, found {count}")
    module = types.ModuleType("peer")
    try:
        exec(compile(source, str(folder / "model.py"), "exec"), module.__dict__)
    finally:
        cpp_extension.load = build
    return module


def peer_step(folder: Path, size: int, channels: Sequence[int], batch: int) -> tuple[Step, int]:
    """A step as in the peer's `train.py`, and its number of weights."""
    peer = peer_modules(folder, channels)
    generator = peer.Generator(size, LATENT, LAYERS)
    critic = peer.Discriminator(size)
    average = copy.deepcopy(generator).eval()
    real_images = images(size).float() / 127.5 - 1
    # Betas and rate as there: fewer steps of Adam where a regulariser is lazy.
    ratio = R1_EVERY / (R1_EVERY + 1)
    g_adam = torch.optim.Adam(generator.parameters(), 0.002, (0.0, 0.99))
    d_adam = torch.optim.Adam(critic.parameters(), 0.002 * ratio, (0.0, 0.99**ratio))
    decay = 0.5 ** (32 / 10_000)

    def fake() -> Tensor:
        out: Tensor = generator([torch.randn(batch, LATENT)])[0]
        return out

    def step(penalty: bool) -> None:
        real = real_images[torch.randint(IMAGES, (batch,))]
        generator.requires_grad_(False)
        critic.requires_grad_(True)
        loss = F.softplus(critic(fake())).mean() + F.softplus(-critic(real)).mean()
        critic.zero_grad()
        loss.backward()
        d_adam.step()
        if penalty:
            real.requires_grad_()
            (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
            critic.zero_grad()
            (10 / 2 * R1_EVERY * slope.square().flatten(1).sum(1).mean()).backward()
            d_adam.step()
        generator.requires_grad_(True)
        critic.requires_grad_(False)
        loss = F.softplus(-critic(fake())).mean()
        generator.zero_grad()
        loss.backward()
        g_adam.step()
        pairs = zip(average.parameters(), generator.parameters(), strict=True)
        for kept, now in pairs:
            kept.data.mul_(decay).add_(now.data, alpha=1 - decay)

    return step, weights(generator) + weights(critic)


def our_step(
    stack: ExitStack, size: int, channels: Sequence[int], batch: int, **how: Any
) -> tuple[Step, int]:
    """A step of the package's own training, without labels, with all nine codes."""
    sizes = {"latent_dim": LATENT, "style_dim": LATENT, "mapping_layers": LAYERS}
    config = DisentangledSettings(
        image_size=size,
        sizes=(size,),
        batch_size=batch,
        channels=tuple(channels),
        r1_every=R1_EVERY,
        threads=1,
        device="cpu",
        **sizes,
        **how,
    )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    run = Run(folder / "run", config, name="benchmark", source=Path(__file__), command="")
    stack.enter_context(run)
    model = DisentangledStyleGAN(FACTORS, size, channels=channels, **sizes).train()
    codes = model.layout.sample(IMAGES, torch.Generator().manual_seed(0))
    draws = Draws(model, images(size), codes, torch.zeros(0, dtype=torch.int64), config, run)
    players, average = Players(model, draws, config, run), Average(model, config.ema_images)
    if config.compile:
        compile_epilogues(model)
    done = [0]

    def step(penalty: bool) -> None:
        done[0] += 1
        number = R1_EVERY * done[0] + (0 if penalty else 1)
        players.update(number)
        average.update_at((number + 1) * batch, batch, model)

    return step, weights(model)


def images(size: int) -> Tensor:
    """As good as real ones to a clock, uint8."""
    shape = (IMAGES, 3, size, size)
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).byte()


def weights(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


@dataclass
class Contestant:
    """A way to train, and the seconds that its two kinds of steps took."""

    name: str
    step: Step
    weights: int
    seconds: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})

    def turn(self, keep: bool) -> None:
        for penalty in (True, False):
            begun = time.thread_time()
            self.step(penalty)
            if keep:
                self.seconds[penalty].append(time.thread_time() - begun)

    def each(self, pick: Callable[[list[float]], float]) -> float:
        """Seconds of the average step."""
        with_r1, without = pick(self.seconds[True]), pick(self.seconds[False])
        return (with_r1 + (R1_EVERY - 1) * without) / R1_EVERY


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="folder of the peer's code")
    parser.add_argument("--size", type=int, default=64, help="side of the images (%(default)s)")
    parser.add_argument("--channels", default="128,128,96,64,32", help="at 4, 8, ... pixels")
    parser.add_argument("--batch", type=int, default=16, help="images of a step (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    random.seed(0)
    channels = tuple(map(int, options.channels.split(",")))
    with ExitStack() as stack:
        peer = peer_step(options.peer.resolve(), options.size, channels, options.batch)
        contestants = [Contestant("rosinality/stylegan2-pytorch, float32", *peer)]
        ways: dict[str, dict[str, Any]] = {
            "ours, float32, no compiler": {},
            "ours, float32": {"compile": True},
            "ours, bfloat16": {"compile": True, "precision": "bfloat16"},
        }
        for name, how in ways.items():
            made = our_step(stack, options.size, channels, options.batch, **how)
            contestants.append(Contestant(name, *made))
        for turn in range(options.rounds + 1):
            for each in contestants:
                each.turn(keep=turn > 0)
    show(contestants, options.batch)


def show(contestants: Sequence[Contestant], batch: int) -> None:
    """Images a second, by the least and by the median of the rounds; the first is the measure."""
    base = contestants[0]
    print(f"{'':40}{'weights':>12}{'images/s':>10}{'median':>9}{'ratio':>8}{'median':>9}")
    for each in contestants:
        best, middle = (batch / each.each(pick) for pick in (min, statistics.median))
        ratios = best / (batch / base.each(min)), middle / (batch / base.each(statistics.median))
        print(
            f"{each.name:40}{each.weights:12,}{best:10.1f}{middle:9.1f}"
            f"{ratios[0]:8.2f}{ratios[1]:9.2f}"
        )


if __name__ == "__main__":
    main()
