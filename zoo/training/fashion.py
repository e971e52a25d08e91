"""What `cnnf-robust` and `cnn-robust` share: data, training, the lines of their cards, and export.

The two recipes differ in one number, the iterations of the loop, so that their comparison is fair.
"""

from dataclasses import dataclass
from typing import Any, Literal

from zoo import data
from zoo.models.cnnf import CNNF
from zoo.training.adversarial import AdversarialSettings, finish, fit
from zoo.training.run import Run
from zoo.training.settings import option

__all__ = ["PRESETS", "FashionSettings", "train_on_fashion_mnist"]

SAMPLE = "fashion-mnist-sample"
CORRUPTED = [
    f"accuracy-{kind}-{severity}"
    for kind in ("noise", "blur", "occlusion")
    for severity in (1, 2, 3)
]
LINES = [
    ("fashion-mnist", 10_000, "accuracy"),
    *((SAMPLE, 1_000, metric) for metric in ("accuracy", *CORRUPTED, "accuracy-pgd40")),
]
SMOKE_LINES = [(SAMPLE, 100, metric) for metric in ("accuracy", *CORRUPTED)]

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "dataset": SAMPLE,
        "epochs": 1,
        "images": 256,
        "batch_size": 64,
        "attack_steps": 2,
        "tag": "smoke",
    },
    "cpu": {"epochs": 2, "batch_size": 64, "precision": "bfloat16", "threads": 1},
}
"""`smoke` trains on packaged test images: it shows that the path works, no more."""


@dataclass(frozen=True)
class FashionSettings(AdversarialSettings):
    """The released settings for Fashion-MNIST."""

    dataset: Literal["fashion-mnist", "fashion-mnist-sample"] = option(
        "fashion-mnist", "what to train on; the sample is for smoke runs"
    )


def train_on_fashion_mnist(config: FashionSettings, run: Run, *, card: str) -> None:
    """Train, measure and export the network of `card`."""
    smoke = config.dataset == SAMPLE
    source = data.load(config.dataset, config.data, "test" if smoke else "train")
    if not smoke:
        data.load(config.dataset, config.data, "test")  # better missed now than after the training
    model = CNNF(iterations=config.iterations)
    fit(model, source, config, run)
    finish(model, config, run, card=card, lines=SMOKE_LINES if smoke else LINES)
