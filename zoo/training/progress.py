"""Progress with an ETA: a bar on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from types import TracebackType
from typing import Self

__all__ = ["Progress"]


class Progress:
    """Shows how far a loop is; to be used as a context manager.

    Args:
        total: Number of steps of the whole loop.
        first: Steps that were done before (in an earlier process); they do not count for the rate.
        title: What is going on.
        every_seconds: Time between two lines where standard error is not a terminal.
        enabled: Show nothing otherwise.

    Example:
        >>> with Progress(total=100, title="training") as progress:
        ...     for step in range(100):
        ...         progress.advance({"loss": 0.5})
    """

    def __init__(
        self,
        total: int,
        *,
        first: int = 0,
        title: str = "",
        every_seconds: float = 30.0,
        enabled: bool = True,
    ) -> None:
        self.total = total
        self.first = first
        self.done = first
        self.title = title
        self._every = every_seconds
        self._shown = ""
        self._enabled = enabled
        self._bar: _Bar | None = None
        self._stack = ExitStack()
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._started = self._last_line = time.monotonic()
        if self._enabled and sys.stderr.isatty():
            self._bar = self._stack.enter_context(_Bar(self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._enabled and self._bar is None and self.done > self.first:
            self._print()
        self._stack.__exit__(kind, error, traceback)

    def advance(self, metrics: Mapping[str, float] | None = None) -> None:
        """Count one step more; `metrics`, if given, replaces the numbers that are shown."""
        self.done += 1
        if metrics:
            self._shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if self._bar is not None:
            self._bar.show(self.done, self._shown)
        elif self._enabled and time.monotonic() - self._last_line >= self._every:
            self._print()

    def line(self) -> str:
        """The state in one line: title, steps, rate, time left, metrics."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        rate = (self.done - self.first) / elapsed
        left = timedelta(seconds=round((self.total - self.done) / rate)) if rate else "?"
        parts = [
            self.title,
            f"{self.done}/{self.total} ({self.done / max(self.total, 1):.0%})",
            format_rate(rate),
            f"ETA {left}",
            self._shown,
        ]
        return "  ".join(part for part in parts if part)

    def _print(self) -> None:
        self._last_line = time.monotonic()
        print(self.line(), file=sys.stderr, flush=True)


def format_rate(rate: float) -> str:
    """Steps per second, or seconds per step where that is the larger number."""
    return f"{1 / rate:.3g} s/step" if 0 < rate < 1 else f"{rate:.3g} steps/s"


class _Bar:
    """The bar on a terminal."""

    def __init__(self, progress: Progress) -> None:
        # Here, because loading rich takes a while and log files do not need it.
        from rich import progress as rich
        from rich.console import Console
        from rich.table import Column

        self._rich = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=12),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[rate]}"),
            rich.TimeRemainingColumn(compact=True),
            # The metrics get what is left of the line, cut short where that is too little.
            rich.TextColumn(
                "{task.fields[metrics]}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            expand=True,
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._owner = progress
        self._task = self._rich.add_task(
            progress.title, total=progress.total, completed=progress.first, rate="", metrics=""
        )

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._rich.stop()

    def show(self, done: int, metrics: str) -> None:
        elapsed = max(time.monotonic() - self._owner._started, 1e-9)
        rate = format_rate((done - self._owner.first) / elapsed)
        self._rich.update(self._task, completed=done, rate=rate, metrics=metrics)
