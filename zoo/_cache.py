"""The zoo's own cache: files under the name of their content, written whole or not at all.

    blobs/<sha256>.safetensors    a weights file
    blobs/<sha256>.part           what there is of it so far
    blobs/<sha256>.lock           held while it is written
    cards/<org>--<name>/<revision>/<sha256>.json    the card of a Hub repository

No part of a path comes from a server. A `.part` is only ever touched under its lock, so a process
that was killed leaves at most one, and the next download goes on with it or starts it anew. It
gets its final name after its sha256 was seen to be right.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from zoo import _hub
from zoo._hub import Commit
from zoo.errors import WeightsError

__all__ = [
    "blob",
    "download",
    "fetch_card",
    "hash_file",
    "hub_copy",
    "read_card",
    "root",
    "write_whole",
]

CHUNK = 1 << 20
MAX_CARD_BYTES = 1 << 20


def root() -> Path:
    """The cache's folder: `$ZOO_CACHE`, or `zoo` beside the Hub's own cache in `HF_HOME`."""
    if folder := os.environ.get("ZOO_CACHE"):
        return Path(folder).expanduser().absolute()
    from huggingface_hub import constants

    return Path(constants.HF_HOME, "zoo").expanduser().absolute()


def blob(sha256: str) -> Path:
    """Where the weights file with this hash is, or would be."""
    return root() / "blobs" / f"{sha256}.safetensors"


def refuse_offline(commit: Commit, what: str, name: str) -> None:
    """Raise the `WeightsError` for offline users, if HF_HUB_OFFLINE is set.

    `what` begins the text, `name` is what to fetch while there is a network.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{what}: no whole copy on this machine, and HF_HUB_OFFLINE is set",
            file=f"{commit} on the Hub",
            expected=f"an undamaged copy in the cache, {root()}",
            found="none",
            next_step=f"run `zoo fetch {name}` with HF_HUB_OFFLINE unset",
        )


def hub_copy(commit: Commit, file: str) -> Path | None:
    """The file in the standard Hub cache, if another tool has put it there. Nothing is written."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(commit.repo, file, revision=commit.revision)
    return Path(found) if isinstance(found, str) else None


def hash_file(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(commit: Commit, file: str, sha256: str, size: int, *, what: str) -> Path:
    """Fetch a file of known content from the Hub into the cache, once among all processes.

    Args:
        commit: The repository and its revision.
        file: The file's name in the repository.
        sha256: What its content must hash to.
        size: How many bytes it has; not one more is taken.
        what: What it is wanted for, as the beginning of an error text.

    Raises:
        WeightsError: if it cannot be fetched or stored, or is not what it should be. Then nothing
            is left behind, but for the first part of a file whose connection was cut.
    """
    from filelock import FileLock

    target = blob(sha256)
    with _storing(target, what):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            # Another process may have been faster.
            if not (target.is_file() and hash_file(target) == sha256):
                part = target.with_suffix(".part")
                _fill(part, commit, file, sha256, size, what)
                part.replace(target)
    return target


def _fill(part: Path, commit: Commit, file: str, sha256: str, size: int, what: str) -> None:
    """Complete `part`, whose beginning may be there from an earlier try."""
    while True:
        with _Part(part, size) as sink:
            inherited = sink.size > 0
            if sink.size < size:
                _hub.stream(commit, file, sink, what=what)
            received, found = sink.size, sink.digest.hexdigest()
        if found == sha256:
            return
        part.unlink()
        # An inherited beginning may be the culprit: without it there is no second excuse.
        if not inherited:
            break
    raise WeightsError(
        f"{what}: the Hub sent something else than the file that the card names",
        file=f"{file} of {commit.repo} at {commit.revision}",
        expected=f"{size} bytes with sha256 {sha256}",
        found=f"{received} bytes with sha256 {found}",
        next_step="run this again; if it stays so, the server or the card is wrong",
    )


class _Part:
    """A file that grows to at most `limit` bytes, and its sha256 so far. A `zoo._hub.Sink`."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit
        self.size = 0
        self.digest = hashlib.sha256()
        self.file: BinaryIO = path.open("a+b")

    def __enter__(self) -> _Part:
        if self.file.tell() > self.limit:
            self.restart()
        self.file.seek(0)
        while chunk := self.file.read(CHUNK):
            self.digest.update(chunk)
            self.size += len(chunk)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.file.flush()
                os.fsync(self.file.fileno())
        finally:
            # After a cut connection or Ctrl-C the next try goes on from here. A full disk wants its
            # space back, and what is too long cannot become right.
            useless = isinstance(error, OSError | _hub.TooLongError) or not self.size
            if error is not None and useless:
                self.path.unlink(missing_ok=True)
            self.file.close()

    def write(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        self.file.truncate(0)
        self.digest = hashlib.sha256()
        self.size = 0


class _Text:
    """Bytes in memory. A `zoo._hub.Sink`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.restart()

    @property
    def size(self) -> int:
        return len(self.content)

    def write(self, chunk: bytes) -> None:
        self.content += chunk

    def restart(self) -> None:
        self.content = bytearray()


def read_card(commit: Commit) -> tuple[bytes, Path] | None:
    """The cached `config.json` of a Hub repository and where it is, if it is there undamaged."""
    for path in sorted(_card_folder(commit).glob("*.json")):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == path.stem:
            return content, path
    return None


def fetch_card(commit: Commit, *, what: str) -> tuple[bytes, Path]:
    """Download `config.json` of a Hub repository into the cache.

    Its hash cannot be known beforehand. It becomes the file's name, so that a damaged copy is
    noticed later.

    Raises:
        WeightsError: if it cannot be fetched or stored, or has more than 1 MiB.
    """
    sink = _Text(MAX_CARD_BYTES)
    _hub.stream(commit, "config.json", sink, what=what)
    content = bytes(sink.content)
    path = _card_folder(commit) / f"{hashlib.sha256(content).hexdigest()}.json"
    with _storing(path, what):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    return content, path


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file in one step: a reader sees the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # What mkstemp makes is for its owner's eyes only; others may share the cache.
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _card_folder(commit: Commit) -> Path:
    return root() / "cards" / commit.repo.replace("/", "--") / commit.revision


@contextlib.contextmanager
def _storing(path: Path, what: str) -> Iterator[None]:
    """Turn what the file system says (read-only, full, no folder) into an error for people."""
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"{what}: the cache cannot be written: {error.strerror or error}",
            file=error.filename or path,
            expected=f"a writable folder {root()} with enough space",
            next_step="make room, or set ZOO_CACHE to another folder",
        ) from error
