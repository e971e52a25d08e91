"""Train a continuous normalising flow of images on Fashion-MNIST by flow matching.

Batches of noise and of dequantised images are paired by optimal transport, and a small U-Net learns
the velocity that carries the one to the other: no equation is solved in the training. The
likelihood of images is measured afterwards.

`--preset cpu` is a bounded run on one CPU core: that of the weights in the card. `--preset gpu` is
a larger one for one GPU and has not been run by us. `--smoke` runs the whole path on the packaged
sample of test images in under a minute.
"""

from dataclasses import dataclass
from typing import Any, Literal

from zoo import data, training
from zoo.models.image_cnf import ImageCNF
from zoo.registry import cards_folder, read_card
from zoo.training.finish import Line, finish
from zoo.training.image_flow import ImageFlowSettings, fit
from zoo.training.settings import option

SAMPLE = "fashion-mnist-sample"
CARD = "cnf-fashion-mnist"

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "dataset": SAMPLE,
        "steps": 4,
        "batch_size": 8,
        "width": 16,
        "blocks": 1,
        "tag": "smoke",
    },
    "cpu": {
        "steps": 6_000,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "precision": "bfloat16",
        "threads": 1,
    },
    "gpu": {"steps": 200_000, "width": 128, "blocks": 4, "ema": 0.9999, "precision": "bfloat16"},
}
FOREIGN = ("mnist", "upside-down", "negative", "constant", "noise")
BITS = ("bits-per-dimension", "bits-per-dimension-standard-error")
LINES = [
    *(Line("fashion-mnist", 1_000, metric) for metric in BITS),
    *(
        Line("fashion-mnist", 1_000, f"bits-per-dimension-of-{m}")
        for m in ("gaussian", "histogram")
    ),
    *(Line("fashion-mnist", 250, f"auroc-{name}-likelihood") for name in FOREIGN),
    *(Line("fashion-mnist", 250, f"auroc-mnist-{s}") for s in ("typicality", "norm", "energy")),
    *(Line("fashion-mnist", 250, f"auroc-{name}-together") for name in FOREIGN),
    *(Line(SAMPLE, 200, metric) for metric in BITS),
    *(Line(SAMPLE, 100, f"auroc-{name}-together") for name in ("constant", "noise")),
]
"""What the card will say, the headline first."""
SMOKE_LINES = [
    Line(SAMPLE, 4, "bits-per-dimension"),
    Line(SAMPLE, 8, "auroc-noise-together"),
]


@dataclass(frozen=True)
class Config(ImageFlowSettings):
    """A longer training than that of the card, with the card's network."""

    dataset: Literal["fashion-mnist", "fashion-mnist-sample"] = option(
        "fashion-mnist", "what to train on; the sample is for smoke runs"
    )


def train(config: Config, run: training.Run) -> None:
    smoke = config.dataset == SAMPLE
    images = data.load(config.dataset, config.data, "test" if smoke else "train").images
    if not smoke:
        data.load(config.dataset, config.data, "test")  # better missed now than after the training
    arguments: dict[str, Any] = {
        "width": config.width,
        "blocks": config.blocks,
        "alpha": config.alpha,
    }
    model = ImageCNF(**arguments)
    average = fit(model, images, config, run)
    usual = read_card(cards_folder() / CARD).config
    changes = {name: value for name, value in arguments.items() if usual[name] != value}
    lines = SMOKE_LINES if smoke else LINES
    finish(
        run,
        average.module,
        card=CARD,
        tag=config.tag,
        lines=lines,
        data=config.data,
        # Eight bits would cost 0.004 bits per dimension.
        dtype="bfloat16",
        config=changes,
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
