"""The battery of an audit: what of a model is scored, and the image sets that it is scored on.

A *view* is one output of a model: what `model(images)` returns ("output"); for a feedback model
also its "first pass" (the same weights without feedback); and where the output is the average of
the passes, the "last" of them. An *image set* is one image for each test image, made by an attack
on one view or on a baseline model. Every image set is scored on every view, so that what was found
against one view counts against all.

Why a feedback model needs transferred and gradient-free attacks: its masks and pool positions are
piecewise constant in the image, so that the gradient through the loop cannot see what flipping one
of them would do. An attack on the first pass, or on another model, steps over such a flip by
chance, and Square uses no gradient at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo.metrics.apgd import apgd
from zoo.metrics.robustness import fgsm, pgd
from zoo.metrics.square import square
from zoo.metrics.threat import Predict, random_start

__all__ = [
    "BASELINE",
    "FIRST",
    "LARGE",
    "LAST",
    "OUTPUT",
    "AuditSettings",
    "ImageSet",
    "battery",
    "curve_name",
    "in_bfloat16",
    "pgd_step",
    "views",
]

OUTPUT, FIRST, LAST, BASELINE = "output", "first pass", "last", "baseline"
"""The views of a model, and what else can be attacked."""

LARGE = 0.5
"""A radius within which every image can be made uniform grey: nothing can be right about it."""

Craft = Callable[..., Tensor]
"""An attack: what it sees, images (N, C, H, W), labels (N,), `generator=` -> images."""


@dataclass(frozen=True)
class AuditSettings:
    """What an audit does besides the radius.

    Args:
        steps: Gradient steps of APGD.
        queries: Queries of Square for each image that the other attacks left standing.
        pgd_steps: Gradient steps of PGD.
        small: Number of images, from the first on, of the expensive checks and of the curve.
        seed: All random draws are a function of it, the name of the attack and the batch's number.
        batch_size: Images that are attacked together.
        gradient_bits: 32, or 16 to let the attacks see the model in bfloat16, about twice as fast
            on a CPU that has it. What counts is always decided by the model as it is, so that 16
            can only be too mild: APGD stops at images that are wrong in bfloat16 alone.
        other_steps: Further numbers of PGD steps, to check that more of them never help the model.
        curve_steps: PGD steps of the curve.
        curve: Radii of the curve, in units of the audit's own; increasing.
    """

    steps: int = 100
    queries: int = 1000
    pgd_steps: int = 40
    small: int = 200
    seed: int = 0
    batch_size: int = 64
    gradient_bits: int = 32
    other_steps: tuple[int, ...] = (7, 100)
    curve_steps: int = 20
    curve: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)

    def __post_init__(self) -> None:
        for name in ("steps", "queries", "pgd_steps", "small", "batch_size", "curve_steps"):
            _check_count(name, getattr(self, name))
        for steps in self.other_steps:
            _check_count("other_steps", steps)
        if self.gradient_bits not in (16, 32):
            raise ValueError(f"gradient_bits must be 16 or 32, found {self.gradient_bits}")
        if min(self.curve, default=-1) < 0 or any(b <= a for a, b in pairwise(self.curve)):
            raise ValueError(f"curve must increase from 0 or more, found {self.curve}")


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, found {value}")


@dataclass(frozen=True)
class ImageSet:
    """Images made in one way, one for each test image.

    Args:
        name: As in files and in the metrics of cards.
        title: For people.
        target: The view that is attacked, or `BASELINE`; None where nothing is.
        craft: The attack; None for the images as they are.
        epsilon: Radius of the L-infinity ball.
        cost: Gradient steps or queries, for the progress only.
        scope: "all" images; the "survivors" of all other sets; or a "small" number of them, scored
            on the output alone, for checks and the curve.
    """

    name: str
    title: str
    target: str | None
    craft: Craft | None
    epsilon: float
    cost: int = 1
    scope: Literal["all", "survivors", "small"] = "all"


def views(model: nn.Module) -> dict[str, Predict]:
    """What of `model` is scored, by name; the output comes first."""
    found: dict[str, Predict] = {OUTPUT: model}
    if getattr(model, "iterations", 0):
        found[FIRST] = partial(model, iterations=0)
        if getattr(model, "prediction", None) == "average":
            found[LAST] = partial(_last, model)
    return found


def _last(model: Any, images: Tensor) -> Tensor:
    logits: Tensor = model.trajectory(images).logits[-1]
    return logits


def battery(
    targets: Mapping[str, Predict], settings: AuditSettings, epsilon: float
) -> tuple[ImageSet, ...]:
    """The image sets in the order in which they are made.

    Args:
        targets: The model's views, and `BASELINE` if there is one.
    """
    sets = [
        ImageSet("clean", "none (clean)", None, None, epsilon),
        ImageSet("noise", "uniform noise", None, partial(_noise, epsilon=epsilon), epsilon),
        ImageSet("fgsm", "FGSM", OUTPUT, partial(_fgsm, epsilon=epsilon), epsilon),
        _pgd_set(settings, epsilon, OUTPUT),
    ]
    sets += [_pgd_set(settings, epsilon, t) for t in (FIRST, LAST, BASELINE) if t in targets]
    sets += [
        _apgd_set(settings, epsilon, OUTPUT, "ce"),
        _apgd_set(settings, epsilon, OUTPUT, "dlr"),
    ]
    sets += [_apgd_set(settings, epsilon, t, "ce") for t in (FIRST, BASELINE) if t in targets]
    sets.append(_square_set(settings, epsilon))
    return (*sets, *_small_sets(settings, epsilon))


def in_bfloat16(predict: Predict) -> Predict:
    """`predict` with convolutions and activations in bfloat16, and float32 logits."""

    def rough(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return predict(images).float()

    return rough


def curve_name(factor: float) -> str:
    """The name of the image set of the curve's radius `factor` * epsilon."""
    return "clean" if factor == 0 else f"curve-{factor:g}"


