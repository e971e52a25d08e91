"""Train the network that reads the nine factors of the robot scenes: the oracle of the metrics.

All labels of the 18,000 training scenes of 64 × 64 pixels, the primitive arm; `zoo simulate robot
--size 64 --count 20000` draws them. It is tested on the last 2,000. `--image-size 32` averages them
to fewer pixels. The weights in the card are those of `--preset cpu` and `--preset cpu-32`, on one
CPU core that has bfloat16 (AMX). `--smoke` runs the whole path in under a minute on the scenes that
come with the package.
"""

from dataclasses import dataclass
from typing import Literal

from zoo import training
from zoo.data import robot_scenes
from zoo.metrics.controllability import error_names
from zoo.models.factor_encoder import FactorEncoder
from zoo.training.factor_encoder import DTYPE, FactorEncoderSettings, fit
from zoo.training.finish import Line, finish
from zoo.training.settings import SettingsError

CARD = "factor-encoder-robot64"
RENDERED = 64
TESTED = 2000
PRESETS = {
    "smoke": {"dataset": "sample", "epochs": 4, "batch_size": 8, "warmup": 2, "tag": "smoke"},
    "cpu": {"epochs": 6, "precision": "bfloat16", "threads": 1},
    "cpu-32": {
        "image_size": 32,
        "epochs": 10,
        "categorical_weight": 0.2,
        "precision": "bfloat16",
        "threads": 1,
        "tag": "primitive-32",
    },
}


@dataclass(frozen=True)
class Config(FactorEncoderSettings):
    """The settings of a training without haste."""

    image_size: int = training.option(64, "side of the images: 64, or a divisor of it")
    dataset: Literal["robot-scenes", "sample"] = training.option(
        "robot-scenes", "what to train on; the sample is for smoke runs"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < 16 or RENDERED % self.image_size:
            raise SettingsError(
                f"image_size: expected 16, 32 or {RENDERED}, found {self.image_size}"
            )


def train(config: Config, run: training.Run) -> None:
    smoke = config.dataset == "sample"
    if smoke:
        scenes = robot_scenes.sample()
    else:
        # Better missed now than after the training.
        robot_scenes.load(config.data, size=RENDERED, split="test", count=TESTED)
        scenes = robot_scenes.load(config.data, size=RENDERED, split="train")
    scenes = robot_scenes.at_size(scenes, config.image_size)
    model = FactorEncoder(factors=scenes.factors, image_size=config.image_size)
    fit(model, scenes.images, scenes.indices, config, run)
    names = ["code-error", "code-accuracy", "mig", *error_names(model.factors)]
    finish(
        run,
        model,
        card=CARD,
        tag=config.tag,
        lines=[] if smoke else [Line("robot-scenes", TESTED, name) for name in names],
        data=config.data,
        dtype=DTYPE,
        config={} if config.image_size == RENDERED else {"image_size": config.image_size},
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
