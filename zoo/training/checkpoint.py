"""State dicts to and from one safetensors file: tensors as tensors, all else as JSON.

A state dict is any nesting of dicts, lists and tuples around tensors and plain values: what
modules, optimisers, schedulers and moving averages return. The nesting goes into the header's
metadata, so that integer keys (of optimisers), tuples and counters come back as what they were.
A sha256 over everything tells a damaged file. No pickle anywhere.

A checkpoint is replaced atomically and the one before is kept as `<name>.previous.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any, TypeAlias

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.training.files import FileError, write_atomically

__all__ = ["CheckpointError", "State", "pack", "previous", "read", "unpack", "write"]

State: TypeAlias = Any
"""A tensor, None, bool, int, float or str, or a dict, list or tuple of states."""

MAPPINGS: dict[str, type[dict[Any, Any]]] = {
    "dict": dict,
    "OrderedDict": OrderedDict,
    "Counter": Counter,
}
SEQUENCES: dict[str, type[list[Any]] | type[tuple[Any, ...]]] = {"list": list, "tuple": tuple}
PLAIN = (bool, int, float, str, type(None))


class CheckpointError(ZooError, RuntimeError):
    """A checkpoint that is damaged, or a state that cannot be stored."""


def pack(state: State) -> bytes:
    """One safetensors file, as bytes, that holds `state`.

    Raises:
        CheckpointError: if something in it is neither a tensor nor plain.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_flatten(state, "", tensors))
    metadata = {"structure": structure, "sha256": _digest(structure, tensors)}
    return safetensors.torch.save(tensors, metadata)


def unpack(content: bytes, name: str = "checkpoint") -> State:
    """The state that `pack` stored, bit for bit, with the tensors on the CPU.

    Args:
        name: What an error calls the file.

    Raises:
        CheckpointError: if the content is damaged.
    """
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        structure = metadata["structure"]
        # Decoded first: a header that does not parse is damage as well.
        nested = json.loads(structure)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{name}: damaged, or not a checkpoint: {error}") from error
    if metadata.get("sha256") != _digest(structure, tensors):
        raise CheckpointError(f"{name}: damaged: the content does not match its sha256")
    return _restore(nested, tensors)


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def write(path: Path, state: State) -> None:
    """Write `state` to `path` atomically, keeping the file that was there as the previous one.

    Raises:
        FileError: if it cannot be written; the last good checkpoint stays.
    """
    fresh = path.with_name(f"{path.stem}.next{path.suffix}")
    write_atomically(fresh, pack(state))
    # At every moment at least one complete checkpoint has a name that `read` looks for.
    if path.exists():
        path.replace(previous(path))
    fresh.replace(path)


def read(path: Path) -> bytes | None:
    """The content of the newest checkpoint, for `unpack`; None if there is none yet.

    A kill between the two renames of `write` leaves the previous checkpoint alone; it is taken
    then. A damaged checkpoint is never passed over in silence: see `unpack`.
    """
    for candidate in (path, previous(path)):
        if candidate.exists():
            try:
                return candidate.read_bytes()
            except OSError as error:
                raise FileError(f"{candidate}: cannot be read: {error.strerror}") from error
    return None


def _flatten(value: State, path: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors into `tensors`; what stays is `[kind, content]`, ready for JSON."""
    if isinstance(value, Tensor):
        name = f"{len(tensors):06d}{path}"
        # A copy: safetensors refuses tensors that share memory, as tied weights do.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return ["tensor", name]
    kind = type(value).__name__
    if MAPPINGS.get(kind) is type(value):
        for key in value:
            if type(key) not in PLAIN:
                raise CheckpointError(f"{path or 'state'}: cannot store the key {key!r}")
        return [kind, [[k, _flatten(each, f"{path}/{k}", tensors)] for k, each in value.items()]]
    if SEQUENCES.get(kind) is type(value):
        return [kind, [_flatten(each, f"{path}/{i}", tensors) for i, each in enumerate(value)]]
    if type(value) in PLAIN:
        return ["plain", value]
    raise CheckpointError(f"{path or 'state'}: cannot store a {type(value).__name__}")


def _restore(node: Any, tensors: dict[str, Tensor]) -> State:
    kind, content = node
    if kind == "tensor":
        return tensors[content]
    if kind in MAPPINGS:
        return MAPPINGS[kind]({key: _restore(each, tensors) for key, each in content})
    if kind in SEQUENCES:
        return SEQUENCES[kind](_restore(each, tensors) for each in content)
    return content


def _digest(structure: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(structure.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
