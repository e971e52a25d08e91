"""Layers that run both ways with one set of weights: a CNN upwards, its renderer downwards.

CNN-F and the deconvolutional generative model (DGM) are made of these. Upwards a `ConvUnit` is
convolution, norm, bias, (leaky) ReLU and pool, and its latent variables are what the last two
chose: a switch for every value, and a position for every cell of the pool. Downwards it renders
with them: a value goes to the position of its cell, is switched, and becomes a patch of the layer
below.

    upwards     f → conv → N(·) + b → s · (·) → value at t of every cell
    downwards   g → N'(·) → to t of every cell → s · (·) → convᵀ

Sources: arXiv 1811.02657 (DGM), arXiv 2007.09200 (CNN-F).
"""

import math
from abc import abstractmethod
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.adaptive import (
    PoolState,
    ReLUState,
    ada_pool,
    ada_pool_feedback,
    ada_relu,
    ada_relu_feedback,
    rms_norm,
)
from zoo.models.batch_norm import BatchNorm, Moments
from zoo.models.feedback import FeedbackUnit, Step
from zoo.models.wide_convolution import convolution, transposed_convolution

__all__ = [
    "AverageUnit",
    "ConvState",
    "ConvUnit",
    "Latents",
    "LinearUnit",
    "Normalisation",
    "Rendered",
    "RenderingUnit",
    "Shapes",
]

Normalisation = Literal["none", "rms", "batch"]


class Latents(NamedTuple):
    """The latent variables of one layer: what is rendered, and where."""

    switches: Tensor
    """1 where a value is rendered, else the leak; (B, C, H, W), or (B, C) of a linear layer."""
    positions: Tensor | None = None
    """Of every cell of the pool, (B, C, H/k, W/k), int64: offset into the flattened (H·W) map; None
    where the layer does not pool."""


class Rendered(NamedTuple):
    """What one unit does on the way down."""

    below: Tensor
    """The map at the unit's input."""
    switched: Tensor | None
    """s ∘ h, the map that is read by the transposed weights; None where nothing is switched."""
    moments: Moments | None
    """Of the map that came from above, before the norm; only a batch norm knows them."""


class Shapes(NamedTuple):
    """Shapes of one image's tensors at a unit, without the batch."""

    switches: tuple[int, ...] | None
    positions: tuple[int, ...] | None
    above: tuple[int, ...]
    """Of the unit's output."""


class RenderingUnit(FeedbackUnit):
    """A feedback unit whose latent state can be read and given."""

    bias: nn.Parameter

    @abstractmethod
    def shapes(self, below: tuple[int, ...]) -> Shapes:
        """Shapes for an input of shape `below`; ValueError if it does not fit."""

    @abstractmethod
    def render(self, g: Tensor, state: Any) -> Rendered:
        """Top-down, from the unit's output to its input, without remembering g."""

    @abstractmethod
    def latents(self, state: Any) -> Latents | None:
        """The latent variables in `state`; None of a unit that has none."""

    @abstractmethod
    def state(self, latents: Latents | None) -> Any:
        """The state that holds these latent variables."""

    def repeated(self, state: Any, count: int) -> Any:
        """The state of one image as that of `count` equal images."""
        latents = self.latents(state)
        if latents is None:
            return self.state(None)
        switches, positions = latents
        switches = switches.expand(count, *switches.shape[1:])
        if positions is not None:
            positions = positions.expand(count, *positions.shape[1:])
        return self.state(Latents(switches, positions))

    def log_prior(self, switched: Tensor | None) -> Tensor:
        """⟨b, s ∘ h⟩ of every image, (B,): this layer's share of the log-prior of its latents."""
        if switched is None:
            return self.bias.new_zeros(())
        values = switched if switched.dim() == 2 else switched.sum((2, 3))
        return values.to(self.bias.dtype) @ self.bias


class ConvState(NamedTuple):
    """Latent state of a `ConvUnit`."""

    relu: ReLUState
    pool: PoolState | None
    moments: Moments | None = None
    """Of the convolution's output; only a batch norm in training measures them."""


