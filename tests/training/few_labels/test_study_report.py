"""The tables and the picture of the study: made-up results against numpy, and by hand."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.errors import DataError
from zoo.training.few_labels import curve, study_report
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.few_labels.study_report import Summary, chance, gains, report, to_csv
from zoo.training.few_labels.study_rows import TERMS, Result, Row, read
from zoo.training.files import write_json

METHODS = ("deconvolutional", "supervised", "pseudo-labels", "mean-teacher")
COUNTS = (100, 500, 1000, None)
SEEDS = 5


def result(
    method: str, labels: int | None, seed: int, error: float, without: str | None = None
) -> Result:
    return Result(
        method=method,
        labels=labels,
        seed=seed,
        without=without,
        labelled=59_000 if labels is None else labels,
        test_error=error,
        test_images=10_000,
        validation_accuracy=1 - error,
        validation_images=1000,
        steps=1000,
        step_seconds=0.05,
        seconds=60.0,
    )


@pytest.fixture
def errors() -> dict[tuple[str, int | None], np.ndarray]:
    """Method and labels -> test error of every seed; seeds have an effect that methods share."""
    draws = np.random.default_rng(0)
    shared = 0.02 * draws.standard_normal(SEEDS)
    base = {100: 0.25, 500: 0.18, 1000: 0.15, None: 0.1}
    return {
        (method, labels): base[labels] + 0.01 * place + shared + 0.004 * draws.random(SEEDS)
        for place, method in enumerate(METHODS)
        for labels in COUNTS
    }


@pytest.fixture
def table(errors: dict[tuple[str, int | None], np.ndarray]) -> list[Result]:
    return [
        result(method, labels, seed, float(error))
        for (method, labels), own in errors.items()
        for seed, error in enumerate(own)
    ]


def cells(text: str, head: str) -> dict[str, dict[str, str]]:
    """The table below the line that begins with `head`: first cells of a row -> head -> cell."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(head))
    names = [each.strip() for each in lines[first].strip("|").split("|")]
    found = {}
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        row = [each.strip() for each in line.strip("|").split("|")]
        found[row[0] if names[1] != "model" else f"{row[0]}, {row[2]}"] = dict(
            zip(names, row, strict=True)
        )
    return found


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def test_means_and_standard_errors(
    table: list[Result], errors: dict[tuple[str, int | None], np.ndarray]
) -> None:
    found = cells(report(table), "| labels | labels alone")
    assert list(found) == ["100", "500", "1,000", "all 59,000"]
    heads = {
        "DGM": "deconvolutional",
        "labels alone": "supervised",
        "pseudo-labels": "pseudo-labels",
        "mean teacher": "mean-teacher",
    }
    for count, row in zip(COUNTS, found.values(), strict=True):
        assert set(row) == {"labels", *heads}
        for head, method in heads.items():
            mean, error = mean_and_error(100 * errors[method, count])
            assert row[head] == f"{mean:.2f} ± {error:.2f} (5)"


def test_differences_are_of_pairs(
    table: list[Result], errors: dict[tuple[str, int | None], np.ndarray]
) -> None:
    found = cells(report(table), "| labels | model")
    assert len(found) == 4 * 3
    for name, method in (("labels alone", "supervised"), ("mean teacher", "mean-teacher")):
        pairs = 100 * (errors["deconvolutional", 1000] - errors[method, 1000])
        mean, error = mean_and_error(pairs)
        row = found[f"1,000, {name}"]
        # The seeds' own effect, of 2 points, is in neither.
        assert error < 0.2
        assert row["difference"] == f"**{mean:+.2f} ± {error:.2f}**"
        assert row["better in"] == "5 of 5"
        assert row["seeds"] == "5"


