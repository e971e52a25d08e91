"""A `Settings` class as a command line, and back."""

from __future__ import annotations

import difflib
import shlex
from argparse import (
    SUPPRESS,
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from zoo.training.settings import MACHINE, Settings, SettingsError, parse

__all__ = ["build_parser", "command_line", "flag", "parse_arguments"]

Presets = Mapping[str, Mapping[str, Any]]

EXAMPLES = """examples:
  {smoke}python {script} --seed 1 --out runs/{name}-seed1
  python {script} --resume --out runs/{name}-seed1    # after a kill
  python {script} --again runs/{name}/run.json --out runs/{name}-again
  torchrun --nproc-per-node 8 {script}    # the same result from 8 GPUs
"""


class Parser(ArgumentParser):
    """A parser whose errors are one line, not one line below twenty lines of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help shows all options)\n")


def build_parser(
    config: type[Settings], presets: Presets, *, name: str, script: str, doc: str | None
) -> ArgumentParser:
    """The parser for the options of a recipe.

    Args:
        config: The class of its settings.
        presets: Name -> settings that differ from the defaults.
        name: Name of the recipe's model.
        script: The recipe's file, as the user calls it.
        doc: What the recipe does.
    """
    smoke = f"python {script} --smoke    # the whole path in a minute\n  "
    examples = EXAMPLES.format(script=script, name=name, smoke=smoke if "smoke" in presets else "")
    parser = Parser(
        prog=script,
        description=(doc or "").strip(),
        epilog=examples,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_run_options(parser, presets, name)
    hints, shared = config.types(), {each.name for each in fields(Settings)}
    own_group = parser.add_argument_group(f"settings of {name}")
    shared_group = parser.add_argument_group("settings that all recipes share")
    for each in fields(config):
        group = shared_group if each.name in shared else own_group
        group.add_argument(
            flag(each.name),
            dest=each.name,
            default=SUPPRESS,  # so that the namespace holds what was said, and nothing else
            help=_escape(_help(each, presets)),
            **_conversion(each, hints[each.name]),
        )
    return parser


def parse_arguments(
    parser: ArgumentParser, config: type[Settings], argv: Sequence[str] | None
) -> tuple[Namespace, dict[str, Any]]:
    """Read the command line: options of the run, and the settings that were given explicitly."""
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        word = unknown[0].partition("=")[0]
        known = [option for action in parser._actions for option in action.option_strings]
        near = difflib.get_close_matches(word, known, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        parser.error(f"unknown option {word}{hint}")
    given = {each.name for each in fields(config)} & set(vars(options))
    return options, {name: getattr(options, name) for name in given}


def command_line(script: str, config: Settings, preset: str | None, presets: Presets) -> str:
    """The shortest command with these settings; it leaves out those of the machine."""
    words, base = ["python", script], type(config)()
    if preset is not None:
        base = type(config)(**presets[preset])
        words += ["--smoke"] if preset == "smoke" else ["--preset", preset]
    for each in fields(config):
        value = getattr(config, each.name)
        if value == getattr(base, each.name) or each.name in MACHINE:
            continue
        if isinstance(value, bool):
            words.append(flag(each.name) if value else flag(f"no_{each.name}"))
        else:
            words += [flag(each.name), show(value)]
    return shlex.join(words)


def flag(name: str) -> str:
    """The option for a field, e.g. `--batch-size` for `batch_size`."""
    return "--" + name.replace("_", "-")


def show(value: object) -> str:
    """A value as the command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(show, value))
    return "none" if value is None else str(value)


def _add_run_options(parser: ArgumentParser, presets: Presets, name: str) -> None:
    group = parser.add_argument_group("the run")
    start = group.add_mutually_exclusive_group()
    start.add_argument("--preset", choices=sorted(presets), help="settings to begin with")
    if "smoke" in presets:
        help = "the whole path in about a minute on a CPU; short for --preset smoke"
        start.add_argument("--smoke", dest="preset", action="store_const", const="smoke", help=help)
    start.add_argument(
        "--again", type=Path, metavar="FILE", help="begin with the settings of a run.json"
    )
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of the run (default: runs/{name}, with a preset runs/{name}-PRESET)",
    )
    group.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    group.add_argument(
        "--dry-run", action="store_true", help="print the resolved settings as JSON and stop"
    )


def _conversion(each: Field[Any], hint: Any) -> dict[str, Any]:
    """How argparse turns text into a value of this field."""
    if hint is bool:
        return {"action": BooleanOptionalAction}
    choices = each.metadata.get("choices") or (
        get_args(hint) if get_origin(hint) is Literal else None
    )
    metavar = each.metadata.get("metavar")
    if choices and not metavar:
        metavar = "{" + ",".join(map(str, choices)) + "}"
    return {"type": _reader(hint), "metavar": metavar or each.name.upper()}


def _reader(hint: Any) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return parse(text, hint)
        except SettingsError as error:
            raise ArgumentTypeError(str(error)) from None

    return read


def _help(each: Field[Any], presets: Presets) -> str:
    """The help of a field, with its default and what the presets make of it."""
    values = [f"default: {show(each.default)}"]
    values += [
        f"{name}: {show(value[each.name])}" for name, value in presets.items() if each.name in value
    ]
    return f"{each.metadata.get('help', '')} ({'; '.join(values)})"


def _escape(text: str) -> str:
    """In the help of an option argparse takes a percent sign for a placeholder."""
    return text.replace("%", "%%")
