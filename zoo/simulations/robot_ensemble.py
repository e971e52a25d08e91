"""Robot scenes drawn by several processes into a folder, resumable: what `zoo simulate robot` does.

A render process may die, drivers of OpenGL being what they are. What it was drawing is drawn again
by a fresh pool of processes, and the result is the same.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from zoo.errors import SimulationError
from zoo.simulations import robot_worker
from zoo.simulations.robot_chunks import SETTINGS, Chunk, Ensemble, complaint, packed
from zoo.training.files import FileError, read_json, write_atomically, write_json
from zoo.training.progress import Progress

__all__ = ["POOLS", "simulate"]

POOLS = 5
"""Fresh pools of processes, at most: after that many deaths it is not bad luck any more."""

Drawing = Callable[[Chunk, int, str], tuple[Any, dict[str, Any]]]


def simulate(
    out: Path,
    ensemble: Ensemble,
    count: int,
    *,
    part: tuple[int, int] = (1, 1),
    workers: int | None = None,
    quiet: bool = False,
    draw: Drawing = robot_worker.draw,
) -> None:
    """Draw the first `count` scenes of an ensemble that are not in the folder `out` yet.

    Args:
        out: folder of the ensemble; made if it is not there.
        ensemble: which scenes, and how.
        count: number of scenes; fewer than are there leave the others where they are.
        part: this shard and the number of shards, `(1, 1)` for all files.
        workers: number of processes (default: one for each core).
        quiet: show no progress.
        draw: what a process does with a chunk.

    Raises:
        ValueError: there are not so many scenes.
        SimulationError: the folder was begun with other settings or is in use, MuJoCo or OpenGL is
            missing, or processes keep dying.
        FileError: a file cannot be read or written.
    """
    index, shards = part
    chunks = Chunk.all(ensemble.numbers(count))[index - 1 :: shards]
    with _locked(out, part):
        _begin(out, ensemble, count)
        missing = [chunk for chunk in chunks if complaint(out / chunk.file, chunk, ensemble.size)]
        if not missing:
            return
        first = sum(len(chunk.numbers) for chunk in chunks if chunk not in missing)
        total = sum(len(chunk.numbers) for chunk in chunks)
        with Progress(total, first=first, title="robot scenes", enabled=not quiet) as progress:
            for chunk, (images, facts) in _drawn(missing, ensemble, workers or _cores(), draw):
                content = packed(chunk, images, ensemble.as_dict() | facts)
                write_atomically(out / chunk.file, content)
                for _ in chunk.numbers:
                    progress.advance()


def _drawn(
    chunks: Sequence[Chunk], ensemble: Ensemble, workers: int, draw: Drawing
) -> Iterator[tuple[Chunk, Any]]:
    """Every chunk and what was drawn of it, in the order in which they are finished.

    Raises:
        SimulationError: there are chunks left after so many pools.
    """
    left = {chunk.index: chunk for chunk in chunks}
    for _ in range(POOLS):
        with _pool(min(workers, len(left))) as pool:
            try:
                tasks: dict[Future[Any], int] = {
                    pool.submit(draw, chunk, ensemble.size, ensemble.arm): index
                    for index, chunk in left.items()
                }
                for task in as_completed(tasks):
                    yield left[tasks[task]], task.result()
                    # Images that were written need not stay in memory until the end.
                    del left[tasks.pop(task)]
            except BrokenProcessPool:
                continue
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        return
    raise SimulationError(
        f"{len(left)} files of scenes are missing after {POOLS} pools of processes, each of which "
        "lost one to a crash, for which see above; what is done is kept: the same command goes on"
    )


def _pool(workers: int) -> ProcessPoolExecutor:
    # Processes that are started afresh: a fork would share the parent's OpenGL and threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=robot_worker.start)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(out: Path, ensemble: Ensemble, count: int) -> None:
    """Write the settings, or see that the folder was begun with the same ones."""
    wanted = ensemble.as_dict()
    there = read_json(out / SETTINGS) if (out / SETTINGS).exists() else {**wanted, "count": 0}
    for name, value in wanted.items():
        if there.get(name) != value:
            raise SimulationError(
                f"{out} was begun with {name} {there.get(name)!r}, not {value!r}; "
                "take another folder, or the same settings"
            )
    if there["count"] < count:
        write_json(out / SETTINGS, wanted | {"count": count})


@contextmanager
def _locked(out: Path, part: tuple[int, int]) -> Iterator[None]:
    """Have the folder for this shard, until the end of the context or of the process."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{out}: cannot be written: {error.strerror or error}") from error
    lock = filelock.FileLock(out / ".shard-{}-of-{}.lock".format(*part), blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise SimulationError(f"{out}: another process is drawing the same scenes") from error
    try:
        yield
    finally:
        lock.release()
