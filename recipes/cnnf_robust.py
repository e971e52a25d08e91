"""Train CNN-F on Fashion-MNIST by adversarial training, the released recipe of arXiv 2007.09200.

The default is the full schedule: 200 epochs, batch 256, float32. `--preset cpu` is a short run for
a machine without a GPU; `--smoke` runs the whole path on the packaged sample in under a minute.
"""

from dataclasses import dataclass

from zoo import training
from zoo.training.fashion import PRESETS, FashionSettings, train_on_fashion_mnist


@dataclass(frozen=True)
class Config(FashionSettings):
    """The released settings: K = 1, λ = 0.1, c = 0.1, PGD-7 on the first pass."""


def train(config: Config, run: training.Run) -> None:
    train_on_fashion_mnist(config, run, card="cnnf-robust")


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name="cnnf-robust", doc=__doc__)
