"""Train a continuous normalising flow on a toy density of the plane, drawn anew at every step.

Two ways of training, and both after each other: conditional flow matching with the optimal
transport of each batch (`matching_steps`), and maximum likelihood through the solver
(`likelihood_steps`), with the terms of RNODE on request (`kinetic`, `jacobian`). The defaults, also
`--preset likelihood`, are FFJORD's for these densities, but for a cosine of the learning rate and a
moving average of the weights; `--preset matching` has the settings of TorchCFM's examples.

`--preset cpu` and `--preset cpu-fine` are what made the weights in the card, a few minutes of one
CPU core for each density: the second, with sines for activations, for densities with fine details.
`--preset gpu` is meant for one GPU and has not been run by us. `--smoke` shows that the path works.
All eight:

    for density in 8gaussians swissroll checkerboard circles rings moons pinwheel 2spirals; do
        preset=cpu-fine
        [[ $density == 8gaussians || $density == swissroll ]] && preset=cpu
        python recipes/cnf_toy.py --preset $preset --density $density --out runs/cnf-toy-$density
        cp runs/cnf-toy-$density/card/* model_cards/cnf-toy/
    done

The fine ones in the card have a `--fineness` of their own: the command of each tag is there.
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoo import training
from zoo.data import densities
from zoo.models.cnf import CNF
from zoo.registry import cards_folder, read_card
from zoo.training.finish import Line, finish
from zoo.training.flows.fit import fit
from zoo.training.flows.settings import FlowSettings

CARD = "cnf-toy"
LIKELIHOOD: dict[str, Any] = {}
MATCHING: dict[str, Any] = {
    "matching_steps": 20_000,
    "matching_rate": 1e-3,
    "sigma": 0.1,
    "weight_decay": 0.0,
    "likelihood_steps": 0,
    "activation": "silu",
}
CPU: dict[str, Any] = {
    "matching_steps": 500,
    "matching_rate": 1e-2,
    "likelihood_steps": 4_000,
    "batch_size": 128,
    "learning_rate": 1e-2,
    "method": "rk4",
    "solver_steps": 4,
    "further_steps": 4,
    "clip": 2.0,
    "weight_decay": 0.0,
    "threads": 1,
}
FINE: dict[str, Any] = {
    **CPU,
    "matching_steps": 0,
    "likelihood_steps": 2_000,
    "batch_size": 256,
    "hidden": (96, 96),
    "activation": "sine",
    "fineness": 8.0,
}
GPU: dict[str, Any] = {**CPU, "likelihood_steps": 20_000, "batch_size": 4_096, "threads": None}
SMOKE: dict[str, Any] = {
    "matching_steps": 4,
    "matching_batch": 16,
    "likelihood_steps": 4,
    "batch_size": 16,
    "method": "rk4",
    "solver_steps": 2,
    "hidden": (8, 8),
    "points": 64,
    "tag": "smoke",
}
PRESETS = {
    "smoke": SMOKE,
    "likelihood": LIKELIHOOD,
    "matching": MATCHING,
    "cpu": CPU,
    "cpu-fine": FINE,
    "gpu": GPU,
}

STANDARDISE = 200_000
"""Points whose mean and deviation become those of the flow."""


@dataclass(frozen=True)
class Config(FlowSettings):
    """The settings of a flow of the plane."""

    density: str = training.option(
        "8gaussians", "what to learn, also the tag of the weights", choices=densities.NAMES
    )
    points: int = training.option(100_000, "fresh points that the result is measured on")
    tag: str | None = training.option(None, "tag of the weights in the card; none: the density")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points < 2:
            raise training.SettingsError(f"points: expected at least 2, found {self.points}")


def lines(config: Config) -> list[Line]:
    """What the card will say, the headline first."""
    name, n = config.density, config.points
    side = math.isqrt(8 * n // 5)
    return [
        Line(name, n, "kl"),
        Line(name, n, "nll"),
        Line(name, n, "kl-28-evaluations"),
        Line(name, side * side, "mass"),
        Line(name, min(n, 10_000), "inversion-error"),
    ]


def train(config: Config, run: training.Run) -> None:
    density = densities.get(config.density)

    def draw(phase: str, step: int, n: int) -> Tensor:
        return density.sample(n, run.generator("data", phase, step))

    model = CNF(2, config.hidden, config.activation, config.frequencies)
    model.standardise(draw("standardise", 0, STANDARDISE))
    average = fit(model.to(run.device), draw, config, run)
    usual = read_card(cards_folder() / CARD).config
    own = config.architecture()
    changes = {name: value for name, value in own.items() if usual[name] != value}
    finish(
        run,
        average.module,
        card=CARD,
        tag=config.tag or config.density,
        lines=lines(config),
        data=config.data,
        dtype="float32",
        config=changes,
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
