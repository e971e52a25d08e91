"""Square attack: random search in the L-infinity ball, with logits only and no gradient.

It begins with vertical stripes of ±epsilon. Then, query by query, a square at a random place is set
to +epsilon or -epsilon in each channel, and kept if the margin max_{j != label} z_j - z_label of
the logits z rises. The squares shrink on a fixed schedule. A model that hides its gradients hides
nothing from it, so a result much below that of APGD is a sign that something is hidden.

Reference:
    Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial
    attack via random search", arXiv 1912.00049, Algorithms 1 and 2.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from zoo.metrics.threat import (
    Predict,
    ball,
    check_finite,
    check_images,
    check_logits,
    check_positive,
    draw,
    margin,
    per_image,
    wrong,
)

__all__ = ["square", "square_side"]

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Steps of 10,000 after which the share of changed pixels halves, as in the authors' code."""


def square(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    queries: int = 5000,
    generator: torch.Generator | None = None,
    initial_share: float = 0.8,
) -> Tensor:
    """Images within `epsilon` of `images` that are hard for `predict`, by random search.

    Only forward passes are made. An image is left alone as soon as it is classified wrongly, also
    before the first query. Each image has squares of its own, and each square changes its image: a
    draw that would not is replaced by its negative.

    Args:
        images: (N, C, H, W) in [0, 1].
        labels: int64, (N,).
        epsilon: Radius of the L-infinity ball, in units of the images' [0, 1].
        queries: Perturbed images that `predict` sees of each image, the stripes among them.
        generator: Source of all random draws.
        initial_share: Share of the pixels in the first squares, in (0, 1].

    Returns:
        Images (N, C, H, W), detached, within `epsilon` of `images` and in [0, 1]. Of each, one
        that is classified wrongly if any was found, else the one with the largest margin seen.

    Raises:
        ValueError: `epsilon` or `queries` not positive; a share outside (0, 1]; no images, or
            images outside [0, 1]; a `predict` that returns probabilities or anything that is not
            finite.
    """
    check_images(images, labels)
    check_positive(epsilon=epsilon, queries=queries, initial_share=initial_share)
    if initial_share > 1:
        raise ValueError(f"initial_share must lie in (0, 1], found {initial_share}")
    height, width = images.shape[-2:]
    hard = images.detach().clone()
    with torch.no_grad():
        logits = predict(hard)
        check_logits(logits, labels)
        margins = margin(logits, labels)
        search = _begin(hard, labels, epsilon)
        search.keep(~wrong(logits, labels))
        for query in range(queries):
            if len(search.index) == 0:
                break
            if query == 0:
                proposal = _stripes(search, generator)
            else:
                side = square_side(query - 1, queries, height, width, initial_share)
                proposal = _squares(search, side, generator)
            fell = search.propose(predict, proposal)
            if bool(fell.any()):
                hard[search.index[fell]] = search.best[fell]
                search.keep(~fell)
        harder = search.best_margin > margins[search.index]
        hard[search.index[harder]] = search.best[harder]
    return hard


def square_side(step: int, steps: int, height: int, width: int, initial_share: float = 0.8) -> int:
    """Side of the square in step `step` of 0 ... `steps` - 1, in pixels.

    The share p of the pixels begins at `initial_share` and halves after the steps 10, 50, 200, 500,
    1000, 2000, 4000, 6000 and 8000 of 10,000, stretched to `steps`; the side is sqrt(p H W),
    rounded, at least 1 and at most the shorter side of the image.
    """
    share = initial_share / 2 ** bisect_left(HALVINGS, step * 10_000 // steps)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


@dataclass
class _Search:
    """The images that still stand; the first axis of every field is theirs."""

    index: Tensor
    """Place in the batch."""
    labels: Tensor
    low: Tensor
    high: Tensor
    best: Tensor
    best_margin: Tensor

    def keep(self, mask: Tensor) -> None:
        """Drop the images that are not in `mask`."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[mask])

    def propose(self, predict: Predict, images: Tensor) -> Tensor:
        """Keep each of `images` that is better than the best so far; which are broken, (N,)."""
        logits = predict(images)
        check_finite(logits, "logits")
        found, fell = margin(logits, self.labels), wrong(logits, self.labels)
        better = fell | (found > self.best_margin)
        self.best = torch.where(per_image(better), images, self.best)
        self.best_margin = torch.where(better, found, self.best_margin)
        return fell


def _begin(images: Tensor, labels: Tensor, epsilon: float) -> _Search:
    index = torch.arange(len(images), device=images.device)
    # Whatever the stripes come to, the search goes on from them.
    worst = images.new_full((len(images),), -math.inf)
    return _Search(index, labels, *ball(images, epsilon), images, worst)


def _stripes(search: _Search, generator: torch.Generator | None) -> Tensor:
    """Every column of every channel at the top or at the bottom of the ball."""
    n, channels, _, width = search.low.shape
    up = draw((n, channels, 1, width), search.low, generator) < 0.5
    return torch.where(up, search.high, search.low)


def _squares(search: _Search, side: int, generator: torch.Generator | None) -> Tensor:
    """The best images, each with a square at the top or at the bottom of the ball.

    In the paper the square adds ±2 epsilon and is projected, which comes to the same.
    """
    n, channels, height, width = search.low.shape
    numbers = draw((n, channels + 2), search.low, generator)
    rows = _span(numbers[:, 0], side, height).view(n, 1, height, 1)
    columns = _span(numbers[:, 1], side, width).view(n, 1, 1, width)
    up = (numbers[:, 2:] < 0.5).view(n, channels, 1, 1)

    def painted(up: Tensor) -> Tensor:
        return torch.where(rows & columns, torch.where(up, search.high, search.low), search.best)

    proposal = painted(up)
    idle = (proposal == search.best).flatten(1).all(1)
    return painted(up ^ per_image(idle))


def _span(number: Tensor, side: int, length: int) -> Tensor:
    """Which of `length` pixels a side covers that begins at a uniform place, (N, length).

    `number`, (N,) in [0, 1), picks the place.
    """
    places = length - side + 1
    # Rounding may turn the product of a number just below 1 into `places` itself.
    begin = (number[:, None] * places).floor().clamp(max=places - 1)
    pixel = torch.arange(length, device=number.device)
    return (begin <= pixel) & (pixel < begin + side)
