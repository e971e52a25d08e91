"""The threat that all attacks share: a ball in the L-infinity norm, inside the images' own [0, 1].

Here are the pieces that every attack needs: its random start and its projection, the losses that
it raises, and the checks that keep a wrong call from looking like a robust model.

Images are floating point, (N, C, H, W), in [0, 1]; `epsilon` is in the same units. Labels are
integers, (N,). `predict` is any callable from images to logits (N, classes).
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

__all__ = [
    "Objective",
    "Predict",
    "ball",
    "check_finite",
    "check_images",
    "check_logits",
    "check_pairs",
    "check_positive",
    "draw",
    "loss_and_gradient",
    "margin",
    "per_image",
    "random_start",
    "slices",
    "wrong",
]

Predict = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [0, 1] -> logits (N, classes)."""

Objective = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, classes) and labels (N,) -> what an attack raises, (N,)."""


def ball(images: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of each pixel within `epsilon` of `images` and in [0, 1]."""
    return (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)


def draw(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform numbers in [0, 1), of the dtype and on the device of `like`.

    They are drawn on the generator's device: a CPU generator gives the same numbers everywhere.
    """
    device = like.device if generator is None else generator.device
    numbers = torch.rand(shape, generator=generator, device=device, dtype=like.dtype)
    return numbers.to(like.device)


def random_start(
    images: Tensor, epsilon: float, generator: torch.Generator | None = None
) -> Tensor:
    """Images drawn uniformly from the ball of radius `epsilon`, clamped to [0, 1].

    The draw is made on the generator's device: a CPU generator gives the same start everywhere.
    """
    return (images + epsilon * (2 * draw(images.shape, images, generator) - 1)).clamp(0, 1)


def wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the largest logit is not at the label, (N,): `accuracy` counts the others."""
    return logits.argmax(1) != labels


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{j != label} logit_j - logit_label, (N,): positive where the prediction is wrong."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -math.inf)
    return others.amax(1) - own[:, 0]


def per_image(values: Tensor) -> Tensor:
    """(N,) as (N, 1, 1, 1), to meet images."""
    return values.view(-1, 1, 1, 1)


def loss_and_gradient(
    predict: Predict, images: Tensor, labels: Tensor, objective: Objective
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (N, classes), losses (N,), and each loss's gradient in its own image; all detached.

    No parameter's `.grad` is touched.

    Raises:
        ValueError: the logits do not depend on the images through autograd, or they or the
            gradient are not finite.
    """
    images = images.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = predict(images)
        if not logits.requires_grad:
            raise ValueError(
                "predict gives no gradient with respect to the images (does it run under no_grad, "
                "or detach?); attack it as it is with `square`, which needs none"
            )
        losses = objective(logits, labels)
        # Summed, not averaged: gradients of other images are zero, and tiny ones do not underflow.
        (gradient,) = torch.autograd.grad(losses.sum(), images)
    check_finite(logits, "logits")
    check_finite(gradient, "gradients")
    return logits.detach(), losses.detach(), gradient


def slices(n: int, batch_size: int) -> Iterator[slice]:
    """0 ... n in parts of `batch_size`, the last one perhaps shorter."""
    return (slice(begin, begin + batch_size) for begin in range(0, n, batch_size))


def check_pairs(images: Tensor, labels: Tensor) -> None:
    """Refuse no images, and labels that do not fit the images."""
    if len(images) == 0:
        raise ValueError("expected at least one image, found none")
    if len(images) != len(labels):
        raise ValueError(
            f"expected as many labels as images, found {len(labels)} and {len(images)}"
        )


def check_positive(**numbers: float) -> None:
    """Refuse any number, by its name, that is not positive and finite."""
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, found {value}")


def check_images(images: Tensor, labels: Tensor) -> None:
    """Refuse what is not a batch of images in [0, 1] with their labels."""
    check_pairs(images, labels)
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (N, C, H, W), found {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point in [0, 1], found {images.dtype}")
    low, high = (float(bound) for bound in images.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must lie in [0, 1], found values from {low:.4g} to {high:.4g}")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, found {labels.dtype}")


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Refuse what cannot be logits of one image for each of `labels`; probabilities above all.

    The cross entropy of probabilities has vanishing gradients, so that a model that returns them
    looks robust.
    """
    n = len(labels)
    if logits.ndim != 2 or len(logits) != n:
        raise ValueError(
            f"predict must return logits of shape ({n}, classes), found {tuple(logits.shape)}"
        )
    low, high = (int(bound) for bound in labels.aminmax())
    if not (low >= 0 and high < logits.shape[1]):
        raise ValueError(
            f"labels must lie in 0 ... {logits.shape[1] - 1}, the classes of predict, "
            f"found values from {low} to {high}"
        )
    check_finite(logits, "logits")
    sums = logits.sum(1)
    if bool((logits >= 0).all()) and bool(
        torch.isclose(sums, torch.ones_like(sums), atol=1e-3).all()
    ):
        raise ValueError(
            "predict returned probabilities (rows that are not negative and sum to 1); "
            "the attack needs logits: leave out the softmax"
        )


def check_finite(values: Tensor, what: str) -> None:
    """Refuse NaN and infinity in what `predict` gave."""
    if not bool(values.isfinite().all()):
        raise ValueError(f"expected finite {what} of predict, found NaN or infinity")
