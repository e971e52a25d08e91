"""Train a disentangled StyleGAN on CelebA, at 256 pixels, with chosen attributes as factors.

After Nie et al., ICML 2020, arXiv 2003.03461, in the form of the authors' predecessor code; what
differs is in the card. Which attributes the paper has could not be looked up, nor its schedule for
faces: the default takes eight of them, and the sizes and images of the predecessor's schedule for
another data set, up to 256 pixels. `--labels` images have labels: by default one in twenty. Codes
are drawn from theirs: attributes go together, and some are rare (`--codes uniform` for any).

CelebA has to be in torchvision's folder below `--data` (or ZOO_DATA); see `zoo.data.celeba`. Its
terms forbid commercial use. The decoded images take 32 GB: `--cache DIR` keeps them in a file.

`--preset gpu` is meant for one GPU and `--preset cpu` is a bounded run at 32 pixels; neither has
been run by us. `--smoke` runs the whole path on packaged scenes, no faces, in under a minute.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zoo import training
from zoo.data import celeba, robot_scenes
from zoo.data.robot_scenes import Scenes
from zoo.training import SettingsError, disentangled_reading, option
from zoo.training.disentangled import scenes
from zoo.training.disentangled.presets import BOUNDED, SMOKE
from zoo.training.disentangled.settings import DisentangledSettings

CARD = "stylegan-disentangled-celeba256"
SIZES = (8, 16, 32, 64, 128, 256)
GROWING = 1_480_000
"""Images of a size on the way, fading in included, in the predecessor code for Isaac3D."""
ALL = 29_600_000

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": SMOKE,
    "cpu": {
        **BOUNDED,
        "count": 20_000,
        "labels": 1_000,
        "images": (48_000, 32_000),
    },
    "gpu": {
        "r1_every": 16,
        "ema_images": 20_000.0,
        "precision": "bfloat16",
        "compile": True,
    },
}
TESTED = 2_000
"""Images of the test split that are read at the end."""


@dataclass(frozen=True)
class Config(DisentangledSettings):
    """The predecessor's sizes, up to 256 pixels."""

    labels: int = option(8_138, "labelled images; 0 for none")
    image_size: int = option(256, "side of the images")
    sizes: tuple[int, ...] = option(SIZES, "sides of the images, growing, the last the full size")
    images: tuple[int, ...] = option(
        (GROWING // 2, *[GROWING] * 4, ALL - GROWING // 2 - 4 * GROWING),
        "real images to see at each size",
    )
    attributes: tuple[str, ...] = option(
        celeba.DEFAULT, "of CelebA, spelt as there, that become factors", metavar="A,B,..."
    )
    codes: Literal["uniform", "labelled"] = option(
        "labelled", "codes that the generator is told: any, or those of labelled images"
    )
    count: int | None = option(None, "only so many training images, from the first on; none: all")
    cache: Path | None = option(
        None, "folder for the decoded images; none: they are kept in memory", metavar="DIR"
    )
    dataset: Literal["celeba", "sample"] = option(
        "celeba", "what to train on; the sample, of robot scenes, is for smoke runs"
    )
    tag: str = option("labels-5pct", "tag of the weights in the card")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._more_than_zero("count")
        try:
            celeba.factors(self.attributes)
        except ValueError as error:
            raise SettingsError(f"attributes: {error}") from None


def load(config: Config, split: Literal["train", "test"]) -> Scenes:
    """Images of a split, with the chosen attributes as factors."""
    if config.dataset == "sample":
        data = robot_scenes.sample()
        return replace(data, images=scenes.resized(data.images, config.image_size))
    return celeba.load(
        config.data,
        split=split,
        size=config.image_size,
        attributes=config.attributes,
        count=config.count if split == "train" else TESTED,
        cache=config.cache,
    )


def train(config: Config, run: training.Run) -> None:
    model = scenes.train_on(load(config, "train"), config, run)
    if run.is_main and model.factors:
        run.record(held_out=disentangled_reading.read(model, load(config, "test")))
    scenes.finish(model, config, run, card=CARD, lines=[])


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
