"""The study of label efficiency: who does which row when; nothing is done twice or lost."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.training.few_labels import study_stub
from zoo.data import as_float
from zoo.models.dgm import DGM
from zoo.training import DivergedError, SettingsError, record
from zoo.training.few_labels import study, study_rows
from zoo.training.few_labels.split import split
from zoo.training.few_labels.study import configure
from zoo.training.few_labels.study_rows import TERMS, Row, next_row, rows
from zoo.training.files import read_json, write_json

ROOT = Path(__file__).parents[3]
TIMES = ("seconds", "step_seconds")


def run(out: Path, *options: str, **changed: Any) -> int:
    shared = {**vars(study_stub.material()), **changed}
    argv = ["--out", str(out), *options, *study_stub.SMALL]
    return study.main(argv, study.Material(**shared))


def results(out: Path) -> dict[str, dict[str, Any]]:
    """Of a study, but for the times."""
    kept = read_json(out / "results.json")
    return {key: {k: v for k, v in row.items() if k not in TIMES} for key, row in kept.items()}


def fits(out: Path) -> Counter[str]:
    """Row -> how often it was begun or taken up."""
    return Counter(line.split()[0] for line in (out / "fits").read_text().splitlines())


@pytest.fixture(autouse=True)
def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which commit it is takes longer to say than a small row to train."""
    monkeypatch.setattr(record, "commit", lambda folder: "unknown")


@pytest.fixture
def elsewhere() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that do not outlive the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_the_headline_comes_first() -> None:
    found = rows(
        ["deconvolutional", "supervised"],
        [100, 1000, None],
        2,
        terms=("entropy", "min-path"),
        ablation_seeds=1,
    )
    assert [row.key for row in found] == [
        "deconvolutional-1000-seed0",
        "supervised-1000-seed0",
        "deconvolutional-1000-seed1",
        "supervised-1000-seed1",
        "deconvolutional-1000-seed0-without-entropy",
        "deconvolutional-1000-seed0-without-min-path",
        "deconvolutional-100-seed0",
        "supervised-100-seed0",
        "deconvolutional-100-seed1",
        "supervised-100-seed1",
        "deconvolutional-all-seed0",
        "supervised-all-seed0",
        "deconvolutional-all-seed1",
        "supervised-all-seed1",
    ]
    assert found[-1] == Row("supervised", None, 1)


def test_parts_of_the_study() -> None:
    methods, labels = ["deconvolutional", "mean-teacher"], [1000, 100]
    table = rows(methods, labels, 2, only="table")
    assert len(table) == 8
    assert all(row.without is None for row in table)
    ablation = rows(methods, labels, 2, only="ablation")
    assert [row.without for row in ablation] == [None, *TERMS] * 3
    # The full objective is the same row in both.
    assert {row for row in ablation if row.seed < 2 and row.without is None} <= set(table)
    assert set(rows(methods, labels, 2)) == {*table, *ablation}
    assert all(row.without is None for row in rows(methods[1:], labels, 2))


def test_the_settings_of_a_row() -> None:
    changes = {"steps": 7, "mean-teacher.consistency_weight": 3.0, "consistency_weight": 2.0}
    teacher = configure(Row("mean-teacher", None, 4), changes)
    assert (teacher.labels, teacher.seed, teacher.steps) == (None, 4, 7)
    assert teacher.consistency_weight == 3.0
    full = configure(Row("deconvolutional", 1000, 0), changes)
    assert full.consistency_weight == 2.0
    for term, weight in TERMS.items():
        less = configure(Row("deconvolutional", 1000, 0, term), {**changes, weight: 0.25})
        assert getattr(less, weight) == 0
        own = {**full.to_json(), weight: 0.0}
        assert less.to_json() == own


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, "every row has its own"),
        ({"pi-model.noise": 0.1}, "no method 'pi-model'; there are supervised, pseudo-labels, "),
        ({"supervised.steps": 9}, "all methods have the same; set steps"),
        ({"supervised.widths": (4, 4, 4, 4)}, "all methods have the same; set widths"),
        ({"widths": (4, 4, 4)}, "expected 4 positive numbers, found"),
        ({"epochs": 9}, "no such setting"),
        ({"steps": 0}, "expected more than 0"),
    ],
)
def test_settings_that_no_row_may_have(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        configure(Row("supervised", 100, 0), change)


def test_the_network_has_the_widths_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.data, "load", lambda name, folder, part: study_stub.images(part, 20))
    material = study._load(study._parser().parse_args(["--out", "unused"]))
    for changes, channels in ({}, 64), ({"widths": (32, 64, 64, 128)}, 128):
        model = material.build(configure(Row("supervised", 100, 0), changes))
        assert isinstance(model, DGM)
        assert dict(model.named_parameters())["units.4.weight"].shape == (10, channels)


