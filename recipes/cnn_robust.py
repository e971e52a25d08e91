"""Train the plain CNN of the size of CNN-F on Fashion-MNIST, against the same attack: its baseline.

The network, the data, the attack, the schedule and the seed are those of `recipes/cnnf_robust.py`;
only the feedback is missing. The default is the full schedule: 200 epochs, batch 256, float32.
`--preset cpu` is a short run for a machine without a GPU; `--smoke` runs the whole path in under a
minute.
"""

from dataclasses import dataclass

from zoo import training
from zoo.training.fashion import PRESETS, FashionSettings, train_on_fashion_mnist


@dataclass(frozen=True)
class Config(FashionSettings):
    """The released settings of the baseline: as CNN-F, with K = 0."""

    iterations: int = training.option(0, "K, iterations of the feedback loop in training")


def train(config: Config, run: training.Run) -> None:
    train_on_fashion_mnist(config, run, card="cnn-robust")


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name="cnn-robust", doc=__doc__)
