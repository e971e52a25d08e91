"""How likely images are under a flow, and whether it tells other images from its own.

    bits-per-dimension                   mean over the first `n` images of the split
    bits-per-dimension-standard-error    of that mean, over the choice of images
    bits-per-dimension-of-histogram      the same images under independent pixels, each with its
                                         histogram in the training images
    bits-per-dimension-of-gaussian       under a Gaussian with full covariance, fitted to the logits
                                         of the dequantised training images; the model gives the
                                         transform only
    auroc-<set>-<score>                  probability that an image of the set has a higher score
                                         than one of the first `n` images of the split

Sets, `n` images each: `mnist`, the first test images; `upside-down` and `negative`, the split's own
first images, turned or inverted; `constant`, images of one random grey level; `noise`, independent
uniform grey levels. Scores are high for what the flow finds strange:

    likelihood    -log p(y)
    typicality    |log p(y) - mean|            with log p of likely images in mind: a set may be
    norm          ||z(0)|² - mean|             strange because it is too likely
    energy        |∫|v|²dt - mean|
    together      Mahalanobis distance of log p, |z(0)|², ∫|v|²dt and ∫tr ∂v/∂z dt

with means and covariance of the *next* `n` images of the split. Nalisnick et al., "Do Deep
Generative Models Know What They Don't Know?", ICLR 2019, arXiv 1810.09136, found the likelihood of
simple foreign images to be higher; typicality is from their arXiv 1906.02994, for single images.

Every number has the same solver, `SOLVER`, and one probe. What is drawn for an image depends on the
seed and its place in the set only.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from zoo import data
from zoo.data.mnist import mnist
from zoo.errors import UnknownNameError
from zoo.metrics.classification import SEED, Measure
from zoo.metrics.fingerprint import hash_tensors
from zoo.models.cnf import standard_normal
from zoo.models.image_cnf import ImageCNF, bits_per_dimension
from zoo.training.randomness import generator

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = ["MEASURES", "SCORES", "SETS", "Traits", "auroc", "foreign", "tolerance", "traits"]

SOLVER: Mapping[str, Any] = {"method": "dopri5", "rtol": 1e-3, "atol": 1e-3}
"""About 0.001 bits from a tolerance of 1e-6, in the mean; which images are taken matters more."""
CHUNK = 50
"""Images that are drawn for with one generator; a part of the protocol, so fixed."""


@dataclass(frozen=True)
class Traits:
    """What the solves from N images to their noise tell: (N,) each, float64, on the CPU.

    Args:
        log_prob: log p(y), nats.
        norm: |z(0)|².
        energy: ∫₀¹ |v|² dt.
        divergence: ∫₀¹ tr ∂v/∂z dt.
    """

    log_prob: Tensor
    norm: Tensor
    energy: Tensor
    divergence: Tensor

    def __getitem__(self, part: slice) -> "Traits":
        return Traits(*(each[part] for each in self.columns()))

    def columns(self) -> tuple[Tensor, ...]:
        """The traits one after the other."""
        return tuple(getattr(self, each.name) for each in fields(self))


_recent: dict[str, Traits] = {}


def traits(model: ImageCNF, images: Tensor, *, seed: int = SEED) -> Traits:
    """Traits of images (N, C, H, W) in [0, 1]; lines of a card that share images solve once."""
    weights = hash_tensors(model.state_dict())
    found = []
    for chunk in range(math.ceil(len(images) / CHUNK)):
        part = images[chunk * CHUNK : (chunk + 1) * CHUNK]
        key = f"{weights} {seed} {chunk} {hash_tensors({'images': part})}"
        if key not in _recent:
            _recent[key] = _solve(model, part, generator(seed, "likelihood", chunk))
        found.append(_recent[key])
    return Traits(*(torch.cat(each) for each in zip(*(t.columns() for t in found), strict=True)))


@torch.no_grad()
def _solve(model: ImageCNF, images: Tensor, stream: torch.Generator) -> Traits:
    found = model.likelihood(images, generator=stream, **SOLVER)
    norm = found.noise.double().flatten(1).square().sum(1)
    each = (found.log_prob, norm, found.energy, found.divergence)
    return Traits(*(trait.double().cpu() for trait in each))


# How strange an image is.

Score = Callable[[Traits, Traits], Tensor]
"""Function of the traits of N images, and those of other images of the split, to (N,)."""


def _likelihood(found: Traits, usual: Traits) -> Tensor:
    return -found.log_prob


def _distance(name: str) -> Score:
    def score(found: Traits, usual: Traits) -> Tensor:
        trait, centre = getattr(found, name), getattr(usual, name).mean()
        return cast(Tensor, (trait - centre).abs())

    return score


def _together(found: Traits, usual: Traits) -> Tensor:
    rows, centre = (torch.stack(each.columns(), 1) for each in (found, usual))
    # In units of the standard deviation, so that the inverse is well conditioned.
    scale = centre.std(0)
    covariance = torch.cov((centre / scale).T)
    offset = (rows - centre.mean(0)) / scale
    distance: Tensor = (offset * torch.linalg.solve(covariance, offset.T).T).sum(1)
    return distance


SCORES: Mapping[str, Score] = {
    "likelihood": _likelihood,
    "typicality": _distance("log_prob"),
    "norm": _distance("norm"),
    "energy": _distance("energy"),
    "together": _together,
}
"""Name -> score; high is strange."""


def auroc(inside: Tensor, outside: Tensor) -> float:
    """P(outside > inside) + P(outside = inside) / 2 over all pairs of scores (N,) and (M,).

    The area under the curve of true over false positive rate, by rank sums (Mann and Whitney): 1
    where every score outside is higher, 1/2 where they tell nothing.
    """
    ordered = inside.double().sort().values
    below = torch.searchsorted(ordered, outside.double(), side="left")
    up_to = torch.searchsorted(ordered, outside.double(), side="right")
    return float((below + up_to).double().mean()) / (2 * len(inside))


# Images that are not the model's.

SETS = ("mnist", "upside-down", "negative", "constant", "noise")


def foreign(name: str, images: Tensor, root: Path | None = None) -> Tensor:
    """As many images of the set `name`, a member of `SETS`, as there are `images` of the split.

    Args:
        images: (N, C, H, W) in [0, 1].
        root: folder of the data sets, for `mnist`; default $ZOO_DATA.

    Raises:
        DataError: MNIST is not here, or damaged.
    """
    n, stream = len(images), generator(SEED, "foreign", name)
    if name == "mnist":
        return data.as_float(mnist(root, "test").head(n).images)
    if name == "upside-down":
        return images.flip(2)
    if name == "negative":
        return 1 - images
    shape = images.shape if name == "noise" else (n, 1, 1, 1)
    levels = torch.randint(256, shape, generator=stream, dtype=torch.uint8)
    return data.as_float(levels).expand(images.shape)


# The lines of cards.


def tolerance(value: float, n: int) -> float:
    """How far a repeated measurement may be away: the draws are the same, rounding turns steps."""
    return 0.005


def _images(metric: "Metric", root: Path | None, n: int) -> Tensor:
    found = data.load(metric.dataset, root, cast(data.Split, metric.split))
    return data.as_float(found.head(n).images)


def _flow(model: nn.Module) -> ImageCNF:
    if not isinstance(model, ImageCNF):
        raise UnknownNameError(f"a {type(model).__name__} gives no likelihood of images")
    return model


def _bits(metric: "Metric", model: nn.Module, root: Path | None) -> Tensor:
    flow = _flow(model)
    return bits_per_dimension(traits(flow, _images(metric, root, metric.n)).log_prob, flow.dim)


def _mean_bits(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    return float(_bits(metric, model, root).mean())


def _error_of_bits(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    return float(_bits(metric, model, root).std()) / math.sqrt(metric.n)


def _auroc(name: str, score: Score, metric: "Metric", model: nn.Module, root: Path | None) -> float:
    flow, n = _flow(model), metric.n
    images = _images(metric, root, 2 * n)
    own = traits(flow, images)
    inside, usual = own[:n], own[n:]
    outside = traits(flow, foreign(name, images[:n], root))
    return auroc(score(inside, usual), score(outside, usual))


def _histogram(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    """Every pixel by itself: P(k) = (count of k + 1) / (N + 256)."""
    train = data.load(metric.dataset, root, "train").images.flatten(1).long()
    found = data.load(metric.dataset, root, cast(data.Split, metric.split))
    test = found.head(metric.n).images.flatten(1).long()
    counts = torch.stack([torch.bincount(pixel, minlength=256) for pixel in train.T]).double()
    bits = -((counts + 1) / (len(train) + 256)).log2()
    return float(bits.gather(1, test.T).mean())


@torch.no_grad()
def _gaussian(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    flow, streams = _flow(model), partial(generator, SEED, "gaussian")
    train = data.as_float(data.load(metric.dataset, root, "train").images)
    z = flow.latent(train, streams("train"))[0].flatten(1)
    mean, factor = z.mean(0).double(), torch.linalg.cholesky(torch.cov(z.T).double())
    test, volume = flow.latent(_images(metric, root, metric.n), streams("test"))
    centred = test.flatten(1).double() - mean
    white = torch.linalg.solve_triangular(factor, centred.T, upper=False).T
    log_prob = standard_normal(white) - factor.diagonal().log().sum() + volume
    return float(bits_per_dimension(log_prob, flow.dim).mean())


MEASURES: Mapping[str, Measure] = {
    "bits-per-dimension": _mean_bits,
    "bits-per-dimension-standard-error": _error_of_bits,
    "bits-per-dimension-of-histogram": _histogram,
    "bits-per-dimension-of-gaussian": _gaussian,
    **{
        f"auroc-{each}-{name}": partial(_auroc, each, score)
        for each in SETS
        for name, score in SCORES.items()
    },
}
"""Name -> function of the card's metric, the model and the data folder."""
