"""CNN-F on a Wide ResNet for 32 × 32 colour images, such as CIFAR-10.

The network of arXiv 2007.09200 and its released code: a Wide ResNet 40-2 with pre-activation
blocks, in which an RMS norm and a bias stand for batch norm, so that passes and images stay
independent. The feedback reaches the output of the fifth block of the first stage
(`feedback_to=5`), or the pixels (`feedback_to=0`). With `iterations=0` it is its own baseline.

Bottom-up, a block is the ordinary one:

    a = AdaReLU(N(x) + b₁),  r = conv₂(AdaReLU(N(conv₁ a) + b₂)),  out = r + x  or  r + shortcut(a)

and top-down it is read backwards, with the masks of the latest bottom-up pass:

    u = mask₂(N(conv₂ᵀ g)),  u = N(conv₁ᵀ u) [+ shortcutᵀ g],  below = mask₁(u) [+ g]
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.adaptive import (
    ReLUState,
    ada_relu,
    ada_relu_feedback,
    conv_feedback,
    rms_norm,
)
from zoo.models.feedback import FeedbackNetwork, FeedbackUnit, Prediction, Step

IMAGE_SHAPE = (3, 32, 32)
FINAL_SIDE = 8
"""Height and width of the last feature maps, averaged over before the classifier."""


class Stem(FeedbackUnit):
    """The first convolution, without a non-linearity of its own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = _kernel(inputs, outputs, 3)

    def ascend(self, f: Tensor, state: None, damping: float) -> Step:
        return Step(self.plain(f), None)

    def descend(self, g: Tensor, state: None) -> Step:
        return Step(conv_feedback(g, self.weight, padding=1), None)

    def plain(self, f: Tensor) -> Tensor:
        return F.conv2d(f, self.weight, padding=1)


class BlockState(NamedTuple):
    """Latent state of a `Block`."""

    relu1: ReLUState
    relu2: ReLUState


class Block(FeedbackUnit):
    """Pre-activation residual block of two 3 × 3 convolutions.

    Args:
        inputs: channels of the input.
        outputs: channels of the output; where they differ, the shortcut is a 1 × 1 convolution.
        stride: of the first convolution and of the shortcut.
        reported: whether the block reports its input and the reconstruction of it.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, reported: bool) -> None:
        super().__init__()
        self.bias1 = nn.Parameter(torch.zeros(inputs))
        self.weight1 = _kernel(inputs, outputs, 3)
        self.bias2 = nn.Parameter(torch.zeros(outputs))
        self.weight2 = _kernel(outputs, outputs, 3)
        self.shortcut = _kernel(inputs, outputs, 1) if inputs != outputs else None
        self.stride, self.reported = stride, reported

    def ascend(self, f: Tensor, state: BlockState | None, damping: float) -> Step:
        relu1, relu2 = state if state is not None else (None, None)
        a, relu1 = ada_relu(rms_norm(f, self.bias1), relu1, damping)
        r, relu2 = ada_relu(rms_norm(self._conv1(a), self.bias2), relu2, damping)
        out = F.conv2d(r, self.weight2, padding=1) + self._shortcut(f, a)
        return Step(out, BlockState(relu1, relu2), f if self.reported else None)

    def descend(self, g: Tensor, state: BlockState) -> Step:
        u = rms_norm(conv_feedback(g, self.weight2, padding=1))
        u, relu2 = ada_relu_feedback(u, state.relu2)
        u = rms_norm(conv_feedback(u, self.weight1, stride=self.stride, padding=1))
        if self.shortcut is not None:
            u = u + conv_feedback(g, self.shortcut, stride=self.stride, padding=0)
        u, relu1 = ada_relu_feedback(u, state.relu1)
        if self.shortcut is None:
            u = u + g
        return Step(u, BlockState(relu1, relu2), u if self.reported else None)

    def plain(self, f: Tensor) -> Tensor:
        a = F.relu(rms_norm(f, self.bias1))
        r = F.relu(rms_norm(self._conv1(a), self.bias2))
        return F.conv2d(r, self.weight2, padding=1) + self._shortcut(f, a)

    def _conv1(self, a: Tensor) -> Tensor:
        return F.conv2d(a, self.weight1, stride=self.stride, padding=1)

    def _shortcut(self, f: Tensor, a: Tensor) -> Tensor:
        if self.shortcut is None:
            return f
        return F.conv2d(a, self.shortcut, stride=self.stride)


class Classifier(FeedbackUnit):
    """Norm, bias, AdaReLU, average over the map, linear. Top-down the average is a plain copy.

    Copying does not divide by the number of pixels; the norm that follows removes the scale.
    Reports its input.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.norm_bias = nn.Parameter(torch.zeros(inputs))
        self.weight = nn.Linear(inputs, classes).weight  # for PyTorch's default initialisation
        self.bias = nn.Parameter(torch.zeros(classes))

    def ascend(self, f: Tensor, state: ReLUState | None, damping: float) -> Step:
        a, relu = ada_relu(rms_norm(f, self.norm_bias), state, damping)
        return Step(self._linear(a), relu, f)

    def descend(self, g: Tensor, state: ReLUState) -> Step:
        template = (g @ self.weight)[:, :, None, None]
        u = template.expand(-1, -1, FINAL_SIDE, FINAL_SIDE)
        u = rms_norm(u.contiguous(memory_format=torch.channels_last))
        u, relu = ada_relu_feedback(u, state)
        return Step(u, relu, u)

    def plain(self, f: Tensor) -> Tensor:
        return self._linear(F.relu(rms_norm(f, self.norm_bias)))

    def _linear(self, a: Tensor) -> Tensor:
        return F.linear(a.mean((2, 3)), self.weight, self.bias)


