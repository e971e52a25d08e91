"""From the bytes of a safetensors file to tensors, with every check in between.

Size and sha256 against the card, the header against the model, the parser of safetensors, finite
values: in this order, so that nothing hostile gets as far as a tensor.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import _header, _quantised
from zoo._cache import hash_file
from zoo.errors import WeightsError
from zoo.registry import Weights

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["check_file", "content", "decode", "decode_golden", "listed", "read_file", "specs"]

HEAD = 512
GOLDEN_HEADER = 1 << 20
MAX_LISTED = 50
INT8 = "int8"
STORED = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", INT8: "F32"}
"""The dtype on a card -> that of the file's floating tensors; in int8, of those that are left."""


def check_file(path: Path, weights: Weights) -> None:
    """Size and sha256, without the whole content in memory."""
    size, head = content(path, most=0)
    sha256 = hash_file(path) if size == weights.bytes else None
    _compare(path, weights, size, sha256, head)


def read_file(path: Path, weights: Weights) -> bytes:
    """The content, after its size and sha256 were seen to be those of the card."""
    size, data = content(path, most=weights.bytes)
    sha256 = hashlib.sha256(data).hexdigest() if size == weights.bytes else None
    _compare(path, weights, size, sha256, data)
    return data


def content(path: Path, most: int) -> tuple[int, bytes]:
    """The size of a file, and its content; only the beginning of one with more than `most` bytes.

    Read from one open file, and once: it may be replaced meanwhile, but not under our hands.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return size, file.read() if size <= most else file.read(HEAD)
    except OSError as error:
        raise WeightsError(
            f"The weights file cannot be read: {error.strerror or error}",
            file=path,
            next_step="name a safetensors file that you may read",
        ) from error


def _compare(path: Path, weights: Weights, size: int, sha256: str | None, head: bytes) -> None:
    if (size, sha256) == (weights.bytes, weights.sha256):
        return
    kind = _header.other_kind(head)
    details = f" with sha256 {sha256}" if sha256 else f": {kind}" if kind else ""
    raise WeightsError(
        "The weights file is damaged, or another one than the card means",
        file=path,
        expected=f"{weights.bytes} bytes with sha256 {weights.sha256}",
        found=f"{size} bytes{details}",
        next_step="restore it, or delete it to have it fetched from the Hub if the card has a pin",
    )


def decode(
    path: Path, data: bytes, weights: Weights | None, model: nn.Module
) -> dict[str, torch.Tensor]:
    """Turn the bytes of a file into tensors that fit the model, or name every difference.

    Quantised tensors become float32. The card says whether a file is quantised; one without a card
    is if it has int8 where the model is floating.
    """
    own = specs(model)
    chosen = _quantised.names(own)
    with_scales = _quantised.layout(own)
    longest = own if weights and weights.dtype != INT8 else with_scales
    expected = f"a safetensors file with the {len(own)} tensors of the model"
    entries, parts = _parse(path, data, _header.room_for(longest), expected)
    if weights is None:
        is_int8 = any(name in entries and entries[name].dtype == "I8" for name in chosen)
    else:
        is_int8 = weights.dtype == INT8
    if not is_int8:
        stored = frozenset({STORED[weights.dtype]}) if weights else _header.FLOATING
        return _fitting(path, entries, parts, own, stored, {})
    _check_clashes(path, chosen, own)
    checks = _quantised.checks(chosen)
    state = _fitting(path, entries, parts, with_scales, frozenset({STORED[INT8]}), checks)
    return _quantised.restored(state, chosen)


def _fitting(
    path: Path,
    entries: Mapping[str, _header.Entry],
    parts: Mapping[str, bytearray],
    wanted: Mapping[str, _header.Spec],
    stored: frozenset[str],
    checks: Mapping[str, Callable[[torch.Tensor], str | None]],
) -> dict[str, torch.Tensor]:
    """The tensors of a file, if they are those of `wanted`; `checks` look at values as well.

    A tensor without a check of its own has to be finite.
    """
    state, lines = {}, []
    for name in sorted(entries.keys() | wanted.keys()):
        line = _header.difference(entries.get(name), wanted.get(name), stored)
        if line is None:
            state[name] = _tensor(entries[name], parts[name])
            line = checks.get(name, _check_finite)(state[name])
        if line is not None:
            lines.append(f"{name!r}: {line}")
    if lines:
        raise WeightsError(
            listed("The weights file does not fit the model", lines),
            file=path,
            next_step="use the architecture and the settings that the file was made with",
        )
    return state


def _check_clashes(path: Path, chosen: list[str], own: Mapping[str, _header.Spec]) -> None:
    if clashes := _quantised.clashes(chosen, own):
        raise WeightsError(
            "The model has tensors with the names of the scales of int8 weights",
            file=path,
            found=", ".join(map(repr, clashes)),
            next_step="use weights that are stored in another dtype",
        )


def decode_golden(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    """Turn the bytes of a file with golden tensors into tensors; all must be finite."""
    entries, parts = _parse(path, data, GOLDEN_HEADER, "a safetensors file with golden tensors")
    tensors = {name: _tensor(entry, parts[name]) for name, entry in entries.items()}
    checked = {name: _check_finite(tensor) for name, tensor in tensors.items()}
    lines = [f"{name!r}: {line}" for name, line in checked.items() if line]
    if lines:
        raise WeightsError(listed("The golden file has impossible tensors", lines), file=path)
    return tensors


def _parse(
    path: Path, data: bytes, room: int, expected: str
) -> tuple[dict[str, _header.Entry], dict[str, bytearray]]:
    """The header and the bytes of the tensors, by our own check and by safetensors' parser."""
    import safetensors

    try:
        entries = _header.parse(data, room)
        parts = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except (_header.HeaderError, safetensors.SafetensorError) as error:
        raise WeightsError(
            "The file is not one that can be loaded here",
            file=path,
            expected=expected,
            found=error,
            next_step="only safetensors files are read, never pickles; check which file it is",
        ) from error
    return entries, {name: part["data"] for name, part in parts}


