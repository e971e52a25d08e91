"""What the demo shows: corrupted images, what the feedback renders, and what both networks say."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from zoo import data
from zoo.data.images import ImageDataset
from zoo.metrics.robustness import standard_error

__all__ = [
    "ITERATIONS",
    "KINDS",
    "SEVERITIES",
    "Network",
    "Scene",
    "Score",
    "choose",
    "in_percent",
    "scenes",
    "scores",
]

KINDS = ("noise", "blur", "occlusion")
SEVERITIES = (1, 2, 3)
ITERATIONS = (1, 2, 3)
BATCH = 250


class Network(Protocol):
    """A feedback classifier; its plain twin is one that is called without the loop."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        ...

    def reconstruct(self, images: Tensor, iterations: int) -> Tensor:
        """The image that the feedback pass `iterations` renders, (N, C, H, W) in [0, 1]."""
        ...


@dataclass(frozen=True)
class Scene:
    """One corruption of the images on show. Images are (N, C, H, W), predictions (N,).

    Args:
        reconstructions: One tensor per entry of `ITERATIONS`.
        cnn: Prediction of the plain network.
        cnnf: Prediction of the feedback network.
    """

    kind: str
    severity: int
    clean: Tensor
    corrupted: Tensor
    reconstructions: tuple[Tensor, ...]
    labels: Tensor
    cnn: Tensor
    cnnf: Tensor

    @property
    def name(self) -> str:
        """Such as `noise-1`; also the name of its sheet."""
        return f"{self.kind}-{self.severity}"

    @property
    def strength(self) -> str:
        """How strong the corruption is, in words."""
        corruption = data.CORRUPTIONS[self.kind]
        return f"{corruption.unit}: {corruption.strengths[self.severity - 1]:g}"

    @property
    def errors(self) -> tuple[float, ...]:
        """Mean squared error to the clean images: of the corrupted ones, of each reconstruction."""
        return tuple(
            float((images - self.clean).square().mean())
            for images in (self.corrupted, *self.reconstructions)
        )


@dataclass(frozen=True)
class Score:
    """Accuracy of both networks on `n` images under one condition, with standard errors."""

    condition: str
    n: int
    cnn: float
    cnnf: float
    difference_error: float
    """Standard error of cnnf - cnn, from the same images, and so smaller than if they differed."""

    @property
    def difference(self) -> str:
        """CNN-F minus plain CNN, in points, with its standard error."""
        return f"{100 * (self.cnnf - self.cnn):+.1f} ± {100 * self.difference_error:.1f}"

    @property
    def verdict(self) -> str:
        """Which network is better, if the difference is at least two standard errors."""
        if abs(self.cnnf - self.cnn) < 2 * self.difference_error or self.cnnf == self.cnn:
            return "no clear difference"
        return "CNN-F is better" if self.cnnf > self.cnn else "plain CNN is better"


def in_percent(share: float, n: int) -> str:
    """An accuracy on `n` images in percent, with its standard error."""
    return f"{100 * share:.1f} ± {100 * standard_error(share, n):.1f}"


def choose(sample: ImageDataset, count: int, seed: int) -> list[int]:
    """Indices of `count` images drawn at random, every class once before one comes again."""
    order = torch.randperm(len(sample), generator=torch.Generator().manual_seed(seed)).tolist()
    seen = [0] * len(sample.classes)
    ranked = []
    for position, index in enumerate(order):
        label = int(sample.labels[index])
        ranked.append((seen[label], position, index))
        seen[label] += 1
    return [index for _, _, index in sorted(ranked)[:count]]


def scenes(
    cnnf: Network,
    cnn: Callable[[Tensor], Tensor],
    sample: ImageDataset,
    shown: Sequence[int],
    seed: int,
) -> Iterator[Scene]:
    """The images `shown` of the sample under each kind and severity of corruption."""
    clean = data.as_float(sample.images[list(shown)])
    labels = sample.labels[list(shown)]
    for kind in KINDS:
        for severity in SEVERITIES:
            images = data.corrupt(clean, kind, severity, seed=seed, indices=shown)
            with torch.no_grad():
                yield Scene(
                    kind,
                    severity,
                    clean,
                    images,
                    tuple(cnnf.reconstruct(images, k) for k in ITERATIONS),
                    labels,
                    cnn(images).argmax(1),
                    cnnf(images).argmax(1),
                )


def scores(
    cnnf: Network, cnn: Callable[[Tensor], Tensor], sample: ImageDataset, seed: int
) -> Iterator[Score]:
    """Accuracy on the whole sample, clean and under each kind and severity of corruption."""
    clean = data.as_float(sample.images)
    yield _score("clean", cnnf, cnn, clean, sample.labels)
    for kind in KINDS:
        for severity in SEVERITIES:
            images = data.corrupt(clean, kind, severity, seed=seed)
            yield _score(f"{kind} {severity}", cnnf, cnn, images, sample.labels)


def _score(
    condition: str, cnnf: Network, cnn: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> Score:
    plain, feedback = (_right(network, images, labels) for network in (cnn, cnnf))
    n = len(labels)
    difference = feedback - plain
    error = float(difference.var(unbiased=False).div(n).sqrt())
    return Score(condition, n, float(plain.mean()), float(feedback.mean()), error)


def _right(predict: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """1 where the prediction is right, else 0; float64, (N,)."""
    with torch.no_grad():
        begins = range(0, len(images), BATCH)
        predictions = [predict(images[begin : begin + BATCH]).argmax(1) for begin in begins]
    return (torch.cat(predictions) == labels).double()
