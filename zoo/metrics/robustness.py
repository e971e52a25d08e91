"""How well a classifier holds up: accuracy, and attacks in the L-infinity ball.

FGSM and PGD are here; this is also the door to the two attacks with rooms of their own, `apgd`
(Auto-PGD, which finds its own steps) and `square` (random search without gradients).

All images are floating point, (N, C, H, W), in [0, 1]; `epsilon` and `step` are in the same units,
so 8 grey levels are 8/255. Labels are int64, (N,). `predict` is any callable from images to logits
(N, classes): a model, or a part of it such as `functools.partial(model, iterations=0)`, the first
pass of a feedback model.

References:
    Goodfellow et al., "Explaining and Harnessing Adversarial Examples", arXiv 1412.6572 (FGSM).
    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", arXiv 1706.06083
    (PGD).
    Croce, Hein, arXiv 2003.01690 (Auto-PGD); Andriushchenko et al., arXiv 1912.00049 (Square).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.metrics.apgd import apgd
from zoo.metrics.square import square
from zoo.metrics.threat import (
    Predict,
    ball,
    check_images,
    check_logits,
    check_pairs,
    check_positive,
    margin,
    per_image,
    random_start,
    slices,
    wrong,
)

__all__ = [
    "Predict",
    "accuracy",
    "apgd",
    "fgsm",
    "pgd",
    "random_start",
    "robust_accuracy",
    "square",
    "standard_error",
]


def accuracy(predict: Predict, images: Tensor, labels: Tensor, batch_size: int = 250) -> float:
    """The fraction of `images` whose largest logit is at the label, in [0, 1].

    Raises:
        ValueError: no images, or images and labels of different number.
    """
    check_pairs(images, labels)
    parts = slices(len(images), batch_size)
    return sum(_correct(predict, images[part], labels[part]) for part in parts) / len(images)


def standard_error(p: float, n: int) -> float:
    """sqrt(p (1 - p) / n): how far accuracy `p` on `n` images typically is from that on all."""
    return math.sqrt(p * (1 - p) / n)


def fgsm(predict: Predict, images: Tensor, labels: Tensor, *, epsilon: float) -> Tensor:
    """One full step along the sign of the gradient: clamp(x + epsilon sign(grad of CE), 0, 1)."""
    return pgd(predict, images, labels, epsilon=epsilon, step=epsilon, steps=1, start=images)


def pgd(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    generator: torch.Generator | None = None,
    restarts: int = 1,
    start: Tensor | None = None,
) -> Tensor:
    """Images within `epsilon` of `images` that are hard for `predict`, by projected ascent.

        x <- clamp(x + step sign(grad CE(predict(x), labels)), ball of radius epsilon and [0, 1])

    Gradients are taken with respect to the images only; no parameter's `.grad` is touched. Put a
    model whose train and eval modes differ into eval mode first.

    Args:
        epsilon: Radius of the L-infinity ball, in units of the images' [0, 1].
        step: Length of one step per pixel, in the same units.
        steps: Number of steps.
        generator: Source of the random starts.
        restarts: Number of random starts; of each image's results the one with the largest margin
            max_{j != label} logit_j - logit_label is returned.
        start: Images (N, C, H, W) to begin from instead of a random start, for example `images`.

    Returns:
        Images (N, C, H, W), detached, within `epsilon` of `images` and in [0, 1].

    Raises:
        ValueError: `epsilon`, `step`, `steps` or `restarts` not positive; images outside [0, 1];
            or a `predict` that returns probabilities (the cross entropy of those has vanishing
            gradients, so that the model would look robust) or anything that is not finite.
    """
    _check_attack(images, labels, epsilon, step, steps, restarts)
    if start is not None and restarts != 1:
        raise ValueError(f"restarts is {restarts}, but from a given start there is only one run")

    def attempt() -> Tensor:
        begin = random_start(images, epsilon, generator) if start is None else start
        return _ascend(predict, images, labels, begin, epsilon, step, steps)

    best = attempt()
    if restarts == 1:
        return best
    best_margin = _margin(predict, best, labels)
    for _ in range(restarts - 1):
        other = attempt()
        found = _margin(predict, other, labels)
        better = found > best_margin
        best_margin = torch.where(better, found, best_margin)
        best = torch.where(per_image(better), other, best)
    return best


def robust_accuracy(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    generator: torch.Generator | None = None,
    attacked: Predict | None = None,
    batch_size: int = 250,
) -> float:
    """The accuracy of `predict` on images that PGD has found against `attacked`.

    Args:
        attacked: What the attack sees; default `predict` itself, a white-box attack on the scored
            output. Anything else is a transfer attack and flatters a defence: never quote it alone.

    Returns:
        A fraction in [0, 1]. All random starts are drawn at once: `batch_size` does not change it.
    """
    _check_attack(images, labels, epsilon, step, steps, restarts=1)
    start = random_start(images, epsilon, generator)
    correct = 0
    for part in slices(len(images), batch_size):
        hard = pgd(
            attacked or predict,
            images[part],
            labels[part],
            epsilon=epsilon,
            step=step,
            steps=steps,
            start=start[part],
        )
        correct += _correct(predict, hard, labels[part])
    return correct / len(images)


def _ascend(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    start: Tensor,
    epsilon: float,
    step: float,
    steps: int,
) -> Tensor:
    low, high = ball(images, epsilon)
    current = start.detach().clamp(low, high)
    for index in range(steps):
        current.requires_grad_(True)
        with torch.enable_grad():
            logits = predict(current)
            if index == 0:
                check_logits(logits.detach(), labels)
            # Summed, not averaged: the same sign, and tiny gradients do not underflow.
            loss = F.cross_entropy(logits, labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, current)
        current = (current.detach() + step * gradient.sign()).clamp(low, high)
    return current


def _correct(predict: Predict, images: Tensor, labels: Tensor) -> int:
    with torch.no_grad():
        return int((~wrong(predict(images), labels)).sum())


def _margin(predict: Predict, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return margin(predict(images), labels)


def _check_attack(
    images: Tensor, labels: Tensor, epsilon: float, step: float, steps: int, restarts: int
) -> None:
    check_images(images, labels)
    check_positive(epsilon=epsilon, step=step, steps=steps, restarts=restarts)
