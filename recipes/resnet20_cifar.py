"""Train the ResNet-20 of arXiv 1512.03385 on CIFAR-10, as a network of features.

The default is the schedule of the paper: 64k steps of SGD on batches of 128 with random crops and
flips, float32. `--preset cpu` is a short training for one CPU core that has bfloat16 (AMX): twelve
epochs in half an hour, and 87 % of the test images. `--smoke` runs the whole path in under a minute
on the Fashion-MNIST images that come with the package, made 32 × 32 and grey in three channels: no
image of CIFAR-10 may come with it.
"""

from dataclasses import dataclass
from typing import Literal

from zoo import training
from zoo.data import load
from zoo.data.augment import crop_and_flip
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.data.images import coloured
from zoo.models.resnet_cifar import ResNetCIFAR
from zoo.training.classifier import DTYPE, ClassifierSettings, fit
from zoo.training.finish import Line, finish

LINES = [Line("cifar-10", 10_000, "accuracy")]
PRESETS = {
    "smoke": {
        "dataset": "fashion-mnist-sample",
        "epochs": 1,
        "images": 256,
        "batch_size": 32,
        "tag": "smoke",
    },
    "cpu": {
        "epochs": 12,
        "learning_rate": 0.2,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "warmup": 1000,
        "precision": "bfloat16",
        "threads": 1,
    },
}


@dataclass(frozen=True)
class Config(ClassifierSettings):
    """The settings of the paper."""

    dataset: Literal["cifar-10", "fashion-mnist-sample"] = training.option(
        "cifar-10", "what to train on; the sample is for smoke runs"
    )


def train(config: Config, run: training.Run) -> None:
    smoke = config.dataset == "fashion-mnist-sample"
    if smoke:
        source = coloured(fashion_mnist_sample())
    else:
        load("cifar-10", config.data, "test")  # better missed now than after the training
        source = load("cifar-10", config.data, "train")
    model = ResNetCIFAR()
    fit(model, source, config, run, augment=crop_and_flip)
    finish(
        run,
        model,
        card="resnet20-cifar",
        tag=config.tag,
        lines=[] if smoke else LINES,
        data=config.data,
        dtype=DTYPE,
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name="resnet20-cifar", doc=__doc__)