class ConvUnit(RenderingUnit):
    """Upwards: conv → norm → + bias → AdaReLU → AdaPool → dropout.

    Downwards: norm → dropout → unpool → mask → convᵀ.

    Reports its features after the AdaReLU, before the pool, where it has a pool.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        pool: side of the cells of the pool, or None.
        kernel: side of the filters.
        padding: zeros around the input; kernel - 1 makes the convolution a "full" one.
        normalisation: "rms" has no parameters and no memory; "batch" has statistics and a gain for
            every direction, and a shift downwards.
        leak: slope of the ReLU below 0, and the value of a switch that is off.
        dropout: share of the values that training sets to 0.
        lower: whether there is a path of the worst latents, which needs a batch norm of its own.
        norm_below: whether a batch norm follows the transposed convolution, as at the pixels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        pool: int | None,
        *,
        kernel: int = 3,
        padding: int = 1,
        normalisation: Normalisation = "rms",
        leak: float = 0.0,
        dropout: float = 0.0,
        lower: bool = False,
        norm_below: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.pool, self.padding = pool, padding
        self.normalisation, self.leak, self.dropout = normalisation, leak, dropout
        batch = normalisation == "batch"
        self.norm_up = BatchNorm(outputs) if batch else None
        self.norm_lower = BatchNorm(outputs) if batch and lower else None
        self.norm_down = BatchNorm(outputs) if batch else None
        self.shift_down = nn.Parameter(torch.zeros(outputs)) if batch else None
        self.norm_below = BatchNorm(inputs) if batch and norm_below else None
        self.shift_below = nn.Parameter(torch.zeros(inputs)) if self.norm_below else None
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / (kernel**2 * outputs)))

    def shapes(self, below: tuple[int, ...]) -> Shapes:
        outputs, inputs, kernel, _ = self.weight.shape
        channels, *sides = below
        height, width = (side + 2 * self.padding - kernel + 1 for side in sides)
        if channels != inputs or min(height, width) < 1:
            raise ValueError(f"a convolution of {inputs} channels does not fit a map of {below}")
        switches = (outputs, height, width)
        if self.pool is None:
            return Shapes(switches, None, switches)
        if height % self.pool or width % self.pool:
            raise ValueError(
                f"a map of {height} x {width} does not divide into cells of side {self.pool}"
            )
        pooled = (outputs, height // self.pool, width // self.pool)
        return Shapes(switches, pooled, pooled)

    def ascend(self, f: Tensor, state: ConvState | None, damping: float) -> Step:
        relu, pool = (None, None) if state is None else state[:2]
        y = self._conv(f)
        moments = None
        if self.norm_up is not None and self.training:
            y, moments = self.norm_up.with_moments(y, self.bias)
        else:
            y = self._normed(y, self.norm_up, self.bias)
        features, relu = ada_relu(y, relu, damping, self.leak)
        if self.pool is None:
            return Step(self._dropped(features), ConvState(relu, None, moments))
        out, pool = ada_pool(features, pool, self.pool)
        return Step(self._dropped(out), ConvState(relu, pool, moments), features)

    def descend(self, g: Tensor, state: ConvState) -> Step:
        relu, pool = state[:2]
        g, _ = self._normed_down(g)
        if self.pool is not None and pool is not None:
            g, pool = ada_pool_feedback(g, pool, self.pool)
        g, relu = ada_relu_feedback(g, relu, self.leak)
        report = None if self.pool is None else g
        return Step(self._transposed(g), ConvState(relu, pool), report)

    def render(self, g: Tensor, state: ConvState) -> Rendered:
        g, moments = self._normed_down(g)
        if self.pool is not None and state.pool is not None:
            g, _ = ada_pool_feedback(self._dropped(g), state.pool, self.pool)
        switched, _ = ada_relu_feedback(g, state.relu, self.leak)
        return Rendered(self._transposed(switched), switched, moments)

    def plain(self, f: Tensor) -> Tensor:
        return self._rectify(self._normed(self._conv(f), self.norm_up, self.bias))

    def lower(self, f: Tensor) -> Tensor:
        """As `plain`, of -f with biases -b.

        The worst latents of f are the best ones of its negative: minima become maxima. A path of
        units starts from the negative of the image, and its last unit turns the sign again.
        """
        return self._rectify(self._normed(self._conv(f), self.norm_lower, -self.bias))

    def latents(self, state: ConvState) -> Latents:
        on, off = (self.weight.new_tensor(value) for value in (1.0, self.leak))
        switches = torch.where(state.relu.drive > 0, on, off)
        return Latents(switches, None if state.pool is None else state.pool.position)

    def state(self, latents: Latents | None) -> ConvState:
        if latents is None:
            raise ValueError("a convolution needs its latents, found None")
        drive = latents.switches - (1.0 + self.leak) / 2
        pool = None if latents.positions is None else PoolState(latents.positions)
        return ConvState(ReLUState(drive), pool)

    def _conv(self, f: Tensor) -> Tensor:
        y = convolution(f, self.weight, self.padding)
        # A single input channel leaves the layout of the output open.
        return y.contiguous(memory_format=torch.channels_last)

    def _transposed(self, g: Tensor) -> Tensor:
        below = transposed_convolution(g, self.weight, self.padding)
        if self.norm_below is None or self.shift_below is None:
            return below
        normed: Tensor = self.norm_below(below, self.shift_below)
        return normed

    def _rectify(self, y: Tensor) -> Tensor:
        out = F.leaky_relu(y, self.leak) if self.leak else F.relu(y)
        return self._dropped(out if self.pool is None else F.max_pool2d(out, self.pool))

    def _normed(self, y: Tensor, norm: BatchNorm | None, bias: Tensor) -> Tensor:
        if self.normalisation == "rms":
            return rms_norm(y, bias)
        if norm is None:
            return y + bias.to(y.dtype)[:, None, None]
        normed: Tensor = norm(y, bias)
        return normed

    def _normed_down(self, g: Tensor) -> tuple[Tensor, Moments | None]:
        if self.norm_down is not None and self.shift_down is not None:
            return self.norm_down.with_moments(g, self.shift_down)
        return (rms_norm(g) if self.normalisation == "rms" else g), None

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class LinearUnit(RenderingUnit):
    """Upwards: linear → + bias → AdaReLU. Downwards: mask → Wᵀ. No norm.

    Args:
        input_shape: of one image's input, (C, H, W) or (features,); maps are flattened.
        outputs: number of output features.
        rectify: False leaves the AdaReLU out, as at the logits.
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int, *, rectify: bool = True) -> None:
        super().__init__()
        layer = nn.Linear(math.prod(input_shape), outputs)  # for PyTorch's default initialisation
        self.weight = layer.weight
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.input_shape = input_shape
        self.rectify = rectify

    def shapes(self, below: tuple[int, ...]) -> Shapes:
        outputs, inputs = self.weight.shape
        if math.prod(below) != inputs:
            raise ValueError(f"a linear layer of {inputs} inputs does not fit {below}")
        return Shapes((outputs,) if self.rectify else None, None, (outputs,))

    def ascend(self, f: Tensor, state: ReLUState | None, damping: float) -> Step:
        f = F.linear(f.flatten(1), self.weight, self.bias)
        return Step(*ada_relu(f, state, damping)) if self.rectify else Step(f, None)

    def descend(self, g: Tensor, state: Any) -> Step:
        if self.rectify:
            g, state = ada_relu_feedback(g, state)
        return Step(self._transposed(g), state)

    def render(self, g: Tensor, state: ReLUState | None) -> Rendered:
        if state is None:
            return Rendered(self._transposed(g), None, None)
        switched, _ = ada_relu_feedback(g, state)
        return Rendered(self._transposed(switched), switched, None)

    def plain(self, f: Tensor) -> Tensor:
        f = F.linear(f.flatten(1), self.weight, self.bias)
        return F.relu(f) if self.rectify else f

    def latents(self, state: ReLUState | None) -> Latents | None:
        return None if state is None else Latents((state.drive > 0).to(self.weight.dtype))

    def state(self, latents: Latents | None) -> ReLUState | None:
        return None if latents is None else ReLUState(latents.switches - 0.5)

    def _transposed(self, g: Tensor) -> Tensor:
        below = (g @ self.weight).view(-1, *self.input_shape)
        return below.contiguous(memory_format=torch.channels_last) if below.dim() == 4 else below


