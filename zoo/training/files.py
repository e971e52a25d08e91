"""Files that are either there as a whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from zoo.errors import ZooError

__all__ = ["FileError", "dump_json", "read_json", "write_atomically", "write_json"]


class FileError(ZooError, RuntimeError):
    """A file of a run that cannot be read or written: no space, no permission, damaged."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a kill, sees the old file or the new one.

    The content goes to `<path>.tmp` in the same folder, is synced to the disk, then renamed. The
    name of the temporary file is fixed: what a killed process left is overwritten by the next.
    There must be one writer at a time.

    Raises:
        FileError: if it cannot be written; what was at `path` is untouched.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error


def dump_json(value: Any) -> str:
    """`value` as readable JSON that ends with a newline; NaN and infinity are refused."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    write_atomically(path, dump_json(value).encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        FileError: if it cannot be read or holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise FileError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise FileError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
