"""CNN-F on 28 × 28 grey images: four convolutions and three linear layers, run in both directions.

The Fashion-MNIST network of arXiv 2007.09200 and its released code: 3 × 3 convolutions 1 → 16 → 32
→ 32 → 64 with 2 × 2 adaptive pools after the third and the fourth, then 3136 → 1000 → 128 → 10;
3,298,962 parameters. The feedback reaches the output of the second convolution (`feedback_to=2`),
or the pixels (`feedback_to=0`). With `iterations=0` it is its own baseline, the plain CNN.
"""

from zoo.models.feedback import Prediction
from zoo.models.rendering import RenderingNetwork
from zoo.models.units import ConvUnit, LinearUnit, RenderingUnit

IMAGE_SHAPE = (1, 28, 28)
CHANNELS = (16, 32, 32, 64)
POOLS = (None, None, 2, 2)
HIDDEN = (1000, 128)


class CNNF(RenderingNetwork):
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
        units: list[RenderingUnit] = [
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
