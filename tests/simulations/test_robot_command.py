"""The command `zoo simulate robot`: its options, its errors, and one scene from end to end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulations import robots
from zoo import cli
from zoo.data import robot_scenes
from zoo.simulations import robot_ensemble
from zoo.simulations.robot_chunks import Ensemble

COMMAND = ["simulate", "robot"]


@pytest.fixture
def asked(monkeypatch):
    """What was to be drawn, instead of drawing it."""
    calls = []

    def simulate(out, ensemble, count, **options):
        calls.append((out, ensemble, count, options))

    monkeypatch.setattr(robot_ensemble, "simulate", simulate)
    return calls


def test_options_arrive(asked, monkeypatch, capsys):
    monkeypatch.setenv("ZOO_DATA", "/data")
    assert cli.main(COMMAND) == 0
    options = "--size 32 --count 7 --arm jaco --seed 3 --fix robot_x=7 wall_color=0 --data d"
    assert cli.main([*COMMAND, *options.split(), "--shard", "2/3", "--workers", "1"]) == 0
    assert cli.main([*COMMAND, "--out", "there"]) == 0
    everything = {"part": (1, 1), "workers": None}
    ensemble = Ensemble("jaco", 32, 3, {"robot_x": 7, "wall_color": 0})
    folder = Path("d/robot-scenes/jaco-32-robot_x=7-wall_color=0")
    assert asked == [
        (Path("/data/robot-scenes/primitive-64"), Ensemble(), 20_000, everything),
        (folder, ensemble, 7, {"part": (2, 3), "workers": 1}),
        (Path("there"), Ensemble(), 20_000, everything),
    ]
    assert capsys.readouterr().out.splitlines()[-1] == "there"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--size 4", "--size: expected 8 to 1024 pixels, found 4"),
        ("--arm ur5", "--arm: expected primitive or jaco, found 'ur5'"),
        ("--count 0", "--count: expected 1 to 737280 different scenes, found 0"),
        ("--fix robot_x=1 --count 92161", "--count: expected 1 to 92160 different scenes"),
        ("--fix robot_z=1", "--fix: no factor 'robot_z' (did you mean"),
        ("--fix robot_x=8", "--fix: robot_x: expected 0 to 7, found 8"),
        ("--seed -1", "--seed: expected 0 to"),
        ("--workers 0", "--workers: expected at least 1, found 0"),
        ("--data d --out e", "--out and --data: expected one of them, found both"),
        ("", "--out DIR is missing"),
    ],
)
def test_wrong_options_are_said(asked, monkeypatch, capsys, options, text):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    assert cli.main([*COMMAND, *options.split()]) == 1
    assert text in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize("option", ["--fix robot_x", "--fix robot_x=a", "--shard 4/3"])
def test_wrong_forms_are_usage_errors(capsys, option):
    with pytest.raises(SystemExit) as ended:
        cli.main([*COMMAND, *option.split()])
    assert ended.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_help_needs_neither_torch_nor_mujoco(capsys):
    code = (
        "import sys\nfrom zoo import cli\n"
        "try:\n    cli.main(['simulate', 'robot', '--help'])\n"
        "except SystemExit:\n    assert not {'torch', 'mujoco'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Isaac3D" in result.stdout and "..\n" not in result.stdout


def test_scenes_from_the_command_are_loaded(tmp_path, capsys):
    options = "--count 20 --size 16 --workers 1 --data"
    code = cli.main([*COMMAND, *options.split(), str(tmp_path)])
    said = capsys.readouterr()
    if not robots.opengl():
        assert code == 1
        assert "structured-zoo[robot]" in said.err or "MUJOCO_GL" in said.err
        return
    assert code == 0 and said.out == f"{tmp_path}/robot-scenes/primitive-16\n"
    assert "20/20 (100%)" in said.err
    scenes = robot_scenes.load(tmp_path, size=16, split="test")
    assert scenes.images.shape == (2, 3, 16, 16)
    assert scenes.images.float().std() > 20
