"""Train a StyleGAN that edits the fine factors of an image: light and colour of the wall.

The generator begins with an image averaged to a few pixels, is told codes of the fine factors and
has to draw an image that looks real and shows them. After "FC-StyleGAN", the predecessor of
Semi-StyleGAN-fine (Nie et al., ICML 2020, arXiv 2003.03461); what differs is in the card.

`--preset cpu` is a bounded run on one CPU core, at 32 pixels and for two factors: that of the
weights in the card. `--preset gpu` is meant for one GPU and has not been run by us. `--smoke` runs
the whole path on packaged scenes in under a minute. The scenes come from
`zoo simulate robot --size 64 --count 20000`; the editing of an unseen robot is measured on those of
`zoo simulate robot --size 64 --count 4000 --arm jaco`.
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

CARD = "stylegan-disentangled-fine-robot64"

OWN: dict[str, Any] = {
    "sizes": (32,),
    "coarse_size": 16,
    "mapping_rate": 1.0,
    "factors": ("lighting_intensity", "wall_color"),
}
"""What the small networks have besides."""
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {**SMOKE, **OWN, "images": (32,)},
    "cpu": {
        **BOUNDED,
        **OWN,
        "labels": 1_000,
        "images": (24_000,),
        "r1_weight": 0.1,
        "code_weight_encoder": 3.0,
        "code_weight_generator": 3.0,
        "labelled_weight": 3.0,
        "smoothness_weight": 3.0,
        "compile": True,
        "tag": "labels-5pct",
    },
    "gpu": {
        "labels": 1_000,
        "images": (1_500_000,),
        "batch_size": 64,
        "learning_rate": 2e-3,
        "r1_every": 16,
        "ema_images": 20_000.0,
        "precision": "bfloat16",
        "compile": True,
        "tag": "labels-5pct",
    },
}

N = 200
LINES = [
    Line("robot-scenes-jaco", N, name) for name in ("edit-leak", "edit-error", "edit-identity")
]
"""What a card will say, the headline first."""


@dataclass(frozen=True)
class Config(DisentangledSettings):
    """Settings; without a preset, those of the predecessor code where it has them."""

    labels: int = option(1_000, "labelled images")
    factors: tuple[str, ...] = option(
        ("object_scale", "lighting_intensity", "object_color", "wall_color"),
        "names of the fine factors",
    )
    coarse_size: int = option(16, "side that images are averaged to before they enter")
    tag: str = option("labels-5pct", "tag of the weights in the card")
    dataset: Literal["robot-scenes", "sample"] = option(
        "robot-scenes", "what to train on; the sample is for smoke runs"
    )


def train(config: Config, run: training.Run) -> None:
    sample = config.dataset == "sample"
    data = robot_scenes.sample() if sample else robot_scenes.load(config.data)
    model = scenes.train_on(data, config, run)
    scenes.finish(model, config, run, card=CARD, lines=[] if sample else LINES)


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
