"""Train a disentangled, controllable StyleGAN on robot scenes from a few labels.

A generator is told the values of named factors, an encoder that shares the discriminator's trunk
reads them from images. `--labels` says how many of the 18,000 scenes for training have labels: none
(Info-StyleGAN), some or all (Semi-StyleGAN). After Nie et al., ICML 2020, arXiv 2003.03461, in the
form of the authors' predecessor code; what differs is in the card.

`--method supervised` trains the encoder alone on the labelled scenes, `--method plain` a StyleGAN
of the same size without codes: the baselines.

`--preset cpu` is a bounded run on one CPU core, at 32 pixels and for six factors: that of the
weights in the card. `--preset gpu` (64 pixels, nine factors, the card's sizes) is meant for one GPU
and has not been run by us. `--smoke` runs the whole path on packaged scenes in under a minute. The
scenes come from `zoo simulate robot --size 64 --count 20000`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from zoo import training
from zoo.data import robot_scenes
from zoo.training import option
from zoo.training.disentangled import scenes
from zoo.training.disentangled.presets import BOUNDED, SMOKE
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.finish import Line

CARD = "stylegan-disentangled-robot64"

OWN: dict[str, Any] = {"mapping_rate": 1.0}
"""What the small networks have besides."""
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {**SMOKE, **OWN},
    "cpu": {
        **BOUNDED,
        **OWN,
        "labels": 200,
        "images": (40_000, 28_000),
        "fade": 0.25,
        "r1_weight": 0.1,
        "code_weight_encoder": 3.0,
        "code_weight_generator": 3.0,
        "labelled_weight": 3.0,
        "smoothness_weight": 3.0,
        "compile": True,
        "factors": (
            "robot_x",
            "robot_y",
            "camera_height",
            "lighting_intensity",
            "lighting_y_dir",
            "wall_color",
        ),
        "tag": "labels-1pct",
    },
    "gpu": {
        "labels": 200,
        "images": (1_500_000,),
        "batch_size": 64,
        "learning_rate": 2e-3,
        "r1_every": 16,
        "ema_images": 20_000.0,
        "precision": "bfloat16",
        "compile": True,
        "tag": "labels-1pct",
    },
}

N = 2_000
READING = [Line("robot-scenes", N, name) for name in ("mig", "code-error")]
DRAWING = ("mig-gen", "mig-gen-shuffled", "code-error-gen", "frechet-oracle")
LINES = [
    *READING,
    *(Line("robot-scenes", N, name) for name in DRAWING),
    Line("robot-scenes", N, "frechet-oracle-of-real"),
    Line("robot-scenes", 1_984, "retrieval-top-1"),
    *(
        Line("robot-scenes", 200, name)
        for name in ("leak-mean", "leak-own-min", "leak-order-min", "z-spread")
    ),
]
"""What a card will say, the headline first."""


@dataclass(frozen=True)
class Config(DisentangledSettings):
    """Settings; without a preset, those of the predecessor code where it has them."""

    dataset: Literal["robot-scenes", "sample"] = option(
        "robot-scenes", "what to train on; the sample is for smoke runs"
    )


def train(config: Config, run: training.Run) -> None:
    sample = config.dataset == "sample"
    data = robot_scenes.sample() if sample else robot_scenes.load(config.data)
    model = scenes.train_on(data, config, run)
    if config.method == "semi-supervised":
        scenes.finish(model, config, run, card=CARD, lines=[] if sample else LINES)
    else:
        known = config.method == "supervised" and not sample
        scenes.keep(model, config, run, lines=READING if known else [])


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
