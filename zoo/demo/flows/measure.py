"""What a flow of the plane has learnt: its density, its samples, its paths, and how near it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo import registry
from zoo.data import densities
from zoo.data.densities import Density
from zoo.demo.section import DemoError
from zoo.errors import UnknownNameError
from zoo.metrics.likelihood import SEED, Estimate
from zoo.models.cnf import CNF

__all__ = [
    "CARD",
    "Detail",
    "Portrait",
    "Score",
    "given",
    "load",
    "portray",
    "pretrained",
    "score",
]

CARD = "cnf-toy"
FIXED: Mapping[str, Any] = {"method": "rk4", "steps": 7}
"""How densities are computed: 28 evaluations of the velocity."""
MARGIN = 1.1
"""By which the box of a density is stretched to be shown: flows may spread further."""
TIMES = 33
"""Points of every path."""


@dataclass(frozen=True)
class Detail:
    """How much of a flow is drawn.

    Args:
        side: Points of the grid of a density along each axis.
        samples: Points that the flow draws.
        paths: Of them whose way from the noise is kept.
    """

    side: int
    samples: int
    paths: int


@dataclass(frozen=True)
class Portrait:
    """What is drawn of a flow.

    Args:
        name: Of the density.
        box: All is shown in the square [low, high]².
        truth: p of the data at the centres of a grid's cells, (side, side), rows along y.
        model: That of the flow.
        samples: (n, 2).
        paths: From noise, t = 0, to data, t = 1, (T, n, 2).
        evaluations: Of the velocity, for every path, by dopri5 at the model's tolerance.
    """

    name: str
    box: tuple[float, float]
    truth: Tensor
    model: Tensor
    samples: Tensor
    paths: Tensor
    evaluations: int


@dataclass(frozen=True)
class Score:
    """How near a flow is to its density, in nats, over fresh points.

    Args:
        name: Of the density.
        entropy: Of the density, exact: the NLL that no model can go below.
        nll: Mean of -ln p_model.
        kl: Mean of ln p - ln p_model over the same points.
        n: How many points.
        evaluations: Of the velocity, for one log-likelihood.
    """

    name: str
    entropy: float
    nll: Estimate
    kl: Estimate
    n: int
    evaluations: int


def load(name: str) -> tuple[Density, CNF]:
    """A flow with its weights, and the density that its card says they were measured on.

    Args:
        name: As for `zoo.create`.

    Raises:
        UnknownNameError: there is no such model, or no such toy density.
        WeightsError: the weights are missing or damaged.
        DemoError: it is no flow of vectors.
    """
    from zoo.factory import create
    from zoo.weights import resolve

    model = create(name, pretrained=True)
    if not isinstance(model, CNF):
        raise DemoError(f"{name!r} is no flow of vectors but a {type(model).__name__}")
    card, tag = resolve(name)
    metrics = card.weights[str(tag)].metrics
    if not metrics:
        raise UnknownNameError(f"the card of {name!r} names no density that it was measured on")
    return densities.get(metrics[0].dataset), model


def pretrained() -> list[tuple[Density, CNF]]:
    """The flows of the card, in the order of `zoo.data.densities.NAMES`."""
    tags = registry.info(CARD).weights
    return [load(f"{CARD}.{name}") for name in densities.NAMES if name in tags]


def given(flows: Mapping[str, CNF]) -> list[tuple[Density, CNF]]:
    """Flows of the caller's, by the names of their densities."""
    return [(densities.get(name), model) for name, model in flows.items()]


@torch.no_grad()
def portray(density: Density, model: CNF, detail: Detail, seed: int) -> Portrait:
    """Draw samples along their paths, and evaluate both densities on a grid."""
    low, high = (MARGIN * end for end in density.box)
    axis = low + (high - low) * (torch.arange(detail.side) + 0.5) / detail.side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], dim=1)
    truth, found = density.log_prob(grid), model.log_prob(grid, **FIXED)
    noise = torch.randn(detail.samples, 2, generator=torch.Generator().manual_seed(seed))
    paths = model.trajectory(noise, torch.linspace(0, 1, TIMES))
    return Portrait(
        density.name,
        (low, high),
        truth.exp().float().view(detail.side, detail.side),
        found.exp().view(detail.side, detail.side),
        paths[-1],
        paths[:, : detail.paths],
        model.nfe,
    )


@torch.no_grad()
def score(density: Density, model: CNF, n: int, seed: int) -> Score:
    """Measure a flow on `n` fresh points, at least two, with the exact trace."""
    # No training draws with this seed (`zoo.metrics.likelihood`).
    x = density.sample(n, torch.Generator().manual_seed(SEED + seed))
    found, truth = model.log_prob(x, **FIXED).double(), density.log_prob(x)
    return Score(density.name, density.entropy, _mean(-found), _mean(truth - found), n, model.nfe)


def _mean(values: Tensor) -> Estimate:
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)))
