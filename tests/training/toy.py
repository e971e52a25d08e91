"""The recipe of the package's docstring, as a script and as settings to try things on."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from zoo import training

ROOT = Path(training.__file__).parents[2]


@dataclass(frozen=True)
class Toy(training.Settings):
    """One setting of every type."""

    steps: int = training.option(12, "steps, 100 % of them")
    rate: float = training.option(0.1, "step size")
    clip: float | None = training.option(1.0, "largest norm, or none")
    fast: bool = training.option(False, "cut corners")
    order: Literal["first", "second"] = training.option("first", "order of the method")
    widths: tuple[int, ...] = training.option((8, 4), "sizes of the layers")
    span: tuple[float, float] = training.option((0.0, 1.0), "from, to")
    label: str = training.option("plain", "a name", choices=("plain", "a b", "none"))


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 3},
    "large": {"widths": (64, 64), "clip": None, "fast": True},
}


def network(dropout: float = 0.5) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 2))


def open_run(folder: Path, config: Toy | None = None, *, resume: bool = False) -> training.Run:
    return training.Run(
        folder,
        config or Toy(threads=1),
        name="toy",
        source=Path(__file__),
        command="python toy.py",
        resume=resume,
    )


def fit(run: training.Run, stop_at: int | None = None, *, every_steps: int | None = None) -> bytes:
    """Train a network with dropout; stop, as if killed, in the middle of a step if told so."""
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    state = {"model": model, "optimizer": optimizer}
    for step in run.steps(12, state, every_steps=every_steps):
        loss = model(torch.randn(16, 4, generator=run.generator("x", step))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if step == stop_at:
            raise KeyboardInterrupt
        optimizer.step()
        run.log(loss=loss, step=step)
    return training.save_weights(run, model).read_bytes()


def example() -> str:
    """The recipe in the docstring of `zoo.training`."""
    text = training.__doc__ or ""
    start, end = text.index('    """Fit'), text.index("A recipe whose model has a card")
    return textwrap.dedent(text[start:end])


def write_example(folder: Path) -> Path:
    path = folder / "sine.py"
    path.write_text(example(), encoding="utf-8")
    return path


def killer(calls: int, every_steps: int) -> str:
    """Code for `python -c CODE RECIPE ...`: the recipe, killed by SIGKILL in step `calls`.

    Until then it writes a checkpoint every so many steps.
    """
    return f"""
import os, runpy, signal, sys
from zoo import training

log, calls = training.Run.log, []

def killed(run, **metrics):
    calls.append(log(run, **metrics))
    if len(calls) == {calls}:
        os.kill(os.getpid(), signal.SIGKILL)

def steps(run, total, state, **options):
    yield from original(run, total, state, every_steps={every_steps})

original, training.Run.steps, training.Run.log = training.Run.steps, steps, killed
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_here(script: Path, *argv: str) -> None:
    """Run the example in this process: starting another one takes seconds."""
    recipe = runpy.run_path(str(script))
    train, config, presets = recipe["train"], recipe["Config"], recipe["PRESETS"]
    training.main(train, config, presets=presets, name="sine", argv=argv)


def launch(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python *arguments` with the package on its path and one thread."""
    command = [sys.executable, *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        # The children as well, which would outlive their parent and the tests.
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def launch_two(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python *arguments` in two processes, as `torchrun --nproc-per-node 2` does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = f"--master-port={probe.getsockname()[1]}"
    local = ("--nproc-per-node=2", "--master-addr=127.0.0.1", port)
    return launch("-m", "torch.distributed.run", *local, *arguments)
