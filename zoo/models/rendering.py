"""The two readings of one network: upwards it infers a label and latents, downwards it renders.

The deconvolutional generative model draws a class y and, for every layer ℓ, latents z(ℓ): a switch
s for every value ("render it or not") and a position t for every cell of a pool. It renders from
coarse to fine,

    h(L) = template of y     h(ℓ-1) = W(ℓ)ᵀ ( s(ℓ) ∘ unpool_t(ℓ)( h(ℓ) ) )     x = h(0) + noise

and its prior favours the paths that the biases b agree with,

    p(z | y) ∝ exp Σ_ℓ ⟨b(ℓ), s(ℓ) ∘ h(ℓ)⟩.

Where the intermediate h are not negative, the best latents of an image x,

    max_z  ⟨x, h(0)⟩ + Σ_ℓ ⟨b(ℓ), s(ℓ) ∘ h(ℓ)⟩,

are found by the CNN with the same weights: its ReLUs choose the switches, its pools the positions,
and its logit of y is the maximum. CNN-F (`zoo.models.feedback`) iterates the two readings; its
feedback pass is this rendering, from the logits and with the latents of the last upward pass.

Source: Nguyen, Ho, Patel, Anandkumar, Jordan, Baraniuk, "A Bayesian Perspective of Convolutional
Neural Networks through a Deconvolutional Generative Model", arXiv 1811.02657.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.feedback import FeedbackNetwork, FeedbackUnit, Prediction
from zoo.models.units import Latents, Rendered, RenderingUnit, Shapes

__all__ = ["Inference", "RenderingNetwork"]


class Inference(NamedTuple):
    """What an upward pass says of images."""

    logits: Tensor
    """(B, classes)."""
    latents: tuple[Latents, ...]
    """Of every layer that has any, from the bottom to the top."""


class RenderingNetwork(FeedbackNetwork):
    """A feedback network whose latent variables can be asked for, and given to be rendered.

    Args:
        units: from the image to the logits.
        image_shape: (C, H, W) of the images.
        loop_from, iterations, damping, prediction: as of `FeedbackNetwork`.

    Attributes:
        num_classes: number of logits.

    Raises:
        ValueError: if an argument is out of its range, or the units do not fit each other.
    """

    def __init__(
        self,
        units: Sequence[RenderingUnit],
        *,
        image_shape: tuple[int, int, int],
        loop_from: int,
        iterations: int,
        damping: float,
        prediction: Prediction,
    ) -> None:
        self._shapes: list[Shapes] = []
        below: tuple[int, ...] = image_shape
        for unit in units:
            self._shapes.append(unit.shapes(below))
            below = self._shapes[-1].above
        super().__init__(
            cast(Sequence[FeedbackUnit], units),
            image_shape=image_shape,
            loop_from=loop_from,
            iterations=iterations,
            damping=damping,
            prediction=prediction,
        )
        (self.num_classes,) = below

    def infer(self, images: Tensor) -> Inference:
        """Labels and latents of images: the first upward pass, without feedback.

        Args:
            images: float32, (B, C, H, W), values in [0, 1].

        Raises:
            ValueError: as of `forward`.
        """
        logits, states = self.explain(images)
        units = zip(self.rendering_units(), states, strict=True)
        found = (unit.latents(state) for unit, state in units)
        return Inference(logits, tuple(latents for latents in found if latents is not None))

    def render(self, top: Tensor, latents: Sequence[Latents]) -> Tensor:
        """The image of a class (or of a mixture of classes) with these latents.

        Args:
            top: labels (B,), int64, or logits (B, classes).
            latents: as `infer` returns them.

        Returns:
            Images (B, C, H, W), clamped to [0, 1].

        Raises:
            ValueError: a label that is no class, or latents of another image size or batch.
        """
        return self._to_image(self.descend(self._top(top), self._states(top, latents))[-1].below)

    def render_layers(self, top: Tensor, latents: Sequence[Latents]) -> list[Tensor]:
        """The rendering from coarse to fine: the map below every layer, the last one the image.

        Arguments and errors as of `render`. The images are in [0, 1], the maps are as they come.
        """
        *maps, image = self.descend(self._top(top), self._states(top, latents))
        return [each.below for each in maps] + [self._to_image(image.below)]

    def log_prior(self, latents: Sequence[Latents], labels: Tensor) -> Tensor:
        """Σ_ℓ ⟨b(ℓ), s(ℓ) ∘ h(ℓ)⟩, the log-prior log p(z | y) up to a number that y alone decides.

        Args:
            latents: z, as `infer` returns them.
            labels: y, (B,), int64.

        Returns:
            (B,).

        Raises:
            ValueError: as of `render`.
        """
        return self.path_score(self.descend(self._top(labels), self._states(labels, latents)))

    def explain(self, images: Tensor) -> tuple[Tensor, list[Any]]:
        """Logits (B, classes), and the state of every unit; the latents are in the states.

        Unlike `infer` it makes no tensors of the latents, which training has no use for.
        """
        x, states = self._normalise(images), []
        for unit in self.rendering_units():
            x, state, _ = unit.ascend(x, None, self.damping)
            states.append(state)
        return x, states

    def descend(self, top: Tensor, states: Sequence[Any]) -> list[Rendered]:
        """What every unit renders, from the top to the pixels, which are as the network sees them.

        Args:
            top: logits, or one-hot labels, (B, classes).
            states: of every unit, from the bottom to the top.
        """
        rendered, g = [], top
        for unit, state in zip(reversed(self.rendering_units()), reversed(states), strict=True):
            rendered.append(unit.render(g, state))
            g = rendered[-1].below
        return rendered

    def path_score(self, rendered: Sequence[Rendered]) -> Tensor:
        """Σ_ℓ ⟨b(ℓ), s(ℓ) ∘ h(ℓ)⟩ of every image, (B,), for what `descend` returned."""
        units = reversed(self.rendering_units())
        scores = [u.log_prior(r.switched) for u, r in zip(units, rendered, strict=True)]
        return torch.stack([score.expand(len(rendered[0].below)) for score in scores]).sum(0)

    def prior_peak(self) -> Tensor:
        """Score of every class, (classes,), with the latents that the biases choose.

        That path is the inference of an empty image, one that is 0 after normalisation: there is
        nothing to agree with but the prior. In the unnormalised model, where the rendered maps are
        not negative, no path of a class scores more, so that the distance from this peak is
        -log p(z | y) up to what all paths of the class share. Batch norm uses running statistics.
        """
        training = self.training
        self.eval()
        parameter = next(self.parameters())
        x, states = parameter.new_zeros(1, *self.image_shape), []
        for unit in self.rendering_units():
            x, state, _ = unit.ascend(x, None, self.damping)
            states.append(state)
        units = zip(self.rendering_units(), states, strict=True)
        copies = [unit.repeated(state, self.num_classes) for unit, state in units]
        classes = torch.eye(self.num_classes, dtype=parameter.dtype, device=parameter.device)
        peak = self.path_score(self.descend(classes, copies))
        self.train(training)
        return peak

    def one_hot(self, labels: Tensor) -> Tensor:
        """Labels (B,) as classes (B, classes) of the network's dtype.

        Raises:
            ValueError: a label that is no class.
        """
        if labels.dim() != 1 or labels.dtype != torch.int64:
            raise ValueError(
                f"labels: expected int64 of shape (B,), found {labels.dtype} {tuple(labels.shape)}"
            )
        if len(labels) and not torch.compiler.is_compiling():
            low, high = (int(v) for v in torch.aminmax(labels))
            if low < 0 or high >= self.num_classes:
                raise ValueError(
                    f"labels: expected 0 to {self.num_classes - 1}, found {low} to {high}"
                )
        return F.one_hot(labels, self.num_classes).to(next(self.parameters()).dtype)

    def rendering_units(self) -> list[RenderingUnit]:
        """The units, from the bottom to the top."""
        return cast(list[RenderingUnit], list(self.units))

    def _top(self, top: Tensor) -> Tensor:
        if not top.is_floating_point():
            return self.one_hot(top)
        if top.dim() != 2 or top.shape[1] != self.num_classes:
            raise ValueError(
                f"logits: expected (B, {self.num_classes}), found {tuple(top.shape)}; "
                "labels are int64 (B,)"
            )
        return top.to(next(self.parameters()).dtype)

    def _states(self, top: Tensor, latents: Sequence[Latents]) -> list[Any]:
        """The latents as states of the units, checked."""
        switched = [shapes for shapes in self._shapes if shapes.switches is not None]
        if len(latents) != len(switched):
            raise ValueError(f"latents: expected {len(switched)} layers, found {len(latents)}")
        for layer, (given, shapes) in enumerate(zip(latents, switched, strict=True)):
            self._check(layer, given, shapes, len(top))
        remaining = iter(latents)
        return [
            unit.state(None if shapes.switches is None else next(remaining))
            for unit, shapes in zip(self.rendering_units(), self._shapes, strict=True)
        ]

    def _check(self, layer: int, given: Latents, shapes: Shapes, batch: int) -> None:
        for name, tensor, shape in (
            ("switches", given.switches, shapes.switches),
            ("positions", given.positions, shapes.positions),
        ):
            expected = None if shape is None else (batch, *shape)
            found = None if tensor is None else tuple(tensor.shape)
            if found != expected:
                raise ValueError(
                    f"latents of layer {layer}: expected {name} of shape {expected}, found {found};"
                    f" images of this model are {self.image_shape}"
                )
        if given.positions is not None and shapes.switches is not None:
            if given.positions.dtype != torch.int64:
                raise ValueError(
                    f"latents of layer {layer}: expected positions of torch.int64, "
                    f"found {given.positions.dtype}"
                )
            limit = shapes.switches[1] * shapes.switches[2]
            low, high = (int(v) for v in torch.aminmax(given.positions))
            if low < 0 or high >= limit:
                raise ValueError(
                    f"latents of layer {layer}: expected positions of 0 to {limit - 1}, "
                    f"found {low} to {high}"
                )
