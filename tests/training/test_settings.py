"""Settings: types, values, JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.training.toy import Toy
from zoo import training
from zoo.training.settings import decode, parse


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("12", int, 12),
        ("1e-3", float, 1e-3),
        ("7", float, 7.0),
        ("a b", str, "a b"),
        ("true", bool, True),
        ("/data", Path, Path("/data")),
        ("none", float | None, None),
        ("0.5", float | None, 0.5),
        ("1,2,3", tuple[int, ...], (1, 2, 3)),
        ("", tuple[int, ...], ()),
        ("0,1.5", tuple[float, float], (0.0, 1.5)),
        ("none", tuple[int, ...] | None, None),
        ("2", Literal[1, 2], 2),
        ("second", Literal["first", "second"], "second"),
    ],
)
def test_text_becomes_a_value_of_the_type(text, hint, value):
    read = parse(text, hint)
    assert read == value
    assert type(read) is type(value) or isinstance(value, Path)


def test_a_path_is_absolute_and_knows_the_home_folder():
    assert parse("data", Path) == Path.cwd() / "data"
    assert parse("~/data", Path) == Path.home() / "data"


@pytest.mark.parametrize(
    ("text", "hint", "problem"),
    [
        ("1.5", int, "expected a whole number, found '1.5'"),
        ("x", float, "expected a finite number, found 'x'"),
        ("nan", float, "expected a finite number"),
        ("inf", float | None, "expected a finite number"),
        ("yes", bool, "expected true or false, found 'yes'"),
        ("1,x", tuple[int, ...], "expected a whole number, found 'x'"),
        ("1", tuple[int, int], "expected 2 values, found 1"),
        ("third", Literal["first", "second"], "expected one of first, second; found 'third'"),
    ],
)
def test_text_that_says_no_such_value_is_refused(text, hint, problem):
    with pytest.raises(training.SettingsError) as caught:
        parse(text, hint)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [(True, int), (1, bool), (1.0, int), ("1", float), (None, int), (3, str), (3, tuple[int, ...])],
)
def test_a_value_of_another_type_is_refused(value, hint):
    with pytest.raises(training.SettingsError, match="expected"):
        decode(value, hint)


@pytest.mark.parametrize("hint", [dict, list[int], int | str, complex])
def test_a_type_that_settings_cannot_have_is_a_programming_error(hint):
    with pytest.raises(TypeError, match="a setting cannot be of type"):
        decode("1", hint)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"steps": 1.5}, "steps: expected a whole number, found 1.5"),
        ({"order": "third"}, "order: expected one of first, second; found 'third'"),
        ({"label": "other"}, "label: expected one of plain, a b, none; found 'other'"),
        ({"widths": (1, "2")}, "widths: expected a whole number, found '2'"),
        ({"seed": -1}, "seed: expected 0"),
        ({"threads": 0}, "threads: expected at least 1"),
    ],
)
def test_settings_are_checked_however_they_are_made(values: dict[str, Any], problem):
    with pytest.raises(training.SettingsError) as caught:
        Toy(**values)
    assert problem in str(caught.value)


def test_settings_survive_json():
    config = Toy(data=Path("/data"), clip=None, widths=(1, 2, 3), span=(0, 2), seed=7)
    data = config.to_json()
    assert data["widths"] == [1, 2, 3]
    assert data["data"] == "/data"
    assert Toy.from_json(data) == config
    assert Toy.from_json({"steps": 5}) == Toy(steps=5)


def test_an_unknown_setting_is_named():
    with pytest.raises(training.SettingsError, match="stepz: no such setting"):
        Toy.from_json({"stepz": 1})


def test_a_recipe_can_check_more():
    @dataclass(frozen=True)
    class Even(training.Settings):
        n: int = training.option(2, "an even number")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.n % 2:
                raise training.SettingsError(f"n: expected an even number, found {self.n}")

    assert Even(n=4).n == 4
    with pytest.raises(training.SettingsError, match="n: expected an even number, found 3"):
        Even(n=3)
