"""The folder of an ensemble: its settings, the files of its runs, its locks, and the merged file.

    DIR/settings.json                        what is simulated, and how
    DIR/runs/<run>.safetensors               a finished run: its series
    DIR/runs/<run>.checkpoint.safetensors    a run under way: its velocity and its series so far
    DIR/log.jsonl                            how long each run took
    DIR/turbulence.safetensors               the ensemble, made when the last run is there

No file has a date or a duration in it but the log, and nothing of it depends on the order in which
the runs were done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import safetensors
import safetensors.torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.simulations.design import QUANTITIES, SPECTRA, Design
from zoo.training.files import FileError, dump_json, read_json, write_atomically

__all__ = [
    "ENSEMBLE",
    "EnsembleError",
    "begin",
    "checkpoint_of",
    "file_of",
    "log",
    "merge",
    "owned",
    "write_run",
]

ENSEMBLE = "turbulence.safetensors"
SETTINGS = "settings.json"


class EnsembleError(ZooError, RuntimeError):
    """A folder of an ensemble that is not the one that was asked for, or is incomplete."""


def merge(out: Path) -> Path | None:
    """Write the file of the ensemble if all its runs are there, byte for byte the same every time.

    Returns:
        The file, or None if a run is missing.

    Raises:
        EnsembleError: `out` is not the folder of an ensemble.
        FileError: a file of a run is damaged.
    """
    if not (out / SETTINGS).exists():
        raise EnsembleError(
            f"{out} is not the folder of an ensemble: it has no {SETTINGS}; "
            f"`zoo simulate turbulence --out {out}` begins one"
        )
    settings = read_json(out / SETTINGS)
    names = [case.name for case in Design.from_dict(settings["design"]).cases()]
    if not all(file_of(out, name).exists() for name in names):
        return None
    tensors: dict[str, Tensor] = {}
    environments: list[dict[str, Any]] = []
    with _locked(out):
        for name in names:
            found, facts = _read_run(file_of(out, name))
            tensors |= found
            environments += [each for each in facts if each not in environments]
        metadata = {"settings": _json(settings | {"environments": environments})}
        write_atomically(out / ENSEMBLE, safetensors.torch.save(tensors, metadata))
    return out / ENSEMBLE


def _read_run(path: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The tensors of a finished run, and where it was computed."""
    run = path.stem
    expected = {f"{run}/{name}" for name in (*QUANTITIES, *SPECTRA)}
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            environments: list[dict[str, Any]] = json.loads(file.metadata()["environments"])
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path}: damaged: {error}; delete it and simulate again") from error
    if set(tensors) != expected:
        odd = ", ".join(sorted(set(tensors) ^ expected))
        raise FileError(f"{path}: not a run of this ensemble ({odd}); delete it, simulate again")
    return tensors, environments


def begin(out: Path, wanted: Mapping[str, Any]) -> None:
    """Make the folder for these settings, or see that it was begun with the same ones.

    Raises:
        EnsembleError: it was begun with others; says which.
        FileError: it cannot be written.
    """
    with _locked(out):
        if not (out / SETTINGS).exists():
            write_atomically(out / SETTINGS, dump_json(wanted).encode())
            return
        there = read_json(out / SETTINGS)
    if different := list(_differences(there, wanted)):
        raise EnsembleError(
            "\n".join(
                [
                    f"{out} was begun with other settings; take another folder, or the same ones:",
                    *(f"  {name}: {old} there, {new} asked for" for name, old, new in different),
                ]
            )
        )


def _differences(there: Any, wanted: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, old and new value wherever two nestings of JSON values differ."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        for key in there | wanted:
            path = f"{name}.{key}" if name else str(key)
            yield from _differences(there.get(key), wanted.get(key), path)
    elif isinstance(there, list) and isinstance(wanted, list) and len(there) == len(wanted):
        for index, pair in enumerate(zip(there, wanted, strict=True)):
            yield from _differences(*pair, f"{name}[{index}]")
    elif isinstance(there, list) and isinstance(wanted, list) and name.endswith("conditions"):
        yield f"number of {name}", str(len(there)), str(len(wanted))
    elif there != wanted:
        yield name, json.dumps(there), json.dumps(wanted)


def write_run(
    path: Path, tensors: Mapping[str, Tensor], environments: Sequence[Mapping[str, Any]]
) -> None:
    """Write the file of a finished run, `<run>/<quantity>` being the names of its tensors."""
    metadata = {"environments": _json(environments)}
    write_atomically(path, safetensors.torch.save(dict(tensors), metadata))


def log(out: Path, **facts: Any) -> None:
    """Append a line to the log."""
    with (out / "log.jsonl").open("a") as file:
        file.write(_json(facts) + "\n")


def file_of(out: Path, run: str) -> Path:
    """Of a finished run."""
    return out / "runs" / f"{run}.safetensors"


def checkpoint_of(out: Path, run: str) -> Path:
    """Of a run under way."""
    return out / "runs" / f"{run}.checkpoint.safetensors"


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Wait for the lock of the folder, which is made if it is not there."""
    with filelock.FileLock(_lock(out, "folder")):
        yield


@contextmanager
def owned(out: Path, run: str) -> Iterator[bool]:
    """Whether this process has the run for itself, until the end of the context.

    The lock is the system's: it ends with the process, however that dies.
    """
    lock = filelock.FileLock(_lock(out, run), blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _lock(out: Path, name: str) -> Path:
    try:
        for folder in (out / "runs", out / ".locks"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{out}: cannot be written: {error.strerror or error}") from error
    return out / ".locks" / f"{name}.lock"


def _json(value: Any) -> str:
    """On one line, and the same whatever the order of the keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
