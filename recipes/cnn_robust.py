"""Train the plain CNN of the size of CNN-F on Fashion-MNIST, in the same ways: its baseline.

The network, the data, the attack or the corruptions, the schedule and the seed are those of
`recipes/cnnf_robust.py`; only the feedback is missing. The default is the full adversarial
schedule: 200 epochs, batch 256, float32. `--preset cpu` is a short run of it for a machine without
a GPU.

`--preset corrupted` trains on corrupted images, as `--preset restoring` does there; `--preset
clean` on images as they are. `--smoke` runs the whole path in under a minute.
"""

from dataclasses import dataclass

from zoo import training
from zoo.training.fashion import (
    CORRUPTED_IMAGES,
    PRESETS,
    FashionSettings,
    train_on_fashion_mnist,
)

PRESETS = {
    **PRESETS,
    "corrupted": {**CORRUPTED_IMAGES, "tag": "corrupted"},
    "clean": {**CORRUPTED_IMAGES, "kinds": (), "tag": "clean"},
}


@dataclass(frozen=True)
class Config(FashionSettings):
    """The released settings of the baseline: as CNN-F, with K = 0."""

    iterations: int = training.option(0, "K, iterations of the feedback loop in training")


def train(config: Config, run: training.Run) -> None:
    train_on_fashion_mnist(config, run, card="cnn-robust")


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name="cnn-robust", doc=__doc__)
