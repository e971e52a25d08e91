"""Lines of cards about models with factors: what they read off images, and what they draw.

Of the codes that the model reads off the first `n` scenes of the split:

    mig                      mutual information gap, 20 bins (`zoo.metrics.disentanglement.mig`)
    code-error               mean absolute error, the mean over the factors
    code-error-<factor>      of one of them
    code-accuracy            share of right values, the mean over the factors without order

Of `n` images that it draws for codes of random values. The first and the third are after Nie et
al., ICML 2020, arXiv 2003.03461, whose bins, numbers of images and norm are not known to us:

    mig-gen                  gap between codes asked for and codes that the oracle reads, 20 bins
    mig-gen-shuffled         the same for codes in random order: what chance gives
    code-error-gen           mean absolute error between the two; code-error-gen-<factor> of one
    code-accuracy-gen        share of right values of the factors without order
    frechet-oracle           Fréchet distance from `n` real scenes in the oracle's features: no FID
    frechet-oracle-of-real   of the first `n` training scenes, what a perfect generator would get

Of images for the codes of `n` scenes (`n` a multiple of 64):

    retrieval-top-1          share of them for which, of 64 true scenes, the one with the same codes
                             is the nearest in mean squared pixels; chance is 1/64

Of `n` random codes and latent vectors, each with one factor moved in five steps (or through all
values if it has no order):

    leak-mean                mean change of the oracle's other codes from the first to the last step
    leak-own-min             least change of the code that was moved, of the factors with an order
    leak-order-min           least rank correlation (Spearman) of that code with what the oracle
                             reads, over all steps and images, of the factors with an order
    z-spread                 standard deviation of the oracle's codes over 8 latent vectors for the
                             same codes, the mean over codes and factors

Everywhere a factor without order counts by one number, k / (n - 1) for its most probable value k.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data import as_float
from zoo.errors import UnknownNameError
from zoo.metrics import classification, disentanglement
from zoo.metrics.frechet import Statistics, frechet_distance
from zoo.metrics.leaks import Controllable, drawn, leaks, z_spread
from zoo.metrics.oracle import (
    SEED,
    Encoder,
    Oracle,
    encoder,
    remembered,
    scalars,
    scenes_of,
)
from zoo.models.factors import Factor
from zoo.simulations.robot_factors import FACTORS
from zoo.training.randomness import generator

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = ["FAMILIES", "accuracy_names", "error_names"]

GALLERY = 64
"""True scenes among which the right one has to be found."""
Measure = Callable[["Metric", nn.Module, Path | None], float]


def error_names(factors: tuple[Factor, ...], ending: str = "") -> list[str]:
    """The names of the lines of the errors of single factors; `ending` may be "-gen"."""
    return [f"code-error{ending}-{factor.name.replace('_', '-')}" for factor in factors]


def accuracy_names(factors: tuple[Factor, ...], ending: str = "") -> list[str]:
    """The line of the accuracy, if there are factors without order."""
    return [f"code-accuracy{ending}"] if any(each.categorical for each in factors) else []


# The lines of cards.


def _labels(model: Encoder, indices: Tensor) -> Tensor:
    return model.layout.scalars(model.layout.encode(indices))


def _read(metric: "Metric", model: nn.Module, root: Path | None) -> tuple[Encoder, Tensor, Tensor]:
    """The model, what it reads off real scenes, (N, F), and their values, (N, F)."""
    found = encoder(model, metric.metric)
    scenes = scenes_of(metric, found.image_shape[-1], root)
    return found, scalars(found, scenes.images), scenes.values(found.factors)


def _generated(
    metric: "Metric", model: nn.Module, root: Path | None
) -> tuple[Encoder, Tensor, Tensor]:
    """The model, what the oracle reads off its images, (N, F), and the values that were asked."""
    found = _controllable(metric, model)
    codes = found.layout.sample(metric.n, generator(SEED, "codes"))
    return found, Oracle.of(found).read(_samples(found, metric.n)), found.layout.decode(codes)


Reader = Callable[["Metric", nn.Module, Path | None], tuple[Encoder, Tensor, Tensor]]


def _mig(reader: Reader, metric: "Metric", model: nn.Module, root: Path | None) -> float:
    _, read, values = reader(metric, model, root)
    return disentanglement.mig(read, values)


def _mig_shuffled(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    _, read, values = _generated(metric, model, root)
    order = torch.randperm(len(values), generator=generator(SEED, "shuffle"))
    return disentanglement.mig(read, values[order])


def _errors(
    reader: Reader, metric: "Metric", model: nn.Module, root: Path | None
) -> Mapping[str, float]:
    found, read, values = reader(metric, model, root)
    errors = disentanglement.mean_absolute_error(read, _labels(found, values))
    return dict(zip([each.name for each in found.factors], errors.tolist(), strict=True))


def _error(reader: Reader, metric: "Metric", model: nn.Module, root: Path | None) -> float:
    return float(np.mean(list(_errors(reader, metric, model, root).values())))


def _error_of(
    reader: Reader, factor: str, metric: "Metric", model: nn.Module, root: Path | None
) -> float:
    errors = _errors(reader, metric, model, root)
    if factor not in errors:
        raise UnknownNameError(f"{metric.metric}: the model has the factors {', '.join(errors)}")
    return errors[factor]


def _accuracy(reader: Reader, metric: "Metric", model: nn.Module, root: Path | None) -> float:
    found, read, values = reader(metric, model, root)
    columns = [index for index, each in enumerate(found.factors) if each.categorical]
    if not columns:
        raise UnknownNameError(f"{metric.metric}: no factor of the model is without order")
    wrong = (read - _labels(found, values)).abs()[:, columns] > 1e-4
    return 1 - float(wrong.double().mean())


def _frechet(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    found = _controllable(metric, model)
    scenes = scenes_of(metric, found.image_shape[-1], root)
    return _distance(Oracle.of(found), _samples(found, metric.n), scenes.images)


def _frechet_of_real(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    found = _controllable(metric, model)
    size = found.image_shape[-1]
    seen = scenes_of(replace(metric, split="train"), size, root)
    return _distance(Oracle.of(found), seen.images, scenes_of(metric, size, root).images)


def _distance(oracle: Oracle, a: Tensor, b: Tensor) -> float:
    pair = (Statistics.of(oracle.features(images)) for images in (a, b))
    return frechet_distance(*pair)


def _retrieval(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    if metric.n % GALLERY:
        raise UnknownNameError(
            f"{metric.metric}: expected n as a multiple of {GALLERY}, found {metric.n}"
        )
    found = _controllable(metric, model)
    scenes = scenes_of(metric, found.image_shape[-1], root)
    codes = found.layout.encode(scenes.values(found.factors))
    made = drawn(found, codes, "retrieval")
    galleries = [torch.split(as_float(each).flatten(1), GALLERY) for each in (made, scenes.images)]
    pairs = zip(*galleries, strict=True)
    return float(np.mean([disentanglement.retrieval(a, b) for a, b in pairs]))


def _leak_mean(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    matrix, _ = leaks(_controllable(metric, model), metric.n)
    others = ~np.eye(len(matrix), dtype=bool)
    return float(matrix[others].mean())


def _leak_own(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    found = _controllable(metric, model)
    matrix, _ = leaks(found, metric.n)
    return float(min(matrix[i, i] for i, f in enumerate(found.factors) if not f.categorical))


def _leak_order(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    return min(leaks(_controllable(metric, model), metric.n)[1].values())


def _z_spread(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    return float(z_spread(_controllable(metric, model), metric.n).mean())


def _samples(model: Controllable, n: int) -> Tensor:
    """Images for the random codes of the lines about generation."""

    def make() -> Tensor:
        return drawn(model, model.layout.sample(n, generator(SEED, "codes")), "generation")

    return remembered(("samples", n), cast(nn.Module, model), make)


def _controllable(metric: "Metric", model: nn.Module) -> Controllable:
    found = encoder(model, metric.metric)
    if not callable(getattr(model, "latent", None)):
        raise UnknownNameError(f"a {type(model).__name__} draws no images: {metric.metric}")
    return cast(Controllable, found)


def _at(n: int, spread: float) -> float:
    """A spread over the choice of images that was found for 2,000 of them, for `n`."""
    return spread * math.sqrt(2000 / n)


READERS: Mapping[str, Reader] = {"": _read, "-gen": _generated}

FAMILIES: tuple[tuple[Mapping[str, Measure], Callable[[float, int], float]], ...] = (
    (
        {
            "mig": partial(_mig, _read),
            "mig-gen": partial(_mig, _generated),
            "mig-gen-shuffled": _mig_shuffled,
        },
        lambda value, n: _at(n, 0.01),
    ),
    (
        {
            name: measure
            for ending, reader in READERS.items()
            for name, measure in {
                f"code-error{ending}": partial(_error, reader),
                **{
                    name: partial(_error_of, reader, factor.name)
                    for name, factor in zip(error_names(FACTORS, ending), FACTORS, strict=True)
                },
            }.items()
        }
        | {"leak-mean": _leak_mean, "z-spread": _z_spread},
        lambda value, n: _at(n, 0.002),
    ),
    (
        {"leak-own-min": _leak_own, "leak-order-min": _leak_order},
        lambda value, n: _at(n, 0.005),
    ),
    (
        {
            "code-accuracy": partial(_accuracy, _read),
            "code-accuracy-gen": partial(_accuracy, _generated),
            "retrieval-top-1": _retrieval,
        },
        classification.tolerance,
    ),
    (
        {"frechet-oracle": _frechet, "frechet-oracle-of-real": _frechet_of_real},
        lambda value, n: 0.02 * value,
    ),
)
"""Tables of lines, and how far a repeated measurement may be away.

The seed is the same, so that only rounding differs; the rules allow about one standard deviation
over the choice of images.
"""
