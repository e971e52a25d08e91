"""One run of a recipe: its loop with progress and checkpoints, and what it writes down."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from zoo.training import checkpoint, distributed, record
from zoo.training.folder import Folder, RunError
from zoo.training.log import Log
from zoo.training.progress import Progress
from zoo.training.randomness import deterministic, generator, seed_everything
from zoo.training.settings import Settings

__all__ = ["Run", "Stateful"]


class Stateful(Protocol):
    """What a checkpoint holds: modules, optimisers, schedulers, moving averages."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


class Run:
    """A run of a recipe, open while it is used as a context manager.

    Recipes get it from `training.main`. Of several processes only the main one writes files.

    Args:
        folder: Where everything that the run makes is written.
        config: The settings.
        name: Name of the recipe's model.
        source: The recipe's file.
        command: The command that does the same again.
        preset: The preset that the settings began with.
        resume: Whether to go on with the run that the folder holds.

    Attributes:
        device: The device of this process.
    """

    def __init__(
        self,
        folder: Path,
        config: Settings,
        *,
        name: str,
        source: Path,
        command: str,
        preset: str | None = None,
        resume: bool = False,
    ) -> None:
        self.folder, self.config, self.name = folder, config, name
        self.device = distributed.resolve_device(config.device)
        self._source, self._command, self._preset = source, command, preset
        self._resume = resume
        self._folder: Folder | None = None
        self._log: Log | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(deterministic())
            self._use_machine(stack)
            if self.is_main:
                self._folder = stack.enter_context(self._open())
            seed_everything(self.config.seed)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if error is None:
                distributed.barrier()
                self.record(status="done")
            elif self._folder is not None and self._log is None:
                self._folder.discard()

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return distributed.rank()

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return distributed.world_size()

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return distributed.is_main()

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run, over all resumes; 0 on other processes than the main one."""
        return self._folder.seconds if self._folder is not None else 0.0

    @property
    def facts(self) -> Mapping[str, Any]:
        """What run.json holds; empty on other processes than the main one."""
        return self._folder.facts if self._folder is not None else {}

    def steps(
        self,
        total: int,
        state: Mapping[str, Stateful],
        *,
        phase: str = "train",
        every_seconds: float = 60.0,
        every_steps: int | None = None,
    ) -> Iterator[int]:
        """The steps of a loop that are still to do, with progress and checkpoints.

        A step is done when the next one is asked for; a checkpoint is written then if one is due,
        and always after the last step. The global generators of Python, NumPy and torch are
        seeded at every step, so that dropout, too, draws the same after a resume.

        Args:
            total: Number of steps of the whole loop.
            state: Everything that changes from step to step; restored here on a resume.
            phase: Name of the loop, for recipes with several.
            every_seconds: Time between checkpoints.
            every_steps: Also write one whenever so many steps are done.
        """
        path = self.folder / f"checkpoint.{phase}.safetensors"
        first = self._restore(path, state)
        self._log = Log(self.folder / "metrics.jsonl", phase, total, first)
        saved = time.monotonic()
        title = f"{self.name} {phase}"
        with Progress(total, first=first, title=title, enabled=self.is_main) as progress:
            for step in range(first, total):
                seed_everything(self.config.seed, phase, step, self.rank, device=self.device)
                yield step
                progress.advance(self._log.finish(step))
                done = step + 1
                due = time.monotonic() - saved >= every_seconds
                if due or done == total or (every_steps and done % every_steps == 0):
                    self._save(path, state, done)
                    saved = time.monotonic()

    def log(self, **metrics: float | Tensor) -> None:
        """Log numbers of the present step; their mean over some steps is shown and written.

        Tensors with one element are fine and cost no synchronisation.
        """
        if self._log is None:
            raise RunError("log: there is no step yet; call it inside the loop over run.steps(...)")
        self._log.add(**metrics)

    def record(self, **facts: Any) -> None:
        """Write facts (JSON values) into run.json, e.g. `run.record(metrics={"accuracy": 0.9})`."""
        if self._folder is not None:
            self._folder.record(**facts)

    def generator(self, *stream: int | str, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator of this run's seed for one stream, e.g. `run.generator("noise", step)`."""
        return generator(self.config.seed, *stream, device=device)

    def shard(self, batch: Tensor) -> Tensor:
        """This process's slice of a global batch; see `distributed.shard`."""
        return distributed.shard(batch)

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Average gradients over the processes; see `distributed.average_gradients`."""
        distributed.average_gradients(parameters)

    def _open(self) -> Folder:
        facts = {
            "name": self.name,
            "command": self._command,
            "preset": self._preset,
            "settings": self.config.to_json(),
            "seed": self.config.seed,
        }
        environment = record.environment(self.device, self._source)
        return Folder(self.folder, facts, environment, resume=self._resume)

    def _use_machine(self, stack: ExitStack) -> None:
        """Take the threads and the GPU that the settings ask for."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.config.threads is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(self.config.threads)

    def _save(self, path: Path, state: Mapping[str, Stateful], done: int) -> None:
        if self.is_main:
            states = {name: each.state_dict() for name, each in state.items()}
            checkpoint.write(path, {"step": done, "state": states})
            self.record()

    def _restore(self, path: Path, state: Mapping[str, Stateful]) -> int:
        """Load the checkpoint, if there is one; return the first step to do."""
        content = checkpoint.read(path) if self.is_main and self._resume else None
        content = distributed.broadcast_bytes(content)
        if content is None:
            return 0
        saved = self._unpack(content, path)
        if set(saved["state"]) != set(state):
            found, expected = sorted(saved["state"]), sorted(state)
            raise RunError(f"{path}: holds the state of {found}, expected {expected}")
        for name, each in state.items():
            each.load_state_dict(saved["state"][name])
        return int(saved["step"])

    def _unpack(self, content: bytes, path: Path) -> Any:
        try:
            return checkpoint.unpack(content, str(path))
        except checkpoint.CheckpointError as error:
            before = checkpoint.previous(path)
            hint = f"; {before} is the one before, rename it to go on from there"
            raise checkpoint.CheckpointError(f"{error}{hint if before.exists() else ''}") from error
