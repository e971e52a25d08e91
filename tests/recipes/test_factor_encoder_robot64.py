"""The recipe of the network that reads factors: its settings, and its whole path."""

import dataclasses
import json
from pathlib import Path

import pytest

from recipes import factor_encoder_robot64 as recipe
from zoo.errors import DataError
from zoo.registry import cards_folder, read_card
from zoo.simulations.robot_factors import FACTORS
from zoo.training import SettingsError, main

SMOKE = {**recipe.PRESETS["smoke"], "epochs": 1}


def run(out: Path, *options: str) -> None:
    main(
        recipe.train,
        recipe.Config,
        presets={**recipe.PRESETS, "smoke": SMOKE},
        name=recipe.CARD,
        argv=[*options, "--out", str(out), "--threads", "1"],
    )


@pytest.mark.parametrize("size", [64, 32])
def test_the_whole_path_makes_a_card(tmp_path: Path, size: int) -> None:
    run(tmp_path / "run", "--smoke", "--image-size", str(size))
    card = json.loads((tmp_path / "run" / "card" / "config.json").read_text())
    weights = card["weights"]["smoke"]
    assert weights["dtype"] == "int8" and weights["bytes"] < 450_000
    assert weights.get("config", {}) == ({} if size == 64 else {"image_size": 32})
    assert weights["golden"]["bytes"] < 60_000


def test_the_card_is_of_all_nine_factors_and_says_its_sizes() -> None:
    card = read_card(cards_folder() / recipe.CARD)
    assert [dict(each) for each in card.config["factors"]] == [each.to_json() for each in FACTORS]
    assert {tag: dict(each.config) for tag, each in card.weights.items()} == {
        "primitive-64": {},
        "primitive-32": {"image_size": 32},
    }
    for tag, weights in card.weights.items():
        assert weights.bytes < 450_000
        values = {line.metric: line.value for line in weights.metrics}
        names = [f"code-error-{each.name.replace('_', '-')}" for each in FACTORS]
        # Eight factors of nine: what the shape is can hardly be seen.
        assert all(values[name] < 0.06 for name in names[1:]), tag
        mean = sum(values[name] for name in names) / len(names)
        assert values["code-error"] == pytest.approx(mean, abs=1e-5)


def test_scenes_that_are_missing_are_missed_before_the_training(tmp_path: Path) -> None:
    config = recipe.Config(data=tmp_path)
    with pytest.raises(DataError, match="zoo simulate robot"):
        recipe.train(config, None)  # type: ignore[arg-type]


def test_sizes_that_scenes_cannot_be_averaged_to_are_refused() -> None:
    with pytest.raises(SettingsError, match="image_size: expected 16, 32 or 64, found 48"):
        recipe.Config(image_size=48)
    assert dataclasses.asdict(recipe.Config(**recipe.PRESETS["cpu-32"]))["image_size"] == 32
