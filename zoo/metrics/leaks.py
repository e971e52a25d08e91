"""What the oracle sees change when one code of a generator is moved, or its latent vector."""

from collections.abc import Mapping
from typing import Protocol, cast

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from zoo.metrics import disentanglement
from zoo.metrics.disentanglement.arrays import Floats
from zoo.metrics.oracle import SEED, Encoder, Oracle, grey_levels, remembered
from zoo.models.factors import Factor
from zoo.training.randomness import generator

__all__ = ["Controllable", "drawn", "leaks", "traversals", "z_spread"]

CHUNK = 100
"""Images that are drawn with one generator; a part of the protocol, so fixed."""
STEPS = 5
"""Of a factor with an order, when it is moved."""
DRAWS = 8
"""Latent vectors for the same codes."""


class Controllable(Encoder, Protocol):
    """A model that reads codes, and draws images for them."""

    def latent(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Latent vectors (n, Z), drawn on the CPU."""
        ...

    def __call__(self, z: Tensor, codes: Tensor) -> Tensor:
        """Images (n, C, H, W) in [0, 1] for latent vectors and codes (n, K)."""
        ...


@torch.no_grad()
def drawn(model: Controllable, codes: Tensor, *stream: int | str) -> Tensor:
    """Images for codes (N, K), uint8, (N, C, H, W), with latent vectors of a stream.

    Every `CHUNK` images have a generator of their own, so that the first images are the same
    whatever N is.

    Raises:
        ValueError: the model gives other than finite images in [0, 1].
    """
    device = next(cast(nn.Module, model).parameters()).device
    parts = []
    for chunk, part in enumerate(torch.split(codes, CHUNK)):
        z = model.latent(CHUNK, generator(SEED, *stream, chunk))[: len(part)]
        parts.append(grey_levels(model(z.to(device), part.to(device))))
    return torch.cat(parts)


def traversals(model: Controllable, n: int) -> list[Tensor]:
    """What the oracle reads while one factor is moved and all else stays, for each factor.

    Args:
        n: random codes and latent vectors that each is moved for.

    Returns:
        Readings (S, n, F) of each factor, in their order. A factor with an order takes S = 5 equal
        steps from 0 to 1, another one all its values.
    """
    oracle, layout = Oracle.of(model), model.layout
    base = layout.sample(n, generator(SEED, "leak codes"))
    found = []
    for factor in model.factors:
        steps = torch.eye(factor.values) if factor.categorical else _steps(factor)[:, None]
        readings = []
        for code in steps:
            codes = base.clone()
            codes[:, layout.columns(factor.name)] = code
            # One stream, so the same latent vectors for all steps.
            readings.append(oracle.read(drawn(model, codes, "leak")))
        found.append(torch.stack(readings))
    return found


def leaks(model: Controllable, n: int) -> tuple[Floats, Mapping[str, float]]:
    """The leak matrix by the oracle, and how well what it reads follows each code.

    Args:
        n: random codes and latent vectors that each factor is moved for.

    Returns:
        (F, F) as `zoo.metrics.disentanglement.leak_matrix` defines it, from the first to the last
        value; and Spearman's rank correlation over all steps and images, by the name of the factor,
        of the factors with an order.
    """
    lengths = [len(_steps(factor)) for factor in model.factors]
    flat = remembered(("leaks", n), cast(nn.Module, model), lambda: torch.cat(traversals(model, n)))
    found = torch.split(flat, lengths)
    first, last = (torch.stack([readings[end] for readings in found]) for end in (0, -1))
    ranks = {
        factor.name: _rank_correlation(_steps(factor), readings[:, :, index])
        for index, (factor, readings) in enumerate(zip(model.factors, found, strict=True))
        if not factor.categorical
    }
    return disentanglement.leak_matrix(first, last), ranks


def z_spread(model: Controllable, n: int) -> Floats:
    """How much the oracle's codes vary with the latent vector alone, (F,), for `n` random codes.

    The standard deviation over `DRAWS` latent vectors, meant over the codes.
    """
    codes = model.layout.sample(n, generator(SEED, "spread codes"))
    oracle = Oracle.of(model)
    read = [oracle.read(drawn(model, codes, "spread", draw)) for draw in range(DRAWS)]
    return disentanglement.spread(torch.stack(read, 1))


def _steps(factor: Factor) -> Tensor:
    return torch.linspace(0, 1, factor.values if factor.categorical else STEPS)


def _rank_correlation(values: Tensor, readings: Tensor) -> float:
    """Of values (S,) with readings (S, n); 0 if these are all the same."""
    if float(readings.max()) == float(readings.min()):
        return 0.0
    asked = values[:, None].expand_as(readings)
    return float(spearmanr(asked.flatten().numpy(), readings.flatten().numpy()).statistic)
