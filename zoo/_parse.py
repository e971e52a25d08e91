"""From `config.json` to a `Card`, strictly: every error names the file and the field.

A card may come from a repository that anybody can write to. So nothing is guessed, converted or
ignored, and names of files follow from the card's tags instead of being believed.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields as fields_of
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from zoo import models
from zoo._names import did_you_mean
from zoo._schema import (
    DTYPES,
    LICENCES,
    TASKS,
    Card,
    DataSource,
    Golden,
    HubPin,
    Metric,
    Paper,
    Trained,
    Weights,
)
from zoo.errors import CardError

__all__ = ["decode_json", "parse_card"]

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[0-9a-f]{40}")
REPO = re.compile(r"[A-Za-z0-9][\w-]*(\.[\w-]+)*/[A-Za-z0-9][\w-]*(\.[\w-]+)*", re.ASCII)
ARXIV = re.compile(r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}", re.ASCII)
RECIPE = re.compile(r"recipes/[a-z0-9_]+\.py")
MAX_DEPTH = 6
MAX_INTEGER = 2**63 - 1
MAX_FLOAT = sys.float_info.max


def decode_json(raw: bytes, path: Path) -> Any:
    """Decode the JSON text of `path`; repeated keys, NaN and Infinity are errors.

    Raises:
        CardError: if `raw` is not such a text.
    """
    try:
        return json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    # RecursionError: a file of many thousand opening brackets.
    except (ValueError, RecursionError) as error:
        raise CardError(f"{path}: not a valid JSON text: {error}") from error


def parse_card(data: Any, path: Path) -> Card:
    """Build the card from the decoded `config.json` at `path`; `path.parent` is its folder.

    Raises:
        CardError: if a field is missing, unknown or wrong; the text names file and field.
    """
    names = [name for name in _field_names(Card) if name != "folder"]
    fields = _Fields(data, path, "", names)
    default = fields.optional("default", lambda f, name: f.match(name, NAME, "a tag"))
    return Card(
        name=fields.match("name", NAME, "lower case letters, digits and single hyphens"),
        architecture=fields.choice("architecture", list(models.ARCHITECTURES)),
        config=fields.config("config"),
        task=fields.choice("task", TASKS),
        summary=fields.text("summary"),
        paper=_paper(fields.object("paper", Paper)),
        licence=fields.choice("licence", LICENCES),
        data=_data(fields.object("data", DataSource)),
        recipe=fields.match("recipe", RECIPE, "recipes/<name>.py"),
        default=default,
        weights=_all_weights(fields, default),
        folder=path.parent,
    )


def _paper(fields: _Fields) -> Paper:
    return Paper(
        title=fields.text("title"),
        authors=fields.text("authors"),
        venue=fields.text("venue"),
        arxiv=fields.optional("arxiv", lambda f, name: f.match(name, ARXIV, "an arXiv number")),
    )


def _data(fields: _Fields) -> DataSource:
    return DataSource(
        name=fields.text("name"), licence=fields.text("licence"), source=fields.text("source")
    )


def _all_weights(fields: _Fields, default: str | None) -> Mapping[str, Weights]:
    """Parse `weights`, a mapping from tags; `default` must be one of them, if there are any."""
    entries = fields.mapping("weights")
    for tag in entries:
        if not NAME.fullmatch(tag):
            fields.fail("weights", f"a tag is lower case with hyphens, found {tag!r}")
    if (default not in entries) if entries else (default is not None):
        expected = f"one of {', '.join(entries)}" if entries else "null while there are no weights"
        fields.fail("default", f"expected {expected}, found {default!r}")
    names = [name for name in _field_names(Weights) if name != "tag"]
    weights = {
        tag: _weights(
            _Fields(entry, fields.path, f"weights.{tag}", names, optional=("config",)),
            tag,
            infix="" if tag == default else f".{tag}",
        )
        for tag, entry in entries.items()
    }
    return MappingProxyType(weights)


def _weights(fields: _Fields, tag: str, infix: str) -> Weights:
    metrics = fields.sequence("metrics")
    golden = fields.object("golden", Golden)
    return Weights(
        tag=tag,
        file=fields.literal("file", f"model{infix}.safetensors"),
        sha256=fields.match("sha256", SHA256, "64 lower case hexadecimal digits"),
        bytes=fields.integer("bytes", minimum=1),
        parameters=fields.integer("parameters", minimum=1),
        dtype=fields.choice("dtype", DTYPES),
        golden=Golden(
            file=golden.literal("file", f"golden{infix}.safetensors"),
            sha256=golden.match("sha256", SHA256, "64 lower case hexadecimal digits"),
            bytes=golden.integer("bytes", minimum=1),
        ),
        hub=_hub(fields.object("hub", HubPin)),
        config=fields.config("config"),
        trained=_trained(fields.object("trained", Trained)),
        metrics=tuple(
            _metric(_Fields(entry, fields.path, f"{fields.where}.metrics.{index}", Metric))
            for index, entry in enumerate(metrics)
        ),
    )


def _hub(fields: _Fields) -> HubPin:
    repo = fields.optional("repo", lambda f, name: f.match(name, REPO, "org/name"))
    revision = fields.optional(
        "revision", lambda f, name: f.match(name, REVISION, "40 lower case hexadecimal digits")
    )
    if (repo is None) != (revision is None):
        fields.fail("revision", "repo and revision are both set or both null")
    return HubPin(repo=repo, revision=revision)


def _trained(fields: _Fields) -> Trained:
    versions = fields.mapping("versions")
    inner = _Fields(versions, fields.path, f"{fields.where}.versions", list(versions))
    return Trained(
        command=fields.text("command"),
        seed=fields.integer("seed", minimum=0),
        commit=fields.text("commit"),
        hardware=fields.text("hardware"),
        seconds=fields.number("seconds", minimum=0),
        versions=MappingProxyType({name: inner.text(name) for name in versions}),
    )


def _metric(fields: _Fields) -> Metric:
    return Metric(
        dataset=fields.text("dataset"),
        split=fields.text("split"),
        metric=fields.text("metric"),
        value=fields.number("value"),
        n=fields.integer("n", minimum=1),
        command=fields.text("command"),
    )


class _Fields:
    """One JSON object of a card, whose fields are taken out by name and kind.

    Args:
        value: The decoded object.
        path: The file, for the errors.
        where: The dotted place of the object in the file, for the errors.
        names: The fields it has, or a dataclass that has the same.
        optional: Those of `names` that may be missing.
    """

    def __init__(
        self,
        value: Any,
        path: Path,
        where: str,
        names: Sequence[str] | type,
        optional: Sequence[str] = (),
    ) -> None:
        self.path, self.where = path, where
        known = list(names if isinstance(names, Sequence) else _field_names(names))
        self.values: dict[str, Any] = self._object(value)
        for name in self.values:
            if name not in known:
                self.fail(name, f"unknown field{did_you_mean(name, known)}")
        for name in known:
            if name not in self.values and name not in optional:
                self.fail(name, "missing field")

    def fail(self, name: str, problem: str) -> NoReturn:
        # A key of a hostile card may hold anything; repr keeps control characters out of the text.
        field = ".".join(filter(None, [self.where, name]))
        parts = [str(self.path), field if field.isprintable() else repr(field), problem]
        raise CardError(": ".join(filter(None, parts)))

    def _object(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail("", f"expected an object, found {_short(value)}")
        return value

    def object(self, name: str, names: type) -> _Fields:
        return _Fields(self.values[name], self.path, f"{self.where}.{name}".strip("."), names)

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.values[name]
        if not isinstance(value, dict):
            self.fail(name, f"expected an object, found {_short(value)}")
        return value

    def sequence(self, name: str) -> list[Any]:
        value = self.values[name]
        if not isinstance(value, list):
            self.fail(name, f"expected a list, found {_short(value)}")
        return value

    def text(self, name: str) -> str:
        value = self.values[name]
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            self.fail(name, f"expected one line of text, found {_short(value)}")
        return value

    def match(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self.values[name]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.fail(name, f"expected {expected}, found {_short(value)}")
        return value

    def literal(self, name: str, expected: str) -> str:
        return self.match(name, re.compile(re.escape(expected)), repr(expected))

    def choice(self, name: str, known: Sequence[str]) -> str:
        value = self.values[name]
        if not isinstance(value, str) or value not in known:
            self.fail(name, f"expected one of {', '.join(known)}, found {_short(value)}")
        return value

    def integer(self, name: str, *, minimum: int) -> int:
        value = self.values[name]
        # bool is a subclass of int, but `true` is not a number.
        if type(value) is not int or not minimum <= value <= MAX_INTEGER:
            self.fail(name, f"expected an integer of at least {minimum}, found {_short(value)}")
        return value

    def number(self, name: str, *, minimum: float = -math.inf) -> float:
        value = self.values[name]
        # The bounds also refuse NaN, infinity and integers that no float can hold.
        if type(value) not in (int, float) or not max(minimum, -MAX_FLOAT) <= value <= MAX_FLOAT:
            limit = "" if minimum == -math.inf else f" of at least {minimum}"
            self.fail(name, f"expected a finite number{limit}, found {_short(value)}")
        return float(value)

    def optional(self, name: str, read: Callable[[_Fields, str], str]) -> str | None:
        return None if self.values[name] is None else read(self, name)

    def config(self, name: str) -> Mapping[str, Any]:
        """Keyword arguments: a missing field stands for none."""
        if name not in self.values:
            return MappingProxyType({})
        for key in self.mapping(name):
            if not key.isidentifier():
                self.fail(name, f"expected names of keyword arguments, found {key!r}")
        return MappingProxyType(
            {key: self._freeze(f"{name}.{key}", item) for key, item in self.mapping(name).items()}
        )

    def _freeze(self, name: str, value: Any, depth: int = 1) -> Any:
        if depth > MAX_DEPTH:
            self.fail(name, f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            items = {key: self._freeze(name, item, depth + 1) for key, item in value.items()}
            return MappingProxyType(items)
        if isinstance(value, list):
            return tuple(self._freeze(name, item, depth + 1) for item in value)
        if isinstance(value, float) and not math.isfinite(value):
            self.fail(name, f"expected a finite number, found {value}")
        return value


def _field_names(cls: type) -> list[str]:
    return [field.name for field in fields_of(cls)]


def _short(value: Any) -> str:
    """A value for an error text: one line, not longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"field {_short(repeated)} occurs twice")
    return values


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
