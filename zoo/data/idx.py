"""The IDX files of the MNIST family: a header of sizes, then unsigned bytes.

The sha256 is that of the unpacked content, so that plain files, torchvision's downloads and a
distribution's repacked `.gz` are all recognised, and one that differs in a single byte is refused.
"""

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from zoo.errors import DataError

__all__ = ["find_idx", "read_idx"]

_UNSIGNED_BYTES = 0x08


def find_idx(folder: Path, name: str) -> Path | None:
    """`folder/name` or `folder/name.gz`, whichever exists, the unpacked one first."""
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def read_idx(path: Path, sha256: str) -> Tensor:
    """The array in an IDX file, uint8, of the shape that its header gives.

    Args:
        path: The file; one that ends in `.gz` is unpacked in memory, nothing is written.
        sha256: Hash of the unpacked content.

    Raises:
        DataError: the file cannot be read, is damaged, or is not such a file.
    """
    content = _unpacked(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path} is damaged: its content has sha256 {found}, expected {sha256}; "
            "delete it and get it again"
        )
    return _parse(content, path)


def _unpacked(path: Path) -> bytearray:
    try:
        packed = path.read_bytes()
        return bytearray(gzip.decompress(packed) if path.suffix == ".gz" else packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; delete it and get it again") from error


def _parse(content: bytearray, path: Path) -> Tensor:
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise DataError(f"{path} is not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if len(content) != start + math.prod(shape):
        raise DataError(f"{path} says shape {shape}, which does not fit its {len(content)} bytes")
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).reshape(shape)
