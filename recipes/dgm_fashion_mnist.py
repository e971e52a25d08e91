"""Train the deconvolutional generative model on Fashion-MNIST, with few labels or with all.

The network of the released code for small grey images. All methods that it is compared with are
options of the same training (`--method`); `python -m zoo.training.few_labels.study` trains them
all, on a network of half the channels. The weights that do best on images held out of the training
set are kept; the test set is only measured.

`--preset cpu` (1,000 labels) and `--preset cpu-all` (all labels) are bounded runs on one CPU core:
those of the weights in the card. `--preset gpu` has more steps, and has not been run by us.
`--smoke` runs the whole path on the packaged sample of test images.
"""

from dataclasses import dataclass
from typing import Any, Literal

from zoo import data, training
from zoo.models.dgm import DGM
from zoo.registry import cards_folder, read_card
from zoo.training.few_labels.fit import fit
from zoo.training.few_labels.networks import RELEASED, fashion
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.finish import Line, finish
from zoo.training.settings import option

SAMPLE = "fashion-mnist-sample"
CARD = "dgm-fashion-mnist"

BOUNDED: dict[str, Any] = {
    "steps": 8_000,
    "evaluate_every": 800,
    "precision": "bfloat16",
    "threads": 1,
}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "dataset": SAMPLE,
        "labels": 20,
        "validation": 10,
        "steps": 4,
        "batch_size": 16,
        "widths": (4, 4, 4, 8),
        "evaluate_every": 2,
        "tag": "smoke",
    },
    "cpu": BOUNDED,
    "cpu-all": {**BOUNDED, "labels": None, "steps": 12_000, "tag": "labels-all"},
    "gpu": {"steps": 100_000, "tag": "labels-1000-long"},
}

KINDS = ("noise", "blur", "occlusion")
RENDERINGS = ("reconstruction-error", "frechet-renderings-cnn-robust")
LINES = [
    Line("fashion-mnist", 10_000, "accuracy"),
    Line("fashion-mnist", 5_000, RENDERINGS[1]),
    Line("fashion-mnist", 5_000, f"{RENDERINGS[1]}-of-real"),
    *(Line(SAMPLE, 1_000, metric) for metric in ("accuracy", RENDERINGS[0])),
    *(Line(SAMPLE, 1_000, f"accuracy-{kind}-3") for kind in KINDS),
]
"""What the card will say, the headline first."""
SMOKE_LINES = [Line(SAMPLE, 100, metric) for metric in ("accuracy", RENDERINGS[0])]


@dataclass(frozen=True)
class Config(FewLabelsSettings):
    """The settings of the card, with 1,000 labels."""

    widths: tuple[int, ...] = option(RELEASED, "channels of the four convolutions")
    dataset: Literal["fashion-mnist", "fashion-mnist-sample"] = option(
        "fashion-mnist", "what to train on; the sample is for smoke runs"
    )


def train(config: Config, run: training.Run) -> None:
    smoke = config.dataset == SAMPLE
    source = data.load(config.dataset, config.data, "test" if smoke else "train")
    if not smoke:
        data.load(config.dataset, config.data, "test")  # better missed now than after the training
    arguments = fashion(config.widths)
    predictor = fit(DGM(**arguments), source, config, run)
    usual = read_card(cards_folder() / CARD).config
    finish(
        run,
        predictor,
        card=CARD,
        tag=config.tag,
        lines=SMOKE_LINES if smoke else LINES,
        data=config.data,
        dtype="float16",
        config={name: value for name, value in arguments.items() if usual[name] != value},
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
