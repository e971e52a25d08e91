"""Train the network that reads the nine factors of the robot scenes: the oracle of the metrics.

All labels of the 18,000 training scenes of 64 × 64 pixels, the primitive arm; `zoo simulate robot
--size 64 --count 20000` renders them. It is tested on the last 2,000. The defaults are those of the
weights in the card; `--preset cpu` is the same on one CPU core that has bfloat16 (AMX).
`--smoke` runs the whole path in under a minute on the scenes that come with the package.
"""

from dataclasses import dataclass
from typing import Literal

from zoo import training
from zoo.data import robot_scenes
from zoo.metrics.controllability import error_names
from zoo.models.factor_encoder import FactorEncoder
from zoo.training.factor_encoder import DTYPE, FactorEncoderSettings, fit
from zoo.training.finish import Line, finish

CARD = "factor-encoder-robot64"
SIZE = 64
TESTED = 2000
PRESETS = {
    "smoke": {"dataset": "sample", "epochs": 4, "batch_size": 8, "warmup": 2, "tag": "smoke"},
    "cpu": {"epochs": 6, "precision": "bfloat16", "threads": 1},
}


@dataclass(frozen=True)
class Config(FactorEncoderSettings):
    """The settings of the weights in the card."""

    dataset: Literal["robot-scenes", "sample"] = training.option(
        "robot-scenes", "what to train on; the sample is for smoke runs"
    )


def train(config: Config, run: training.Run) -> None:
    smoke = config.dataset == "sample"
    if smoke:
        scenes = robot_scenes.sample()
    else:
        # Better missed now than after the training.
        robot_scenes.load(config.data, size=SIZE, split="test", count=TESTED)
        scenes = robot_scenes.load(config.data, size=SIZE, split="train")
    model = FactorEncoder(factors=scenes.factors, image_size=SIZE)
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
        config={},
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
