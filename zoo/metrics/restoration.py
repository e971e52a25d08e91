"""How well the feedback of a model restores corrupted images, on its own and as metrics of cards.

    found = restoration(model, images, "noise", 3)
    found.mse_input, found.mse_restored, found.ratio

    restoration-<kind>-<1..5>      squared error of the model's reconstruction of corrupted images,
                                   against the clean ones, over that of the corrupted images; below
                                   1 they are restored, at 0 they are as before
    mse-restored-<kind>-<1..5>     the first error, a mean over pixels and images
    mse-corrupted-<kind>-<1..5>    the second one, which does not depend on the model

Cards measure on the first `n` images of the split, corrupted by `zoo.data.corrupt` with seed 0, and
with as many iterations as the model has by itself. Images are in [0, 1], so errors are too.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from zoo import data
from zoo.errors import UnknownNameError
from zoo.metrics.classification import SEED, Measure, Score, on_images

__all__ = ["MEASURES", "Restoration", "Restorer", "restoration", "tolerance"]

ROUNDING = 0.01
"""Share of a value by which another machine may differ: rounding can turn signs in the feedback."""


class Restorer(Protocol):
    """A model whose feedback renders images."""

    def reconstruct(self, images: Tensor, iterations: int | None = None) -> Tensor:
        """What the feedback renders of `images`, (N, C, H, W) in [0, 1], like them."""
        ...


@dataclass(frozen=True, slots=True)
class Restoration:
    """Errors against the clean images, each a mean over pixels and images.

    Args:
        mse_input: Mean squared error of the corrupted images.
        mse_restored: Mean squared error of their reconstructions.
        ratio: `mse_restored / mse_input`; below 1 the reconstructions are nearer to what is clean.
        standard_error: Of the ratio, over the choice of images; NaN for a single one.
        n: Number of images.
    """

    mse_input: float
    mse_restored: float
    ratio: float
    standard_error: float
    n: int


def restoration(
    model: Restorer,
    images: Tensor,
    kind: str,
    severity: int,
    *,
    seed: int = 0,
    iterations: int | None = None,
    batch_size: int = 250,
) -> Restoration:
    """How far `model.reconstruct` brings corrupted images back to the clean ones.

    With a_i and b_i the mean squared errors of image i before and after, the ratio is
    R = Σ b_i / Σ a_i. Both errors belong to the same images, so the standard error is that of a
    ratio of paired means (delta method): sqrt(Σ (b_i - R a_i)² / (n (n - 1))) / mean(a).

    Args:
        images: Clean, floating point, (N, C, H, W), in [0, 1].
        kind, severity, seed: As of `zoo.data.corrupt`.
        iterations: K of the feedback; default the model's own.
        batch_size: Images that the model is given together.

    Raises:
        ValueError: as of `zoo.data.corrupt` and of the model; or the corruption changes no image,
            so that there is nothing to restore.
    """
    corrupted = data.corrupt(images, kind, severity, seed=seed)
    before = _errors(corrupted, images)
    if not bool(before.any()):
        raise ValueError(f"{kind} {severity} changes none of the {len(images)} images")
    after = _errors(_reconstructions(model, corrupted, iterations, batch_size), images)
    n = len(images)
    ratio = after.sum() / before.sum()
    residuals = (after - ratio * before).square().sum()
    error = (residuals / (n * (n - 1))).sqrt() / before.mean() if n > 1 else math.nan
    return Restoration(
        mse_input=float(before.mean()),
        mse_restored=float(after.mean()),
        ratio=float(ratio),
        standard_error=float(error),
        n=n,
    )


def tolerance(value: float, n: int) -> float:
    """How far a repeated measurement may be away."""
    return ROUNDING * abs(value)


def _reconstructions(
    model: Restorer, images: Tensor, iterations: int | None, batch_size: int
) -> Tensor:
    begins = range(0, len(images), batch_size)
    with torch.no_grad():
        parts = [model.reconstruct(images[i : i + batch_size], iterations) for i in begins]
    return torch.cat(parts)


def _errors(images: Tensor, clean: Tensor) -> Tensor:
    """Mean squared error of each image: (N,), float64, on the CPU."""
    return (images.cpu().double() - clean.cpu().double()).square().flatten(1).mean(1)


def _restored(kind: str, severity: int, number: Callable[[Restoration], float]) -> Score:
    def score(model: nn.Module, images: Tensor, labels: Tensor, dataset: str) -> float:
        return number(restoration(_restorer(model), images, kind, severity, seed=SEED))

    return score


def _corrupted(kind: str, severity: int) -> Score:
    def score(model: nn.Module, images: Tensor, labels: Tensor, dataset: str) -> float:
        corrupted = data.corrupt(images, kind, severity, seed=SEED)
        return float(_errors(corrupted, images).mean())

    return score


def _restorer(model: nn.Module) -> Restorer:
    if not callable(getattr(model, "reconstruct", None)) or getattr(model, "iterations", 1) == 0:
        raise UnknownNameError(
            f"a {type(model).__name__} without feedback restores nothing: "
            "of these metrics it has only mse-corrupted"
        )
    return cast(Restorer, model)


def _measures() -> Iterator[tuple[str, Measure]]:
    for kind, corruption in data.CORRUPTIONS.items():
        for severity in range(1, len(corruption.strengths) + 1):
            condition = f"{kind}-{severity}"
            ratio = _restored(kind, severity, lambda found: found.ratio)
            error = _restored(kind, severity, lambda found: found.mse_restored)
            yield f"restoration-{condition}", on_images(ratio)
            yield f"mse-restored-{condition}", on_images(error)
            yield f"mse-corrupted-{condition}", on_images(_corrupted(kind, severity))


MEASURES: Mapping[str, Measure] = dict(_measures())
"""Name -> function of the card's metric, the model and the data folder."""
