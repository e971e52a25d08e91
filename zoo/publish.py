"""Publish a card's folder as a repository on the Hub: the only room of the zoo that writes there.

Everything is checked before the first request. What is uploaded is the folder, file for file, but
with the pins in config.json set to null: a repository cannot name its own commit. So the same
folder always gives the same repository, and publishing twice changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import _cache, cards, registry, weights
from zoo._parse import REPO, REVISION
from zoo._sources import HUB, LOCAL
from zoo.errors import CardError, UnknownNameError, WeightsError
from zoo.factory import build
from zoo.registry import Card, HubPin, card_to_json

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from torch import nn

__all__ = ["publish"]

EXTRA = re.compile(r"[A-Za-z0-9][\w.-]*\.(png|md)", re.ASCII)
WRITTEN_BY_THE_HUB = frozenset({".gitattributes"})


def publish(
    name: str,
    repo: str,
    *,
    private: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
    dry_run: bool = False,
) -> HubPin:
    """Upload a model's card folder to the Hub, and write the pin into its config.json.

    After an interruption, call it again: what has arrived is not sent twice. If the repository
    holds the same files already, there is no new commit.

    Args:
        name: A model of the registry, or `local-dir:/path` with a card's folder.
        repo: `org/name`; created if it does not exist.
        private: Whether a repository that is created can be seen by its owner only.
        endpoint: Address of the Hub; HF_ENDPOINT or the public one by default.
        token: A token that may write; by default HF_TOKEN or that of `hf auth login`.
        dry_run: Check everything, upload and write nothing.

    Returns:
        The repository and the commit that holds the files; for a dry run the commit is None.

    Raises:
        UnknownNameError: if there is no such model, or `repo` is not `org/name`.
        CardError: if the card is malformed, or its README is not the one that it gives.
        WeightsError: if a file is missing, damaged, does not fit the model or must not be
            published, or the Hub cannot be reached or refuses the upload.
    """
    card = _card(name)
    if not REPO.fullmatch(repo):
        raise UnknownNameError(f"{repo!r} is not the name of a repository: write org/name")
    files = _checked_files(card)
    if dry_run:
        return HubPin(repo, None)
    config = _render(_with_pin(card, HubPin(None, None)))
    pin = _upload({"config.json": config, **files}, card.name, repo, private, endpoint, token)
    _write_pin(card, pin)
    return pin


def _card(name: str) -> Card:
    if name.startswith(HUB):
        raise UnknownNameError(f"{name!r} is published already; name a model or {LOCAL}/path")
    card, tag = weights.resolve(name)
    if tag != card.default:
        raise UnknownNameError(f"A card is published with all its weights: say {card.name!r}")
    if not card.weights:
        raise WeightsError(
            f"There are no weights of {card.name!r} to publish",
            next_step=f"train them with `python {card.recipe}`",
        )
    return card


def _checked_files(card: Card) -> dict[str, Path]:
    """The files to upload beside config.json, all of them checked."""
    named = {"config.json", "README.md"}
    for entry in card.weights.values():
        named |= {entry.file, entry.golden.file}
    _check_folder(card.folder, named)
    _check_readme(card)
    files = {path.name: path for path in card.folder.iterdir() if path.name != "config.json"}
    for tag, entry in card.weights.items():
        model = build(card, tag, device="meta")
        _check_own_tensors(model, card.name)
        files[entry.file] = weights.locate(card, tag)
        files[entry.golden.file] = weights.locate_golden(card, tag)
        weights.read(files[entry.file], entry, model)
        weights.read_golden(files[entry.golden.file], entry)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if parameters != entry.parameters:
            raise CardError(
                f"{card.folder / 'config.json'}: weights.{tag}.parameters: expected {parameters}, "
                f"the model's, found {entry.parameters}"
            )
    return files


def _check_folder(folder: Path, named: Iterable[str]) -> None:
    """Refuse whatever is not one of the card's files, a page or a picture."""
    for path in sorted(folder.iterdir()):
        # A link would be followed, to who knows where.
        plain = path.is_file() and not path.is_symlink()
        if not plain or not (path.name in named or EXTRA.fullmatch(path.name)):
            raise WeightsError(
                f"The card's folder holds something that is not published: {path.name!r}",
                file=path,
                expected=f"{', '.join(sorted(named))}, pages (.md) and pictures (.png), all plain",
                found="a link or a folder" if not plain else "a file that the card does not name",
                next_step="move it elsewhere; pickles and code are never published",
            )


