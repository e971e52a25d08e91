"""A settings class as a command line, and back."""

import shlex
from pathlib import Path

import pytest

from tests.training.toy import PRESETS, Toy
from zoo.training.command import build_parser, command_line, parse_arguments

PARSER = build_parser(Toy, PRESETS, name="toy", script="recipes/toy.py", doc="Learn 100 % of it.")


def given(*argv: str) -> dict[str, object]:
    return parse_arguments(PARSER, Toy, argv)[1]


def refused(capsys, *argv: str) -> str:
    with pytest.raises(SystemExit) as caught:
        given(*argv)
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


def test_only_what_was_said_is_given():
    assert given() == {}
    assert given("--steps", "5", "--fast", "--widths", "1,2", "--clip", "none") == {
        "steps": 5,
        "fast": True,
        "widths": (1, 2),
        "clip": None,
    }
    assert given("--no-fast", "--order=second", "--data", "/d") == {
        "fast": False,
        "order": "second",
        "data": Path("/d"),
    }


def test_help_documents_every_option_with_its_defaults(capsys):
    with pytest.raises(SystemExit) as caught:
        given("--help")
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Learn 100 % of it." in text
    assert "steps, 100 % of them (default: 12; smoke: 3)" in text
    assert "largest norm, or none (default: 1.0; large: none)" in text
    assert "sizes of the layers (default: 8,4; large: 64,64)" in text
    assert "--order {first,second}" in text
    assert "--fast, --no-fast" in text
    for option in ["--seed", "--data", "--device", "--threads", "--out", "--resume", "--again"]:
        assert option in text
    assert "python recipes/toy.py --smoke" in text
    assert "torchrun --nproc-per-node 8 recipes/toy.py" in text


def test_a_recipe_without_presets_has_no_smoke(capsys):
    parser = build_parser(Toy, {}, name="toy", script="toy.py", doc=None)
    with pytest.raises(SystemExit):
        parse_arguments(parser, Toy, ["--help"])
    assert "smoke" not in capsys.readouterr().out


def test_a_misspelt_option_names_the_nearest(capsys):
    text = refused(capsys, "--stepz", "3")
    assert "recipes/toy.py: error: unknown option --stepz; did you mean --steps" in text
    assert "unknown option --width;" in refused(capsys, "--width=3")


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--steps", "1.5"], "argument --steps: expected a whole number, found '1.5'"),
        (["--widths", "8,x"], "argument --widths: expected a whole number, found 'x'"),
        (["--span", "1"], "argument --span: expected 2 values, found 1"),
        (["--order", "third"], "argument --order: expected one of first, second; found 'third'"),
        (["--preset", "huge"], "huge"),
        (["--smoke", "--again", "run.json"], "not allowed with"),
        (["stray"], "unknown option stray"),
    ],
)
def test_a_bad_value_is_one_clear_line(capsys, argv, problem):
    assert problem in refused(capsys, *argv)


@pytest.mark.parametrize(
    ("config", "preset", "words"),
    [
        (Toy(), None, []),
        (Toy(steps=3), "smoke", ["--smoke"]),
        (Toy(clip=None, fast=True, widths=(64, 64)), "large", ["--preset", "large"]),
        (Toy(steps=3, seed=4), "smoke", ["--smoke", "--seed", "4"]),
        (Toy(clip=None, widths=(64, 64)), "large", ["--preset", "large", "--no-fast"]),
        (
            Toy(fast=True, clip=None, span=(0.5, 1e-9), label="a b"),
            None,
            ["--clip", "none", "--fast", "--span", "0.5,1e-09", "--label", "a b"],
        ),
    ],
)
def test_the_command_line_is_short_and_makes_the_settings_again(config, preset, words):
    command = command_line("recipes/toy.py", config, preset, PRESETS)
    assert shlex.split(command) == ["python", "recipes/toy.py", *words]
    options, explicit = parse_arguments(PARSER, Toy, shlex.split(command)[2:])
    assert options.preset == preset
    assert Toy(**{**PRESETS.get(preset or "", {}), **explicit}) == config


def test_the_command_line_says_nothing_about_the_machine():
    config = Toy(data=Path("/private/folder"), device="cuda:3", threads=7)
    assert command_line("toy.py", config, None, PRESETS) == "python toy.py"
