"""The recipe of the latent ODE: smoke runs of every kind, and what is equal between the kinds."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.training.toy import ROOT
from zoo import registry, training
from zoo.data import spirals
from zoo.models.gru_forecaster import GRUForecaster
from zoo.training.forecasting.fit import network

NAME = "latent-ode-spirals"
KINDS = ("latent-ode", "gru", "gru-dt")


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "recipes" / "latent_ode_spirals.py"))


def run_here(recipe: dict[str, Any], *argv: str) -> None:
    training.main(
        recipe["train"],
        recipe["Config"],
        presets=recipe["PRESETS"],
        name=NAME,
        doc=recipe["__doc__"],
        argv=argv,
    )


def test_smoke_run_exports_a_forecaster_that_loads_and_verifies(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run_here(recipe, "--smoke", "--threads", "1", "--out", str(out))
    default = registry.cards()[NAME].default
    where = f"local-dir:{out / 'card'}" + ("" if default in (None, "smoke") else "#smoke")
    model = zoo.create(where, pretrained=True)
    batch = spirals.observe(spirals.load("test", 3), 20)
    found = model.forecast(batch.times, batch.values, batch.mask, batch.times_query, samples=2)
    assert found.mean.shape == (3, 100, 2) and found.samples.shape == (2, 3, 100, 2)
    assert zoo.verify(where, metrics=True).ok


@pytest.mark.parametrize("kind", ["gru", "gru-dt"])
def test_smoke_run_of_a_baseline_leaves_its_weights_and_errors(
    recipe: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run_here(recipe, "--smoke", "--kind", kind, "--threads", "1", "--out", str(out))
    model = GRUForecaster(recurrent=8, hidden=8, gaps=kind == "gru-dt")
    model.load_state_dict(load_file(out / "model.safetensors"))
    record = json.loads((out / "run.json").read_text())
    assert record["parameters"] == sum(each.numel() for each in model.parameters())
    assert set(record["errors"]) == {"validation", "test"}
    assert not (out / "card").exists()


def test_all_kinds_have_the_same_size_and_the_card_that_of_the_defaults(
    recipe: dict[str, Any],
) -> None:
    series = spirals.load("train", 2)
    made = [network(recipe["Config"](kind=kind), series) for kind in KINDS]
    own, *others = (sum(each.numel() for each in model.parameters()) for model in made)
    assert all(abs(other / own - 1) < 0.05 for other in others)
    card = registry.cards()[NAME]
    assert zoo.create(NAME, device="meta").state_dict().keys() == made[0].state_dict().keys()
    for name, tensor in zoo.create(NAME, device="meta").state_dict().items():
        assert tensor.shape == made[0].state_dict()[name].shape
    assert card.config["step"] == made[0].step and card.config["noise"] == spirals.NOISE
    assert torch.equal(made[0].shift, made[1].shift)
