"""Which images have labels, which have none, and which choose the model.

The validation images are drawn first, whatever the number of labels. Then one balanced order of the
others is drawn, and the labelled images are its beginning: those of a smaller number of labels are
among those of a larger one.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from zoo.training.randomness import generator
from zoo.training.settings import SettingsError

__all__ = ["Split", "balanced_order", "split"]


class Split(NamedTuple):
    """Indices, int64, into one set of images."""

    labelled: Tensor
    """Images whose labels are known, in the order drawn."""
    unlabelled: Tensor
    """All images that are not held out, the labelled ones among them, in ascending order."""
    validation: Tensor
    """Held out: they and their labels choose the model, and nothing is trained on them."""


def split(
    labels: Tensor,
    count: int | None,
    *,
    validation: int,
    seed: int,
    classes: int | None = None,
) -> Split:
    """Draw a split of N images.

    Validation and labelled images are balanced: every class has the same number of them, or one
    more where the number is no multiple of the classes, unless a class has no more images.

    Args:
        labels: int64, (N,), each 0 ... classes - 1.
        count: number of labelled images; None: all that are not held out.
        validation: number of images held out.
        seed: of the draw; other streams of the same seed are unrelated.
        classes: number of classes; default: one more than the largest label.

    Raises:
        ValueError: if the labels are of another shape or type, or out of range.
        SettingsError: if there are not so many images.
    """
    _check(labels, classes)
    n = len(labels)
    left = n - validation
    if validation < 0 or left < 1:
        raise SettingsError(
            f"validation: expected 0 ... {n - 1} of {n} images held out, found {validation}"
        )
    count = left if count is None else count
    if not 1 <= count <= left:
        raise SettingsError(
            f"labels: expected 1 ... {left}, which is {n} images less {validation} for "
            f"validation, found {count}; ask for fewer, or for none, which means all"
        )
    order = balanced_order(labels, generator(seed, "validation"))
    # In ascending order, or the place of an image would tell its class.
    rest = order[validation:].sort().values
    labelled = rest[balanced_order(labels[rest], generator(seed, "labelled"))]
    return Split(labelled[:count], rest, order[:validation])


def balanced_order(labels: Tensor, stream: torch.Generator) -> Tensor:
    """All images in rounds of one random image of each class, the classes of a round shuffled.

    Args:
        labels: int64, (N,).
        stream: on the CPU.

    Returns:
        A permutation of 0 ... N - 1. Classes that have no images left are missing in later rounds.
    """
    shuffled = torch.randperm(len(labels), generator=stream)
    # Sorted by class and, stably, in the shuffled order within: the rank is the round.
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    sizes = labels.bincount()
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    rounds = torch.arange(len(labels)) - starts
    shuffle = torch.randperm(len(labels), generator=stream)
    return by_class[shuffle[rounds[shuffle].argsort(stable=True)]]


def _check(labels: Tensor, classes: int | None) -> None:
    if labels.dtype != torch.int64 or labels.dim() != 1 or not len(labels):
        raise ValueError(f"labels: expected int64 (N,), found {labels.dtype} {tuple(labels.shape)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        expected = "0 or more" if classes is None else f"0 ... {classes - 1}"
        raise ValueError(f"labels: expected {expected}, found {low} ... {high}; check the data set")