class AverageUnit(RenderingUnit):
    """Upwards: average over the map → linear → + bias. Downwards: Wᵀ, an even share to every pixel.

    The row y of the weight is the template of class y, and the bias its log-prior.

    Args:
        channels: of the map.
        sides: height and width of the map.
        outputs: number of classes.
    """

    def __init__(self, channels: int, sides: tuple[int, int], outputs: int) -> None:
        super().__init__()
        layer = nn.Linear(channels, outputs)
        self.weight = layer.weight
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.sides = sides

    def shapes(self, below: tuple[int, ...]) -> Shapes:
        outputs, inputs = self.weight.shape
        if below != (inputs, *self.sides):
            raise ValueError(f"an average over {(inputs, *self.sides)} does not fit {below}")
        return Shapes(None, None, (outputs,))

    def ascend(self, f: Tensor, state: None, damping: float) -> Step:
        return Step(self.plain(f), None)

    def descend(self, g: Tensor, state: None) -> Step:
        return Step(self.render(g, None).below, None)

    def render(self, g: Tensor, state: None) -> Rendered:
        share = (g @ self.weight) / math.prod(self.sides)
        below = share[:, :, None, None].expand(-1, -1, *self.sides)
        return Rendered(below.contiguous(memory_format=torch.channels_last), None, None)

    def plain(self, f: Tensor) -> Tensor:
        return F.linear(f.mean((2, 3)), self.weight, self.bias)

    def lower(self, f: Tensor) -> Tensor:
        """As `ConvUnit.lower`, with the sign turned again: the classifier has no latents."""
        return F.linear(-f.mean((2, 3)), self.weight, self.bias)

    def latents(self, state: None) -> None:
        return None

    def state(self, latents: Latents | None) -> None:
        return None
