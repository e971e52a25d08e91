"""The command `zoo audit`: from a name to an audit in a folder, and from there into the card."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UnknownNameError, ZooError
from zoo.registry import Card, Metric, card_to_json, read_card

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zoo.metrics.audit import Audit, AuditSettings, Stage

__all__ = ["DATASET", "DEFAULTS", "OptionError", "record", "run"]

DATASET = "fashion-mnist-sample"

DEFAULTS: Mapping[str, int] = {
    "images": 1000,
    "steps": 100,
    "queries": 1000,
    "small": 200,
    "seed": 0,
    "batch_size": 64,
    "gradient_bits": 32,
}
"""Numbers that the command line may change. The command of a card names those that it did."""


class OptionError(ZooError, ValueError):
    """An option of the command that does not make sense."""


def run(
    name: str,
    numbers: Mapping[str, int],
    *,
    weights: Path | None = None,
    baseline: str | None = None,
    epsilon: float | None = None,
    dataset: str = DATASET,
    data: Path | None = None,
    out: Path | None = None,
    into_card: bool = False,
) -> tuple[Audit, Path]:
    """Audit a model on the first test images of a data set; the audit and where it is written.

    Args:
        name: As for `zoo.create`.
        numbers: As `DEFAULTS`.
        weights: A file to load instead of the card's weights.
        baseline: Name of a model to transfer images from.
        epsilon: Radius; default the one that is usual for the data set.
        dataset: Name of the data set; `data` is the folder of all (default $ZOO_DATA).
        out: Folder; default `zoo-audit/<name>`.
        into_card: Whether to write the result into the card.

    Raises:
        OptionError, UnknownNameError, WeightsError, DataError, AuditError: something is wrong, or
            not here. What can be checked is checked before the work begins.
    """
    from zoo._sources import resolve

    card, tag = resolve(name)
    if card.task != "image-classification":
        raise UnknownNameError(f"{name!r} is for {card.task}: only image classifiers are audited")
    recorded = _recordable_tag(name, tag, weights) if into_card else None
    other = None if baseline is None else _call_name(baseline, *resolve(baseline))
    called = _call_name(name, card, tag) if weights is None else f"{card.name} {weights.name}"
    out = out or Path("zoo-audit") / _folder_name(card, tag, weights)

    # Names are right: only now wait for torch.
    from zoo.factory import create
    from zoo.metrics.audit import FILE, audit, lines

    settings = _settings(numbers)
    images, labels = _images(dataset, data, numbers["images"])
    radius = _radius(epsilon, dataset)
    model = create(name, pretrained=True, weights=weights)
    partner: nn.Module | None = None if other is None else create(other, pretrained=True)
    with _followed(out) as progress:
        found = audit(
            model,
            images,
            labels,
            epsilon=radius,
            baseline=partner,
            settings=settings,
            folder=out,
            progress=progress,
            name=called,
            dataset=dataset,
        )
    if recorded is not None:
        changed: dict[str, Any] = {k: v for k, v in numbers.items() if v != DEFAULTS[k]}
        changed |= {"epsilon": epsilon, "baseline": other}
        changed["dataset"] = None if dataset == DATASET else dataset
        record(card, recorded, lines(found, _command(_call_name(card.name, card, tag), changed)))
    return found, out / FILE


def record(card: Card, tag: str, metrics: tuple[Metric, ...]) -> None:
    """Write the lines of an audit into `config.json` of a card, as a whole or not at all.

    All robust accuracies that the card has of these weights on the same data go, so that no line of
    an older audit stays; every other line stays where it is.

    Raises:
        OptionError: the card has other weights by now.
        CardError: the card cannot be read any more.
        FileError: it cannot be written.
    """
    from zoo.metrics.audit import NAME
    from zoo.training.files import write_json

    # Read again: an audit takes long, and somebody may have changed another line.
    fresh = read_card(card.folder)
    if tag not in fresh.weights or fresh.weights[tag].sha256 != card.weights[tag].sha256:
        raise OptionError(f"{card.folder}: the weights {tag!r} are other ones now; audit again")
    places = {(line.dataset, line.split) for line in metrics}
    entry = fresh.weights[tag]
    kept = tuple(
        line
        for line in entry.metrics
        if not (
            (line.metric == NAME or line.metric.startswith(f"{NAME}-"))
            and (line.dataset, line.split) in places
        )
    )
    weights = {**fresh.weights, tag: replace(entry, metrics=kept + metrics)}
    write_json(card.folder / "config.json", card_to_json(replace(fresh, weights=weights)))


def _recordable_tag(name: str, tag: str | None, weights: Path | None) -> str:
    """The tag of the weights whose lines can be written."""
    from zoo._sources import HUB

    if weights is not None:
        raise OptionError("--record writes into the card of its own weights: leave out --weights")
    if name.startswith(HUB):
        raise OptionError("--record needs a card in a folder: a commit on the Hub cannot change")
    if tag is None:
        raise OptionError(f"{name!r} has no weights yet, so there is nothing to record")
    return tag


def _call_name(name: str, card: Card, tag: str | None) -> str:
    """The name with its tag, so that it means the same when the default is another."""
    prefixed = ":" in name
    if tag is None or (prefixed and name.endswith(f"#{tag}")):
        return name
    return f"{name}#{tag}" if prefixed else f"{card.name}.{tag}"


def _folder_name(card: Card, tag: str | None, weights: Path | None) -> str:
    part = tag if weights is None else weights.stem
    return f"{card.name}.{part}" if part else card.name


def _command(name: str, options: Mapping[str, Any]) -> str:
    given = [
        f"--{option.replace('_', '-')} {value}"
        for option, value in options.items()
        if value is not None
    ]
    return " ".join([f"zoo audit {shlex.quote(name)}", *given])


def _settings(numbers: Mapping[str, int]) -> AuditSettings:
    from zoo.metrics.audit import AuditSettings

    given: dict[str, Any] = {name: n for name, n in numbers.items() if name != "images"}
    try:
        return AuditSettings(**given)
    except ValueError as error:
        raise OptionError(str(error)) from error


def _images(dataset: str, root: Path | None, n: int) -> tuple[Tensor, Tensor]:
    from zoo import data

    test = data.load(dataset, root, "test")
    if not 1 <= n <= len(test):
        raise OptionError(f"images must be 1 to {len(test)} of {dataset}, found {n}")
    head = test.head(n)
    return data.as_float(head.images), head.labels


def _radius(epsilon: float | None, dataset: str) -> float:
    from zoo.metrics.classification import EPSILON

    if epsilon is None and dataset not in EPSILON:
        raise OptionError(f"no radius is usual for {dataset!r}: give --epsilon")
    radius = EPSILON[dataset] if epsilon is None else epsilon
    if not 0 < radius <= 1:
        raise OptionError(f"epsilon must lie in (0, 1], in units of the images, found {radius}")
    return radius


@contextmanager
def _followed(out: Path) -> Iterator[Callable[[Stage], None]]:
    """A progress bar over the whole audit, on standard error."""
    from zoo.training.progress import Progress

    bar: Progress | None = None
    with ExitStack() as stack:

        def show(stage: Stage) -> None:
            nonlocal bar
            if bar is None:
                if stage.resumed:
                    share = stage.resumed / stage.total
                    print(f"{out}: goes on after {share:.0%} that was done before", file=sys.stderr)
                progress = Progress(stage.total, first=stage.resumed, title="audit")
                bar = stack.enter_context(progress)
                return
            # One step is about one forward pass of a batch; a batch of an attack is many.
            bar.done = stage.done - 1
            bar.advance({f"{stage.title}: robust accuracy": stage.accuracy or 0.0})

        yield show
