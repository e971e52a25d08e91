"""Auto-PGD: projected ascent that finds its own step length, in the L-infinity ball.

With x the image, z the projection of a plain gradient step, and P the projection onto the ball
and [0, 1]:

    z       = P(x_k + η sign(grad f(x_k)))
    x_{k+1} = P(x_k + α (z - x_k) + (1 - α) (x_k - x_{k-1})),    α = 0.75 (1 in the first step)

η begins at 2 epsilon. At the checkpoints, every image whose objective f rose in fewer than ρ = 0.75
of the steps since the last one, or whose η was kept there and whose best f has not risen since,
halves its η and goes on from the best point it has seen.

Reference:
    Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", arXiv 2003.01690, Algorithm 1 and section 4 (the DLR loss).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.metrics.threat import (
    Objective,
    Predict,
    ball,
    check_images,
    check_logits,
    check_positive,
    loss_and_gradient,
    margin,
    per_image,
    random_start,
    wrong,
)

__all__ = ["apgd", "checkpoints", "cross_entropy", "dlr"]

ALPHA = 0.75
"""Share of the new step; the rest is momentum."""

RHO = 0.75
"""Share of the steps in which the objective must rise for η to be kept."""


def apgd(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    steps: int = 100,
    loss: Literal["ce", "dlr"] = "ce",
    generator: torch.Generator | None = None,
    restarts: int = 1,
) -> Tensor:
    """Images within `epsilon` of `images` that are hard for `predict`, by Auto-PGD.

    An image is left alone as soon as it is classified wrongly, also before the first step: only
    images that still stand cost anything. Gradients are taken with respect to the images only. Put
    a model whose train and eval modes differ into eval mode first.

    Args:
        images: (N, C, H, W) in [0, 1].
        labels: int64, (N,).
        epsilon: Radius of the L-infinity ball, in units of the images' [0, 1].
        steps: Gradient steps of one run.
        loss: What is raised: "ce", the cross entropy, or "dlr", the difference of logits ratio,
            whose gradient does not vanish where a model is very sure. "dlr" needs three classes.
        generator: Source of the random starts.
        restarts: Runs from a random start each, for images that none has broken yet.

    Returns:
        Images (N, C, H, W), detached, within `epsilon` of `images` and in [0, 1]. Of each, one
        that is classified wrongly if any was found, else the one with the largest loss seen.

    Raises:
        ValueError: `epsilon`, `steps` or `restarts` not positive; no images, or images outside
            [0, 1]; an unknown loss, or too few classes for it; a `predict` that returns
            probabilities or anything that is not finite, or gives no gradient.
    """
    check_images(images, labels)
    check_positive(epsilon=epsilon, steps=steps, restarts=restarts)
    objective = _objective(loss)
    hard = images.detach().clone()
    with torch.no_grad():
        logits = predict(hard)
        check_logits(logits, labels)
        best = objective(logits, labels)
    standing = ~wrong(logits, labels)
    for _ in range(restarts):
        index = standing.nonzero().squeeze(1)
        if len(index) == 0:
            break
        clean, own = images.detach()[index], labels[index]
        start = random_start(clean, epsilon, generator)
        found, reached, broken = _run(predict, objective, clean, own, start, epsilon, steps)
        better = broken | (reached > best[index])
        hard[index[better]] = found[better]
        best[index[better]] = reached[better]
        standing[index] = ~broken
    return hard


def checkpoints(steps: int) -> tuple[int, ...]:
    """The numbers of steps after which η is looked at, from 0 on.

        w_j = ceil(p_j steps),  p_0 = 0,  p_1 = 0.22,
        p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)

    for p_j < 1. The shares are counted in whole hundredths, so that no rounding moves a checkpoint.
    Where steps are few, several w_j fall together.
    """
    shares = [0, 22]
    while (share := shares[-1] + max(shares[-1] - shares[-2] - 3, 6)) < 100:
        shares.append(share)
    return tuple(sorted({-(-share * steps // 100) for share in shares}))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)_label, (N,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """The difference of logits ratio, (N,): (max_{j != label} z_j - z_label) / (z_π1 - z_π3).

    π sorts the logits z from the largest down. Positive where the prediction is wrong; unchanged
    by z -> a z + b with a > 0, so that no scaling of the logits can hide its gradient.

    Raises:
        ValueError: there are fewer than three classes.
    """
    classes = logits.shape[1]
    if classes < 3:
        raise ValueError(
            f"the DLR loss needs at least three classes, found {classes}: use the loss 'ce'"
        )
    first, _, third = logits.topk(3, dim=1).values.unbind(1)
    return margin(logits, labels) / (first - third).clamp(min=1e-12)


LOSSES: Mapping[str, Objective] = {"ce": cross_entropy, "dlr": dlr}


def _objective(loss: str) -> Objective:
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, found {loss!r}")
    return LOSSES[loss]


@dataclass
class _Climb:
    """Where the images are that still stand; the first axis of every field is theirs."""

    index: Tensor
    """Place in the batch that the run began with."""
    labels: Tensor
    low: Tensor
    high: Tensor
    eta: Tensor
    previous: Tensor
    current: Tensor
    loss: Tensor
    gradient: Tensor
    best: Tensor
    best_loss: Tensor
    best_gradient: Tensor
    rises: Tensor
    """Steps since the last checkpoint in which the loss rose."""
    halved: Tensor
    """Whether η was halved at the last checkpoint."""
    best_loss_then: Tensor
    """`best_loss` at the last checkpoint."""

    def keep(self, mask: Tensor) -> None:
        """Drop the images that are not in `mask`."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[mask])

    def advance(self, alpha: float) -> None:
        """One step with momentum; `loss` and `gradient` are then those of the point before."""
        z = self._project(self.current + per_image(self.eta) * self.gradient.sign())
        momentum = self.current - self.previous
        step = alpha * (z - self.current) + (1 - alpha) * momentum
        self.previous, self.current = self.current, self._project(self.current + step)

    def record(self, loss: Tensor, gradient: Tensor) -> None:
        """Note what was found at the current point."""
        self.rises += loss > self.loss
        self.loss, self.gradient = loss, gradient
        better = loss > self.best_loss
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best = torch.where(per_image(better), self.current, self.best)
        self.best_gradient = torch.where(per_image(better), gradient, self.best_gradient)

    def check(self, length: int) -> None:
        """At a checkpoint, `length` steps after the last: halve η and return to the best point."""
        stuck = ~self.halved & (self.best_loss == self.best_loss_then)
        self.halved = (self.rises < RHO * length) | stuck
        self.eta = torch.where(self.halved, self.eta / 2, self.eta)
        self.loss = torch.where(self.halved, self.best_loss, self.loss)
        halved = per_image(self.halved)
        self.current = torch.where(halved, self.best, self.current)
        self.gradient = torch.where(halved, self.best_gradient, self.gradient)
        self.rises = torch.zeros_like(self.rises)
        self.best_loss_then = self.best_loss

    def _project(self, images: Tensor) -> Tensor:
        return images.clamp(self.low, self.high)