def specs(model: nn.Module) -> dict[str, _header.Spec]:
    codes = {dtype: code for code, dtype in _dtypes().items()}
    found = {}
    for name, tensor in model.state_dict().items():
        if tensor.dtype not in codes:
            raise WeightsError(f"{name!r} of the model is {tensor.dtype}, which no weights can be")
        found[name] = _header.Spec(codes[tensor.dtype], tuple(tensor.shape))
    return found


def _dtypes() -> dict[str, torch.dtype]:
    """The names that safetensors has for dtypes -> those of torch."""
    import torch

    floating = {"F16": torch.half, "BF16": torch.bfloat16, "F32": torch.float, "F64": torch.double}
    integers = {"I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64}
    return {"BOOL": torch.bool, "U8": torch.uint8, **integers, **floating}


def _tensor(entry: _header.Entry, data: bytearray) -> torch.Tensor:
    import torch

    dtype = _dtypes()[entry.dtype]
    # There is no tensor over a buffer of no bytes.
    flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    return flat.reshape(entry.shape)


def _check_finite(tensor: torch.Tensor) -> str | None:
    import torch

    if not tensor.is_floating_point() or tensor.numel() == 0:
        return None
    # NaN and infinities come through as the least or the greatest: one pass, no mask in memory.
    finite = torch.isfinite(torch.stack(torch.aminmax(tensor))).all()
    return None if finite else "has values that are not finite"


def listed(message: str, lines: list[str]) -> str:
    rest = len(lines) - MAX_LISTED
    shown = lines if rest <= 0 else [*lines[:MAX_LISTED], f"and {rest} more"]
    return "\n    ".join([f"{message}:", *shown])
