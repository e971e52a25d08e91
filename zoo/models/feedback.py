"""The self-consistency loop of CNN-F: one set of weights, run both ways until they agree.

A CNN with generative feedback (CNN-F) runs the same weights in both directions. Bottom-up it is an
ordinary CNN. Top-down it is the deconvolutional generative model whose MAP inference that CNN is:
it renders features from logits with the transposed weights, guided by the latent variables, i.e.
the masks of the ReLUs and the positions of the pools. In later bottom-up passes both are chosen to
agree with what was rendered: ReLU becomes `ada_relu`, max-pooling becomes `ada_pool`.

    f, h bottom-up values    g top-down values    η damping    K iterations

    y_0 = CNN(x)                         the plain first pass; h_0: features at the feedback layer
    ĥ_t = feedback(y_{t-1})              raw logits downwards, Wᵀ, no biases
    h_t = h_{t-1} + η (ĥ_t - h_{t-1})
    y_t = feed-forward(h_t), adaptive    t = 1 … K

The latent variables are explicit values (`zoo.models.adaptive`) that units take and return: nothing
is remembered in a module, so a model can be attacked, compiled, shared by threads and run on
batches of any size without a reset.

Source: Huang, Gornet, Dai, Yu, Nguyen, Tsao, Anandkumar, "Neural Networks with Recurrent Generative
Feedback", NeurIPS 2020, arXiv 2007.09200.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn

from zoo.models.images import check_images

Prediction = Literal["last", "average"]


class Step(NamedTuple):
    """What one unit returns, in either direction."""

    value: Tensor
    """Passed on to the next unit."""
    state: Any
    """Latent state of the unit, for its next call."""
    report: Tensor | None = None
    """The features (bottom-up) or their reconstruction (top-down), where the unit reports them."""


class FeedbackUnit(nn.Module, ABC):
    """A layer group that runs in both directions with one set of weights.

    The third method is a plain first pass without any state: the ordinary CNN.
    """

    @abstractmethod
    def ascend(self, f: Tensor, state: Any, damping: float) -> Step:
        """Bottom-up, from the unit's input to its output; `state` is None in the first pass."""

    @abstractmethod
    def descend(self, g: Tensor, state: Any) -> Step:
        """Top-down, from the unit's output to its input."""

    @abstractmethod
    def plain(self, f: Tensor) -> Tensor:
        """The value that `ascend(f, None, damping)` returns."""


@dataclass(frozen=True)
class Trajectory:
    """Everything that a feedback network computed on its way."""

    logits: list[Tensor]
    """y_0 … y_K, each (B, classes)."""
    features: list[tuple[Tensor, ...]]
    """For every pass 0 … K: h at the feedback layer, then what the units above it report."""
    reconstructions: list[tuple[Tensor, ...]]
    """For every feedback 1 … K: ĥ, then what it rendered of the other `features`, in order."""
    states: list[Any]
    """Latent state of every unit after the last pass, from the bottom to the top."""


