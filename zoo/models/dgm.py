"""The deconvolutional generative model (DGM): a CNN that is the inference of a renderer.

Upwards an all-convolutional network: convolutions, batch norm, leaky ReLUs and pools, an average
over the last map, a linear classifier. Downwards the renderer that this network inverts, with the
same weights (`zoo.models.rendering`). The switch of a leaky ReLU is 1 or the leak.

With `normalisation="none"` the model is the theory: where the rendered maps are not negative, its
logits are exactly the maxima over all latents, and `lower` gives the minima. With "batch", as it is
trained, every direction has statistics, gains and shifts of its own, as in the authors' code, and
the inference is the theory's in form.

`iterations` > 0 runs the self-consistency loop of CNN-F on the same weights.

Sources: arXiv 1811.02657 and, for networks and details, the code released with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.models.feedback import Prediction
from zoo.models.images import check_images
from zoo.models.rendering import RenderingNetwork
from zoo.models.units import AverageUnit, ConvUnit, Normalisation, RenderingUnit

__all__ = ["DGM", "LAYERS"]

LAYERS: tuple[Mapping[str, Any], ...] = (
    {"channels": 32, "kernel": 5, "padding": 4, "pool": 2},
    {"channels": 64, "kernel": 3},
    {"channels": 64, "kernel": 3, "padding": 2, "pool": 2},
    {"channels": 128, "kernel": 3},
)
"""The released network for 28 x 28 grey images with few labels: maps of 32², 14², 16² and 6²."""


class DGM(RenderingNetwork):
    """Deconvolutional generative model of images.

    Args:
        image_shape: (C, H, W) of the images.
        layers: from the bottom to the top; each has `channels` and `kernel`, and may have
            `padding` (0), `pool` (None) and `dropout` (0).
        num_classes: number of logits.
        normalisation: "batch", "rms" (that of CNN-F) or "none" (the theory).
        leak: slope of the ReLUs below 0, and what a switch lets through that is off.
        mean: of the images, by channel; they are centred with it.
        std: of the images, by channel.
        iterations: K, of the loop of CNN-F; 0 is the plain CNN.
        damping: η of the loop.
        prediction: of the loop.

    Raises:
        ValueError: if an argument is out of its range, or the layers do not fit each other.
    """

    def __init__(
        self,
        *,
        image_shape: Sequence[int] = (1, 28, 28),
        layers: Sequence[Mapping[str, Any]] = LAYERS,
        num_classes: int = 10,
        normalisation: Normalisation = "batch",
        leak: float = 0.1,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.5,),
        iterations: int = 0,
        damping: float = 0.1,
        prediction: Prediction = "last",
    ) -> None:
        if not 0.0 <= leak < 1.0:
            raise ValueError(f"leak must lie in [0, 1), found {leak}")
        if normalisation not in ("none", "rms", "batch"):
            raise ValueError(
                f"normalisation must be 'none', 'rms' or 'batch', found {normalisation!r}"
            )
        channels, height, width = image_shape
        if len(mean) != channels or len(std) != channels or not min(std) > 0:
            raise ValueError(
                f"mean and std must be {channels} numbers each, those of std positive; "
                f"found {tuple(mean)} and {tuple(std)}"
            )
        units: list[RenderingUnit] = []
        shape: tuple[int, ...] = (channels, height, width)
        for layer in layers:
            unit = _unit(shape[0], layer, normalisation, leak, at_pixels=not units)
            units.append(unit)
            shape = unit.shapes(shape).above
        units.append(AverageUnit(shape[0], (shape[1], shape[2]), num_classes))
        super().__init__(
            units,
            image_shape=(channels, height, width),
            loop_from=0,
            iterations=iterations,
            damping=damping,
            prediction=prediction,
        )
        self.normalisation, self.leak = normalisation, leak
        self.mean, self.std = tuple(mean), tuple(std)

    def lower(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of the worst latents, the min path of max-min training.

        Raises:
            ValueError: as of `forward`.
        """
        x = -self._normalise(images)
        for unit in self.rendering_units():
            assert isinstance(unit, ConvUnit | AverageUnit)
            x = unit.lower(x)
        return x

    def reconstruct(
        self, images: Tensor, iterations: int | None = None, *, labels: Tensor | None = None
    ) -> Tensor:
        """The rendering of the predicted label with the inferred latents, (B, C, H, W) in [0, 1].

        Args:
            images: as of `forward`.
            iterations: K of the loop of CNN-F; its feedback starts from the logits.
            labels: (B,), rendered instead of the predicted ones; without the loop.

        Raises:
            ValueError: as of `forward`, or a label that is no class, or labels and K > 0.
        """
        if self._checked_iterations(iterations):
            if labels is not None:
                raise ValueError("labels: the loop renders its own logits; pass iterations=0")
            return super().reconstruct(images, iterations)
        logits, states = self.explain(images)
        top = self.one_hot(logits.argmax(1) if labels is None else labels)
        if len(top) != len(logits):
            raise ValueError(f"labels: expected {len(logits)}, found {len(top)}")
        return self._to_image(self.descend(top, states)[-1].below)

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the network sees and renders them, (B, C, H, W), channels last.

        Raises:
            ValueError: as of `forward`.
        """
        return self._normalise(images)

    def _normalise(self, images: Tensor) -> Tensor:
        dtype = next(self.parameters()).dtype
        check_images(images, self.image_shape, dtype)
        x = images.to(dtype)
        mean, std = self._statistics(x)
        return ((x - mean) / std).contiguous(memory_format=torch.channels_last)

    def _to_image(self, pixels: Tensor) -> Tensor:
        mean, std = self._statistics(pixels)
        return (pixels * std + mean).clamp(0.0, 1.0)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (like.new_tensor(each).view(-1, 1, 1) for each in (self.mean, self.std))
        return mean, std


def _unit(
    inputs: int,
    layer: Mapping[str, Any],
    normalisation: Normalisation,
    leak: float,
    *,
    at_pixels: bool,
) -> ConvUnit:
    known = {"channels", "kernel", "padding", "pool", "dropout"}
    if not {"channels", "kernel"} <= set(layer) <= known:
        raise ValueError(
            f"a layer has channels, kernel and maybe padding, pool, dropout; found {dict(layer)}"
        )
    return ConvUnit(
        inputs,
        layer["channels"],
        layer.get("pool"),
        kernel=layer["kernel"],
        padding=layer.get("padding", 0),
        normalisation=normalisation,
        leak=leak,
        dropout=layer.get("dropout", 0.0),
        lower=True,
        norm_below=at_pixels,
    )
