"""The metrics of image classifiers that cards may name, with everything fixed that a number needs.

    accuracy                             on the first `n` images of the split, as they are
    accuracy-<kind>-<1..5>               corrupted by `zoo.data.corrupt` at that severity, seed 0
    accuracy-first-pass                  of a feedback model before any feedback: iterations = 0
    accuracy-first-pass-<kind>-<1..5>    the same, corrupted
    accuracy-pgd40                       under PGD-40 through all iterations, on the scored output
    accuracy-pgd40-first-pass            under PGD-40 made on a feedback model's first pass, scored
                                         on its output (a transfer)

PGD-40 is 40 steps of epsilon / 10 from one random start, with the epsilon that is usual for the
data set. An accuracy is a fraction in [0, 1].
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from zoo import data
from zoo.errors import DataError
from zoo.metrics.robustness import Predict, accuracy, robust_accuracy, standard_error

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = ["EPSILON", "MEASURES", "SEED", "Measure", "Score", "on_images", "tolerance"]

EPSILON: Mapping[str, float] = {
    "cifar-10": 8 / 255,
    "fashion-mnist": 0.1,
    "fashion-mnist-sample": 0.1,
}
"""Data set -> radius of the L-infinity ball of its attacks, in units of [0, 1]."""

PGD_STEPS = 40
SEED = 0
"""Of corruptions and attacks."""

Score = Callable[[nn.Module, Tensor, Tensor, str], float]
"""Function of the model, images (N, C, H, W), labels (N,) and the name of the data set."""

Measure = Callable[["Metric", nn.Module, Path | None], float]
"""Function of a card's line, the model and the data folder."""


def tolerance(value: float, n: int) -> float:
    """How far a repeated measurement may be away: one standard error, at least one image."""
    return max(standard_error(value, n), 1 / n)


def _output(model: nn.Module) -> Predict:
    return model


def _first_pass(model: nn.Module) -> Predict:
    return partial(model, iterations=0)


def _clean(view: Callable[[nn.Module], Predict]) -> Score:
    def score(model: nn.Module, images: Tensor, labels: Tensor, dataset: str) -> float:
        return accuracy(view(model), images, labels)

    return score


def _corrupted(view: Callable[[nn.Module], Predict], kind: str, severity: int) -> Score:
    def score(model: nn.Module, images: Tensor, labels: Tensor, dataset: str) -> float:
        return accuracy(view(model), data.corrupt(images, kind, severity, seed=SEED), labels)

    return score


def _pgd40(model: nn.Module, images: Tensor, labels: Tensor, dataset: str) -> float:
    return _attacked(model, model, images, labels, dataset)


def _pgd40_first_pass(model: nn.Module, images: Tensor, labels: Tensor, dataset: str) -> float:
    return _attacked(model, _first_pass(model), images, labels, dataset)


def _attacked(
    model: nn.Module, attacked: Predict, images: Tensor, labels: Tensor, dataset: str
) -> float:
    if dataset not in EPSILON:
        raise DataError(f"no attack radius is fixed for the data set {dataset!r}")
    return robust_accuracy(
        model,
        images,
        labels,
        epsilon=EPSILON[dataset],
        step=EPSILON[dataset] / 10,
        steps=PGD_STEPS,
        generator=torch.Generator().manual_seed(SEED),
        attacked=attacked,
    )


def on_images(score: Score) -> Measure:
    """A measure that scores the model on the first `n` images of the data set that a card names."""

    def measured(metric: "Metric", model: nn.Module, root: Path | None) -> float:
        head = data.load(metric.dataset, root, cast(data.Split, metric.split)).head(metric.n)
        device = next(model.parameters()).device
        images = data.as_float(head.images.to(device))
        return score(model, images, head.labels.to(device), metric.dataset)

    return measured


MEASURES: Mapping[str, Measure] = {
    name: on_images(score)
    for name, score in {
        "accuracy": _clean(_output),
        "accuracy-first-pass": _clean(_first_pass),
        **{
            f"{name}-{kind}-{severity}": _corrupted(view, kind, severity)
            for name, view in (("accuracy", _output), ("accuracy-first-pass", _first_pass))
            for kind, corruption in data.CORRUPTIONS.items()
            for severity in range(1, len(corruption.strengths) + 1)
        },
        "accuracy-pgd40": _pgd40,
        "accuracy-pgd40-first-pass": _pgd40_first_pass,
    }.items()
}
"""Name -> function of the card's metric, the model and the data folder."""
