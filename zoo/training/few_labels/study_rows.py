"""The rows of a study of label efficiency: their order, who does which, what they have shown."""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import filelock

from zoo.errors import DataError, ZooError
from zoo.training.files import read_json, write_json
from zoo.training.settings import MACHINE

__all__ = [
    "BUDGET",
    "MAIN_COUNT",
    "OWN",
    "ROW",
    "TERMS",
    "Part",
    "Result",
    "Row",
    "finished",
    "next_row",
    "read",
    "rows",
    "work",
    "writing",
]

RESULTS = "results.json"
OWN = "deconvolutional"
"""The method whose terms the ablation takes away."""
TERMS: Mapping[str, str] = {
    "reconstruction": "reconstruction_weight",
    "entropy": "entropy_weight",
    "moment-matching": "moment_weight",
    "path-normalisation": "path_weight",
    "min-path": "min_weight",
}
"""Term of the deconvolutional objective -> the setting that is its weight."""
MAIN_COUNT = 1000
"""Labels of the rows that come first, and of the ablation."""
ROW = MACHINE | {"seed", "method", "labels", "tag"}
"""Settings that the row, or the machine, has a say in."""
BUDGET = frozenset({"widths", "steps", "batch_size", "labelled_share", "validation"})
"""Settings that all methods must share where they are compared."""

Part = Literal["table", "ablation"]


@dataclass(frozen=True)
class Row:
    """One training of the study.

    Args:
        method: as the settings call it.
        labels: their number; None for all.
        seed: of the split, of the weights at the beginning and of all that is drawn.
        without: the term that the objective lacks, a key of `TERMS`.
    """

    method: str
    labels: int | None
    seed: int
    without: str | None = None

    @property
    def key(self) -> str:
        """What its folder and its result are called."""
        count = "all" if self.labels is None else str(self.labels)
        less = "" if self.without is None else f"-without-{self.without}"
        return f"{self.method}-{count}-seed{self.seed}{less}"


@dataclass(frozen=True)
class Result:
    """What a row has shown.

    Args:
        method, labels, seed, without: of the row.
        labelled: images whose label was read in training; with `labels` None all but validation's.
        test_error: fraction of the test images that are misread.
        test_images, validation_images: how many there were.
        validation_accuracy: of the same predictor.
        steps: of the training.
        step_seconds: CPU time of a step, all threads together, the median; None if no step of the
            row was timed, because it was stopped between training and measurement.
        seconds: wall-clock time of the row.
    """

    method: str
    labels: int | None
    seed: int
    without: str | None
    labelled: int
    test_error: float
    test_images: int
    validation_accuracy: float
    validation_images: int
    steps: int
    step_seconds: float | None
    seconds: float


def rows(
    methods: Sequence[str],
    labels: Sequence[int | None],
    seeds: int,
    *,
    terms: Iterable[str] = TERMS,
    ablation_seeds: int = 3,
    first_seed: int = 0,
    only: Part | None = None,
) -> list[Row]:
    """The rows in the order in which they are done: what the headline needs comes first.

    The ablation is with 1,000 labels; the full objective that it compares with is part of it, and
    is the same row as that of the table. Without the deconvolutional method there is none.
    """
    order = [count for count in labels if count == MAIN_COUNT]
    rest = [count for count in labels if count != MAIN_COUNT]
    blocks = [
        [
            Row(name, count, seed)
            for seed in range(first_seed, first_seed + seeds)
            for name in methods
        ]
        for count in (*order, *rest)
    ]
    ablation = [
        Row(OWN, MAIN_COUNT, seed, without)
        for seed in range(first_seed, first_seed + ablation_seeds)
        for without in (None, *terms)
    ]
    if only == "ablation":
        return ablation
    if only is None and OWN in methods:
        blocks.insert(len(order), ablation)
    return list(dict.fromkeys(row for block in blocks for row in block))


@contextmanager
def next_row(todo: Iterable[Row], out: Path, aside: Collection[Row] = ()) -> Iterator[Row | None]:
    """Take the first row that is neither done nor at work in another process; None if none is.

    The row is this process's while the context lasts. The lock is the system's: it ends with the
    process, however that dies.

    Args:
        out: folder of the study.
        aside: rows to leave alone.
    """
    locks = out / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for row in todo:
        if row in aside or row.key in finished(out):
            continue
        lock = filelock.FileLock(locks / row.key)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            continue
        try:
            # The other process may have finished it between the look and the lock.
            if row.key in finished(out):
                continue
            yield row
            return
        finally:
            lock.release()
    yield None


def work(
    todo: Sequence[Row],
    out: Path,
    train: Callable[[Row, Path], tuple[Result, Mapping[str, Any]]],
    show: Callable[[Path], object],
) -> list[Row]:
    """Do rows until every one is done or another process's; returns those that failed.

    Args:
        out: folder of the study.
        train: function of a row and its folder to the result and the settings.
        show: called with `out` after every row, by one process at a time.
    """
    failed: list[Row] = []
    while True:
        with next_row(todo, out, failed) as row:
            if row is None:
                return failed
            try:
                result, settings = train(row, out / row.key)
            except ZooError as error:
                # A row that diverges is no reason to lose the night.
                print(f"error: {row.key}: {error}", file=sys.stderr, flush=True)
                failed.append(row)
                continue
            _keep(out, row, result, settings, show)
            print(_line(row, result), flush=True)


def finished(out: Path) -> dict[str, Any]:
    """Key of a row -> its result and settings, of all that are done in the folder of a study."""
    path = out / RESULTS
    return read_json(path) if path.exists() else {}


def writing(out: Path) -> filelock.BaseFileLock:
    """What one process holds at a time, while it writes results or tables."""
    return filelock.FileLock(out / "locks" / "results")


def _keep(
    out: Path,
    row: Row,
    result: Result,
    settings: Mapping[str, Any],
    show: Callable[[Path], object],
) -> None:
    with writing(out):
        kept = finished(out)
        write_json(out / RESULTS, {**kept, row.key: {**asdict(result), "settings": settings}})
        show(out)


def _line(row: Row, result: Result) -> str:
    error, validation = 100 * result.test_error, 100 * (1 - result.validation_accuracy)
    return f"{row.key}: test error {error:.2f} %, validation {validation:.2f} %"


def read(out: Path) -> list[Result]:
    """The finished rows of a study.

    Raises:
        DataError: there is none, or rows of one method differ in a setting, or methods in their
            budget, so that means or differences would be of unlike runs.
        FileError: the results cannot be read.
    """
    kept = finished(out)
    if not kept:
        raise DataError(
            f"{out / RESULTS}: expected finished rows, found none; "
            "python -m zoo.training.few_labels.study trains them"
        )
    settings = {key: row["settings"] for key, row in kept.items()}
    results = {
        key: Result(**{name: value for name, value in row.items() if name != "settings"})
        for key, row in kept.items()
    }
    first: dict[tuple[int | None, str], str] = {}
    for key, result in results.items():
        # The method's own settings, less the one that the ablation changes; and those of all.
        own = settings[key].keys() - ROW - {TERMS.get(result.without or "")}
        for group, names in ((result.method, own), ("", BUDGET)):
            other = first.setdefault((result.labels, group), key)
            less = TERMS.get(results[other].without or "")
            for name in sorted(names - {less}):
                values = [settings[each].get(name) for each in (other, key)]
                if values[0] != values[1]:
                    raise DataError(
                        f"{out / RESULTS}: {name} is {values[0]} in {other} and {values[1]} in "
                        f"{key}: they cannot be compared; keep such runs in folders of their own"
                    )
    return list(results.values())
