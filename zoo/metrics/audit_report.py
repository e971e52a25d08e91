"""What an audit found, as frozen dataclasses, as `audit.json`, and as lines of a card."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.metrics.battery import FIRST, OUTPUT, AuditSettings
from zoo.metrics.outcomes import AuditError
from zoo.registry import Metric
from zoo.training.files import FileError, read_json

__all__ = ["NAME", "Audit", "Check", "Point", "Row", "Score", "lines", "read"]

NAME = "robust-accuracy"
"""The metric of a card; `NAME-...` are the parts of it."""

FORMAT = 1


@dataclass(frozen=True)
class Score:
    """An accuracy in [0, 1], and how far it typically is from that on all images."""

    accuracy: float
    error: float


@dataclass(frozen=True)
class Row:
    """One attack: the accuracy of every view on the images that it made."""

    attack: str
    title: str
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Check:
    """A property that an honest result has. Where it fails, gradients may mislead the attacks.

    Args:
        name: Short.
        ok: Whether the property was found.
        claim: The property, in one sentence.
        numbers: What was measured, in [0, 1] unless the name says otherwise.
        failure: What it would mean if the property is not there.
    """

    name: str
    ok: bool
    claim: str
    numbers: Mapping[str, float]
    failure: str


@dataclass(frozen=True)
class Point:
    """The output's accuracy under PGD of one radius, in units of [0, 1]."""

    epsilon: float
    score: Score


@dataclass(frozen=True)
class Audit:
    """The result of `zoo.metrics.audit.audit`.

    Args:
        name: What was audited; dataset, split: on which images. They are labels only.
        n: Number of images.
        epsilon: Radius of the L-infinity ball, in units of the images' [0, 1].
        rows: One for each attack, in the order in which they were made.
        worst: View -> fraction of images that it is right about under all attacks.
        survived: View -> "1" for every image that it is right about under all attacks, else "0".
        checks: Signs of misleading gradients.
        curve: Accuracy against the radius, on the first `settings.small` images.
        facts: What the result is a function of: hashes of weights and images, settings.
        seconds: Time spent, by all processes together.
    """

    name: str
    dataset: str
    split: str
    n: int
    epsilon: float
    settings: AuditSettings
    rows: tuple[Row, ...]
    worst: Mapping[str, Score]
    survived: Mapping[str, str]
    checks: tuple[Check, ...]
    curve: tuple[Point, ...]
    facts: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: float

    @property
    def views(self) -> tuple[str, ...]:
        """What of the model was scored, the output first."""
        return tuple(self.worst)

    @property
    def ok(self) -> bool:
        """Whether every check is."""
        return all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; `read` is the inverse."""
        return {"format": FORMAT, "ok": self.ok, **dataclasses.asdict(self)}


def lines(audit: Audit, command: str) -> tuple[Metric, ...]:
    """What a card says about an audit.

        robust-accuracy               of the output, under all attacks
        robust-accuracy-<attack>      of the output, under that attack alone
        robust-accuracy-first-pass    of a feedback model's first pass, under all attacks

    Square has no line: it attacks what the others left, so that its result is the first line.

    Args:
        command: What makes the numbers again.

    Raises:
        ValueError: the audit does not say which data set it was made on.
    """
    if not audit.dataset:
        raise ValueError("a line of a card names its data set: give `dataset=` to the audit")
    values = {NAME: audit.worst[OUTPUT]}
    for row in audit.rows:
        if row.attack not in ("clean", "square"):
            values[f"{NAME}-{row.attack}"] = row.scores[OUTPUT]
    if FIRST in audit.worst:
        values[f"{NAME}-first-pass"] = audit.worst[FIRST]
    return tuple(
        Metric(audit.dataset, audit.split, name, round(score.accuracy, 6), audit.n, command)
        for name, score in values.items()
    )


def read(path: str | Path) -> Audit:
    """Read an `audit.json`.

    Raises:
        AuditError: it cannot be read, or is none.
    """
    try:
        return _audit(read_json(Path(path)))
    except FileError as error:
        raise AuditError(str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise AuditError(
            f"{path}: not an audit.json of this version of the zoo ({error!r}); make it again with "
            "`zoo audit`"
        ) from error


def _audit(plain: dict[str, Any]) -> Audit:
    if plain.pop("format", None) != FORMAT:
        raise ValueError(f"expected format {FORMAT}")
    del plain["ok"]
    settings: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in plain["settings"].items()
    }
    changed = {
        "settings": AuditSettings(**settings),
        "rows": tuple(_row(row) for row in plain["rows"]),
        "worst": _scores(plain["worst"]),
        "checks": tuple(Check(**check) for check in plain["checks"]),
        "curve": tuple(Point(p["epsilon"], Score(**p["score"])) for p in plain["curve"]),
    }
    return Audit(**{**plain, **changed})


def _row(plain: dict[str, Any]) -> Row:
    return Row(**{**plain, "scores": _scores(plain["scores"])})


def _scores(plain: dict[str, Any]) -> dict[str, Score]:
    return {view: Score(**score) for view, score in plain.items()}