class CNNFWideResNet(FeedbackNetwork):
    """CNN-F on a Wide ResNet for 32 × 32 colour images.

    Args:
        depth: 6 n + 4 for n blocks in each of the three stages.
        widen_factor: the stages have 16, 32 and 64 times so many channels.
        num_classes: number of logits.
        feedback_to: how many blocks of the first stage lie below the loop, 1 to n; or 0 for
            feedback to the pixels.
        iterations: K, feedback passes after the first bottom-up pass; 0 is the plain network.
        damping: η, the step of features and pre-activations towards their reconstruction.
        prediction: "average" of y_0 … y_K, or the "last".

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        *,
        depth: int = 40,
        widen_factor: int = 2,
        num_classes: int = 10,
        feedback_to: int = 5,
        iterations: int = 2,
        damping: float = 0.1,
        prediction: Prediction = "average",
    ) -> None:
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth must be 6 n + 4 with n of at least 1, found {depth}")
        if widen_factor < 1:
            raise ValueError(f"widen_factor must be at least 1, found {widen_factor}")
        if not 0 <= feedback_to <= blocks:
            raise ValueError(f"feedback_to must lie in 0 … {blocks}, found {feedback_to}")
        units: list[FeedbackUnit] = [Stem(IMAGE_SHAPE[0], 16)]
        inputs = 16
        for stage, width in enumerate((16, 32, 64)):
            for index in range(blocks):
                # The input of a later stage is the output of the one before, which is reported.
                first = stage > 0 and index == 0
                stride = 2 if first else 1
                units.append(Block(inputs, width * widen_factor, stride=stride, reported=first))
                inputs = width * widen_factor
        units.append(Classifier(inputs, num_classes))
        super().__init__(
            units,
            image_shape=IMAGE_SHAPE,
            loop_from=feedback_to + 1 if feedback_to else 0,
            iterations=iterations,
            damping=damping,
            prediction=prediction,
        )


def _kernel(inputs: int, outputs: int, side: int) -> nn.Parameter:
    """A convolution's weight (outputs, inputs, side, side) from N(0, 2 / (side² outputs))."""
    weight = torch.empty(outputs, inputs, side, side)
    return nn.Parameter(weight.normal_(std=math.sqrt(2.0 / (side**2 * outputs))))