def pgd_step(epsilon: float, steps: int) -> float:
    """Length of one PGD step: epsilon / 10, more where `steps` are so few that they lead nowhere.

    2.5 epsilon / steps is the rule of Madry et al. (arXiv 1706.06083): any point of the ball can
    be reached from any other.
    """
    return epsilon * max(0.1, 2.5 / steps)


def _suffix(target: str) -> str:
    return "" if target == OUTPUT else f"-{target.replace(' ', '-')}"


def _words(target: str) -> str:
    if target == OUTPUT:
        return ""
    return f" on the {'last pass' if target == LAST else target}"


def _pgd_set(settings: AuditSettings, epsilon: float, target: str) -> ImageSet:
    steps = settings.pgd_steps
    name, title = f"pgd{steps}{_suffix(target)}", f"PGD-{steps}{_words(target)}"
    return ImageSet(name, title, target, _pgd(epsilon, steps), epsilon, steps)


def _apgd_set(
    settings: AuditSettings, epsilon: float, target: str, loss: Literal["ce", "dlr"]
) -> ImageSet:
    name, title = f"apgd-{loss}{_suffix(target)}", f"APGD-{loss.upper()}{_words(target)}"
    craft = partial(apgd, epsilon=epsilon, steps=settings.steps, loss=loss)
    return ImageSet(name, title, target, craft, epsilon, settings.steps)


def _square_set(settings: AuditSettings, epsilon: float) -> ImageSet:
    craft = partial(square, epsilon=epsilon, queries=settings.queries)
    title = "Square, after the others"
    return ImageSet("square", title, OUTPUT, craft, epsilon, settings.queries, "survivors")


def _small_sets(settings: AuditSettings, epsilon: float) -> list[ImageSet]:
    """What checks and the curve need besides the battery itself."""
    plans = [(f"steps-{steps}", epsilon, steps) for steps in settings.other_steps]
    plans += [(curve_name(f), f * epsilon, settings.curve_steps) for f in settings.curve if f > 0]
    plans.append(("large-epsilon", LARGE, settings.pgd_steps))
    return [
        ImageSet(
            name,
            f"PGD-{steps}, epsilon {radius:.4g}",
            OUTPUT,
            _pgd(radius, steps),
            radius,
            steps,
            "small",
        )
        for name, radius, steps in plans
    ]


def _pgd(epsilon: float, steps: int) -> Craft:
    return partial(pgd, epsilon=epsilon, step=pgd_step(epsilon, steps), steps=steps)


def _fgsm(predict: Predict, images: Tensor, labels: Tensor, *, epsilon: float, **_: Any) -> Tensor:
    return fgsm(predict, images, labels, epsilon=epsilon)


def _noise(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    return random_start(images, epsilon, generator)
