"""Find -> verify -> load: the only room of the zoo that reads the Hub.

A weights file is looked for in the card's own folder, in the zoo's cache, in the standard Hub cache
(read only) and, last, on the Hub at the pinned commit. Whichever way it came, its size, its sha256
and its header are checked on every load, before a tensor is made. Only safetensors files are read;
there is no fallback to another format and no code from a repository.

**Why downloads are our own.** `huggingface_hub.hf_hub_download` keeps a damaged file of the right
size and returns it for ever, never resumes what another process began, needs 24 s to say that a
server is down, and makes the server's ETag a part of a path: a hostile one writes outside of the
cache. A check afterwards undoes none of this. The card knows the sha256 beforehand, so a download
here is short: stream into one `.part` file under a lock, hash on the way, rename when the hash is
right. The price is Xet's deduplication, and that other Hub tools do not find our copies.
Whoever controls HF_ENDPOINT is trusted to tell what a *card* says (`hf-hub:` names a commit, but
git hashes are not checked here); what its weights are is then fixed by the sha256 in it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zoo import _cache, _header, registry
from zoo._cache import hash_file
from zoo._hub import Commit
from zoo._sources import HUB, LOCAL, resolve
from zoo.errors import WeightsError
from zoo.registry import Card, HubPin, Weights

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["fetch", "hash_file", "load_into", "locate", "read", "read_card_file", "resolve"]

HEAD = 512
MAX_LISTED = 50
STORED = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

T = TypeVar("T")


def fetch(name: str) -> Path:
    """Make sure that the weights of `name` are on this machine, and return the verified file.

    Raises:
        UnknownNameError, WeightsError, CardError: as `resolve` and `locate`.
    """
    return locate(*resolve(name))


def locate(card: Card, tag: str | None) -> Path:
    """The file of weights `tag` (None: the default), downloaded if need be. Its hash is right.

    Raises:
        WeightsError: if the card has no weights, or they cannot be had, stored or verified.
    """
    weights = _entry(card, tag)
    return _search(card, weights, lambda path: _check_file(path, weights))[0]


def read_card_file(card: Card, tag: str | None, model: nn.Module) -> dict[str, torch.Tensor]:
    """Locate weights `tag` of a card and read them: `read(locate(card, tag), ...)`, hashed once.

    Raises:
        WeightsError: as `locate` and `read`.
    """
    weights = _entry(card, tag)
    path, data = _search(card, weights, lambda path: _read_file(path, weights))
    return _decode(path, data, weights, model)


def read(path: Path, weights: Weights | None, model: nn.Module) -> dict[str, torch.Tensor]:
    """Read a safetensors file and check it against a card and a model.

    Args:
        path: The file. It is read once: what was checked is what is returned.
        weights: What the card says about it; None for a file without a card, whose floating
            tensors may have any floating dtype.
        model: Tells the names, shapes and dtypes; may be on `meta`. It is not changed.

    Returns:
        The tensors by name on the CPU, in the dtype that the file has.

    Raises:
        WeightsError: if size, sha256, format, names, shapes or dtypes are wrong, or a value is not
            finite; all differences are in one text.
    """
    if weights is not None:
        return _decode(path, _read_file(path, weights), weights, model)
    specs = _specs(model)
    # No right file is longer than the longest header and all tensors in the widest dtype.
    most = 8 + _header.room_for(specs) + sum(8 * math.prod(s.shape) for s in specs.values())
    size, data = _content(path, most)
    if size > most:
        raise WeightsError(
            "The weights file is too large for this model",
            file=path,
            expected=f"at most {most} bytes",
            found=f"{size} bytes",
            next_step="check that it is the file you mean",
        )
    return _decode(path, data, None, model)


def load_into(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Give a model its tensors: all of them, no other, in the model's own dtypes.

    Tensors are taken over, not copied, where dtype and device allow. Those of a model on `meta`
    stay where `state` has them.

    Raises:
        WeightsError: if names or shapes differ; the model is then unchanged.
    """
    own = model.state_dict()
    lines = [f"missing: {name!r}" for name in own.keys() - state.keys()]
    lines += [f"unexpected: {name!r}" for name in state.keys() - own.keys()]
    lines += [
        f"shape: {name!r} is {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    if lines:
        raise WeightsError(_listed("the tensors do not fit the model", sorted(lines)))
    fitting = {
        name: tensor.to(
            dtype=own[name].dtype, device=None if own[name].is_meta else own[name].device
        )
        for name, tensor in state.items()
    }
    model.load_state_dict(fitting, strict=True, assign=True)


def _entry(card: Card, tag: str | None) -> Weights:
    tag = card.default if tag is None else tag
    if tag is None:
        raise WeightsError(
            f"There are no pretrained weights of {card.name!r} yet",
            next_step=f"train them with `python {card.recipe}`, or build it without weights",
        )
    return card.weights[tag]


def _search(card: Card, weights: Weights, take: Callable[[Path], T]) -> tuple[Path, T]:
    """Find a whole file and take it; `take` raises `WeightsError` for a damaged one."""
    bundled = card.folder / weights.file
    if bundled.is_file():
        # Damaged here is damaged by hand: said aloud, not papered over by a download.
        return bundled, take(bundled)
    commit = _commit(weights.hub)
    cached = _cache.blob(weights.sha256)
    damage = None
    for path in (cached, commit and _cache.hub_copy(commit, weights.file)):
        if path is not None and path.is_file():
            try:
                return path, take(path)
            except WeightsError as error:
                damage = damage or error
    what = f"weights of {_call_name(card, weights)}"
    if commit is None:
        raise damage or _nowhere(card, weights, what)
    if damage is not None:
        what = f"{what} (damaged in the cache: {damage.file})"
    _cache.refuse_offline(commit, what, _call_name(card, weights))
    path = _cache.download(commit, weights.file, weights.sha256, weights.bytes, what=what)
    return path, take(path)


def _commit(pin: HubPin) -> Commit | None:
    return None if pin.repo is None or pin.revision is None else Commit(pin.repo, pin.revision)


def _call_name(card: Card, weights: Weights) -> str:
    """The name by which these weights are asked for."""
    other = "" if weights.tag == card.default else weights.tag
    if card.folder.parent == registry.cards_folder():
        return f"{card.name}.{other}" if other else card.name
    if commit := _commit(weights.hub):
        address = f"{HUB}{commit.repo}@{commit.revision}"
    else:
        address = f"{LOCAL}{card.folder}"
    return f"{address}#{other}" if other else address


def _nowhere(card: Card, weights: Weights, what: str) -> WeightsError:
    return WeightsError(
        f"{what}: the file is missing, and the card names no Hub repository to fetch it from",
        file=card.folder / weights.file,
        expected=f"{weights.bytes} bytes with sha256 {weights.sha256}",
        found="no such file",
        next_step=f"make it again with `{weights.trained.command}`",
    )


def _check_file(path: Path, weights: Weights) -> None:
    """Size and sha256, without the whole content in memory."""
    size, head = _content(path, most=0)
    sha256 = hash_file(path) if size == weights.bytes else None
    _compare(path, weights, size, sha256, head)


def _read_file(path: Path, weights: Weights) -> bytes:
    size, data = _content(path, most=weights.bytes)
    sha256 = hashlib.sha256(data).hexdigest() if size == weights.bytes else None
    _compare(path, weights, size, sha256, data)
    return data


def _content(path: Path, most: int) -> tuple[int, bytes]:
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


def _decode(
    path: Path, data: bytes, weights: Weights | None, model: nn.Module
) -> dict[str, torch.Tensor]:
    """Turn the bytes of a file into tensors that fit the model, or name every difference."""
    import safetensors

    specs = _specs(model)
    try:
        entries = _header.parse(data, _header.room_for(specs))
        parts = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
    except (_header.HeaderError, safetensors.SafetensorError) as error:
        raise WeightsError(
            "The weights file is not a safetensors file for this model",
            file=path,
            expected=f"a safetensors file with the {len(specs)} tensors of the model",
            found=error,
            next_step="only safetensors files are read, never pickles; check which file it is",
        ) from error
    stored = frozenset({STORED[weights.dtype]}) if weights else _header.FLOATING
    state, lines = {}, []
    for name in sorted(entries.keys() | specs.keys()):
        line = _header.difference(entries.get(name), specs.get(name), stored)
        if line is None:
            state[name] = _tensor(entries[name], parts[name]["data"])
            line = None if _is_finite(state[name]) else "has values that are not finite"
        if line is not None:
            lines.append(f"{name!r}: {line}")
    if lines:
        raise WeightsError(
            _listed("The weights file does not fit the model", lines),
            file=path,
            next_step="use the architecture and the settings that the file was made with",
        )
    return state


def _specs(model: nn.Module) -> dict[str, _header.Spec]:
    codes = {dtype: code for code, dtype in _dtypes().items()}
    specs = {}
    for name, tensor in model.state_dict().items():
        if tensor.dtype not in codes:
            raise WeightsError(f"{name!r} of the model is {tensor.dtype}, which no weights can be")
        specs[name] = _header.Spec(codes[tensor.dtype], tuple(tensor.shape))
    return specs


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


def _is_finite(tensor: torch.Tensor) -> bool:
    import torch

    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    # NaN and infinities come through as the least or the greatest: one pass, no mask in memory.
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def _listed(message: str, lines: list[str]) -> str:
    rest = len(lines) - MAX_LISTED
    shown = lines if rest <= 0 else [*lines[:MAX_LISTED], f"and {rest} more"]
    return "\n    ".join([f"{message}:", *shown])
