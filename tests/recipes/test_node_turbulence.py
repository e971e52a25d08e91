"""The recipe of the neural ODE of turbulence, on decays in closed form."""

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.training.toy import ROOT
from tests.turbulence_runs import write_ensemble
from zoo import registry, training
from zoo.data import decaying_turbulence
from zoo.metrics.turbulence import forecast, over_runs, pose, relative_errors
from zoo.training.turbulence.train import network

NAME = "node-turbulence"


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "recipes" / "node_turbulence.py"))


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("data") / "turbulence.safetensors")


def run_here(recipe: dict[str, Any], *argv: str) -> None:
    training.main(
        recipe["train"],
        recipe["Config"],
        presets=recipe["PRESETS"],
        name=NAME,
        doc=recipe["__doc__"],
        argv=argv,
    )


@pytest.fixture(scope="module")
def smoke(recipe: dict[str, Any], ensemble: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    run_here(recipe, "--smoke", "--data", str(ensemble), "--threads", "1", "--out", str(out))
    return out


def test_smoke_run_exports_a_forecaster_that_loads_and_verifies(
    smoke: Path, ensemble: Path
) -> None:
    where = f"local-dir:{smoke / 'card'}"
    if registry.cards()[NAME].default not in (None, "smoke"):
        where += "#smoke"
    report = zoo.verify(where, metrics=True, data=ensemble)
    assert report.ok and len(report.metrics) == 12
    assert all(line.measured is not None for line in report.metrics)
    model = zoo.create(where, pretrained=True)
    problem = pose(decaying_turbulence.load("test-seed", ensemble), "peak")
    errors = relative_errors(forecast(model, problem)["epsilon"], problem.epsilon)
    headline = report.metrics[0]
    assert (headline.metric, headline.split, headline.n) == ("epsilon-error", "test-seed", 4)
    assert headline.measured == pytest.approx(over_runs(errors).value, rel=1e-4)


def test_the_run_folder_has_the_tables_and_the_pictures(smoke: Path) -> None:
    with (smoke / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    models = list(dict.fromkeys(line["model"] for line in lines))
    assert models[:3] == ["neural ODE", "k-epsilon, 1.92", "k-epsilon, 11/6"]
    assert models[-1] == "LSTM" and len(models) == 10
    assert len(lines) == 10 * 4 * 2
    text = (smoke / "table.md").read_text()
    for title in ("Dissipation", "Energy", "Roll-out", "Spread", "Tries"):
        assert f"## {title}\n" in text
    first = next(line for line in lines if line["quantity"] == "epsilon")
    percent = f"{100 * float(first['error']):.1f} ± {100 * float(first['standard_error']):.1f} %"
    assert f"| neural ODE | {percent} |" in text
    # Its members alone: two rows of each quantity for the two ensembles.
    assert text.count("one member of 2") == 4
    for name in ("forecast.png", "error.png"):
        assert (smoke / name).read_bytes()[:4] == b"\x89PNG"
    record = json.loads((smoke / "run.json").read_text())
    assert [(each["kind"], each["chosen"]) for each in record["tries"]] == [
        ("ode", True),
        ("lstm", True),
    ]


def test_an_ensemble_without_validation_runs_is_refused(
    recipe: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    conditions = [("train", 0.012, "k4", (0,)), ("test-seed", 0.012, "k4", (6,))]
    monkeypatch.setattr("tests.turbulence_runs.CONDITIONS", conditions)
    path = write_ensemble(tmp_path / "few.safetensors")
    with pytest.raises(SystemExit):
        run_here(recipe, "--smoke", "--data", str(path), "--out", str(tmp_path / "run"))
    assert "no runs of the split 'validation'" in capsys.readouterr().err


def test_the_card_has_the_model_of_the_defaults(recipe: dict[str, Any]) -> None:
    config = recipe["Config"]()
    assert recipe["architecture"](config) == {}
    torch.manual_seed(0)
    own = network("ode", config).state_dict()
    twin = zoo.create(NAME, device="meta").state_dict()
    assert {name: each.shape for name, each in own.items()} == {
        name: each.shape for name, each in twin.items()
    }
    small = recipe["Config"](**recipe["PRESETS"]["smoke"])
    assert recipe["architecture"](small) == {"members": 2, "hidden": 4, "encoder": 4}
