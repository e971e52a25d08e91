"""The folder of a run and its record, run.json."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock

from zoo.errors import ZooError
from zoo.training.files import FileError, read_json, write_json

__all__ = ["RECORD", "Folder", "RunError"]

RECORD = "run.json"
LOCK = ".lock"


class RunError(ZooError, RuntimeError):
    """A run that cannot be started or resumed."""


class Folder:
    """A run folder that this process alone writes to; to be used as a context manager.

    On entry the folder is made, locked and its record begun, or taken up again. The lock is the
    system's: it ends with the process, however that dies.

    Args:
        path: The folder.
        facts: What the record says from the beginning.
        environment: The part of it that may be another one after a resume.
        resume: Whether to take up the record that is there.

    Attributes:
        facts: The record as it is.

    Raises:
        RunError: on entry, if the folder holds something already or another process is at work.
        FileError: if it cannot be written.
    """

    def __init__(
        self, path: Path, facts: dict[str, Any], environment: dict[str, Any], *, resume: bool
    ) -> None:
        self.path = path
        started = datetime.now(UTC).isoformat(timespec="seconds")
        begun = {"status": "running", "started": started}
        self.facts: dict[str, Any] = {**facts, **begun, **environment}
        self._environment = environment
        self._resume = resume
        self._stack = ExitStack()
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time of the run; of an earlier process, the time up to its last record."""
        return self._seconds_before + time.monotonic() - self._started

    def record(self, **facts: Any) -> None:
        """Add facts (JSON values) to the record and write it."""
        self.facts |= {"seconds": round(self.seconds, 3), **facts}
        write_json(self.path / RECORD, self.facts)

    def discard(self) -> None:
        """Remove the folder of a run that made nothing, so that the next one may have it."""
        own = {RECORD, LOCK}
        if not self._resume and {path.name for path in self.path.iterdir()} <= own:
            for name in own:
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._stack.enter_context(filelock.FileLock(self.path / LOCK, blocking=False))
        except filelock.Timeout:
            raise RunError(f"{self.path}: another process is at work in this folder") from None
        except OSError as error:
            raise FileError(f"{self.path}: cannot be written: {error.strerror}") from error
        with ExitStack() as undo:
            undo.push(self._stack)
            if self._resume:
                self._take_up()
            else:
                self._begin()
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def _begin(self) -> None:
        if extra := sorted(path.name for path in self.path.iterdir() if path.name != LOCK):
            names = ", ".join(extra[:3]) + (" ..." if extra[3:] else "")
            raise RunError(
                f"{self.path}: holds {names} already; "
                "--resume goes on with a run, --out takes another folder"
            )
        self.record()

    def _take_up(self) -> None:
        before = read_json(self.path / RECORD)
        self._seconds_before = before["seconds"]
        # What is different this time is kept: a result may owe itself to two commits.
        changed = {
            name: before[name] for name, value in self._environment.items() if before[name] != value
        }
        resumed = [*before.get("resumed", []), {"seconds": before["seconds"], "before": changed}]
        self.facts = {**before, **self.facts, "started": before["started"], "resumed": resumed}
        self.record()
