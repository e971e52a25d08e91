"""Clean, corrupted and attacked accuracy of several classifiers beside each other, by one protocol.

    clean       every test image, as it is
    corrupted   the first images, corrupted by each kind of `zoo.data.CORRUPTIONS` at severity 3
    attacked    the first images under PGD-40 through the whole model, at the radius that is usual
                for the data set

Clean and attacked accuracies are those of `zoo.metrics.classification`, and so is that of each kind
of corruption. The mean over all kinds is made of the same images again and again: its standard
error is taken over images, each counted with the share of kinds that it withstands, and not over
all pictures as if they were independent.

The CSV is both the result and the memory of the work: a row of the same weights by the same
protocol is read from it and not measured again.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo import data
from zoo.errors import ZooError
from zoo.metrics.classification import EPSILON, MEASURES, PGD_STEPS, SEED
from zoo.metrics.robustness import standard_error
from zoo.metrics.threat import slices, wrong
from zoo.registry import Metric

__all__ = [
    "ATTACKED",
    "CLEAN",
    "CORRUPTED",
    "METRICS",
    "SHOWN",
    "Protocol",
    "Row",
    "Score",
    "TableError",
    "from_csv",
    "measure",
    "percent",
    "radius",
    "sizes",
    "to_csv",
    "to_markdown",
]

SPLIT: Literal["test"] = "test"
SEVERITY = 3

CLEAN, ATTACKED = "accuracy", f"accuracy-pgd{PGD_STEPS}"
CORRUPTED = f"accuracy-corrupted-{SEVERITY}"
"""The mean over all kinds."""

KINDS: Mapping[str, str] = {f"accuracy-{kind}-{SEVERITY}": kind for kind in data.CORRUPTIONS}
"""Name of a metric -> kind of its corruption."""

METRICS = (CLEAN, CORRUPTED, *KINDS, ATTACKED)
"""What a row has, in its order."""

SHOWN = ("noise", "blur", "occlusion")
"""Kinds with columns of their own in Markdown; the CSV has all."""

HEAD = (
    *("name", "dataset", "split", "metric", "n", "value", "standard_error", "epsilon", "seed"),
    *("sha256", "protocol", "command", "error"),
)


class TableError(ZooError, RuntimeError):
    """A file that should hold a table, and does not; or a folder that another table is made in."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How many images each part of a row takes, from the first on.

    Args:
        corrupted: Images that every kind of corruption is applied to.
        attacked: Images that are attacked.

    Raises:
        ValueError: a number is not positive.
    """

    corrupted: int = 1000
    attacked: int = 250

    def __post_init__(self) -> None:
        for what, n in asdict(self).items():
            if n < 1:
                raise ValueError(f"the number of {what} images must be at least 1, found {n}")

    def digest(self, dataset: str, built: Mapping[str, Any]) -> str:
        """16 hex digits of all that a row is a function of, its weights excepted.

        Args:
            dataset: Its whole test split is used.
            built: JSON values that say how the model is built.
        """
        strengths = {k: data.CORRUPTIONS[k].strengths[SEVERITY - 1] for k in data.CORRUPTIONS}
        facts = {
            **asdict(self),
            "dataset": dataset,
            "split": SPLIT,
            "strengths": strengths,
            "epsilon": EPSILON.get(dataset),
            "steps": PGD_STEPS,
            "seed": SEED,
            "built": built,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Score:
    """An accuracy in [0, 1] on `n` images, and its standard error; both with six decimals."""

    metric: str
    n: int
    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Row:
    """What one weights file is worth.

    Args:
        name: `name.tag` of the zoo.
        dataset: Whose test images were used.
        sha256: Of the weights file.
        protocol: `Protocol.digest` of the row.
        command: Makes the row again.
        scores: One for each of `METRICS`; none where the row failed.
        error: Why it failed, in one line.
    """

    name: str
    dataset: str
    sha256: str
    protocol: str
    command: str
    scores: tuple[Score, ...]
    error: str | None = None

    def __getitem__(self, metric: str) -> Score:
        """The score named `metric`."""
        return next(score for score in self.scores if score.metric == metric)

    @property
    def complete(self) -> bool:
        """Whether all was measured."""
        return self.error is None and tuple(score.metric for score in self.scores) == METRICS


def measure(
    model: nn.Module,
    dataset: str,
    protocol: Protocol,
    root: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Score, ...]:
    """The scores of a model, one for each of `METRICS`, on the device that it is on.

    Args:
        model: In eval mode; images (N, C, H, W) in [0, 1] -> logits (N, classes).
        dataset: Name of a data set.
        root: Folder of the data sets; default $ZOO_DATA.
        progress: Called with a line of text before each part of the work.

    Raises:
        DataError: the data set is not here, or has no usual radius.
        ValueError: it has fewer images than the protocol wants, or the model gives no logits.
    """
    test = data.load(dataset, root, SPLIT)
    head = test.head(protocol.corrupted)
    test.head(protocol.attacked)  # too few are a reason not to begin

    def line(metric: str, n: int) -> Score:
        progress(f"{metric} on {n:,} images of {dataset}")
        value = MEASURES[metric](Metric(dataset, SPLIT, metric, math.nan, n, ""), model, root)
        return _score(metric, n, value, standard_error(value, n))

    clean = line(CLEAN, len(test))
    device = next(model.parameters()).device
    images = data.as_float(head.images).to(device)
    corrupted = _corrupted(model, images, head.labels.to(device), progress)
    return clean, *corrupted, line(ATTACKED, protocol.attacked)


def _corrupted(
    model: nn.Module, images: Tensor, labels: Tensor, progress: Callable[[str], None]
) -> list[Score]:
    """The mean over all kinds, then each kind; images (N, C, H, W) in [0, 1], labels (N,)."""
    n, kinds = len(images), len(KINDS)
    progress(f"{CORRUPTED}, {kinds} kinds, on {n:,} images")
    right = torch.stack(
        [
            _right(model, data.corrupt(images, kind, SEVERITY, seed=SEED), labels)
            for kind in KINDS.values()
        ]
    ).double()  # (kinds, N)
    each = right.mean(0)
    values = right.mean(1).tolist()
    deviation = float((each - each.mean()).square().mean().sqrt())
    mean = _score(CORRUPTED, n, float(each.mean()), deviation / math.sqrt(n))
    return [
        mean,
        *(_score(m, n, p, standard_error(p, n)) for m, p in zip(KINDS, values, strict=True)),
    ]


@torch.no_grad()
def _right(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Whether the model is right about each image, bool (N,)."""
    parts = slices(len(images), 250)
    return torch.cat([~wrong(model(images[part]), labels[part]) for part in parts])


