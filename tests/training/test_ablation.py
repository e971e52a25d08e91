"""The ablation table: every row changes what it says, and a stopped table goes on."""

import json
from pathlib import Path

import pytest

from zoo.training.ablation import CHANGES, main

TINY = ["--dataset", "fashion-mnist-sample", "--steps", "1", "--images", "8"]


@pytest.mark.slow
def test_rows_are_trained_scored_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = "K = 0, the plain CNN"
    few = {"as in the recipe": {}, plain: CHANGES[plain]}
    monkeypatch.setattr("zoo.training.ablation.CHANGES", few)
    main([*TINY, "--out", str(tmp_path), "--rows", "1"])
    first = json.loads((tmp_path / "ablation.json").read_text())["rows"]
    assert list(first) == ["as in the recipe"]
    before = (tmp_path / "row-0" / "run.json").read_bytes()
    capsys.readouterr()
    main([*TINY, "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "ablation.json").read_text())["rows"]
    assert rows["as in the recipe"] == first["as in the recipe"]
    assert (tmp_path / "row-0" / "run.json").read_bytes() == before
    assert rows["as in the recipe"]["left after the last feedback"] > 0
    assert rows[plain]["left after the last feedback"] is None
    assert rows[plain]["clean, first pass"] == rows[plain]["clean, mean"]
    settings = [
        json.loads((tmp_path / f"row-{i}" / "run.json").read_text())["settings"] for i in (0, 1)
    ]
    assert {key for key in settings[0] if settings[0][key] != settings[1][key]} == {"iterations"}
    out = capsys.readouterr().out
    assert out.count("\n| ") == 3