def test_only_seeds_that_both_have() -> None:
    ours = [result("deconvolutional", 100, seed, error) for seed, error in ((2, 0.3), (0, 0.2))]
    theirs = [result("supervised", 100, seed, error) for seed, error in ((0, 0.25), (1, 0.9))]
    assert gains(ours, theirs) == pytest.approx([-5.0])
    row = cells(report([*ours, *theirs]), "| labels | model")["100, labels alone"]
    # One pair has no standard error, and is never bold.
    assert row["difference"] == "-5.00"
    assert row["better in"] == "1 of 1"


@pytest.mark.parametrize(
    ("values", "error", "clear", "agree"),
    [
        ([1.0, 3.0], 1.0, False, 2),  # exactly two standard errors are not beyond them
        ([1.1, 3.0], 0.95, True, 2),
        ([-1.0, -2.0, -1.5], math.sqrt(1 / 12), True, 3),
        ([-1.0, 2.0, -1.5], math.sqrt((25 + 169 + 64) / 216), False, 2),
        ([0.0, 0.0], 0.0, False, 0),
        ([4.0], None, False, 1),
    ],
)
def test_what_is_clear(values: list[float], error: float | None, clear: bool, agree: int) -> None:
    found = Summary.of(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.error == (None if error is None else pytest.approx(error))
    assert (found.clear, found.agree, found.n) == (clear, agree, len(values))


def test_what_chance_makes_bold() -> None:
    """Student's t with one and with two degrees of freedom has a closed form."""
    assert chance(2) == pytest.approx(1 - 2 / math.pi * math.atan(2))
    assert chance(3) == pytest.approx(1 - 2 / math.sqrt(6))


def test_the_ablation(table: list[Result]) -> None:
    full = {each.seed: each for each in table if (each.method, each.labels) == (METHODS[0], 1000)}
    changes = {"entropy": [0.01, 0.012, 0.011], "min-path": [0.01, -0.02, 0.003]}
    less = [
        replace(full[seed], without=term, test_error=full[seed].test_error + change)
        for term, own in changes.items()
        for seed, change in enumerate(own)
    ]
    text = report([*table, *less])
    found = cells(text, "| objective")
    assert list(found) == ["full", "without entropy", "without min path"]
    # The full objective's mean is over the seeds that the ablation has.
    mean, error = mean_and_error(100 * np.array([full[seed].test_error for seed in range(3)]))
    assert found["full"]["test error (seeds)"] == f"{mean:.2f} ± {error:.2f} (3)"
    mean, error = mean_and_error(100 * np.array(changes["entropy"]))
    assert found["without entropy"]["difference"] == f"**{mean:+.2f} ± {error:.2f}**"
    assert found["without entropy"]["worse in"] == "3 of 3"
    mean, error = mean_and_error(100 * np.array(changes["min-path"]))
    assert found["without min path"]["difference"] == f"{mean:+.2f} ± {error:.2f}"
    assert found["without min path"]["worse in"] == "2 of 3"
    assert "18% would be with 3 seeds" in text
    # And it changes nothing in the other tables.
    head = "| labels | labels alone"
    assert cells(text, head) == cells(report(table), head)


def test_what_a_step_costs() -> None:
    times = {"deconvolutional": [0.08, 0.1, 0.5], "supervised": [0.05, 0.05, 0.04]}
    rows = [
        replace(result(method, 1000, seed, 0.1), step_seconds=seconds)
        for method, own in times.items()
        for seed, seconds in enumerate(own)
    ]
    # One that was measured without a step, after a resume.
    rows.append(replace(result("supervised", 1000, 3, 0.1), step_seconds=None))
    found = cells(report(rows), "| method | CPU")
    assert found["DGM"] == {
        "method": "DGM",
        "CPU time a step": "100.0 ms",
        "rows": "3",
        "ratio": "2.00",
    }
    assert found["labels alone"]["CPU time a step"] == "50.0 ms"
    assert found["labels alone"]["rows"] == "3"


def test_every_row_as_csv(table: list[Result]) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(lines) == len(table)
    for line, row in zip(lines, table, strict=True):
        assert line["method"] == row.method
        assert line["labels"] == ("all" if row.labels is None else str(row.labels))
        assert float(line["test_error"]) == row.test_error
        assert int(line["labelled"]) == row.labelled


def write_study(
    folder: Path, rows: list[Result], change: Callable[[Result], dict[str, Any]]
) -> None:
    kept = {}
    for row in rows:
        key = Row(row.method, row.labels, row.seed, row.without).key
        own = {"method": row.method, "labels": row.labels, "seed": row.seed}
        if row.without:
            own[TERMS[row.without]] = 0.0
        settings = FewLabelsSettings(**own, **change(row)).to_json()
        kept[key] = {**vars(row), "settings": settings}
    write_json(folder / "results.json", kept)


def none(row: Result) -> dict[str, Any]:
    return {}


def test_the_files(table: list[Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, table, none)
    assert read(tmp_path) == table
    assert study_report.main([str(tmp_path)]) == 0
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text == report(table)
    assert (tmp_path / "study.csv").read_text(encoding="utf-8") == to_csv(table)
    assert curve.main([str(tmp_path)]) == 0
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.format == "PNG"
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    for method in METHODS:
        assert tuple(bytes.fromhex(curve.COLOURS[method][1:])) in colours
    assert (tmp_path / "curve.png").stat().st_size < 60_000


def test_a_study_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study_report.main([str(tmp_path)]) == 1
    assert curve.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("expected finished rows, found none") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Seeds of one method, and the ablation and its full objective.
        (
            lambda row: {"noise": 0.1 * (row.seed == 3)},
            "noise is 0.0 in .*seed0 and 0.1 in .*seed3",
        ),
        (
            lambda row: {"entropy_weight": 0.7} if row.without == "min-path" else {},
            "entropy_weight",
        ),
        # Methods, in what is their budget.
        (lambda row: {"steps": 9 if row.method == "supervised" else 8}, "steps is 8 in deconv"),
    ],
    ids=["seeds", "ablation", "budget"],
)
def test_unlike_rows_are_not_compared(
    change: Callable[[Result], dict[str, Any]], message: str, table: list[Result], tmp_path: Path
) -> None:
    less = [result("deconvolutional", 1000, 0, 0.2, term) for term in ("entropy", "min-path")]
    write_study(tmp_path, [*table, *less], none)
    assert len(read(tmp_path)) == len(table) + 2
    write_study(tmp_path, [*table, *less], change)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_settings_that_may_differ(table: list[Result], tmp_path: Path) -> None:
    """Methods have weights of their own, and more labels may have more steps."""

    def change(row: Result) -> dict[str, Any]:
        steps = 3000 if row.labels is None else 1000
        return {"steps": steps, "learning_rate": 0.01 * (1 + METHODS.index(row.method))}

    write_study(tmp_path, table, change)
    assert read(tmp_path) == table


def test_the_curve(table: list[Result], errors: dict[tuple[str, int | None], np.ndarray]) -> None:
    less = result("deconvolutional", 1000, 0, 0.9, "entropy")
    figure = curve.draw([*table, less])
    (panel,) = figure.axes
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["labels alone", "pseudo-labels", "mean teacher", "DGM"]
    assert panel.get_xscale() == "log"
    assert [text.get_text() for text in panel.get_xticklabels()] == [
        "100",
        "500",
        "1,000",
        "all 59,000",
    ]
    lines = {line.get_label(): line for line in panel.lines}
    own = lines["DGM"]
    np.testing.assert_array_equal(own.get_xdata(), [100, 500, 1000, 59_000])
    expected = [100 * errors["deconvolutional", count].mean() for count in COUNTS]
    np.testing.assert_allclose(own.get_ydata(), expected)
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [len(COUNTS) * SEEDS] * 4
    assert max(max(line.get_ydata()) for line in dots) < 50  # the ablation is not in it


def test_no_curve_of_an_ablation_alone() -> None:
    with pytest.raises(DataError, match="only of the ablation"):
        curve.draw([result("deconvolutional", 1000, 0, 0.2, "entropy")])