def _score(metric: str, n: int, value: float, error: float) -> Score:
    # Rounded here, so that a row that was read is the row that was measured.
    return Score(metric, n, round(value, 6), round(error, 6))


def to_csv(rows: Sequence[Row]) -> str:
    """A line for each score; one for a row that failed."""
    out = io.StringIO()
    writer = csv.DictWriter(out, HEAD, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        common = {"name": row.name, "dataset": row.dataset, "split": SPLIT, "sha256": row.sha256}
        common |= {"protocol": row.protocol, "command": row.command}
        if row.error is not None:
            writer.writerow(common | {"error": row.error})
            continue
        for score in row.scores:
            line = common | asdict(score)
            if score.metric == ATTACKED:
                line["epsilon"] = f"{EPSILON[row.dataset]:.6g}"
            if score.metric != CLEAN:
                line["seed"] = str(SEED)
            writer.writerow(line)
    return out.getvalue()


def from_csv(text: str) -> list[Row]:
    """The rows of `to_csv`, in their order.

    Raises:
        TableError: the text is something else.
    """
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != HEAD:
        raise TableError(f"expected the columns {', '.join(HEAD)}, found {reader.fieldnames}")
    rows: dict[str, Row] = {}
    for line in reader:
        try:
            score = _read_score(line)
        except (TypeError, ValueError) as error:
            raise TableError(f"line {reader.line_num} is not a line of a table: {error}") from error
        name = line["name"]
        before = rows[name].scores if name in rows else ()
        rows[name] = Row(
            name,
            line["dataset"],
            line["sha256"],
            line["protocol"],
            line["command"],
            scores=before if score is None else (*before, score),
            error=line["error"] or None,
        )
    return list(rows.values())


def _read_score(line: Mapping[str, str]) -> Score | None:
    """The score of a line; None in one of a row that failed."""
    if None in line.values() or None in line:
        raise ValueError(f"expected {len(HEAD)} fields")
    if line["error"]:
        return None
    value, error = float(line["value"]), float(line["standard_error"])
    if not (0 <= value <= 1 and 0 <= error <= 1):
        raise ValueError(f"expected an accuracy in [0, 1], found {value} ± {error}")
    return Score(line["metric"], int(line["n"]), value, error)


def to_markdown(rows: Sequence[Row], notes: Sequence[str], command: str) -> str:
    """The table, what its numbers mean, and `notes` as a list; ends with a newline."""
    head = [
        "Weights",
        "Data",
        "Clean",
        "Corrupted",
        *map(str.capitalize, SHOWN),
        f"PGD-{PGD_STEPS}",
        "ε",
        "n",
        "sha256",
    ]
    lines = [head, ["---"] * len(head), *(_cells(row) for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    kinds = f"the {len(KINDS)} kinds of `zoo.data.corrupt` at severity {SEVERITY}"
    paragraphs = [
        table,
        "Accuracy in percent ± one standard error over images; n is the number of clean / "
        "corrupted / attacked test images, the first ones. Corrupted is the mean of "
        f"{kinds}, three of which have columns of their own; PGD-{PGD_STEPS} is {PGD_STEPS} steps "
        "of ε / 10 through the whole model, within ε in the L∞ norm. "
        f"Seed {SEED}. Made by `{command}`.",
        f"PGD-{PGD_STEPS} alone is an upper bound of what a model withstands: a stronger attack "
        "may find more. `zoo audit NAME` is the worst case over many attacks; a gain is claimed "
        "on that only.",
    ]
    if notes:
        paragraphs.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(paragraphs) + "\n"


def _cells(row: Row) -> list[str]:
    if row.error is not None:
        return [f"`{row.name}`", row.dataset, "failed", *["-"] * 7, f"`{row.sha256[:12]}`"]
    shown = [f"accuracy-{kind}-{SEVERITY}" for kind in SHOWN]
    return [
        f"`{row.name}`",
        row.dataset,
        *(percent(row[metric]) for metric in (CLEAN, CORRUPTED, *shown, ATTACKED)),
        radius(row.dataset),
        sizes(row),
        f"`{row.sha256[:12]}`",
    ]


def percent(score: Score) -> str:
    """`82.2 ± 0.4`"""
    return f"{100 * score.value:.1f} ± {100 * score.standard_error:.1f}"


def radius(dataset: str) -> str:
    """The radius of the attacks on a data set: `0.1`, or in grey levels, `8/255`."""
    levels = 255 * EPSILON[dataset]
    whole = round(levels)
    return f"{whole}/255" if abs(levels - whole) < 1e-9 else f"{EPSILON[dataset]:g}"


def sizes(row: Row) -> str:
    """How many images were scored clean, corrupted and attacked: `10,000 / 1,000 / 250`"""
    return " / ".join(f"{row[metric].n:,}" for metric in (CLEAN, CORRUPTED, ATTACKED))
