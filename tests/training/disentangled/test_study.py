"""The study of labels: means by hand, unlike runs refused, the files that it writes."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import DataError
from zoo.training import disentangled_curve
from zoo.training.disentangled import study
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.disentangled.study_report import report
from zoo.training.files import FileError, write_json


def write_run(
    folder: Path, metrics: dict[str, float] | None = None, status: str = "done", **settings: Any
) -> Path:
    folder.mkdir()
    named = {f"robot-scenes {name}": value for name, value in (metrics or {}).items()}
    everything = DisentangledSettings(**settings).to_json()
    record = {"settings": everything, "status": status, "metrics": named}
    write_json(folder / "run.json", record)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two seeds each with 200 labels, one without, and a plain one with scored directions."""
    made = []
    for method, seed, mig, error in (
        ("semi-supervised", 0, 0.70, 0.06),
        ("semi-supervised", 1, 0.80, 0.08),
        ("supervised", 0, 0.50, 0.10),
        ("supervised", 1, 0.56, 0.08),
    ):
        metrics = {"mig": mig, "code-error": error}
        if method == "semi-supervised":
            metrics["mig-gen"] = mig - 0.1
        folder = tmp_path / f"{method}-{seed}"
        own = {"method": method, "labels": 200, "seed": seed, "tag": f"tag-{seed}"}
        made.append(write_run(folder, metrics, **own))
    made.append(write_run(tmp_path / "none", {"mig": 0.2, "code-error": 0.3}, labels=0))
    plain = write_run(tmp_path / "plain", method="plain")
    scores = {
        f"labels {labels}": {
            "labels": labels,
            "seed": 0,
            "mig": 0.1,
            "error_one": 0.25,
            "error_all": 0.2,
        }
        for labels in (200, 1000)
    }
    write_json(plain / "directions.json", scores)
    return [*made, plain]


def test_the_tables(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert study.main([*map(str, runs), "--out", str(out)]) == 0
    text = (out / "study.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    lines = text.splitlines()
    # (0.70 + 0.80) / 2 and their standard deviation, 0.1 / √2.
    rows = [
        "| method | labels | runs | MIG | error | MIG-gen |",
        "| --- | --- | --- | --- | --- | --- |",
        "| semi-supervised | 0 | 1 | 0.200 | 0.300 | - |",
        "| semi-supervised | 200 | 2 | 0.750 ± 0.071 | 0.070 ± 0.014 | 0.650 ± 0.071 |",
        "| supervision alone | 200 | 2 | 0.530 ± 0.042 | 0.090 ± 0.014 | - |",
        "| directions of a plain StyleGAN | 200 | 1 | 0.100 | 0.250 | - |",
        "| directions of a plain StyleGAN | 1,000 | 1 | 0.100 | 0.250 | - |",
    ]
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows
    # 0.20 and 0.24; 0.6 and 1.0.
    assert "| 200 | 2 | +0.220 ± 0.028 | 0.80 ± 0.28 |" in lines
    assert "weights of generated" not in text


def test_every_number_as_csv(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert study.main([*map(str, runs), "--out", str(out)]) == 0
    with (out / "study.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 + 2 * 2 + 2 + 2 * 3
    assert rows[0] == {
        "method": "semi-supervised",
        "labels": "200",
        "seed": "0",
        "metric": "mig",
        "value": "0.7",
    }
    # The picture of it reads the same.
    points = disentangled_curve.read(out / "study.csv")
    found = {(each.method, each.labels, each.seed): each.value for each in points[::3]}
    assert found["semi-supervised", 200, 1] == 0.8
    assert disentangled_curve.draw(points, ["mig", "code-error"]).axes


def test_the_trade_off(runs: list[Path], tmp_path: Path) -> None:
    swept = [
        write_run(
            tmp_path / f"sweep-{generator:g}-{seed}",
            {"mig": 0.6, "mig-gen": 0.05 + generator / 10 + seed / 100, "code-error": 0.1},
            labels=200,
            seed=seed,
            code_weight_generator=generator,
        )
        for generator in (1.0, 0.0)
        for seed in (0, 1)
    ]
    results = [each for run in swept for each in study.read(run)]
    text = report([study.read(runs[0])[0]], results)
    assert "## The weights of generated images' codes, 200 labels" in text
    lines = text.splitlines()
    below = "| 1 | 0 | 2 | 0.600 ± 0.000 | 0.055 ± 0.007 | 0.100 ± 0.000 | - |"
    above = "| 1 | 1 | 2 | 0.600 ± 0.000 | 0.155 ± 0.007 | 0.100 ± 0.000 | - |"
    assert lines.index(above) == lines.index(below) + 1
    out = str(tmp_path / "out")
    arguments = [*map(str, runs), "--out", out, "--trade-off", *map(str, swept)]
    assert study.main(arguments) == 0
    # As runs of the study of labels they would be unlike.
    assert study.main([*map(str, runs), str(swept[2]), "--out", out]) == 1


def test_metrics_that_only_some_runs_have(runs: list[Path]) -> None:
    results = [each for run in runs[:2] for each in study.read(run)]
    results[1] = study.Result(
        **{**vars(results[1]), "metrics": {"mig": 0.8, "code-error": 0.08}},
    )
    assert "| 0.600 (n = 1) |" in report(results)


def test_unlike_runs_have_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"mig": 0.5, "code-error": 0.1}
    runs = [
        write_run(tmp_path / f"{rate}", metrics, learning_rate=rate, labels=200, threads=threads)
        for rate, threads in ((1e-3, 1), (2e-3, 2))
    ]
    assert study.main([*map(str, runs), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "learning_rate is 0.001 in" in said
    assert "unlike runs" in said
    assert not (tmp_path / "out").exists()
    # Of another method they may have other settings.
    first, second = (study.read(run)[0] for run in runs)
    other = study.Result(**{**vars(second), "method": "supervised"})
    study.check_alike([first, other], ["labels"])


def test_runs_without_numbers(tmp_path: Path) -> None:
    running = write_run(tmp_path / "running", {"mig": 1.0}, status="running")
    with pytest.raises(DataError, match="not finished, or not measured"):
        study.read(running)
    with pytest.raises(DataError, match=r"no score; run: python -m zoo\.training\.disentangled"):
        study.read(write_run(tmp_path / "plain", method="plain"))
    with pytest.raises(FileError, match="cannot be read"):
        study.read(tmp_path / "nothing")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "run.json").write_text(json.dumps({"settings": {"epochs": 3}}))
    with pytest.raises(DataError, match="expected a run of a disentangled StyleGAN"):
        study.read(strange)
