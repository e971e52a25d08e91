"""The table of forecasters of decaying turbulence, and its two forms."""

import csv
import io
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from tests.metrics.test_turbulence import TRUTH, decaying, power_law
from zoo.data import decaying_turbulence, wray_decay
from zoo.metrics import turbulence_table as tables
from zoo.metrics.turbulence_table import COLUMNS, EXTERNAL, Row, columns, rows
from zoo.models.k_epsilon import KEpsilon


class Two:
    """A forecaster with two members."""

    members = (KEpsilon(1.92).double(), KEpsilon(TRUTH).double())

    def forecast(self, state: dict[str, Tensor], times: Tensor) -> dict[str, Tensor]:
        return self.members[1].forecast(state, times)

    def forecast_members(self, state: dict[str, Tensor], times: Tensor) -> dict[str, Tensor]:
        found = [member.forecast(state, times) for member in self.members]
        return {name: torch.stack([each[name] for each in found]) for name in found[0]}


@pytest.fixture(scope="module")
def table() -> list[Row]:
    asked = {COLUMNS[0]: decaying(3, 2.0), COLUMNS[2]: decaying(1, 1.0)}
    return rows({"1.92": KEpsilon(1.92).double(), "two": Two()}, asked)


def closed_form(horizon: float, which: int) -> float:
    tau = torch.linspace(0, horizon, 65, dtype=torch.float64)[1:]
    return float((power_law(1.92, tau) / power_law(TRUTH, tau) - 1).abs()[which].mean())


def test_every_model_is_scored_on_every_quantity_of_every_column(table: list[Row]) -> None:
    names = [(row.model, row.column, row.quantity) for row in table]
    places = [
        (column.title, quantity)
        for column in (COLUMNS[0], COLUMNS[2])
        for quantity in ("epsilon", "k")
    ]
    assert names == [(model, *place) for model in ("1.92", "two") for place in places]
    for row in table:
        horizon = 2.0 if row.split == "test-seed" else 1.0
        expected = closed_form(horizon, 1 if row.quantity == "epsilon" else 0)
        if row.model == "1.92":
            assert row.error == pytest.approx(expected, rel=1e-6)
            assert row.member_error == row.error and math.isnan(row.member_deviation)
        else:
            # One member is right, the other 1.92.
            assert row.error < 1e-7
            assert row.member_error == pytest.approx(expected / 2, rel=1e-5)
            assert row.member_deviation == pytest.approx(expected / math.sqrt(2), rel=1e-5)
        assert (row.n, row.members) == (3 if horizon == 2 else 1, 1 if row.model == "1.92" else 2)
        # All runs have the same error.
        assert row.standard_error == pytest.approx(0, abs=1e-9) if row.n > 1 else True
        assert math.isnan(row.standard_error) == (row.n == 1)


def test_the_csv_has_all_numbers(table: list[Row]) -> None:
    read = list(csv.DictReader(io.StringIO(tables.to_csv(table))))
    assert len(read) == len(table) == 8
    for line, row in zip(read, table, strict=True):
        assert (line["model"], line["split"], int(line["n"])) == (row.model, row.split, row.n)
        assert float(line["error"]) == pytest.approx(row.error, rel=1e-5)
        assert float(line["member_error"]) == pytest.approx(row.member_error, rel=1e-5)


def test_the_table_is_in_percent_with_a_row_for_single_members(table: list[Row]) -> None:
    lines = tables.to_markdown(table, "epsilon").splitlines()
    assert lines[0] == "|  | unseen seeds, n = 3 | lowest viscosity, n = 1 |"
    assert lines[1] == "| --- | --- | --- |"
    both = [100 * closed_form(horizon, 1) for horizon in (2.0, 1.0)]
    assert lines[2] == f"| 1.92 | {both[0]:.1f} ± 0.0 % | {both[1]:.1f} % |"
    assert lines[3].startswith("| two | 0.0 ± 0.0 % |")
    cells = [f"{error / 2:.1f} ± {error / math.sqrt(2):.1f} %" for error in both]
    assert lines[4] == f"| two, one member of 2 | {cells[0]} | {cells[1]} |"
    assert len(lines) == 5
    assert tables.to_markdown(table, "k").count("\n") == 4


def test_a_column_has_its_split_and_its_protocol_and_is_left_out_without_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []

    def problem(runs: list[object], **window: object) -> object:
        asked.append((runs, window))
        return "problem"

    def load(split: str, path: object) -> list[object]:
        return [] if split == "test-viscosity" else [SimpleNamespace(split=split, path=path)]

    monkeypatch.setattr(decaying_turbulence, "load", load)
    monkeypatch.setattr(decaying_turbulence, "problem", problem)
    monkeypatch.setattr(wray_decay, "find", lambda root: None)
    assert list(columns()) == [COLUMNS[0], COLUMNS[1], COLUMNS[3]]
    peak = {"start": 0.0, "horizon": 2.0, "points": 65}
    similar = {"start": 1.5, "horizon": 0.71, "points": 65}
    assert [window for _, window in asked] == [peak, similar, peak]
    assert [run.split for (run,), _ in asked] == ["test-seed", "test-seed", "test-spectrum"]


def test_the_external_run_has_the_last_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decaying_turbulence, "load", lambda split, path: [])
    monkeypatch.setattr(wray_decay, "find", lambda root: root)
    monkeypatch.setattr(wray_decay, "problem", lambda decay: decaying(1, 1.0))
    (column,) = columns(root="somewhere")
    assert column == EXTERNAL and "extrapolation" in column.title