def _run(
    predict: Predict,
    objective: Objective,
    images: Tensor,
    labels: Tensor,
    start: Tensor,
    epsilon: float,
    steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """One run: the hardest images (N, C, H, W), their losses (N,), and which are broken (N,)."""
    hard, reached = start.clone(), images.new_empty(len(images))
    broken = torch.zeros_like(labels, dtype=torch.bool)

    def release(logits: Tensor) -> None:
        fell = wrong(logits, climb.labels)
        if bool(fell.any()):
            out = climb.index[fell]
            hard[out], reached[out], broken[out] = climb.current[fell], climb.loss[fell], True
            climb.keep(~fell)

    logits, loss, gradient = loss_and_gradient(predict, start, labels, objective)
    climb = _begin(images, labels, epsilon, start, loss, gradient)
    release(logits)
    lengths = {end: end - begin for begin, end in pairwise(checkpoints(steps))}
    for step in range(1, steps + 1):
        if len(climb.index) == 0:
            break
        climb.advance(alpha=1 if step == 1 else ALPHA)
        logits, loss, gradient = loss_and_gradient(predict, climb.current, climb.labels, objective)
        climb.record(loss, gradient)
        release(logits)
        if step in lengths:
            climb.check(lengths[step])
    hard[climb.index], reached[climb.index] = climb.best, climb.best_loss
    return hard, reached, broken


def _begin(
    images: Tensor, labels: Tensor, epsilon: float, start: Tensor, loss: Tensor, gradient: Tensor
) -> _Climb:
    low, high = ball(images, epsilon)
    return _Climb(
        index=torch.arange(len(images), device=images.device),
        labels=labels,
        low=low,
        high=high,
        eta=torch.full_like(loss, 2 * epsilon),
        previous=start,
        current=start,
        loss=loss,
        gradient=gradient,
        best=start,
        best_loss=loss,
        best_gradient=gradient,
        rises=torch.zeros_like(labels),
        # Nothing to compare the first checkpoint's η with: no image counts as stuck there.
        halved=torch.ones_like(labels, dtype=torch.bool),
        best_loss_then=loss,
    )
