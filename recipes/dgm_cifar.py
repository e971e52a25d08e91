"""Train the deconvolutional generative model on CIFAR-10 with few labels: AllConv13.

The network, the batch and the weights of the terms are those of the released code for CIFAR-10 with
4,000 labels; the optimiser and its schedule are this project's own. The weights that do best on
images held out of the training set are kept; the test set is only measured.

4.4 million parameters and some hundred thousand steps are for a GPU: `--preset gpu` is that run,
and has not been done by us. `--preset cpu` is a bounded run on one CPU core, of a narrow network
with other weights of the terms. `--smoke` runs the whole path on the packaged sample of grey test
images.
"""

from dataclasses import dataclass
from typing import Any, Literal

from zoo import data, training
from zoo.data.images import coloured
from zoo.models.dgm import DGM
from zoo.registry import cards_folder, read_card
from zoo.training.few_labels.fit import fit
from zoo.training.few_labels.networks import ALL_CONV_13, all_conv_13
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.finish import Line, finish
from zoo.training.settings import option

SAMPLE = "fashion-mnist-sample"
CARD = "dgm-cifar"

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "dataset": SAMPLE,
        "labels": 20,
        "validation": 10,
        "steps": 2,
        "batch_size": 8,
        "widths": (4,) * len(ALL_CONV_13),
        "evaluate_every": 2,
        "tag": "smoke",
    },
    "cpu": {
        "widths": (24, 24, 24, 48, 48, 48, 96, 48, 24),
        "steps": 6_000,
        "batch_size": 64,
        "learning_rate": 5e-3,
        "evaluate_every": 500,
        "precision": "bfloat16",
        "threads": 1,
        # Those of the card of Fashion-MNIST: short trainings do not bear the released ones.
        "reconstruction_weight": 0.03,
        "entropy_weight": 0.5,
        "moment_weight": 0.005,
        "path_weight": 0.02,
        "min_weight": 0.1,
        "tag": "labels-4000-narrow",
    },
    "gpu": {"steps": 200_000, "precision": "bfloat16"},
}
LINES = [
    Line("cifar-10", 10_000, "accuracy"),
    Line("cifar-10", 1_000, "reconstruction-error"),
    Line("cifar-10", 5_000, "frechet-renderings-resnet20"),
    Line("cifar-10", 5_000, "frechet-renderings-resnet20-of-real"),
]
"""What the card will say, the headline first."""


@dataclass(frozen=True)
class Config(FewLabelsSettings):
    """The released network, and the released weights of the terms."""

    labels: int | None = option(4000, "labelled images, balanced; none: all", metavar="N")
    steps: int = option(200_000, "steps of the optimiser")
    batch_size: int = option(128, "images per step, for all methods alike")
    learning_rate: float = option(1e-3, "of AdamW, the largest of its schedule")
    translate: int = option(4, "pixels by which training images are shifted at most; all methods")
    flip: bool = option(True, "whether training images are mirrored at random; all methods")
    validation: int = option(5000, "images held out to choose the best weights")
    evaluate_every: int = option(1000, "steps between two looks at the validation images")
    reconstruction_weight: float = option(0.5, "of the rendering's squared distance to the image")
    entropy_weight: float = option(0.5, "of the entropy of the predictions")
    moment_weight: float = option(0.5, "of the distance between moments, bottom-up and top-down")
    path_weight: float = option(1.0, "of the rendering path's negative log prior")
    min_weight: float = option(0.5, "of the cross-entropy of the worst latents, from 0 to 1")
    tag: str = option("labels-4000", "tag of the weights in the card")
    widths: tuple[int, ...] = option(ALL_CONV_13, "channels of the nine convolutions")
    dataset: Literal["cifar-10", "fashion-mnist-sample"] = option(
        "cifar-10", "what to train on; the sample is for smoke runs"
    )


def train(config: Config, run: training.Run) -> None:
    smoke = config.dataset == SAMPLE
    if smoke:
        source = coloured(data.load(SAMPLE, config.data, "test"))
    else:
        data.load("cifar-10", config.data, "test")  # better missed now than after the training
        source = data.load("cifar-10", config.data, "train")
    arguments = all_conv_13(config.widths)
    predictor = fit(DGM(**arguments), source, config, run)
    usual = read_card(cards_folder() / CARD).config
    finish(
        run,
        predictor,
        card=CARD,
        tag=config.tag,
        lines=[] if smoke else LINES,
        data=config.data,
        dtype="float16",
        config={name: value for name, value in arguments.items() if usual[name] != value},
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
