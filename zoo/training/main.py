"""The command line of a recipe: what it asks for is planned, checked, then run."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from zoo.errors import ZooError
from zoo.training import distributed, record
from zoo.training.command import Presets, build_parser, command_line, flag, parse_arguments, show
from zoo.training.files import FileError, dump_json, read_json
from zoo.training.folder import RECORD, RunError
from zoo.training.run import Run
from zoo.training.settings import MACHINE, Settings, SettingsError

__all__ = ["main"]

C = TypeVar("C", bound=Settings)


@dataclass(frozen=True)
class Plan(Generic[C]):
    """What the command line asks for; `done` says that a run to resume has nothing left to do."""

    config: C
    preset: str | None
    out: Path
    resume: bool = False
    done: bool = False

    def to_json(self, name: str) -> dict[str, Any]:
        """The plan as JSON values; also a file that `--again` takes."""
        return {
            "name": name,
            "preset": self.preset,
            "settings": self.config.to_json(),
            "out": str(self.out),
            "resume": self.resume,
            "done": self.done,
        }


def main(
    train: Callable[[C, Run], None],
    config: type[C],
    *,
    presets: Presets | None = None,
    name: str,
    doc: str | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Run a recipe from its command line.

    Exits with status 2 for a wrong command line and 1 for any other error that the zoo raises on
    purpose (a missing data set, a full disk), with one message on standard error. Other
    exceptions are bugs and keep their traceback.

    Args:
        train: What the recipe does; called with the settings and the run.
        config: The class of the settings.
        presets: Name -> settings that differ from the defaults; `smoke` also gets `--smoke`.
        name: The card that the recipe makes, or any name; the run folder is `runs/<name>`.
        doc: Description for `--help`, usually the recipe's `__doc__`.
        argv: Arguments; those of the process if None.
    """
    presets = presets or {}
    source = record.script(train)
    script = record.relative(source)
    parser = build_parser(config, presets, name=name, script=script, doc=doc)
    options, given = parse_arguments(parser, config, argv)
    try:
        if options.dry_run:
            plan = make_plan(config, presets, name, options, given)
            print(dump_json(plan.to_json(name)), end="")
            return
        with distributed.processes():
            plan = _agree(config, presets, name, options, given)
            if plan.done:
                print(f"{plan.out}: this run is complete", file=sys.stderr)
                return
            command = command_line(script, plan.config, plan.preset, presets)
            run = Run(
                plan.out,
                plan.config,
                name=name,
                source=source,
                command=command,
                preset=plan.preset,
                resume=plan.resume,
            )
            with run:
                train(plan.config, run)
    except SettingsError as error:
        parser.error(str(error))
    except ZooError as error:
        print(f"{script}: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(f"{script}: interrupted; --resume goes on", file=sys.stderr)
        raise SystemExit(130) from None


def make_plan(
    config: type[C], presets: Presets, name: str, options: Namespace, given: Mapping[str, Any]
) -> Plan[C]:
    """Resolve the command line; explicit options win over a preset or a recorded run.

    Raises:
        SettingsError: if the options contradict each other or the run that they name.
        RunError: if there is no such run.
    """
    preset = options.preset
    values = dict(presets[preset]) if preset is not None else {}
    if options.again is not None and options.resume:
        raise SettingsError("--again begins a run, --resume goes on with one: give one of them")
    if options.again is not None:
        recorded = _read_record(options.again, name)
        preset = recorded["preset"] if recorded["preset"] in presets else None
        values = {**_recorded_settings(config, recorded, options.again).to_json()}
        # The same threads, too: sums over many numbers depend on their order.
        values["threads"] = values["threads"] or recorded.get("threads")
    out = options.out or Path("runs") / (name if preset is None else f"{name}-{preset}")
    if not options.resume:
        return Plan(config.from_json({**values, **given}), preset, out)
    return _resumed(config, name, out, {**values, **given})


def _resumed(config: type[C], name: str, out: Path, given: Mapping[str, Any]) -> Plan[C]:
    """The plan of the run in `out`; `given` may move it to another machine, no more."""
    recorded = _read_record(out / RECORD, name)
    settings = _recorded_settings(config, recorded, out / RECORD)
    asked = replace(settings, **given)
    for each in fields(config):
        was, now = getattr(settings, each.name), getattr(asked, each.name)
        if was != now and each.name not in MACHINE:
            option = f"{flag(each.name)} {show(now)}"
            raise SettingsError(f"cannot resume with {option}: {out} was begun with {show(was)}")
    if asked.threads is None:
        asked = replace(asked, threads=recorded["threads"])
    return Plan(asked, recorded["preset"], out, resume=True, done=recorded["status"] == "done")


def _read_record(path: Path, name: str) -> dict[str, Any]:
    try:
        recorded = read_json(path)
    except FileError as error:
        raise RunError(f"no run to start from: {error}") from error
    if recorded.get("name") != name or "preset" not in recorded or "settings" not in recorded:
        raise RunError(f"{path}: not the record of a run of {name}")
    return recorded


def _recorded_settings(config: type[C], recorded: Mapping[str, Any], path: Path) -> C:
    try:
        return config.from_json(recorded["settings"])
    except SettingsError as error:
        raise RunError(f"{path}: settings: {error}") from error


def _agree(
    config: type[C], presets: Presets, name: str, options: Namespace, given: Mapping[str, Any]
) -> Plan[C]:
    """The main process's plan, for all: only its machine need have the run folder."""
    content = None
    if distributed.is_main():
        plan = make_plan(config, presets, name, options, given)
        content = json.dumps(plan.to_json(name)).encode()
    content = distributed.broadcast_bytes(content)
    agreed = json.loads(content or b"{}")
    return Plan(
        config.from_json(agreed["settings"]),
        agreed["preset"],
        Path(agreed["out"]),
        agreed["resume"],
        agreed["done"],
    )
