"""From a trained model to a card folder that the zoo loads."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

import zoo
from tests.sample_card import card_json, weights_json, write_card
from tests.training.toy import open_run
from zoo import training
from zoo.models.cnnf import CNNF
from zoo.publish import publish
from zoo.registry import Metric, read_card
from zoo.weights import hash_file

METRICS = [Metric("fashion-mnist", "test", "accuracy", 0.5, 100, "zoo verify tiny --metrics")]


@pytest.fixture(scope="module")
def model() -> CNNF:
    torch.manual_seed(0)
    return CNNF(iterations=1).eval()


@pytest.fixture
def run(tmp_path):
    with open_run(tmp_path / "run") as run:
        yield run


def test_the_zoo_loads_what_was_exported(tmp_path, run, model):
    template = write_card(tmp_path, card_json("tiny"))
    folder = training.export(
        run, model, card=template, tag="short", metrics=METRICS, dtype="float16"
    )
    assert folder == run.folder / "card"
    names = {"config.json", "README.md", "model.safetensors", "golden.safetensors"}
    assert {path.name for path in folder.iterdir()} == names
    loaded = zoo.create(f"local-dir:{folder}", pretrained=True)
    expected = training.rounded(model, "float16").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    with safe_open(folder / "golden.safetensors", "pt") as golden:
        logits = loaded(golden.get_tensor("input.images"))
        assert torch.allclose(logits, golden.get_tensor("output.logits"), atol=1e-5)


def test_quantised_weights_are_loaded_verified_and_may_be_published(home, tmp_path, run, model):
    template = write_card(tmp_path, card_json("tiny"))
    folder = training.export(run, model, card=template, tag="short", metrics=METRICS, dtype="int8")
    entry = read_card(folder).weights["short"]
    assert entry.dtype == "int8"
    assert entry.parameters == sum(each.numel() for each in model.parameters())
    assert ", int8 |" in (folder / "README.md").read_text()
    name = f"local-dir:{folder}"
    expected = training.rounded(model, "int8").state_dict()
    loaded = zoo.create(name, pretrained=True).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.items())
    report = zoo.verify(name)
    assert report.ok
    assert len(report.golden) == 1
    assert publish(name, "acme/tiny", dry_run=True).repo == "acme/tiny"


def test_the_card_says_how_the_weights_were_made(tmp_path, run, model):
    template = write_card(tmp_path, card_json("tiny"))
    folder = training.export(run, model, card=template, tag="short", metrics=METRICS)
    card = read_card(folder)
    weights = card.weights["short"]
    assert card.default == "short"
    assert weights.sha256 == hash_file(folder / "model.safetensors")
    assert weights.bytes == (folder / "model.safetensors").stat().st_size
    assert weights.parameters == sum(each.numel() for each in model.state_dict().values())
    assert weights.golden.sha256 == hash_file(folder / "golden.safetensors")
    assert weights.dtype == "float32"
    assert weights.hub.repo is None
    assert weights.metrics == tuple(METRICS)
    assert weights.trained.command == "python toy.py"
    assert weights.trained.commit == run.facts["commit"]
    assert run.facts["result"]["sha256"] == weights.sha256


def test_the_same_weights_make_the_same_bytes(tmp_path, model):
    template = write_card(tmp_path, card_json("tiny"))
    written = []
    for name in ("a", "b"):
        with open_run(tmp_path / name) as run:
            folder = training.export(run, model, card=template, tag="short", metrics=METRICS)
        written.append((folder / "model.safetensors").read_bytes())
    assert written[0] == written[1]
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_other_weights_and_the_prose_are_kept(tmp_path, run, model):
    template = write_card(tmp_path, card_json("tiny", "old"))
    (template / "model.safetensors").write_bytes(b"old weights")
    (template / "golden.safetensors").write_bytes(b"old golden")
    training.export(run, model, card=template, tag="old", metrics=METRICS)
    readme = run.folder / "card" / "README.md"
    readme.write_text(readme.read_text() + "\nWritten by hand.\n")
    adopted = (run.folder / "card").rename(tmp_path / "adopted")
    folder = training.export(run, model, card=adopted, tag="new", metrics=METRICS)
    card = read_card(folder)
    assert card.default == "old"
    assert card.weights["new"].file == "model.new.safetensors"
    assert card.weights["old"] == read_card(adopted).weights["old"]
    for name in ("model.safetensors", "golden.safetensors"):
        assert (folder / name).read_bytes() == (adopted / name).read_bytes()
    assert "Written by hand." in (folder / "README.md").read_text()
    assert zoo.create(f"local-dir:{folder}#new", pretrained=True).training is False


def test_new_weights_lose_the_old_pin(tmp_path, run, model):
    pin = {"repo": "org/tiny", "revision": "a" * 40}
    entry = weights_json("short", hub=pin, config={"damping": 0.2})
    template = write_card(tmp_path, card_json("tiny", "short", weights={"short": entry}))
    folder = training.export(run, model, card=template, tag="short", metrics=METRICS)
    weights = read_card(folder).weights["short"]
    assert weights.hub.repo is None
    assert dict(weights.config) == {"damping": 0.2}


def test_a_second_export_replaces_the_first(tmp_path, run, model):
    template = write_card(tmp_path, card_json("tiny"))
    training.export(run, model, card=template, tag="short", metrics=METRICS)
    folder = training.export(
        run, model, card=template, tag="short", metrics=METRICS, dtype="bfloat16"
    )
    assert read_card(folder).weights["short"].dtype == "bfloat16"
    assert not (run.folder / "card.old").exists()


def failing_export(tmp_path: Path, run: training.Run, broken: nn.Module, dtype: str) -> str:
    template = write_card(tmp_path, card_json("tiny"))
    with pytest.raises(training.ExportError) as caught:
        training.export(run, broken, card=template, tag="short", metrics=METRICS, dtype=dtype)
    assert not list(run.folder.glob("card*"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "dtype", "problem"),
    [
        (float("nan"), "float32", "holds NaN or infinity"),
        (float("inf"), "bfloat16", "holds NaN or infinity"),
        (1e6, "float16", "1e+06 is too large for float16"),
        (0.0, "float8", "dtype: expected one of float32, float16, bfloat16, int8; found 'float8'"),
    ],
)
def test_weights_that_make_no_sound_file_are_refused(tmp_path, run, value, dtype, problem):
    broken = CNNF(iterations=1)
    with torch.no_grad():
        next(broken.parameters()).view(-1)[3] = value
    assert problem in failing_export(tmp_path, run, broken, dtype)


def test_a_model_of_another_architecture_is_refused(tmp_path, run):
    text = failing_export(tmp_path, run, CNNF(iterations=1, num_classes=7), "float32")
    assert "the model is not the one of" in text
    assert "weight" in text


def test_a_failure_leaves_the_last_export_whole(tmp_path, run, model, monkeypatch):
    template = write_card(tmp_path, card_json("tiny"))
    folder = training.export(run, model, card=template, tag="short", metrics=METRICS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(training.FileError, match="No space left"):
        training.export(run, model, card=template, tag="other", metrics=METRICS)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in run.folder.glob("card*")] == ["card"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_rounded_model_is_what_a_user_gets(dtype):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    twin = training.rounded(model, dtype)
    stored = model[0].weight.to(getattr(torch, dtype)).float()
    assert torch.equal(twin[0].weight, stored)
    assert twin[0].weight.dtype == torch.float32
    assert not twin.training
    assert model.training
    again = training.rounded(twin, dtype)
    assert torch.equal(again[0].weight, twin[0].weight)


def test_weights_without_a_card_are_recorded(run):
    path = training.save_weights(run, nn.Linear(2, 1))
    result = json.loads((run.folder / "run.json").read_text())["result"]
    assert result == {
        "file": "model.safetensors",
        "sha256": hash_file(path),
        "bytes": path.stat().st_size,
    }
