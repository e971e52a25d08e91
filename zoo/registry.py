"""The models of the zoo, read from their cards: no torch, no network.

A card is the file `config.json` of a folder of `model_cards/`. `name` alone stands for its default
weights, `name.tag` for others.
"""

from __future__ import annotations

import fnmatch
import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from zoo._names import did_you_mean, natural_key, nearest
from zoo._parse import decode_json, parse_card
from zoo._schema import (
    TASKS,
    Card,
    DataSource,
    Golden,
    HubPin,
    Metric,
    Paper,
    Trained,
    Weights,
    card_to_json,
)
from zoo.errors import CardError, UnknownNameError

__all__ = [
    "DEPRECATED",
    "TASKS",
    "Card",
    "DataSource",
    "Golden",
    "HubPin",
    "Metric",
    "Paper",
    "Trained",
    "Weights",
    "card_to_json",
    "cards",
    "cards_folder",
    "decode_json",
    "find",
    "info",
    "list_models",
    "nearest",
    "parse_card",
    "read_card",
]

DEPRECATED: dict[str, str] = {}
"""Names that were given up -> what they are called now, as `name` or `name.tag`."""


def cards_folder() -> Path:
    """The folder with one folder per card: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "model_cards"
    return inside if inside.is_dir() else package.parent / "model_cards"


def read_card(folder: Path) -> Card:
    """Read and check `config.json` of a card's folder.

    Raises:
        CardError: if it cannot be read or a field is missing, unknown or wrong.
    """
    path = folder / "config.json"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_card(decode_json(raw, path), path)


def cards() -> Mapping[str, Card]:
    """All cards by name, in natural order.

    Raises:
        CardError: if a card is malformed, or not in the folder of its name.
    """
    folder = cards_folder()
    # The stamps make a card that was written a moment ago (by an export, say) count at once.
    stamps = [(path.parent.name, path.stat()) for path in folder.glob("*/config.json")]
    key = sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in stamps)
    return _read_all(folder, tuple(key))


@functools.lru_cache(maxsize=4)
def _read_all(folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> Mapping[str, Card]:
    found = {}
    for name in sorted((name for name, _, _ in stamps), key=natural_key):
        card = read_card(folder / name)
        # One folder per name is what makes names unique.
        if card.name != name:
            path = folder / name / "config.json"
            raise CardError(f"{path}: name: expected {name!r}, the folder's, found {card.name!r}")
        found[name] = card
    return MappingProxyType(found)


def find(name: str) -> tuple[Card, str | None]:
    """The card for `name` or `name.tag`, and the tag that it selects.

    The tag is the default one for a bare name, and None for a model without weights.

    Raises:
        UnknownNameError: if there is no such model or tag; the text names the nearest.
    """
    if name in DEPRECATED:
        message = f"{name!r} is now called {DEPRECATED[name]!r}; the old name will go away."
        warnings.warn(message, FutureWarning, stacklevel=3)
        name = DEPRECATED[name]
    base, dot, tag = name.partition(".")
    known = cards()
    if base not in known:
        raise UnknownNameError(_unknown_model(name, base, known))
    card = known[base]
    if not dot:
        return card, card.default
    if tag not in card.weights:
        hint = did_you_mean(tag, card.weights) or f": its recipe is {card.recipe}"
        what = f"no weights tagged {tag!r}" if card.weights else "no weights yet"
        raise UnknownNameError(f"Model {base!r} has {what}{hint}")
    return card, tag


def _unknown_model(name: str, base: str, known: Mapping[str, Card]) -> str:
    if "/" in name or "\\" in name:
        return (
            f"{name!r} is not a model of the zoo. A Hub repository is written "
            "'hf-hub:org/name@<40-hex revision>', a folder with a card 'local-dir:/path'."
        )
    return f"Unknown model {base!r}{did_you_mean(base, known)}"


def list_models(
    pattern: str = "*", *, pretrained: bool = False, task: str | None = None, tag: str | None = None
) -> list[str]:
    """The names of the models, in natural order.

    Args:
        pattern: What the name looks like, with `*`, `?` and `[...]` as in file names.
        pretrained: Only those with weights.
        task: Only those for this task, one of `TASKS`.
        tag: Only those with weights of this tag.

    Raises:
        UnknownNameError: if there is no such task or no model has such a tag.

    Example:
        >>> list_models("cnn*", pretrained=True)
        ['cnn-robust', 'cnnf-robust']
    """
    known = cards()
    if task is not None and task not in TASKS:
        raise UnknownNameError(f"Unknown task {task!r}{did_you_mean(task, TASKS)}")
    tags = {name for card in known.values() for name in card.weights}
    if tag is not None and tag not in tags:
        raise UnknownNameError(f"No model has weights tagged {tag!r}{did_you_mean(tag, tags)}")
    return [
        name
        for name, card in known.items()
        if fnmatch.fnmatchcase(name, pattern)
        and (card.weights or not pretrained)
        and task in (None, card.task)
        and (tag is None or tag in card.weights)
    ]


def info(name: str) -> Card:
    """The card of a model, with its paper, licence, data, recipe, weights and metrics.

    Raises:
        UnknownNameError: if there is no such model or tag; the text names the nearest.
    """
    return find(name)[0]
