"""How good the images are that a classifier renders of what it has seen, as metrics of cards.

    reconstruction-error              mean squared error of `model.reconstruct` on the first `n`
                                      images of the split, a mean over pixels and images in [0, 1]
    frechet-renderings-<network>      Fréchet distance of the renderings of the first `n` images
                                      (their own latents, the predicted label) from the `n` images
                                      that follow in the split
    frechet-renderings-<network>-of-real
                                      the same distance of the first `n` images themselves: what
                                      perfect renderings would get. The model does not matter

Both sides of a distance have `n` images, none is on both, and neither the feature network nor the
model has been trained on them if the split is "test". Renderings are rounded to grey levels first.
The feature networks are the zoo's own, so these distances are no FID and compare with no published
number:

    cnn-robust    `cnn-robust.corrupted`: the 128 numbers in front of its last layer, for 28 × 28
                  grey images. It was trained on corrupted images, too, but it knows clothing only
    resnet20      `resnet20-cifar`: 64 numbers, for 32 × 32 colour images
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import data, weights
from zoo.errors import UnknownNameError
from zoo.factory import create
from zoo.metrics.classification import Measure
from zoo.metrics.frechet import Statistics, frechet_distance
from zoo.metrics.generation import STANDARD, FeatureNetwork, embed, load_network
from zoo.metrics.threat import slices
from zoo.models.dgm import DGM
from zoo.models.feedback import FeedbackNetwork

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = [
    "GREY",
    "MEASURES",
    "Renderer",
    "frechet_renderings",
    "grey_network",
    "hidden_features",
    "reconstruction_error",
    "render",
    "tolerance",
]

GREY = "cnn-robust.corrupted"
"""The feature network for grey images of 28 x 28."""
ROUNDING = 0.01
"""Share of a value by which another machine may differ: rounding can turn switches."""
BATCH = 250


class Renderer(Protocol):
    """A classifier that renders images."""

    def reconstruct(self, images: Tensor) -> Tensor:
        """The predicted label with the inferred latents, (N, C, H, W) in [0, 1]."""
        ...


@torch.no_grad()
def render(model: Renderer, images: Tensor) -> Tensor:
    """What the model renders of uint8 images (N, C, H, W): float32 in [0, 1], on the CPU."""
    device = _device(model)
    parts = slices(len(images), BATCH)
    return torch.cat(
        [model.reconstruct(data.as_float(images[part].to(device))).cpu() for part in parts]
    )


def reconstruction_error(model: Renderer, images: Tensor) -> float:
    """Mean squared error of what is rendered of uint8 images, a mean over pixels and images."""
    rendered, given = render(model, images).double(), data.as_float(images).double()
    return float((rendered - given).square().mean())


def frechet_renderings(
    model: Renderer, network: FeatureNetwork, images: Tensor, real: Tensor
) -> float:
    """Fréchet distance between renderings of `images` and `real`, as `network` sees them.

    Args:
        images, real: uint8, (N, C, H, W), as many of the one as of the other, none in both.

    Raises:
        ValueError: their numbers differ; distances depend on them.
    """
    return _distance(network, _grey_levels(render(model, images)), real)


def _distance(network: FeatureNetwork, images: Tensor, real: Tensor) -> float:
    if len(images) != len(real):
        raise ValueError(
            f"expected as many images on both sides, found {len(images)} and {len(real)}"
        )
    seen = (embed(network, each).features for each in (images, real))
    return frechet_distance(*map(Statistics.of, seen))


def grey_network(device: torch.device | str = "cpu") -> FeatureNetwork:
    """The feature network for 28 × 28 grey images.

    Raises:
        WeightsError: its weights cannot be had or verified.
    """
    card, tag = weights.resolve(GREY)
    model = cast(FeedbackNetwork, create(GREY, pretrained=True, device=device))
    sha256 = card.weights[str(tag)].sha256
    return FeatureNetwork(GREY, sha256, torch.device(device), hidden_features(model))


def hidden_features(model: FeedbackNetwork) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The function of the values in front of a plain network's last layer, and of its logits.

    The last but one unit is to end in a ReLU. Its latent state after the first pass is what went
    into that, so that nothing is computed here that the network does not compute itself.
    """

    def function(images: Tensor) -> tuple[Tensor, Tensor]:
        seen = model.trajectory(images, 0)
        return F.relu(seen.states[-2].drive), seen.logits[0]

    return function


def tolerance(value: float, n: int) -> float:
    """How far a repeated measurement may be away: the images are the same, rounding is not."""
    return ROUNDING * abs(value)


def _grey_levels(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def _device(model: object) -> torch.device:
    return next(cast(nn.Module, model).parameters()).device


def _renderer(model: nn.Module) -> Renderer:
    # A DGM needs no iterations for it; a plain twin of CNN-F has none.
    renders = isinstance(model, DGM) or getattr(model, "iterations", 1) > 0
    if not renders or not callable(getattr(model, "reconstruct", None)):
        raise UnknownNameError(
            f"a {type(model).__name__} that is no renderer and has no feedback renders nothing: "
            "of these metrics it has only frechet-renderings-<network>-of-real"
        )
    return cast(Renderer, model)


def _images(metric: "Metric", root: Path | None) -> data.ImageDataset:
    return data.load(metric.dataset, root, cast(data.Split, metric.split))


def _halves(metric: "Metric", root: Path | None) -> tuple[Tensor, Tensor]:
    """The first `n` images of a split, and the `n` that follow, uint8."""
    images, n = _images(metric, root).images, metric.n
    if not 2 <= n <= len(images) // 2:
        raise ValueError(
            f"{metric.metric} compares n images with the n that follow: with {len(images):,} of "
            f"{metric.dataset} ({metric.split}) n is 2 to {len(images) // 2:,}, found {n:,}"
        )
    return images[:n], images[n : 2 * n]


def _error(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    return reconstruction_error(_renderer(model), _images(metric, root).head(metric.n).images)


Load = Callable[[torch.device], FeatureNetwork]


def _of_renderings(load: Load) -> Measure:
    def measured(metric: "Metric", model: nn.Module, root: Path | None) -> float:
        renderer, halves = _renderer(model), _halves(metric, root)
        return frechet_renderings(renderer, load(_device(model)), *halves)

    return measured


def _of_real(load: Load) -> Measure:
    def measured(metric: "Metric", model: nn.Module, root: Path | None) -> float:
        return _distance(load(_device(model)), *_halves(metric, root))

    return measured


NETWORKS: Mapping[str, Load] = {
    "cnn-robust": grey_network,
    "resnet20": lambda device: load_network(STANDARD, device),
}
"""What a feature network is called in the name of a metric -> how it is had."""

MEASURES: Mapping[str, Measure] = {
    "reconstruction-error": _error,
    **{f"frechet-renderings-{name}": _of_renderings(load) for name, load in NETWORKS.items()},
    **{f"frechet-renderings-{name}-of-real": _of_real(load) for name, load in NETWORKS.items()},
}
"""Name -> function of the card's metric, the model and the data folder."""
