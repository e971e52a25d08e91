"""The command `zoo simulate`: its options, its tables, its errors."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.simulations.closed_form_flow import ClosedFormFlow
from zoo import cli
from zoo.simulations import ensemble
from zoo.simulations.design import find, shard
from zoo.simulations.ensemble import Settings

ROOT = Path(__file__).parents[2]
COMMAND = ["simulate", "turbulence"]


@pytest.fixture
def asked(monkeypatch):
    """What the ensemble was asked for, instead of it."""
    calls = []

    def simulate(out, settings, **options):
        calls.append((out, settings, options))

    monkeypatch.setattr(ensemble, "simulate", simulate)
    return calls


@pytest.fixture
def closed_form(monkeypatch):
    monkeypatch.setattr(ensemble, "NavierStokes", ClosedFormFlow)
    monkeypatch.setattr(ensemble.record, "commit", lambda place: "d" * 40)


def test_options_arrive(asked, capsys):
    assert cli.main([*COMMAND, "--out", "x"]) == 0
    options = "--design smoke --cfl 0.5 --every 0.1 --dtype float64 --shard 2/3"
    assert cli.main([*COMMAND, "--out", "x", *options.split()]) == 0
    (out, settings, keywords), (_, other, others) = asked
    assert (out, keywords, others) == (Path("x"), {"part": (1, 1)}, {"part": (2, 3)})
    assert settings == Settings(find("cpu"))
    assert (other.design.name, other.cfl, other.every, other.dtype) == (
        "smoke",
        0.5,
        0.1,
        "float64",
    )
    assert capsys.readouterr().err == "x: there are runs still to be done\n" * 2


def test_design_of_ones_own(asked):
    options = "--viscosity 0.03 0.02 --points 64 96 --seeds 4 5 --spectrum k2 --resolution 1"
    cli.main([*COMMAND, "--out", "x", *options.split(), "--peak-wavenumber", "4"])
    cli.main([*COMMAND, "--out", "x", "--viscosity", "0.03", "0.02", "--points", "64"])
    (_, settings, _), (_, plain, _) = asked
    assert settings.design.resolution == 1.0
    assert sorted(case.name for case in settings.design.cases()) == [
        "nu0.0200-k2-peak4-seed4",
        "nu0.0200-k2-peak4-seed5",
        "nu0.0300-k2-peak4-seed4",
        "nu0.0300-k2-peak4-seed5",
    ]
    assert [(c.points, c.viscosity) for c in settings.design.conditions] == [(64, 0.03), (96, 0.02)]
    assert [c.points for c in plain.design.conditions] == [64, 64]
    assert (plain.design.resolution, plain.design.conditions[0].split) == (1.5, "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "--out DIR is missing"),
        ("--out x --design tpu", "no design 'tpu'; there are cpu, smoke, gpu"),
        ("--out x --points 64", "--points needs --viscosity"),
        ("--out x --peak-wavenumber 4", "--peak-wavenumber needs --viscosity"),
        ("--out x --viscosity 0.02", "--viscosity needs --points"),
        ("--out x --design cpu --viscosity 0.02 --points 64", "expected one of them, found both"),
        ("--out x --viscosity 1 2 3 --points 8 8", "as many as viscosities, 3, found 2"),
        ("--out x --viscosity -1 --points 8", "viscosity: expected a positive number, found -1"),
        ("--out x --cfl 0", "cfl: expected a positive number, found 0"),
        ("--out x --dtype half", "dtype: expected float32 or float64, found 'half'"),
        ("--out x --threads 0", "--threads: expected at least 1, found 0"),
    ],
)
def test_options_that_do_not_fit(asked, capsys, options, message):
    assert cli.main([*COMMAND, *options.split()]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize("shard", ["2", "0/2", "3/2", "a/b"])
def test_shard_that_is_none(capsys, shard):
    with pytest.raises(SystemExit):
        cli.main([*COMMAND, "--out", "x", "--shard", shard])
    assert f"expected i/n with 1 <= i <= n, found '{shard}'" in capsys.readouterr().err


def test_threads_are_set(asked):
    before = torch.get_num_threads()
    try:
        cli.main([*COMMAND, "--out", "x", "--threads", "3"])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_dry_run_writes_nothing(capsys, tmp_path):
    assert cli.main([*COMMAND, "--dry-run", "--out", str(tmp_path / "x"), "--shard", "1/2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cases = shard(find("cpu").cases(), 1, 2)
    assert [line.split()[:2] for line in lines[1:-1]] == [[c.name, c.split] for c in cases]
    assert lines[-1].startswith(f"{len(cases)} runs")
    assert not (tmp_path / "x").exists()


def test_whole_ensemble_and_its_report(closed_form, capsys, tmp_path):
    command = [*COMMAND, "--out", str(tmp_path), "--viscosity", "0.02", "--points", "8"]
    assert cli.main([*command, "--every", "0.2"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'turbulence.safetensors'}\nsplit")
    assert "1/1 nu0.0200-k4-seed0  done: " in err
    assert "kmax*eta" in err
    assert cli.main([*COMMAND, "--out", str(tmp_path), "--report"]) == 0
    assert capsys.readouterr().out == out.partition("\n")[2]
    cli.main([*COMMAND, "--out", str(tmp_path), "--report", "--markdown"])
    assert capsys.readouterr().out.startswith("| split | nu |")
    # Everything is there: the same command has nothing to do.
    assert cli.main([*command, "--every", "0.2"]) == 0
    assert "done" not in capsys.readouterr().err
    assert cli.main([*command, "--every", "0.1"]) == 1
    assert "every: 0.2 there, 0.1 asked for" in capsys.readouterr().err


def test_report_of_nothing(capsys, tmp_path):
    assert cli.main([*COMMAND, "--out", str(tmp_path), "--report"]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_help_fits_and_imports_no_torch():
    code = (
        "import sys; from zoo.cli import main\n"
        "try: main(['simulate', 'turbulence', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"COLUMNS": "80", "PATH": ""},
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
    for name in ("cpu", "smoke", "gpu"):
        assert f"\n  {name} " in done.stdout
