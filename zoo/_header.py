"""The header of a safetensors file, checked before any tensor is made.

A file is eight bytes (the length of the header, little-endian), the header (a JSON object
`name -> {dtype, shape, data_offsets}` with an optional `__metadata__`) and the tensors, back to
back. See https://github.com/huggingface/safetensors#format.

The parser of safetensors is safe, but generous: it takes a header of 25 MB with 400,000 empty
tensors (15 s and 1.5 GB of memory) and a shape of (0, 2^40). This check runs first. It takes no
header that is longer than the expected tensors can explain, so it costs next to nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = [
    "BITS",
    "FLOATING",
    "Entry",
    "HeaderError",
    "Spec",
    "difference",
    "other_kind",
    "parse",
    "room_for",
]

BITS = {"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "I32": 32, "I64": 64}
BITS |= {"F16": 16, "BF16": 16, "F32": 32, "F64": 64}
"""The dtypes that weights may have -> bits of one element."""

FLOATING = frozenset({"F16", "BF16", "F32", "F64"})
METADATA_ROOM = 1 << 16
ENTRY_ROOM = 256


class HeaderError(ValueError):
    """The bytes are not a safetensors file; the text says what they are instead."""


class Spec(NamedTuple):
    """A tensor that is expected: its dtype as in `BITS`, and its shape."""

    dtype: str
    shape: tuple[int, ...]


class Entry(NamedTuple):
    """A tensor that a file holds; its bytes are `start` to `stop` of what follows the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def room_for(expected: Mapping[str, Spec]) -> int:
    """How long, in bytes, the header of a file with these tensors may be."""
    return METADATA_ROOM + sum(len(name.encode()) + ENTRY_ROOM for name in expected)


def parse(data: bytes, room: int) -> dict[str, Entry]:
    """Check the whole file `data` and return its tensors by name.

    Args:
        data: The bytes of the file.
        room: The greatest length of a header, in bytes; `room_for` of the expected tensors.

    Raises:
        HeaderError: if `data` is not a safetensors file to the letter.
    """
    if kind := other_kind(data):
        raise HeaderError(kind)
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise HeaderError(f"a header that claims {length} bytes in a file of {len(data)}")
    if length > room:
        raise HeaderError(f"a header of {length} bytes where at most {room} make sense")
    entries = _entries(_json_object(data[8 : 8 + length]))
    _check_layout(entries, len(data) - 8 - length)
    return entries


def difference(found: Entry | None, want: Spec | None, stored: frozenset[str]) -> str | None:
    """What is wrong with one tensor, or None.

    Args:
        found: The tensor in the file, if there is one.
        want: The tensor that is expected, if there is one: the model's, or what stands for it.
        stored: The dtypes in which the file may hold what is floating in `want`. Tensors of
            other dtypes must agree exactly.
    """
    if want is None:
        return "unexpected, the model has no such tensor"
    dtypes = stored if want.dtype in FLOATING else {want.dtype}
    allowed = " or ".join(sorted(dtypes))
    if found is None:
        return f"missing, expected {allowed} {_list(want.shape)}"
    wrong = []
    if found.shape != want.shape:
        wrong.append(f"shape {_list(found.shape)} instead of {_list(want.shape)}")
    if found.dtype not in dtypes:
        wrong.append(f"dtype {found.dtype} instead of {allowed}")
    return ", ".join(wrong) or None


def other_kind(data: bytes) -> str | None:
    """What `data` is, if it plainly is something else."""
    if not data:
        return "an empty file"
    if data.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (`git lfs pull` fetches the file that it stands for)"
    if data.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "a pickle, or another file that is not safetensors; pickles are never read"
    if data[:512].lstrip()[:1] == b"<":
        return "an HTML or XML page"
    return "a file of fewer than 8 bytes" if len(data) < 8 else None


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"a header that is not JSON: {_one_line(error)}") from error
    if not isinstance(header, dict):
        raise HeaderError("a header that is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise HeaderError("a header whose __metadata__ is not text")
    return header


def _entries(header: Mapping[str, Any]) -> dict[str, Entry]:
    entries = {}
    for name, fields in header.items():
        if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
            raise HeaderError(f"a header with a malformed entry for {name!r}")
        dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
        if not isinstance(dtype, str) or dtype not in BITS:
            raise HeaderError(f"a tensor {name!r} of the unknown dtype {_one_line(repr(dtype))}")
        if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
            raise HeaderError(f"a header with a malformed shape or place of {name!r}")
        entries[name] = Entry(dtype, tuple(shape), *offsets)
    return entries


def _check_layout(entries: Mapping[str, Entry], size: int) -> None:
    """The tensors must lie back to back and fill the file: no gap, no overlap, nothing after."""
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        length = math.prod(entry.shape) * BITS[entry.dtype] // 8
        if entry.start != place:
            raise HeaderError(f"a tensor {name!r} that overlaps another or leaves a gap")
        if entry.stop - entry.start != length:
            raise HeaderError(f"a tensor {name!r} whose place does not have the size of its shape")
        place = entry.stop
    if place != size:
        raise HeaderError(f"{size} bytes of tensors where the header tells of {place}")


def _are_sizes(value: Any) -> bool:
    # `type is int` refuses booleans, which are integers to isinstance.
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _list(shape: tuple[int, ...]) -> str:
    return f"({', '.join(str(size) for size in shape[:8])}{', ...' if len(shape) > 8 else ''})"


def _one_line(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
