"""Running means of what a recipe measures at every step, as lines of metrics.jsonl."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.training import distributed
from zoo.training.files import FileError, write_atomically

__all__ = ["DivergedError", "Log"]

ROWS = 1000
"""About how many rows a phase gets, however long it is."""


class DivergedError(ZooError, RuntimeError):
    """A metric of a training step is not a finite number any more."""


class Log:
    """Means over a few steps, over all processes, appended to a file by the main process.

    Values are added up where they are (on the GPU, say) and fetched only when a row is due, so
    that logging does not make the CPU wait at every step. Rows fall on fixed steps, which all
    processes agree about. A mean never reaches over a resume: it starts anew there.

    Args:
        path: The file, one JSON object a line.
        phase: Name of the loop.
        total: Number of steps of the loop.
        first: The step that the loop goes on from; later rows of this phase are removed.
    """

    def __init__(self, path: Path, phase: str, total: int, first: int) -> None:
        self._path = path
        self._phase = phase
        self._every = max(1, total // ROWS)
        self._last = total - 1
        self._sums: dict[str, float | Tensor] = {}
        self._counts: dict[str, int] = {}
        if distributed.is_main():
            self._trim(first)

    def add(self, **metrics: float | Tensor) -> None:
        """Take in the metrics of a step: numbers, or tensors with one element."""
        for name, value in metrics.items():
            number = value.detach() if isinstance(value, Tensor) else value
            self._sums[name] = self._sums.get(name, 0.0) + number
            self._counts[name] = self._counts.get(name, 0) + 1

    def finish(self, step: int) -> dict[str, float] | None:
        """End a step; where a row is due write it and return its means, else None.

        Raises:
            DivergedError: if a mean is not finite.
        """
        if not self._sums or ((step + 1) % self._every and step != self._last):
            return None
        # In the order of the recipe's log(), which is the same on all processes.
        names = list(self._sums)
        sums = [torch.as_tensor(self._sums[name]).cpu().double().reshape(()) for name in names]
        means = torch.stack(sums) / torch.tensor([self._counts[name] for name in names])
        means = distributed.all_reduce_mean(means)
        self._sums, self._counts = {}, {}
        row = dict(zip(names, means.tolist(), strict=True))
        for name, value in row.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} is {value} at step {step}: the training has diverged")
        if distributed.is_main():
            self._append({"phase": self._phase, "step": step, **row})
        return row

    def _append(self, row: dict[str, object]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise FileError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _trim(self, first: int) -> None:
        """Remove the rows that the loop will write again, and a line cut short by a kill."""
        if not self._path.exists():
            return
        lines = self._path.read_bytes().splitlines(keepends=True)
        rows = [(line, json.loads(line)) for line in lines if line.endswith(b"\n")]
        kept = [line for line, row in rows if row["phase"] != self._phase or row["step"] < first]
        write_atomically(self._path, b"".join(kept))
