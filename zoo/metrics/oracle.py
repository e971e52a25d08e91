"""What networks read off robot scenes: the model that is measured, and the oracle that judges it.

The oracle is `factor-encoder-robot64`, a network trained with all labels on real scenes, with
weights for each size of images. Scenes of fewer pixels are those of 64, averaged. Images are taken
in grey levels, as an image file has them, whether they are real or generated.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from zoo.data import as_float, robot_scenes
from zoo.data.robot_scenes import Scenes, Split
from zoo.errors import UnknownNameError
from zoo.factory import create
from zoo.metrics.fingerprint import hash_model, hash_tensors
from zoo.metrics.threat import slices
from zoo.models.codes import Layout
from zoo.models.factor_encoder import FactorEncoder
from zoo.models.factors import Factor

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = [
    "ARMS",
    "ORACLES",
    "SEED",
    "Encoder",
    "Oracle",
    "encoder",
    "grey_levels",
    "remembered",
    "scalars",
    "scenes_of",
]

ORACLES: Mapping[int, str] = {
    64: "factor-encoder-robot64.primitive-64",
    32: "factor-encoder-robot64.primitive-32",
}
"""Side of the images -> the network that reads them."""
RENDERED = 64
"""Side of the scenes that smaller ones are averages of."""
ARMS: Mapping[str, str] = {"robot-scenes": "primitive", "robot-scenes-jaco": "jaco"}
"""Data set, as cards write it -> the robot's arm."""

SEED = 0
BATCH = 100

_recent: dict[tuple[object, ...], Tensor] = {}
KEPT = 8


class Encoder(Protocol):
    """A model that reads codes off images."""

    layout: Layout
    image_shape: tuple[int, int, int]

    @property
    def factors(self) -> tuple[Factor, ...]: ...

    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, K) in [0, 1] of images (B, C, H, W) in [0, 1]."""
        ...


@dataclass(frozen=True, eq=False)
class Oracle:
    """Reads what generated images show.

    Args:
        network: trained with all labels.
        asked: the factors that are asked for, in their order; the network may know more.

    Raises:
        UnknownNameError: the network does not know one of them, or in another way.
    """

    network: FactorEncoder
    asked: tuple[Factor, ...]

    def __post_init__(self) -> None:
        known = {each.name: (each.values, each.categorical) for each in self.network.factors}
        for each in self.asked:
            if known.get(each.name) != (each.values, each.categorical):
                raise UnknownNameError(
                    f"the oracle knows {', '.join(known)}; it does not know {each.name!r} with "
                    f"{each.values} values, {'categorical' if each.categorical else 'ordinal'}"
                )

    @classmethod
    def of(cls, model: Encoder) -> "Oracle":
        """The oracle of the metrics, asked for a model's factors.

        Raises:
            UnknownNameError: the model has images of another size, or other factors.
            WeightsError: the oracle's weights cannot be had.
        """
        channels, height, width = model.image_shape
        if channels != 3 or height != width or height not in ORACLES:
            raise UnknownNameError(
                f"the oracle reads colour images of {' or '.join(map(str, ORACLES))} pixels "
                f"a side, the model has {tuple(model.image_shape)}"
            )
        device = next(cast(nn.Module, model).parameters()).device
        network = _oracle(ORACLES[height], str(device))
        return cls(network, model.factors)

    def read(self, images: Tensor) -> Tensor:
        """One number in [0, 1] for each factor that is asked for, (N, F), off uint8 images."""
        return self._columns(_encode(self.network, images))

    def features(self, images: Tensor) -> Tensor:
        """What the network's last layer sees of uint8 images, (N, D)."""
        return _in_batches(self.network.features, images, self.network)

    def _columns(self, codes: Tensor) -> Tensor:
        names = [each.name for each in self.network.factors]
        found = self.network.layout.scalars(codes)
        return found[:, [names.index(each.name) for each in self.asked]]


def encoder(model: nn.Module, metric: str) -> Encoder:
    """The model as one that reads codes.

    Raises:
        UnknownNameError: it reads none.
    """
    if not callable(getattr(model, "encode", None)) or not isinstance(
        getattr(model, "layout", None), Layout
    ):
        raise UnknownNameError(f"a {type(model).__name__} reads no codes of factors: {metric}")
    found = cast(Encoder, model)
    if not found.factors:
        raise UnknownNameError(f"this {type(model).__name__} has no factors: {metric}")
    return found


def scenes_of(metric: "Metric", size: int, root: Path | None) -> Scenes:
    """The first `n` scenes of the data set and the split that a line of a card names.

    Raises:
        UnknownNameError: there is no such data set.
        DataError: the scenes are not here, fewer, or damaged.
    """
    if metric.dataset not in ARMS:
        raise UnknownNameError(
            f"{metric.metric} is of {' or '.join(ARMS)}, not of {metric.dataset!r}"
        )
    arm, split = ARMS[metric.dataset], cast(Split, metric.split)
    drawn = max(size, RENDERED)
    scenes = robot_scenes.load(root, size=drawn, arm=arm, split=split, count=metric.n)
    return robot_scenes.at_size(scenes, size)


def scalars(model: Encoder, images: Tensor) -> Tensor:
    """What a model reads off uint8 images: one number in [0, 1] for each factor, (N, F)."""
    return model.layout.scalars(_encode(model, images))


def grey_levels(images: Tensor) -> Tensor:
    """Images in [0, 1] as an image file has them: uint8, on the CPU.

    Raises:
        ValueError: they are not finite, or not in [0, 1].
    """
    low, high = (float(bound) for bound in images.aminmax())
    # Written so that NaN, which compares as false, is refused as well.
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"expected images that are finite and in [0, 1], found values from {low:.4g} to "
            f"{high:.4g}: has the training diverged?"
        )
    return (images * 255).round().to(torch.uint8).cpu()


def remembered(key: tuple[object, ...], model: nn.Module, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives, made once for the lines of a card that share it.

    Args:
        key: what it is, apart from the model.
        model: that it is a function of.
    """
    full = (*key, hash_model(model))
    if full not in _recent:
        found = make()
        if len(_recent) >= KEPT:
            del _recent[next(iter(_recent))]
        _recent[full] = found
    return _recent[full]


def _encode(model: Encoder, images: Tensor) -> Tensor:
    key = ("codes", hash_tensors({"images": images}))
    module = cast(nn.Module, model)
    return remembered(key, module, lambda: _in_batches(model.encode, images, module))


@torch.no_grad()
def _in_batches(function: Callable[[Tensor], Tensor], images: Tensor, model: nn.Module) -> Tensor:
    device = next(model.parameters()).device
    parts = [
        function(as_float(images[part].to(device))).float().cpu()
        for part in slices(len(images), BATCH)
    ]
    return torch.cat(parts)


@functools.lru_cache(maxsize=2)
def _oracle(name: str, device: str) -> FactorEncoder:
    return cast(FactorEncoder, create(name, pretrained=True, device=device))
