import dataclasses
import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.sample_card import card_json, weights_json, write_card
from zoo import data, golden
from zoo._tables import show_report
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.errors import UnknownNameError, WeightsError
from zoo.metrics.robustness import accuracy
from zoo.models.cnnf import CNNF
from zoo.verify import GoldenCheck, verify


def described(path: Path) -> dict:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> tuple[dict, dict[str, bytes], float]:
    """A card, its files, and the clean accuracy on 50 images, of a network with random weights."""
    torch.manual_seed(0)
    model = CNNF(iterations=1).eval()
    root = tmp_path_factory.mktemp("original")
    save_file(model.state_dict(), root / "model.safetensors")
    save_file(golden.make(model, "image-classification"), root / "golden.safetensors")
    head = fashion_mnist_sample().head(50)
    value = accuracy(model, data.as_float(head.images), head.labels)
    row = {"split": "test", "metric": "accuracy", "n": 50, "command": "zoo verify tiny --metrics"}
    entry = weights_json(
        "first",
        dtype="float32",
        parameters=3_298_962,
        metrics=[
            {**row, "dataset": "fashion-mnist-sample", "value": value},
            {**row, "dataset": "fashion-mnist", "value": value},
        ],
        **described(root / "model.safetensors"),
    )
    entry["golden"].update(described(root / "golden.safetensors"))
    card = card_json("tiny", "first", weights={"first": entry})
    files = {path.name: path.read_bytes() for path in root.iterdir()}
    return card, files, value


@pytest.fixture
def folder(original, tmp_path, monkeypatch) -> Path:
    """A fresh copy of the card's folder, away from any cache and data."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("ZOO_DATA", raising=False)
    card, files, _ = original
    folder = write_card(tmp_path, card)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def edit(folder: Path, change) -> None:
    path = folder / "config.json"
    card = json.loads(path.read_text())
    change(card["weights"]["first"])
    path.write_text(json.dumps(card))


def test_a_right_model_is_verified(folder):
    report = verify(f"local-dir:{folder}")
    assert report.ok
    assert [file.file for file in report.files] == ["model.safetensors", "golden.safetensors"]
    assert [Path(file.path) for file in report.files] == [folder / f.file for f in report.files]
    (check,) = report.golden
    assert check.output == "output.logits" and check.difference <= check.tolerance == 1e-3
    assert report.metrics == ()


@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "missing"])
def test_a_wrong_file_is_reported_and_nothing_is_built_from_it(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes(flipped if damage == "flip" else content[:-1])
    report = verify(f"local-dir:{folder}", metrics=True)
    assert not report.ok
    wrong = [file for file in report.files if not file.ok]
    assert [file.file for file in wrong] == [name]
    assert str(path) in wrong[0].problem and wrong[0].sha256 in wrong[0].problem
    assert report.golden == () and report.metrics == ()


def test_outputs_other_than_the_golden_ones_fail(folder):
    path = folder / "golden.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"output.logits": tensors["output.logits"] + 1e-2}, path)
    edit(folder, lambda entry: entry["golden"].update(described(path)))
    report = verify(f"local-dir:{folder}")
    assert not report.ok
    assert all(file.ok for file in report.files)
    assert 1e-3 < report.golden[0].difference <= 1e-2


def test_metrics_are_measured_again_where_the_data_are_here(folder, original):
    report = verify(f"local-dir:{folder}", metrics=True)
    here, away = report.metrics
    assert (here.dataset, here.metric, here.n) == ("fashion-mnist-sample", "accuracy", 50)
    assert here.ok and here.card == here.measured == original[2] and here.note is None
    assert away.ok and away.measured is None and "--data" in away.note
    assert report.ok


def test_a_metric_off_by_more_than_a_standard_error_fails(folder, original):
    # A random network hits about one image in ten, so its standard error is about 0.04.
    edit(folder, lambda entry: entry["metrics"][0].update(value=original[2] + 0.03))
    assert verify(f"local-dir:{folder}", metrics=True).ok
    edit(folder, lambda entry: entry["metrics"][0].update(value=original[2] + 0.2))
    report = verify(f"local-dir:{folder}", metrics=True)
    assert not report.ok and not report.metrics[0].ok
    assert verify(f"local-dir:{folder}").ok


def test_a_metric_that_does_not_exist_fails(folder):
    edit(folder, lambda entry: entry["metrics"][0].update(metric="beauty"))
    report = verify(f"local-dir:{folder}", metrics=True)
    assert not report.ok and "beauty" in report.metrics[0].note


def test_what_another_command_measures_is_listed_but_not_measured(folder, capsys):
    command = "zoo audit tiny.first"
    edit(
        folder, lambda entry: entry["metrics"][1].update(metric="robust-accuracy", command=command)
    )
    said: list[str] = []
    report = verify(f"local-dir:{folder}", metrics=True, progress=said.append)
    mine, other = report.metrics
    assert mine.measured is not None and mine.note is None
    assert other.ok and other.measured is None and math.isnan(other.tolerance)
    assert other.note == "measured by `zoo audit tiny.first`"
    assert report.ok and report.as_dict()["metrics"][1]["tolerance"] is None
    assert said[2:] == ["measuring accuracy on fashion-mnist-sample"]
    show_report(report)
    shown = " ".join(capsys.readouterr().out.split())
    assert "measured by `zoo audit tiny.first`" in shown and "nan" not in shown


def test_the_report_is_json(folder):
    edit(folder, lambda entry: entry["metrics"][0].update(metric="beauty"))
    report = verify(f"local-dir:{folder}", metrics=True)
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert plain["ok"] is False
    assert [file["ok"] for file in plain["files"]] == [True, True]
    assert plain["golden"][0]["ok"] is True
    assert plain["metrics"][1]["measured"] is None
    lost = dataclasses.replace(
        report, golden=(GoldenCheck("output.logits", float("nan"), 1e-5),)
    ).as_dict()
    assert lost["golden"][0] == {
        "output": "output.logits",
        "difference": None,
        "tolerance": 1e-5,
        "ok": False,
    }


def test_progress_says_what_is_done(folder):
    lines: list[str] = []
    verify(f"local-dir:{folder}", metrics=True, progress=lines.append)
    assert lines == [
        "hashing the files",
        "comparing the outputs",
        "measuring accuracy on fashion-mnist-sample",
        "measuring accuracy on fashion-mnist",
    ]


def test_a_model_without_weights_names_the_recipe(tmp_path):
    folder = write_card(tmp_path, card_json("tiny"))
    with pytest.raises(WeightsError, match=r"recipes/tiny\.py"):
        verify(f"local-dir:{folder}")


def test_an_unknown_name_is_refused():
    with pytest.raises(UnknownNameError):
        verify("no-such-model")
