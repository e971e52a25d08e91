"""Train a disentangled StyleGAN on Isaac3D, at 512 pixels and with all nine factors.

After Nie et al., ICML 2020, arXiv 2003.03461, in the form of the authors' predecessor code; what
differs is in the card. The schedule is the predecessor's: 8 to 512 pixels, 29.6 million images. One
batch size and one learning rate serve all sizes here. `--labels` images have labels: by default one
in a hundred.

Isaac3D has to be unpacked below `--data` (or ZOO_DATA) as `Isaac3D/images/000000.png` ..., see
`zoo.data.isaac3d`. The images are kept in memory, 0.8 MB each at 512 pixels: `--total` takes a
random part of them, the last tenth of which is for testing.

`--preset gpu` is meant for one GPU and `--preset cpu` is a bounded run at 32 pixels; neither has
been run by us. `--smoke` runs the whole path on packaged scenes in under a minute.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from zoo import training
from zoo.data import isaac3d, robot_scenes
from zoo.data.robot_scenes import Scenes, Split
from zoo.training import disentangled_reading, option
from zoo.training.disentangled import scenes
from zoo.training.disentangled.presets import BOUNDED, SMOKE
from zoo.training.disentangled.settings import DisentangledSettings

CARD = "stylegan-disentangled-isaac3d512"
SIZES = (8, 16, 32, 64, 128, 256, 512)
GROWING = 1_480_000
"""Images of a size on the way, fading in included, in the predecessor code."""
ALL = 29_600_000

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": SMOKE,
    "cpu": {
        **BOUNDED,
        "total": 20_000,
        "labels": 200,
        "images": (48_000, 32_000),
    },
    "gpu": {
        "total": 100_000,
        "labels": 1_000,
        "r1_every": 16,
        "ema_images": 20_000.0,
        "precision": "bfloat16",
        "compile": True,
    },
}


@dataclass(frozen=True)
class Config(DisentangledSettings):
    """The predecessor's sizes and schedule."""

    labels: int = option(7_373, "labelled images; 0 for none")
    image_size: int = option(512, "side of the images")
    sizes: tuple[int, ...] = option(SIZES, "sides of the images, growing, the last the full size")
    images: tuple[int, ...] = option(
        (GROWING // 2, *[GROWING] * 5, ALL - GROWING // 2 - 5 * GROWING),
        "real images to see at each size",
    )
    total: int = option(isaac3d.COUNT, "images of Isaac3D to take, the last tenth for testing")
    categorical: bool = option(False, "a one-hot code for the shape, which has no order")
    dataset: Literal["isaac3d", "sample"] = option(
        "isaac3d", "what to train on; the sample, of robot scenes, is for smoke runs"
    )
    tag: str = option("labels-1pct", "tag of the weights in the card")


def load(config: Config, split: Split) -> Scenes:
    """Images of a split, with ordinal factors unless asked otherwise."""
    if config.dataset == "sample":
        data = robot_scenes.sample()
        data = replace(data, images=scenes.resized(data.images, config.image_size))
    else:
        data = isaac3d.load(config.data, size=config.image_size, split=split, total=config.total)
    if config.categorical:
        return data
    return replace(data, factors=tuple(replace(each, categorical=False) for each in data.factors))


def train(config: Config, run: training.Run) -> None:
    model = scenes.train_on(load(config, "train"), config, run)
    if run.is_main and model.factors:
        run.record(held_out=disentangled_reading.read(model, load(config, "test")))
    scenes.finish(model, config, run, card=CARD, lines=[])


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
