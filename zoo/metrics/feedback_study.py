"""What the feedback of a network does: which pass, how many iterations, and what carries a picture.

    python -m zoo.metrics.feedback_study cnnf-robust.restoring --images 1000

Prints the tables of the card's page of findings, in Markdown, measured on the first test images:

iterations  squared error that is left of a corruption after K feedbacks, and the accuracy of the
            first pass, of the K-th and of their mean, for K beyond what the network was trained for
information what the reconstruction of a clean image loses when its logits, or its latent variables,
            are those of another image: a picture reaches the reconstruction through nothing else
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from zoo.data import as_float, corrupt, load
from zoo.models.feedback import FeedbackNetwork

__all__ = ["IterationRow", "information", "iterations"]

BATCH = 100


@dataclass(frozen=True)
class IterationRow:
    """One corruption at one severity; every tuple has an entry for K = 0 (or 1) up to the most."""

    kind: str
    severity: int
    input_error: float
    """Mean squared error of the corrupted images to the clean ones, in [0, 1] units."""
    remaining: tuple[float, ...]
    """For K = 1, 2, ...: squared error of the K-th reconstruction over that of the input."""
    last: tuple[float, ...]
    """For K = 0, 1, ...: accuracy of y_K; the first is the first pass."""
    mean: tuple[float, ...]
    """For K = 0, 1, ...: accuracy of the mean of y_0 ... y_K."""


@torch.no_grad()
def iterations(
    model: FeedbackNetwork,
    images: Tensor,
    labels: Tensor,
    conditions: Iterable[tuple[str, int]],
    most: int,
    *,
    seed: int = 0,
) -> Iterator[IterationRow]:
    """One row for each (kind, severity), with 1 to `most` iterations of the feedback.

    Args:
        images: clean, (N, C, H, W) in [0, 1].
        labels: (N,).
        conditions: kinds and severities of `zoo.data.corrupt`; severity 0 is the clean images.
        most: the largest K.
    """
    for kind, severity in conditions:
        corrupted = corrupt(images, kind, severity, seed=seed) if severity else images
        input_error = float((corrupted - images).square().mean())
        errors, last, mean = torch.zeros(most), torch.zeros(most + 1), torch.zeros(most + 1)
        for begin in range(0, len(images), BATCH):
            part = slice(begin, begin + BATCH)
            trajectory = model.trajectory(corrupted[part], most)
            for k, restored in enumerate(model.renderings(corrupted[part], trajectory)):
                errors[k] += (restored - images[part]).square().mean((1, 2, 3)).sum().cpu()
            logits = torch.stack(trajectory.logits)
            count = torch.arange(1, most + 2, device=logits.device).view(-1, 1, 1)
            for correct, scores in ((last, logits), (mean, logits.cumsum(0) / count)):
                correct += (scores.argmax(2) == labels[part]).sum(1).cpu()
        n = len(images)
        remaining = tuple((errors / n / input_error).tolist()) if severity else ()
        yield IterationRow(
            kind, severity, input_error, remaining, *(tuple((c / n).tolist()) for c in (last, mean))
        )


@torch.no_grad()
def information(model: FeedbackNetwork, images: Tensor) -> dict[str, float]:
    """Mean squared error of the first reconstruction of clean images, in [0, 1] units.

    By what the feedback was given: everything from the image itself, or a part of it from the next
    image in the batch. `mean image` is the error of the one picture that is best for all.
    """
    total: dict[str, float] = {}
    for begin in range(0, len(images), BATCH):
        part = images[begin : begin + BATCH]
        trajectory = model.trajectory(part, 0)
        logits, states = trajectory.logits[0], trajectory.states
        convolutional = sum(state is not None and _is_map(state) for state in states)
        other = [_of_next_image(state) for state in states]
        given = {
            "own logits, own latents": (logits, states),
            "another's logits, own latents": (_of_next_image(logits), states),
            "own logits, another's latents": (logits, other),
            "own logits, own latents of convolutions, another's of linear layers": (
                logits,
                [*states[:convolutional], *other[convolutional:]],
            ),
            "own logits, own latents of linear layers, another's of convolutions": (
                logits,
                [*other[:convolutional], *states[convolutional:]],
            ),
        }
        for name, (start, latents) in given.items():
            error = (model.render_states(start, latents) - part).square().mean((1, 2, 3)).sum()
            total[name] = total.get(name, 0.0) + float(error) / len(images)
    total["mean image"] = float((images - images.mean(0)).square().mean())
    return total


def _of_next_image(state: Any) -> Any:
    """The same tensors with every image's part taken from the next image of the batch."""
    return tree_map(lambda t: t.roll(-1, 0) if isinstance(t, Tensor) else t, state)


def _is_map(state: Any) -> bool:
    """Whether the latent state is that of feature maps, (B, C, H, W)."""
    return any(isinstance(t, Tensor) and t.dim() == 4 for t in tree_leaves(state))


def _percent(values: Sequence[float]) -> list[str]:
    return [f"{100 * value:.1f}" for value in values]


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Print both tables of a model."""
    from zoo.factory import create

    parser = argparse.ArgumentParser(
        prog="python -m zoo.metrics.feedback_study", description="What the feedback does."
    )
    parser.add_argument("name", help="a feedback model with weights, such as cnnf-robust.restoring")
    parser.add_argument("--weights", type=Path, help="a file to use instead of the card's")
    parser.add_argument("--images", type=int, default=1000, help="first test images to use")
    parser.add_argument("--iterations", type=int, default=4, metavar="K", help="the largest K")
    parser.add_argument("--dataset", default="fashion-mnist-sample")
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: $ZOO_DATA)")
    options = parser.parse_args(argv)
    model = cast(FeedbackNetwork, create(options.name, pretrained=True, weights=options.weights))
    dataset = load(options.dataset, options.data, "test").head(options.images)
    images, labels = as_float(dataset.images), dataset.labels
    conditions = [("clean", 0)] + [
        (kind, severity) for kind in ("noise", "blur", "occlusion") for severity in range(1, 6)
    ]
    measured = track(
        iterations(model, images, labels, conditions, options.iterations),
        f"{options.name} iterations",
        len(conditions),
        console=Console(stderr=True),
        transient=True,
    )
    passes = [f"K = {k}" for k in range(options.iterations + 1)]
    rows = list(measured)
    print(f"Squared error left after K feedbacks, percent of the input's; n = {len(images):,}\n")
    head = ["images", "input error", *passes[1:]]
    print(
        _markdown(
            head,
            [
                [f"{row.kind} {row.severity}", f"{row.input_error:.4f}", *_percent(row.remaining)]
                for row in rows
                if row.severity
            ],
        )
    )
    for title, which in (("of y_K", "last"), ("of the mean of y_0 ... y_K", "mean")):
        print(f"\nAccuracy {title}, percent; K = 0 is the first pass\n")
        lines = [
            [f"{row.kind} {row.severity or ''}".strip(), *_percent(getattr(row, which))]
            for row in rows
        ]
        print(_markdown(["images", *passes], lines))
    print("\nMean squared error of the first reconstruction of clean images\n")
    print(
        _markdown(
            ["the feedback is given", "error"],
            [[name, f"{error:.4f}"] for name, error in information(model, images).items()],
        )
    )


if __name__ == "__main__":
    main()
