"""Runs: record, log, checkpoints, resume."""

import json
from pathlib import Path

import pytest
import torch

from tests.training.toy import Toy, fit, open_run
from zoo import training
from zoo.training.checkpoint import CheckpointError


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def record(folder: Path) -> dict[str, object]:
    return json.loads((folder / "run.json").read_text())


def stopped(folder: Path, stop_at: int, **options: int) -> Path:
    """A folder with a run that was stopped in the middle of a step."""
    with pytest.raises(KeyboardInterrupt), open_run(folder) as run:
        fit(run, stop_at, **options)
    return folder


def test_a_record_says_what_was_run(tmp_path):
    with open_run(tmp_path) as run:
        assert record(tmp_path)["status"] == "running"
        fit(run)
        run.record(metrics={"accuracy": 0.5})
    facts = record(tmp_path)
    assert facts["status"] == "done"
    assert facts["settings"] == Toy(threads=1).to_json()
    assert facts["seed"] == 0
    assert facts["command"] == "python toy.py"
    assert facts["device"] == str(run.device)
    assert facts["threads"] == facts["world_size"] == 1
    assert facts["metrics"] == {"accuracy": 0.5}
    assert facts["result"]["file"] == "model.safetensors"
    assert len(facts["result"]["sha256"]) == 64
    assert set(facts["versions"]) == {"python", "zoo", "numpy", "torch", "torchvision"}
    assert facts["hardware"]
    assert facts["seconds"] > 0


@pytest.mark.parametrize("stop_at", [0, 1, 5, 11])
@pytest.mark.parametrize("every_steps", [1, 4])
def test_a_stopped_run_ends_with_the_same_bytes(tmp_path, stop_at, every_steps):
    with open_run(tmp_path / "whole") as run:
        whole = fit(run)
    folder = stopped(tmp_path / "part", stop_at, every_steps=every_steps)
    torch.rand(7)  # whatever happened to the global generator in the meantime
    with open_run(folder, resume=True) as run:
        assert fit(run) == whole
    with open_run(tmp_path / "other", Toy(threads=1, seed=1)) as run:
        assert fit(run) != whole


def test_a_run_that_is_killed_after_its_last_step_has_no_step_to_do(tmp_path):
    with pytest.raises(ZeroDivisionError), open_run(tmp_path) as run:
        fit(run)
        raise ZeroDivisionError
    with open_run(tmp_path, resume=True) as run:
        model = torch.nn.Linear(1, 1)
        assert list(run.steps(12, fit_state(model))) == []


def fit_state(_: torch.nn.Module) -> dict[str, training.Stateful]:
    """A state like that of `fit`."""
    from tests.training.toy import network

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return {"model": model, "optimizer": optimizer}


def test_every_step_has_one_row_after_a_resume(tmp_path):
    folder = stopped(tmp_path, 9, every_steps=4)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "train", "st')  # a line cut short by the kill
    with open_run(folder, resume=True) as run:
        fit(run)
    assert [row["step"] for row in rows(folder)] == list(range(12))


def test_rows_are_means_over_steps_and_a_thousand_at_most(tmp_path):
    with open_run(tmp_path) as run:
        for step in run.steps(3001, {}):
            run.log(loss=torch.tensor(float(step)))
            if step % 2 == 0:
                run.log(rare=1)
    written = rows(tmp_path)
    assert [row["step"] for row in written][:3] == [2, 5, 8]
    assert written[0] == {"phase": "train", "step": 2, "loss": 1.0, "rare": 1.0}
    assert written[-1] == {"phase": "train", "step": 3000, "loss": 3000.0, "rare": 1.0}
    assert len(written) == 1001


def test_phases_have_their_own_checkpoints_and_rows(tmp_path):
    def both(run: training.Run, stop: bool) -> list[int]:
        seen = []
        for phase, offset in [("first", 0), ("second", 100)]:
            for step in run.steps(3, {}, phase=phase, every_steps=1):
                if stop and phase == "second" and step == 1:
                    raise KeyboardInterrupt
                run.log(loss=offset + step)
                seen.append(offset + step)
        return seen

    with pytest.raises(KeyboardInterrupt), open_run(tmp_path) as run:
        both(run, stop=True)
    with open_run(tmp_path, resume=True) as run:
        assert both(run, stop=False) == [101, 102]
    assert [row["loss"] for row in rows(tmp_path)] == [0, 1, 2, 100, 101, 102]


def test_a_checkpoint_is_written_when_its_time_has_come(tmp_path):
    path = tmp_path / "checkpoint.train.safetensors"
    with open_run(tmp_path) as run:
        for step in run.steps(3, {}, every_seconds=0):
            assert path.exists() == (step > 0)


def test_a_training_that_diverges_is_stopped(tmp_path):
    with (
        pytest.raises(training.DivergedError, match="loss is nan at step 1"),
        open_run(tmp_path) as run,
    ):
        for step in run.steps(3, {}):
            run.log(loss=torch.tensor(float("nan") if step == 1 else 0.0))


def test_logging_needs_a_step(tmp_path):
    with open_run(tmp_path) as run, pytest.raises(training.RunError, match="no step yet"):
        run.log(loss=1)


def test_two_processes_cannot_share_a_folder(tmp_path):
    with (
        open_run(tmp_path),
        pytest.raises(training.RunError, match="another process is at work"),
        open_run(tmp_path, resume=True),
    ):
        pass


def test_a_resume_with_another_state_is_refused(tmp_path):
    folder = stopped(tmp_path, 5, every_steps=1)
    with (
        pytest.raises(training.RunError, match=r"holds the state of \['model', 'optimizer'\]"),
        open_run(folder, resume=True) as run,
    ):
        next(run.steps(12, {"model": torch.nn.Linear(1, 1)}))


def test_a_damaged_checkpoint_is_named_with_the_one_before(tmp_path):
    folder = stopped(tmp_path, 5, every_steps=1)
    path = folder / "checkpoint.train.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with (
        pytest.raises(CheckpointError, match=r"checkpoint\.train\.previous\.safetensors") as caught,
        open_run(folder, resume=True) as run,
    ):
        fit(run)
    assert str(path) in str(caught.value)
    # What the message says helps.
    (folder / "checkpoint.train.previous.safetensors").replace(path)
    with open_run(tmp_path / "whole") as run:
        whole = fit(run)
    with open_run(folder, resume=True) as run:
        assert fit(run) == whole


def test_a_resume_keeps_what_was_different_and_adds_up_the_time(tmp_path):
    folder = stopped(tmp_path, 5, every_steps=1)
    facts = record(folder)
    facts |= {"commit": "f" * 40, "seconds": 1000.0}
    (folder / "run.json").write_text(json.dumps(facts))
    with open_run(folder, resume=True) as run:
        fit(run)
    after = record(folder)
    assert after["resumed"] == [{"seconds": 1000.0, "before": {"commit": "f" * 40}}]
    assert after["commit"] != "f" * 40
    assert after["started"] == facts["started"]
    assert 1000 < after["seconds"] < 1100


def test_a_read_only_place_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(training.FileError, match="cannot be written: Not a directory"),
        open_run(tmp_path / "file" / "run"),
    ):
        pass


def test_threads_and_determinism_end_with_the_run(tmp_path):
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with open_run(tmp_path, Toy(threads=3)) as run:
        assert torch.get_num_threads() == 3
        assert torch.are_deterministic_algorithms_enabled()
        assert record(run.folder)["threads"] == 3
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
