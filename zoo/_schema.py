"""A card as frozen dataclasses. The names of the fields are those of `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "DTYPES",
    "LICENCES",
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
]

TASKS = (
    "controllable-generation",
    "density-estimation",
    "factor-prediction",
    "forecasting",
    "image-classification",
    "image-generation",
)
"""What a model can be for; the surface of each task is fixed."""

DTYPES = ("bfloat16", "float16", "float32", "int8")
"""How the floating tensors of a weights file may be stored.

With `int8` those with two or more dimensions are whole numbers with a float32 scale for each row
(`<name>.scale`), and the others float32; `zoo/_quantised.py` says it exactly.
"""

LICENCES = (
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC-BY-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unlicense",
)
"""SPDX identifiers that weights may carry. A further one is added here when a card needs it."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Where the model was published; `arxiv` is an identifier such as `2007.09200`."""

    title: str
    authors: str
    venue: str
    arxiv: str | None


@dataclass(frozen=True, slots=True)
class DataSource:
    """What the weights were trained on, and where it comes from."""

    name: str
    licence: str
    source: str


@dataclass(frozen=True, slots=True)
class HubPin:
    """Where the files are on the Hub: a repository and a 40-hex commit, or both None."""

    repo: str | None
    revision: str | None


@dataclass(frozen=True, slots=True)
class Trained:
    """How the weights were made; `seconds` is wall-clock time."""

    command: str
    seed: int
    commit: str
    hardware: str
    seconds: float
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured number: on `n` examples of `split` of `dataset`, by `command`."""

    dataset: str
    split: str
    metric: str
    value: float
    n: int
    command: str


@dataclass(frozen=True, slots=True)
class Golden:
    """A file with inputs and the outputs that the model gave for them when it was exported."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Weights:
    """One weights file of a model.

    `dtype` says how floating tensors are stored, one of `DTYPES`; they become the model's own dtype
    on loading. `parameters` counts those of the model, not the numbers in the file. `config`
    overrides the card's. The first of `metrics` is the headline.
    """

    tag: str
    file: str
    sha256: str
    bytes: int
    parameters: int
    dtype: str
    golden: Golden
    hub: HubPin
    config: Mapping[str, Any]
    trained: Trained
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """All that the zoo knows about a model. Mappings are read-only.

    `config` are keyword arguments of the architecture, `default` is the tag that the bare name
    stands for (None without weights), `folder` is where the card and its files lie.
    """

    name: str
    architecture: str
    config: Mapping[str, Any]
    task: str
    summary: str
    paper: Paper
    licence: str
    data: DataSource
    recipe: str
    default: str | None
    weights: Mapping[str, Weights]
    folder: Path


def card_to_json(card: Card) -> dict[str, Any]:
    """Turn a card back into what `config.json` holds; the inverse of `parse_card`."""
    plain: dict[str, Any] = _thaw(card)
    del plain["folder"]
    for weights in plain["weights"].values():
        del weights["tag"]
        if not weights["config"]:
            del weights["config"]
    return plain


def _thaw(value: Any) -> Any:
    """Turn dataclasses and read-only mappings into dicts, tuples into lists."""
    if is_dataclass(value):
        return {field.name: _thaw(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_thaw(item) for item in value]
    return value