class FeedbackNetwork(nn.Module):
    """Units in a row, the upper ones in a self-consistency loop. K = 0 is the plain CNN.

    Args:
        units: from the image to the logits.
        image_shape: (C, H, W) of the images.
        loop_from: number of units below the feedback layer; they run once.
        iterations: K, unless a call says otherwise.
        damping: η in [0, 1], of the features and of every adaptive ReLU.
        prediction: "last" returns y_K, "average" the mean of y_0 … y_K.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        units: Sequence[FeedbackUnit],
        *,
        image_shape: tuple[int, int, int],
        loop_from: int,
        iterations: int,
        damping: float,
        prediction: Prediction,
    ) -> None:
        super().__init__()
        if not 0.0 <= damping <= 1.0:
            raise ValueError(f"damping must lie in [0, 1], found {damping}")
        if prediction not in get_args(Prediction):
            raise ValueError(f"prediction must be 'last' or 'average', found {prediction!r}")
        self.units = nn.ModuleList(units)
        self.image_shape = image_shape
        self.loop_from = loop_from
        self.iterations = self._checked_iterations(iterations)
        self.damping = damping
        self.prediction: Prediction = prediction

    def forward(self, images: Tensor, iterations: int | None = None) -> Tensor:
        """Logits (B, classes) of images (B, C, H, W) in [0, 1].

        Args:
            images: float32, (B, C, H, W), values in [0, 1].
            iterations: K of this call; 0 is the plain CNN.

        Raises:
            ValueError: if the images have another shape, dtype or range, or K is negative.
        """
        if self._checked_iterations(iterations) == 0:
            x = self._normalise(images)
            for unit in self._units():
                x = unit.plain(x)
            return x
        logits = self.trajectory(images, iterations).logits
        return logits[-1] if self.prediction == "last" else torch.stack(logits).mean(0)

    @property
    def output_tolerance(self) -> float:
        """How far logits may differ between machines, relative to the largest.

        With feedback much farther than plain rounding: where a top-down value is almost 0, rounding
        can turn its sign, and with it what one unit lets through.
        """
        return 1e-3 if self.iterations else 1e-5

    def trajectory(self, images: Tensor, iterations: int | None = None) -> Trajectory:
        """Run the loop and keep the logits, features and reconstructions of every iteration.

        Args and errors as of `forward`.
        """
        bottom, states = self._normalise(images), []
        for unit in self._units()[: self.loop_from]:
            bottom, state, _ = unit.ascend(bottom, None, self.damping)
            states.append(state)
        logits, loop, features = self._ascend(bottom, None)
        result = Trajectory([logits], [features], [], states)
        h = bottom
        for _ in range(self._checked_iterations(iterations)):
            loop, reconstructions = self._descend(logits, loop)
            h = torch.lerp(h, reconstructions[0].to(h.dtype), self.damping)
            logits, loop, features = self._ascend(h, loop)
            result.logits.append(logits)
            result.features.append(features)
            result.reconstructions.append(reconstructions)
        states.extend(loop)
        return result

    def reconstruct(self, images: Tensor, iterations: int | None = None) -> Tensor:
        """The image that the K-th feedback renders, (B, C, H, W), clamped to [0, 1].

        Where the feedback layer lies above the pixels, the feedback is continued through the lower
        units with the latent state of their only pass.

        Args:
            images: as of `forward`.
            iterations: K ≥ 1.

        Raises:
            ValueError: as of `forward`, or if K = 0, which has no feedback.
        """
        count = self._checked_iterations(iterations)
        if count == 0:
            raise ValueError(
                "a reconstruction needs at least one iteration; pass iterations=1 or more"
            )
        # The K-th feedback starts from y_{K-1}, so the K-th bottom-up pass is not needed.
        trajectory = self.trajectory(images, count - 1)
        return self.render_states(trajectory.logits[-1], trajectory.states)

    def render_states(self, logits: Tensor, states: Sequence[Any]) -> Tensor:
        """The image that a feedback down to the pixels renders, (B, C, H, W), clamped to [0, 1].

        Args:
            logits: (B, classes), where the feedback starts.
            states: latent state of every unit, as in `Trajectory.states`.
        """
        g = logits
        for unit, state in zip(reversed(self._units()), reversed(states), strict=True):
            g = unit.descend(g, state).value
        return self._to_image(g)

    def renderings(self, images: Tensor, trajectory: Trajectory) -> list[Tensor]:
        """`reconstruct(images, k)` for every k of a trajectory of these images.

        Where the feedback reaches the pixels they are read off; elsewhere each one is rendered.
        """
        rendered = trajectory.reconstructions
        if self.loop_from == 0:
            return [self._to_image(pixels) for pixels, *_ in rendered]
        return [self.reconstruct(images, k + 1) for k in range(len(rendered))]

    def _ascend(
        self, h: Tensor, states: list[Any] | None
    ) -> tuple[Tensor, list[Any], tuple[Tensor, ...]]:
        """One bottom-up pass through the loop: logits, new states, (h, reported features …)."""
        x, after, reports = h, [], [h]
        units = self._units()[self.loop_from :]
        for unit, state in zip(units, states or [None] * len(units), strict=True):
            x, new, report = unit.ascend(x, state, self.damping)
            after.append(new)
            if report is not None:
                reports.append(report)
        return x, after, tuple(reports)

    def _descend(self, logits: Tensor, states: list[Any]) -> tuple[list[Any], tuple[Tensor, ...]]:
        """One top-down pass through the loop: new states, (ĥ, reported reconstructions …)."""
        g, after, reports = logits, [], []
        for unit, state in zip(
            reversed(self._units()[self.loop_from :]), reversed(states), strict=True
        ):
            g, new, report = unit.descend(g, state)
            after.append(new)
            if report is not None:
                reports.append(report)
        return after[::-1], (g, *reversed(reports))

    def _units(self) -> list[FeedbackUnit]:
        return cast(list[FeedbackUnit], list(self.units))

    def _checked_iterations(self, iterations: int | None) -> int:
        count = self.iterations if iterations is None else iterations
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"iterations must be an integer of at least 0, found {count!r}")
        return count

    def _normalise(self, images: Tensor) -> Tensor:
        """Check images in [0, 1] and map them to [-1, 1], the range that the network works in."""
        dtype = next(self.parameters()).dtype
        check_images(images, self.image_shape, dtype)
        # Channels last: CPU pools are ten times as fast in it, and convolutions faster everywhere.
        return (images.to(dtype) * 2.0 - 1.0).contiguous(memory_format=torch.channels_last)

    def _to_image(self, pixels: Tensor) -> Tensor:
        """From the range that the network works in, [-1, 1], to images in [0, 1]."""
        return (pixels * 0.5 + 0.5).clamp(0.0, 1.0)
