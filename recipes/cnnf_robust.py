"""Train CNN-F on Fashion-MNIST: by adversarial training as released, or to restore images.

The default is the released recipe of arXiv 2007.09200 in full: PGD on the first pass, 200 epochs,
batch 256, float32. `--preset cpu` is a short run of it for a machine without a GPU.

`--preset restoring` is the project's own training for the weights `restoring`: corrupted images in,
labels and clean pixels out, with the feedback down to the pixels; it is sized for one CPU core.
`--preset clean` does the same with images that are not corrupted.

`--smoke` runs the whole path on the packaged sample in under a minute.
"""

from dataclasses import dataclass

from zoo import training
from zoo.training.fashion import (
    CORRUPTED_IMAGES,
    PRESETS,
    FashionSettings,
    train_on_fashion_mnist,
)

RESTORING = {
    **CORRUPTED_IMAGES,
    "iterations": 2,
    "feedback_to": 0,
    "damping": 0.3,
    "reconstruction_weight": 5.0,
    "tag": "restoring",
}
PRESETS = {
    **PRESETS,
    "restoring": RESTORING,
    "clean": {**RESTORING, "kinds": (), "tag": "clean"},
    "restoring-smoke": {**RESTORING, **PRESETS["smoke"]},
}


@dataclass(frozen=True)
class Config(FashionSettings):
    """The released settings: K = 1, λ = 0.1, c = 0.1, PGD-7 on the first pass."""


def train(config: Config, run: training.Run) -> None:
    train_on_fashion_mnist(config, run, card="cnnf-robust")


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name="cnnf-robust", doc=__doc__)