def test_a_small_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["--labels", "1000", "all", "--seeds", "2", "--ablation-seeds", "1"]
    asked = ["--methods", "deconvolutional", "supervised", *options]
    assert run(out, *asked) == 0
    kept = results(out)
    assert list(kept) == [
        row.key
        for row in rows(["deconvolutional", "supervised"], [1000, None], 2, ablation_seeds=1)
    ]
    assert fits(out) == dict.fromkeys(kept, 1)
    said = capsys.readouterr().out
    assert said.endswith((out / "study.md").read_text(encoding="utf-8"))
    with (out / "study.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(kept)
    with Image.open(out / "curve.png") as picture:
        assert picture.format == "PNG"
    times = read_json(out / "results.json").values()
    assert all(0 < row["step_seconds"] < row["seconds"] for row in times)
    assert {row["labelled"] for row in kept.values()} == {1000, 1300}
    # Again: everything is there, and nothing is trained.
    assert run(out, *asked, fit=None) == 0
    assert results(out) == kept
    # With other settings they would be other rows.
    assert run(out, *asked, "--set", "noise=0.5") == 1
    assert "was trained with noise = 0.0, expected 0.5" in capsys.readouterr().err


def test_what_is_measured(tmp_path: Path) -> None:
    """The predictor that `fit` returns, in eval mode: here one that names the pixel's parity."""

    class Parity(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert not self.training
            odd = images[:, 0, 0, 0] > 0.4
            return torch.nn.functional.one_hot(odd.long(), 10).float()

    def fit(*_: object) -> torch.nn.Module:
        return Parity().train()

    options = ["--methods", "supervised", "--labels", "100", "--seeds", "1"]
    assert run(tmp_path, *options, fit=fit) == 0
    (row,) = results(tmp_path).values()
    shared = study_stub.material()

    def share(images: torch.Tensor, labels: torch.Tensor) -> float:
        odd = (as_float(images)[:, 0, 0, 0] > 0.4).long()
        return float((odd == labels).double().mean())

    held = split(shared.train.labels, 100, validation=100, seed=0).validation
    expected = share(shared.train.images[held], shared.train.labels[held])
    assert 0 < expected < 1
    assert row["validation_accuracy"] == expected
    error = 1 - share(shared.test.images, shared.test.labels)
    assert 0.5 < error < 1
    assert row["test_error"] == pytest.approx(error, abs=1e-6)
    assert (row["test_images"], row["validation_images"]) == (200, 100)


def test_a_row_that_diverges_does_not_end_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(model: Any, train: Any, config: Any, run: Any) -> torch.nn.Module:
        if config.seed == 1 and config.labels == 1000:
            raise DivergedError("loss is nan in step 3")
        return study_stub.fit(model, train, config, run)

    options = ["--methods", "supervised", "--labels", "100", "1000", "--seeds", "2"]
    assert run(tmp_path, *options, fit=fit) == 1
    said = capsys.readouterr().err
    assert "error: supervised-1000-seed1: loss is nan in step 3" in said
    assert "1 of 4 rows failed, or are other processes'" in said
    assert len(results(tmp_path)) == 3
    assert run(tmp_path, *options) == 0
    assert len(results(tmp_path)) == 4


def test_a_row_is_taken_once(tmp_path: Path) -> None:
    todo = rows(["supervised", "mean-teacher"], [100], 1)
    with next_row(todo, tmp_path) as first, next_row(todo, tmp_path) as second:
        assert (first, second) == (todo[0], todo[1])
        with next_row(todo, tmp_path) as third:
            assert third is None
    # Given back undone, it can be taken again; done, it cannot.
    with next_row(todo, tmp_path) as again:
        assert again == todo[0]
    write_json(tmp_path / "results.json", {todo[0].key: {}})
    with next_row(todo, tmp_path) as left:
        assert left == todo[1]
    with next_row(todo, tmp_path, aside=[todo[1]]) as none:
        assert none is None


def test_a_row_done_between_the_look_and_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = rows(["supervised"], [100], 1)
    looks = iter([{}, {todo[0].key: {}}])
    monkeypatch.setattr(study_rows, "finished", lambda out: next(looks))
    with next_row(todo, tmp_path) as row:
        assert row is None


def test_another_process_and_its_death(
    tmp_path: Path, elsewhere: list[subprocess.Popen[bytes]]
) -> None:
    """One that holds a row keeps it; killed, its row goes on where the checkpoint was."""
    out, held = tmp_path / "out", "supervised-1000-seed0"
    options = ["--methods", "supervised", "--labels", "1000", "--seeds", "3"]
    code = (
        "import sys\nfrom tests.training.few_labels import study_stub\n"
        "from zoo.training.few_labels import study\n"
        "sys.exit(study.main(sys.argv[1:], study_stub.material()))"
    )
    sign = tmp_path / "held"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        study_stub.HOLD: f"{held} 2 {sign}",
    }
    command = [sys.executable, "-c", code, "--out", str(out), *options, *study_stub.SMALL]
    with (tmp_path / "said").open("wb") as said:
        other = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
    elsewhere.append(other)
    deadline = time.monotonic() + 120
    while not sign.exists():
        assert other.poll() is None, (tmp_path / "said").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert run(out, *options) == 0
    assert list(results(out)) == ["supervised-1000-seed1", "supervised-1000-seed2"]
    assert fits(out)[held] == 1
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert run(out, *options) == 0
    assert len(read_json(out / held / "run.json")["resumed"]) == 1
    # Steps 0 and 1 were in the checkpoint; the log of a resumed run has each step once.
    lines = [json.loads(line) for line in (out / held / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(study_stub.STEPS))
    whole = tmp_path / "whole"
    assert run(whole, *options) == 0
    assert results(out) == results(whole)


def test_a_row_that_is_measured_but_not_kept(tmp_path: Path) -> None:
    """Killed between the end of the run and the results: the run's own record has the result."""
    options = ["--methods", "supervised", "--labels", "100", "--seeds", "1"]
    assert run(tmp_path, *options) == 0
    before = read_json(tmp_path / "results.json")
    (tmp_path / "results.json").unlink()
    assert run(tmp_path, *options, fit=None) == 0
    assert read_json(tmp_path / "results.json") == before


@pytest.mark.slow
def test_two_workers(tmp_path: Path) -> None:
    options = ["--methods", "supervised", "mean-teacher", "--labels", "100"]
    assert run(tmp_path, *options, "--seeds", "2", "--workers", "2") == 0
    todo = rows(["supervised", "mean-teacher"], [100], 2)
    assert fits(tmp_path) == dict.fromkeys((row.key for row in todo), 1)
    assert set(results(tmp_path)) == {row.key for row in todo}
    workers = {line.split()[1] for line in (tmp_path / "fits").read_text().splitlines()}
    assert str(os.getpid()) not in workers


def test_sigterm_ends_what_has_daemons_by_an_exception() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"), study._terminable():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "0"], "expected a number of labels or all, found '0'"),
        (["--seeds", "none"], "expected a whole number from 1, found 'none'"),
        (["--set", "steps"], "expected SETTING=VALUE of a training, found 'steps'"),
        (["--set", "steps=many"], "steps: expected a whole number, found 'many'"),
        (["--methods", "pi-model"], "invalid choice: 'pi-model'"),
    ],
)
def test_wrong_command_lines(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        study.main(["--out", str(tmp_path), *words])
    assert message in capsys.readouterr().err