def _check_readme(card: Card) -> None:
    path = card.folder / "README.md"
    if path.exists() and path.read_text(encoding="utf-8") == cards.readme(card):
        return
    command = "python -m zoo.cards"
    if card.folder.parent != registry.cards_folder():
        command = f"zoo.cards.write_readme(Path({str(card.folder)!r}))"
    raise CardError(f"{path}: is not what the card gives; `{command}` brings it up to date")


def _check_own_tensors(model: nn.Module, name: str) -> None:
    """Refuse a model of which two names mean one tensor: loading would part them."""
    first: dict[int, str] = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in first:
            raise WeightsError(
                f"{name!r} has a tensor that is shared by two names",
                expected="every name with a tensor of its own",
                found=f"{first[id(tensor)]!r} and {key!r} are one",
                next_step="keep it under one name in the module, and use it where it is needed",
            )
        first[id(tensor)] = key


def _upload(
    files: Mapping[str, Path | bytes],
    name: str,
    repo: str,
    private: bool,
    endpoint: str | None,
    token: str | None,
) -> HubPin:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    api = HfApi(endpoint=endpoint, token=token, library_name="structured-zoo")
    additions = [CommitOperationAdd(key, files[key]) for key in sorted(files)]
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        parent = _check_repository(api, repo, files)
        commit = api.create_commit(
            repo, additions, commit_message=f"Publish {name}", parent_commit=parent
        )
    except HfHubHTTPError as error:
        if error.response.status_code == 412:
            raise _conflict(repo) from error
        raise _failed(repo, api.endpoint, error) from error
    except RuntimeError as error:
        # This is how the client wraps whatever goes wrong in the upload of a large file.
        raise _failed(repo, api.endpoint, f"{error} {error.__cause__ or ''}") from error
    except (httpx.HTTPError, OfflineModeIsEnabled) as error:
        raise _failed(repo, api.endpoint, error) from error
    if not REVISION.fullmatch(commit.oid):
        raise _failed(repo, api.endpoint, f"{commit.oid!r} is not a commit")
    return HubPin(repo, commit.oid)


def _check_repository(api: HfApi, repo: str, files: Mapping[str, object]) -> str | None:
    """Refuse a repository with files of other things; return its newest commit."""
    info = api.model_info(repo)
    present = {sibling.rfilename for sibling in info.siblings or ()}
    foreign = sorted(
        file for file in present - files.keys() - WRITTEN_BY_THE_HUB if not EXTRA.fullmatch(file)
    )
    if foreign:
        raise WeightsError(
            f"The repository {repo} holds files that are not of this card",
            file=f"{api.endpoint}/{repo}",
            expected="the files of the card's folder, and no others",
            found=", ".join(repr(file) for file in foreign[:8]),
            next_step="publish to another repository, or remove them there",
        )
    return info.sha


def _conflict(repo: str) -> WeightsError:
    return WeightsError(
        f"The repository {repo} was changed while this was uploading",
        expected="no other commit meanwhile",
        next_step="see what was changed, and publish again; what has arrived is not sent twice",
    )


def _failed(repo: str, endpoint: str, problem: object) -> WeightsError:
    return WeightsError(
        f"Publishing to {repo} did not succeed",
        file=f"{endpoint}/{repo}",
        found=" ".join(str(problem).split()) or type(problem).__name__,
        next_step="check the connection and the token, and publish again; what has arrived is "
        "not sent twice",
    )


def _with_pin(card: Card, pin: HubPin) -> Card:
    entries = {tag: dataclasses.replace(entry, hub=pin) for tag, entry in card.weights.items()}
    return dataclasses.replace(card, weights=entries)


def _render(card: Card) -> bytes:
    text = json.dumps(card_to_json(card), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _write_pin(card: Card, pin: HubPin) -> None:
    path = card.folder / "config.json"
    if all(entry.hub == pin for entry in card.weights.values()):
        return
    try:
        _cache.write_whole(path, _render(_with_pin(card, pin)))
    except OSError as error:
        raise WeightsError(
            f"Published, but the pin could not be written: {error.strerror or error}",
            file=path,
            expected=f'"hub": {{"repo": "{pin.repo}", "revision": "{pin.revision}"}} in every '
            "weights entry",
            next_step="write it there by hand, or make the file writable and publish again",
        ) from error
