"""From a name to a card: the registry, a repository on the Hub at a commit, or a folder."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import MappingProxyType

from zoo import _cache, registry
from zoo._hub import Commit
from zoo._names import did_you_mean
from zoo._parse import REPO, REVISION
from zoo.errors import UnknownNameError, WeightsError
from zoo.registry import Card, HubPin

__all__ = ["HUB", "LOCAL", "resolve"]

HUB = "hf-hub:"
LOCAL = "local-dir:"
TAG = re.compile(r"[a-z0-9-]+")


def resolve(name: str) -> tuple[Card, str | None]:
    """The card that a name stands for, and the tag of the weights that it selects.

    Args:
        name: `name` or `name.tag` of the registry; `hf-hub:org/repo@<40-hex revision>`, whose card
            is fetched once and then cached; `local-dir:/path`, a folder with a card. The two
            prefixes take `#tag` at the end.

    Raises:
        UnknownNameError: if there is no such model or tag, or the name is malformed.
        WeightsError: if a Hub repository or a folder has no card, or cannot be reached.
        CardError: if there is one, but it is not right.
    """
    if name.startswith(HUB):
        return _resolve_hub(name)
    if name.startswith(LOCAL):
        return _resolve_folder(name)
    return registry.find(name)


def _resolve_hub(name: str) -> tuple[Card, str | None]:
    address, _, tag = name.removeprefix(HUB).partition("#")
    repo, _, revision = address.partition("@")
    if not REPO.fullmatch(repo) or not REVISION.fullmatch(revision):
        raise UnknownNameError(
            f"{name!r} is not a name on the Hub. Write 'hf-hub:org/name@<revision>' with the 40 "
            "hexadecimal digits of a commit: a branch or a tag may mean another file tomorrow."
        )
    commit = Commit(repo, revision)
    _check_repo(repo)
    what = f"the card of {commit}"
    cached = _cache.read_card(commit)
    if cached is None:
        _cache.refuse_offline(commit, what, f"{HUB}{address}")
        cached = _cache.fetch_card(commit, what=what)
    content, path = cached
    card = registry.parse_card(registry.decode_json(content, path), path)
    # Wherever the card says that its files are: they are where it was found.
    pin = HubPin(repo, revision)
    pinned = {key: dataclasses.replace(w, hub=pin) for key, w in card.weights.items()}
    card = dataclasses.replace(card, weights=MappingProxyType(pinned))
    return card, _known_tag(card, tag)


def _check_repo(repo: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UnknownNameError(f"{repo!r} is not the name of a repository: {error}") from error


def _resolve_folder(name: str) -> tuple[Card, str | None]:
    address, tag = name.removeprefix(LOCAL), ""
    head, mark, tail = address.rpartition("#")
    # A folder may have a # in its name.
    if mark and TAG.fullmatch(tail) and not _is_folder(address):
        address, tag = head, tail
    if not address or not _is_folder(address):
        raise UnknownNameError(f"{name!r}: there is no folder {address!r}")
    folder = Path(address).expanduser().absolute()
    if not (folder / "config.json").is_file():
        held = sorted(path.name for path in folder.iterdir())[:8]
        raise WeightsError(
            f"{folder.name!r} has no card",
            file=folder / "config.json",
            expected="config.json and model.safetensors; only safetensors files are read",
            found=", ".join(repr(name) for name in held) or "an empty folder",
            next_step="name the folder of a card, such as a run's exported one",
        )
    card = registry.read_card(folder)
    return card, _known_tag(card, tag)


def _is_folder(address: str) -> bool:
    # A NUL in the path is a ValueError to the operating system's interface.
    return "\0" not in address and Path(address).expanduser().is_dir()


def _known_tag(card: Card, tag: str) -> str | None:
    if tag and tag not in card.weights:
        hint = did_you_mean(tag, card.weights)
        raise UnknownNameError(f"{card.name!r} has no weights tagged {tag!r}{hint}")
    return tag or card.default
