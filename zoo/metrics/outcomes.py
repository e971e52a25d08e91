"""Which view of a model is right about which image: the state of an audit, in memory and in a file.

The file is replaced after every batch, as a whole or not at all, so that an audit can be killed at
any time. It says what it belongs to; no other audit goes on from it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from zoo.errors import ZooError
from zoo.training.checkpoint import CheckpointError, pack, unpack
from zoo.training.files import write_atomically

__all__ = ["STATE", "AuditError", "Outcomes", "opened"]

STATE, LOCK = "state.safetensors", "lock"
"""In the folder of an audit: what is known so far; and that there is one writer at a time."""

UNKNOWN = -1


class AuditError(ZooError, RuntimeError):
    """An audit that cannot go on, or a record of one that is damaged or does not fit."""


class Outcomes:
    """1 where a view is right about an image of an image set, 0 where it is wrong, -1 if unknown.

    Args:
        scored: Name of each image set -> the views it is scored on, and its number of images.
    """

    def __init__(self, scored: Mapping[str, tuple[tuple[str, ...], int]]) -> None:
        self.views = {name: views for name, (views, _) in scored.items()}
        self.right = {
            name: torch.full((len(views), n), UNKNOWN, dtype=torch.int8)
            for name, (views, n) in scored.items()
        }
        self.seconds = 0.0
        """Time spent, also by earlier processes."""

    def known(self, name: str, part: slice) -> bool:
        """Whether the images `part` of a set have been scored."""
        return bool((self.right[name][:, part] != UNKNOWN).all())

    def put(self, name: str, part: slice, right: Mapping[str, Tensor]) -> None:
        """Note for the images `part` of a set which views are right, bool (n,) for each."""
        for row, view in enumerate(self.views[name]):
            self.right[name][row, part] = right[view].to("cpu", torch.int8)

    def of(self, name: str, view: str) -> Tensor:
        """Whether `view` is right about the images of a set, bool (N,); unknown ones count so."""
        return self.right[name][self.views[name].index(view)] != 0

    def accuracy(self, name: str, view: str, n: int | None = None) -> float:
        """The accuracy of `view` on a set, or on its first `n` images; a fraction in [0, 1]."""
        return float(self.of(name, view)[:n].double().mean())

    def survivors(self, view: str, names: Iterable[str]) -> Tensor:
        """Whether `view` is right about an image in all of the sets `names`, bool (N,)."""
        return torch.stack([self.of(name, view) for name in names]).all(0)

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write all to `path`, atomically; `facts` are JSON values that say what it belongs to."""
        state = {"facts": dict(facts), "seconds": self.seconds, "right": self.right}
        write_atomically(path, pack(state))

    def load(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Go on from `path`.

        Raises:
            AuditError: it cannot be read, is damaged, or belongs to other `facts`.
        """
        elsewhere = f"use another folder, or remove {path}"
        try:
            state = unpack(path.read_bytes(), str(path))
            found, seconds, right = state["facts"], state["seconds"], state["right"]
        except OSError as error:
            raise AuditError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (CheckpointError, KeyError, TypeError) as error:
            raise AuditError(f"{path}: not the state of an audit ({error}); {elsewhere}") from error
        wrong = [
            f"{key}: expected {facts.get(key)}, found {found.get(key)}"
            for key in [*facts, *(found.keys() - facts.keys())]
            if facts.get(key) != found.get(key)
        ]
        if wrong:
            listed = "\n  ".join(wrong)
            raise AuditError(f"{path}: belongs to another audit; {elsewhere}\n  {listed}")
        self.right, self.seconds = right, seconds


@contextmanager
def opened(
    folder: str | Path | None, outcomes: Outcomes, facts: Mapping[str, Any]
) -> Iterator[Callable[[], None]]:
    """Read what the folder knows already, and give the function that writes what is known.

    Raises:
        AuditError: the folder belongs to another audit, is damaged or in use, or cannot be made.
    """
    if folder is None:
        yield lambda: None
        return
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise AuditError(f"{folder}: another audit is at work there; use another folder") from error
    except OSError as error:
        raise AuditError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        if (folder / STATE).exists():
            outcomes.load(folder / STATE, facts)
        yield lambda: outcomes.save(folder / STATE, facts)
    finally:
        lock.release()
