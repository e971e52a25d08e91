"""CNN-F on 28 × 28 grey images: four convolutions and three linear layers, run in both directions.

The Fashion-MNIST network of arXiv 2007.09200 and its released code: 3 × 3 convolutions 1 → 16 → 32
→ 32 → 64 with 2 × 2 adaptive pools after the third and the fourth, then 3136 → 1000 → 128 → 10;
3,298,962 parameters. The feedback reaches the output of the second convolution (`feedback_to=2`),
or the pixels (`feedback_to=0`). With `iterations=0` it is its own baseline, the plain CNN.
"""

import math
from typing import Any, NamedTuple

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
    conv_feedback,
    rms_norm,
)
from zoo.models.feedback import FeedbackNetwork, FeedbackUnit, Prediction, Step

IMAGE_SHAPE = (1, 28, 28)
CHANNELS = (16, 32, 32, 64)
POOLS = (None, None, 2, 2)
HIDDEN = (1000, 128)


class ConvState(NamedTuple):
    """Latent state of a `ConvUnit`."""

    relu: ReLUState
    pool: PoolState | None


class ConvUnit(FeedbackUnit):
    """Bottom-up: conv → RMS norm → + bias → AdaReLU → AdaPool.

    Top-down: norm → unpool → mask → convᵀ.

    Reports its features after the AdaReLU, before the pool, where it has a pool.
    """

    def __init__(self, inputs: int, outputs: int, pool: int | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.pool = pool
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / (9 * outputs)))

    def ascend(self, f: Tensor, state: ConvState | None, damping: float) -> Step:
        relu, pool = state if state is not None else (None, None)
        f = self._linear(f)
        features, relu = ada_relu(f, relu, damping)
        if self.pool is None:
            return Step(features, ConvState(relu, None))
        out, pool = ada_pool(features, pool, self.pool)
        return Step(out, ConvState(relu, pool), features)

    def descend(self, g: Tensor, state: ConvState) -> Step:
        relu, pool = state
        g = rms_norm(g)
        if self.pool is not None and pool is not None:
            g, pool = ada_pool_feedback(g, pool, self.pool)
        g, relu = ada_relu_feedback(g, relu)
        below = conv_feedback(g, self.weight, padding=1)
        return Step(below, ConvState(relu, pool), None if self.pool is None else g)

    def plain(self, f: Tensor) -> Tensor:
        out = F.relu(self._linear(f))
        return out if self.pool is None else F.max_pool2d(out, self.pool)

    def _linear(self, f: Tensor) -> Tensor:
        y = F.conv2d(f, self.weight, padding=1)
        # A single input channel leaves the layout of the output open.
        return rms_norm(y.contiguous(memory_format=torch.channels_last), self.bias)


class LinearUnit(FeedbackUnit):
    """Bottom-up: linear → + bias → AdaReLU. Top-down: mask → Wᵀ. No norm.

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

    def ascend(self, f: Tensor, state: ReLUState | None, damping: float) -> Step:
        f = F.linear(f.flatten(1), self.weight, self.bias)
        return Step(*ada_relu(f, state, damping)) if self.rectify else Step(f, None)

    def descend(self, g: Tensor, state: Any) -> Step:
        if self.rectify:
            g, state = ada_relu_feedback(g, state)
        below = (g @ self.weight).view(-1, *self.input_shape)
        if below.dim() == 4:
            below = below.contiguous(memory_format=torch.channels_last)
        return Step(below, state)

    def plain(self, f: Tensor) -> Tensor:
        f = F.linear(f.flatten(1), self.weight, self.bias)
        return F.relu(f) if self.rectify else f


class CNNF(FeedbackNetwork):
    """CNN-F for 28 × 28 grey images.

    Args:
        num_classes: number of logits.
        feedback_to: the layer whose output the feedback reconstructs, 0 (the pixels) to 4; the
            layers below it run once.
        iterations: K, feedback passes after the first bottom-up pass; 0 is the plain CNN.
        damping: η, the step of features and pre-activations towards their reconstruction.
        prediction: "average" of y_0 … y_K, or the "last".

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        feedback_to: int = 2,
        iterations: int = 1,
        damping: float = 0.1,
        prediction: Prediction = "average",
    ) -> None:
        if not 0 <= feedback_to <= len(CHANNELS):
            raise ValueError(f"feedback_to must lie in 0 … {len(CHANNELS)}, found {feedback_to}")
        inputs = (IMAGE_SHAPE[0], *CHANNELS)
        units: list[FeedbackUnit] = [
            ConvUnit(*sizes) for sizes in zip(inputs, CHANNELS, POOLS, strict=False)
        ]
        shape: tuple[int, ...] = (CHANNELS[-1], 7, 7)
        for width in HIDDEN:
            units.append(LinearUnit(shape, width))
            shape = (width,)
        units.append(LinearUnit(shape, num_classes, rectify=False))
        super().__init__(
            units,
            image_shape=IMAGE_SHAPE,
            loop_from=feedback_to,
            iterations=iterations,
            damping=damping,
            prediction=prediction,
        )
