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

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zoo import _cache, _header, _quantised, _reader, registry
from zoo._cache import hash_file
from zoo._hub import Commit
from zoo._sources import HUB, LOCAL, resolve
from zoo.errors import WeightsError
from zoo.registry import Card, HubPin, Weights

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "fetch",
    "hash_file",
    "load_into",
    "locate",
    "locate_golden",
    "read",
    "read_card_file",
    "read_golden",
    "resolve",
]

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
    return _search(card, weights, lambda path: _reader.check_file(path, weights))[0]


def locate_golden(card: Card, tag: str | None) -> Path:
    """The file of golden tensors that belongs to weights `tag`; found as `locate` finds weights.

    Raises:
        WeightsError: as `locate`.
    """
    entry = _golden_entry(_entry(card, tag))
    return _search(card, entry, lambda path: _reader.check_file(path, entry))[0]


def read_card_file(card: Card, tag: str | None, model: nn.Module) -> dict[str, torch.Tensor]:
    """Locate weights `tag` of a card and read them: `read(locate(card, tag), ...)`, hashed once.

    Raises:
        WeightsError: as `locate` and `read`.
    """
    weights = _entry(card, tag)
    path, data = _search(card, weights, lambda path: _reader.read_file(path, weights))
    return _reader.decode(path, data, weights, model)


def read(path: Path, weights: Weights | None, model: nn.Module) -> dict[str, torch.Tensor]:
    """Read a safetensors file and check it against a card and a model.

    Args:
        path: The file. It is read once: what was checked is what is returned.
        weights: What the card says about it; None for a file without a card, whose floating
            tensors may have any floating dtype, or be int8 with scales.
        model: Tells the names, shapes and dtypes; may be on `meta`. It is not changed.

    Returns:
        The tensors by name on the CPU, in the dtype that the file has; quantised ones in float32.

    Raises:
        WeightsError: if size, sha256, format, names, shapes or dtypes are wrong, or a value is not
            finite; all differences are in one text.
    """
    if weights is not None:
        return _reader.decode(path, _reader.read_file(path, weights), weights, model)
    # No right file is longer than the longest header and all tensors in the widest dtype.
    specs = _quantised.layout(_reader.specs(model))
    most = 8 + _header.room_for(specs) + sum(8 * math.prod(s.shape) for s in specs.values())
    size, data = _reader.content(path, most)
    if size > most:
        raise WeightsError(
            "The weights file is too large for this model",
            file=path,
            expected=f"at most {most} bytes",
            found=f"{size} bytes",
            next_step="check that it is the file you mean",
        )
    return _reader.decode(path, data, None, model)


def read_golden(path: Path, weights: Weights) -> dict[str, torch.Tensor]:
    """Read and check the file of golden tensors that belongs to `weights`.

    Raises:
        WeightsError: if size, sha256 or format are wrong, or a value is not finite.
    """
    return _reader.decode_golden(path, _reader.read_file(path, _golden_entry(weights)))


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
        raise WeightsError(_reader.listed("the tensors do not fit the model", sorted(lines)))
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


def _golden_entry(weights: Weights) -> Weights:
    """The golden file of weights, as if it were a weights file: it is found and hashed alike."""
    golden = weights.golden
    return dataclasses.replace(weights, file=golden.file, sha256=golden.sha256, bytes=golden.bytes)


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
