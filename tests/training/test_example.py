"""The recipe in the package's docstring: it runs, and keeps what it promises."""

import json
import runpy
from pathlib import Path

import pytest

from tests.training.toy import killer, launch, run_here, write_example


def sha256(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["result"]["sha256"]


@pytest.mark.slow
def test_a_killed_and_resumed_process_makes_the_same_bytes(tmp_path):
    script = write_example(tmp_path)
    whole, killed, other = tmp_path / "whole", tmp_path / "killed", tmp_path / "other"
    run_here(script, "--smoke", "--threads", "1", "--out", str(whole))
    run_here(script, "--smoke", "--threads", "1", "--out", str(other), "--seed", "1")
    first = launch(
        "-c", killer(calls=25, every_steps=10), script, "--smoke", "--threads", "1", "--out", killed
    )
    assert first.returncode == -9, first.stderr
    assert (killed / "checkpoint.train.safetensors").exists()
    assert not (killed / "model.safetensors").exists()
    second = launch(script, "--resume", "--out", killed)
    assert second.returncode == 0, second.stderr
    assert "60/60" in second.stderr
    assert sha256(killed) == sha256(whole) != sha256(other)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_record_makes_the_same_bytes_again(tmp_path):
    script = write_example(tmp_path)
    run_here(script, "--steps", "20", "--seed", "5", "--clip", "none", "--out", str(tmp_path / "a"))
    record = str(tmp_path / "a" / "run.json")
    run_here(script, "--again", record, "--out", str(tmp_path / "b"))
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_the_example_learns(tmp_path):
    script = write_example(tmp_path)
    run_here(script, "--steps", "500", "--out", str(tmp_path / "run"))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["metrics"]["error"] < 0.01


@pytest.mark.parametrize("name", ["Config", "train", "PRESETS"])
def test_the_example_has_what_a_recipe_has(tmp_path, name):
    assert name in runpy.run_path(str(write_example(tmp_path)))
