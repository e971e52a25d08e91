"""From scenes to networks: which factors, which size, what a card says of it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.disentangled.test_fit import SMALL, TINY, open_run, settings
from zoo.data import robot_scenes
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.fine_style_gan import FineStyleGAN
from zoo.simulations.robot_factors import FACTORS
from zoo.training.disentangled import scenes
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.settings import SettingsError, option


@dataclasses.dataclass(frozen=True)
class Fine(DisentangledSettings):
    """As the recipe of the editing model has them."""

    coarse_size: int = option(4, "side")


def test_factors_keep_the_order_of_the_data() -> None:
    config = settings(factors=("wall_color", "robot_x"))
    assert [each.name for each in scenes.chosen(config, FACTORS)] == ["robot_x", "wall_color"]
    assert scenes.chosen(settings(), FACTORS) == FACTORS
    assert scenes.chosen(settings(method="plain", factors=("robot_x",)), FACTORS) == ()
    with pytest.raises(SettingsError, match=r"factors: no factor 'robot_z' .did you mean"):
        scenes.chosen(settings(factors=("robot_z",)), FACTORS)


def test_images_are_averaged_to_grey_levels() -> None:
    images = torch.randint(0, 256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    small = scenes.resized(images, 4)
    blocks = images.double().view(3, 3, 4, 2, 4, 2).mean((3, 5))
    assert small.dtype == torch.uint8
    assert (small.double() - blocks).abs().max() <= 0.5
    assert scenes.resized(images, 8) is images
    with pytest.raises(
        SettingsError, match=r"image_size: .*a divisor of 8, the side of the images, not 3"
    ):
        scenes.resized(images, 3)


@pytest.mark.parametrize("method", ["semi-supervised", "supervised", "plain"])
def test_every_method_trains_what_a_card_can_hold(tmp_path: Path, method: str) -> None:
    options: dict[str, Any] = {**TINY, **SMALL, "channels": (4, 4), "images": (8,)}
    config = DisentangledSettings(**options, method=method, factors=("wall_color", "object_shape"))
    with open_run(tmp_path, config) as run:
        model = scenes.train_on(robot_scenes.sample(), config, run)
    assert isinstance(model, DisentangledStyleGAN)
    assert not model.training
    names = [each.name for each in model.factors]
    assert names == ([] if method == "plain" else ["object_shape", "wall_color"])
    assert model.layout.width == (0 if method == "plain" else 4)


def test_with_a_coarse_size_the_network_edits(tmp_path: Path) -> None:
    config = Fine(**{**TINY, **SMALL, "channels": (4, 4)}, factors=("wall_color",))
    with open_run(tmp_path, config) as run:
        model = scenes.network(config, scenes.chosen(config, FACTORS), run)
    assert isinstance(model, FineStyleGAN)
    assert model.coarse_size == 4


def test_a_card_is_told_only_what_differs() -> None:
    config = settings()
    asked = scenes.arguments(config, FACTORS[:1])
    frozen = ({"name": "object_shape", **{k: v for k, v in asked["factors"][0].items()}},)
    assert not scenes._differs(frozen, asked["factors"])
    assert scenes._differs(frozen, [])
    assert not scenes._differs((64, 32), [64, 32])
    assert scenes._differs(64, 32)
