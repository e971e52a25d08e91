"""The command line of a recipe, from the arguments to the call of `train`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.toy import PRESETS, Toy, fit
from zoo import DataError, training


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(*argv: str, train: Any = lambda config, run: None) -> None:
    training.main(train, Toy, presets=PRESETS, name="toy", doc="A toy.", argv=argv)


def settings_of(*argv: str) -> tuple[Toy, Path]:
    """The settings and the folder that `train` gets."""
    seen: list[tuple[Toy, Path]] = []
    call(*argv, train=lambda config, run: seen.append((config, run.folder)))
    return seen[0]


def failure(capsys, status: int, *argv: str, **kwargs: Any) -> str:
    with pytest.raises(SystemExit) as caught:
        call(*argv, **kwargs)
    assert caught.value.code == status
    return capsys.readouterr().err


def record(folder: str = "runs/toy") -> dict[str, Any]:
    return json.loads(Path(folder, "run.json").read_text())


def stop(config: Toy, run: training.Run) -> None:
    fit(run, stop_at=5, every_steps=2)


def test_defaults_then_preset_then_options():
    assert settings_of() == (Toy(), Path("runs/toy"))
    assert settings_of("--smoke") == (Toy(steps=3), Path("runs/toy-smoke"))
    config, folder = settings_of("--preset", "large", "--widths", "5", "--out", "here/it is")
    assert config == Toy(clip=None, fast=True, widths=(5,))
    assert folder == Path("here/it is")
    assert record("here/it is")["command"].endswith("test_main.py --preset large --widths 5")


def test_a_dry_run_prints_the_settings_and_writes_nothing(capsys, tmp_path):
    call("--dry-run", "--preset", "large", "--seed", "3", train=stop)
    plan = json.loads(capsys.readouterr().out)
    assert plan["settings"] == Toy(seed=3, clip=None, fast=True, widths=(64, 64)).to_json()
    assert plan["preset"] == "large"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_run_is_not_touched(capsys):
    call("--seed", "1")
    before = record()
    text = failure(capsys, 1)
    assert "runs/toy: holds run.json already; --resume goes on" in text
    assert record() == before


def test_a_folder_with_something_else_is_not_touched(capsys):
    Path("out").mkdir()
    Path("out", "diary.txt").write_text("mine")
    assert "out: holds diary.txt already" in failure(capsys, 1, "--out", "out")
    assert [path.name for path in Path("out").iterdir() if path.name != ".lock"] == ["diary.txt"]


def test_a_record_starts_the_run_again():
    config, _ = settings_of("--preset", "large", "--steps", "4", "--threads", "1")
    again, _ = settings_of("--again", "runs/toy-large/run.json", "--out", "again")
    assert again == config
    assert record("again")["command"] == record("runs/toy-large")["command"]
    changed, _ = settings_of("--again", "runs/toy-large/run.json", "--seed", "9", "--out", "third")
    assert changed == replace(config, seed=9)


def test_a_run_that_is_started_again_has_the_same_threads():
    call()
    again, _ = settings_of("--again", "runs/toy/run.json", "--out", "again")
    assert again.threads == record()["threads"]


def test_a_dry_run_can_be_started_later(capsys):
    call("--dry-run", "--seed", "3")
    Path("plan.json").write_text(capsys.readouterr().out)
    assert settings_of("--again", "plan.json")[0] == Toy(seed=3)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "no run to start from: run.json: not JSON"),
        ("{}", "run.json: not the record of a run of toy"),
        ('{"name": "other", "preset": null, "settings": {}}', "not the record of a run of toy"),
        ('{"name": "toy", "preset": null, "settings": {"x": 1}}', "settings: x: no such setting"),
        (
            '{"name": "toy", "preset": null, "settings": {"steps": "1"}}',
            "settings: steps: expected",
        ),
    ],
)
def test_a_record_that_is_wrong_is_one_clear_error(capsys, content, problem):
    Path("run.json").write_text(content)
    assert problem in failure(capsys, 1, "--again", "run.json")
    assert not Path("runs").exists()


def test_a_killed_run_is_resumed_with_its_settings():
    with pytest.raises(SystemExit):
        call("--seed", "4", "--threads", "1", train=stop)
    assert record()["status"] == "running"
    seen = []

    def go_on(config: Toy, run: training.Run) -> None:
        seen.append(config)
        fit(run)

    call("--resume", train=go_on)
    assert seen == [Toy(seed=4, threads=1)]
    assert record()["status"] == "done"
    assert len(record()["resumed"]) == 1


def test_an_interrupted_run_says_how_to_go_on(capsys):
    assert "interrupted; --resume goes on" in failure(capsys, 130, train=stop)


def test_a_resumed_run_may_move_but_not_change(capsys):
    failure(capsys, 130, "--seed", "4", "--threads", "1", train=stop)
    text = failure(capsys, 2, "--resume", "--seed", "5")
    assert "cannot resume with --seed 5: runs/toy was begun with 4" in text
    assert settings_of("--resume", "--seed", "4", "--data", "/new")[0] == Toy(
        seed=4, threads=1, data=Path("/new")
    )


def test_there_must_be_something_to_resume(capsys):
    text = failure(capsys, 1, "--resume")
    assert "no run to start from: runs/toy/run.json: cannot be read: No such file" in text
    assert "give one of them" in failure(capsys, 2, "--resume", "--again", "run.json")


def test_a_complete_run_is_left_alone(capsys):
    call()
    before = record()
    call("--resume", train=stop)
    assert "runs/toy: this run is complete" in capsys.readouterr().err
    assert record() == before


def test_an_error_of_the_zoo_is_one_line_and_leaves_no_folder(capsys):
    def train(config: Toy, run: training.Run) -> None:
        raise DataError("no Fashion-MNIST in /data")

    text = failure(capsys, 1, train=train)
    assert text.endswith("test_main.py: error: no Fashion-MNIST in /data\n")
    assert text.count("\n") == 1
    assert not Path("runs/toy").exists()


def test_another_error_is_a_bug_and_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        call(train=lambda config, run: 1 // 0)
    assert not Path("runs/toy").exists()


def test_a_failed_run_keeps_what_it_made():
    def train(config: Toy, run: training.Run) -> None:
        (run.folder / "picture.png").write_bytes(b"")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(train=train)
    assert record()["status"] == "running"


def test_a_device_that_is_not_there_is_refused(capsys):
    assert "device: expected auto, cpu" in failure(capsys, 2, "--device", "abacus")
    assert "CUDA devices found" in failure(capsys, 2, "--device", "cuda:99")
    assert not Path("runs").exists()


def test_a_bad_preset_is_an_error():
    with pytest.raises(SystemExit) as caught:
        training.main(
            lambda config, run: None,
            Toy,
            presets={"smoke": {"stepz": 1}},
            name="toy",
            argv=["--smoke"],
        )
    assert caught.value.code == 2
