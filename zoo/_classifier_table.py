"""The command `zoo verify --metrics --task image-classification`: one table of all classifiers.

The folder holds `image-classification.csv`, which is also what is known so far, and the same as
Markdown. Both are replaced after every row, as a whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo._names import did_you_mean
from zoo.errors import DataError, UnknownNameError, WeightsError, ZooError
from zoo.registry import TASKS, Card, Weights, card_to_json

if TYPE_CHECKING:
    import argparse

    from zoo.metrics.classifier_table import Protocol, Row, Score

__all__ = [
    *("CSV", "DEFAULTS", "FOLDER", "MARKDOWN", "TASK", "OptionError", "Table"),
    *("add_options", "misuse", "options", "run", "show"),
]

TASK = "image-classification"
"""The one that has a table."""

FOLDER = Path("zoo-table")
CSV, MARKDOWN, LOCK = f"{TASK}.csv", f"{TASK}.md", f"{TASK}.lock"

DEFAULTS = {"images": 250, "corrupted": 1000}
"""Numbers that the command line may change. The command of a row names those that it did."""

STAND_IN = {"fashion-mnist": "fashion-mnist-sample"}
"""Data set -> its first test images, which come with the package."""


class OptionError(ZooError, ValueError):
    """An option of the command that does not make sense."""


@dataclass(frozen=True, slots=True)
class Table:
    """What was found: rows in the order of the zoo, notes on what is not there, and where it is.

    `measured` names the rows that this run measured; the others were known.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    measured: tuple[str, ...]
    command: str
    folder: Path

    @property
    def ok(self) -> bool:
        """Whether no row failed."""
        return all(row.error is None for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The table as plain values, ready for JSON."""
        plain = asdict(self)
        plain["folder"] = str(self.folder)
        return {"task": TASK, **plain, "ok": self.ok}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `zoo verify` that are about the table."""
    parser.add_argument("--task", help=f"make one table of all models for it: {TASK}")
    text = f"folder of the table, to write and to go on from (default: {FOLDER})"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)
    for name, what in (("images", "attacked"), ("corrupted", "corrupted")):
        text = f"test images that are {what} for the table (default: {DEFAULTS[name]})"
        parser.add_argument(f"--{name}", type=int, metavar="N", help=text)


def misuse(arguments: argparse.Namespace) -> str | None:
    """What does not go together: `zoo verify` checks one model, or makes a table of a task's."""
    single, task = arguments.name is not None, arguments.task is not None
    if not single and not task:
        return f"give the name of a model, or --metrics --task {TASK} for a table of all"
    if single and task:
        return "a name and --task exclude each other"
    if task and not arguments.metrics:
        return "--task is for a table of metrics: give --metrics, too"
    own = (arguments.out, arguments.images, arguments.corrupted)
    if single and any(value is not None for value in own):
        return "--out, --images and --corrupted belong to --task"
    return None


def options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `run`."""
    return {name: getattr(arguments, name) for name in ("task", "data", "out", *DEFAULTS)}


def run(
    task: str,
    *,
    data: Path | None = None,
    out: Path | None = None,
    images: int | None = None,
    corrupted: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Table:
    """Verify and measure all weights of a task's models, those that are not known yet.

    Args:
        task: `image-classification`.
        data: Folder of the data sets; default $ZOO_DATA.
        out: Folder to write, and to go on from; default `zoo-table`.
        images: Test images that are attacked; default as `DEFAULTS`.
        corrupted: Test images that are corrupted; default as `DEFAULTS`.
        progress: Called with a line of text before each part of the work.

    Raises:
        UnknownNameError: there is no such task, or it has no table.
        OptionError: a number is out of range.
        TableError: the folder holds something else, or another process is at work there.
        FileError: it cannot be written.
    """
    _check_task(task)
    numbers = DEFAULTS | {
        name: n for name, n in {"images": images, "corrupted": corrupted}.items() if n is not None
    }
    folder = FOLDER if out is None else out
    from zoo.metrics.classifier_table import Protocol

    try:
        protocol = Protocol(corrupted=numbers["corrupted"], attacked=numbers["images"])
    except ValueError as error:
        raise OptionError(str(error)) from error
    with _opened(folder) as known:
        return _Work(protocol, _command(numbers), folder, data, known, progress).table()


class _Work:
    """One run: what was known before, what is known by now, and which data sets are here."""

    def __init__(
        self,
        protocol: Protocol,
        command: str,
        folder: Path,
        root: Path | None,
        known: Sequence[Row],
        progress: Callable[[str], None],
    ) -> None:
        self.protocol, self.command, self.folder, self.root = protocol, command, folder, root
        self.known = {row.name: row for row in known}
        self.progress = progress
        self.here: dict[str, bool] = {}
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.measured: list[str] = []

    def table(self) -> Table:
        """Go through all weights; the files are up to date after each."""
        cards = [card for card in registry.cards().values() if card.task == TASK]
        todo = [(card, weights) for card in cards for weights in card.weights.values()]
        names = [_name(card, weights) for card, weights in todo]
        for place, (card, weights) in enumerate(todo):
            title = f"[{place + 1}/{len(todo)}] {names[place]}: "
            self._add(card, weights, _titled(self.progress, title))
            # What is known of those whose turn is to come survives a kill.
            ahead = [self.known[name] for name in names[place + 1 :] if name in self.known]
            usable = [row for row in ahead if row.complete and row.command == self.command]
            self._write([*self.rows, *usable])
        self.notes += [f"`{card.name}` has no weights yet." for card in cards if not card.weights]
        self._write(self.rows)
        return Table(
            tuple(self.rows), tuple(self.notes), tuple(self.measured), self.command, self.folder
        )

    def _add(self, card: Card, weights: Weights, say: Callable[[str], None]) -> None:
        """Find the row of one weights file: known, measured now, failed, or left out."""
        name, dataset = _name(card, weights), _dataset(card)
        sets = [each for each in (dataset, STAND_IN.get(dataset)) if each is not None]
        # A row on all images is worth more than one on the stand-in, whatever is here now.
        chosen = next((s for s in sets if self._kept(card, weights, s) or self._is_here(s)), None)
        if chosen is None:
            self.notes.append(f"`{name}` is left out: {dataset} is not here (`--data DIR`).")
            say(f"left out, {dataset} is not here")
            return
        try:
            _check(name, say)
            kept = self._kept(card, weights, chosen)
            row = kept or self._measured(card, weights, chosen, say)
            say("known already") if kept else self.measured.append(name)
        # RuntimeError: what torch says about a model that does not fit its images.
        except (ZooError, ValueError, RuntimeError) as error:
            row = self._row(card, weights, chosen, error=" ".join(str(error).split()))
            self.notes.append(f"`{name}` failed: {row.error}")
            say(f"failed: {error}")
        self.rows.append(row)

    def _measured(
        self, card: Card, weights: Weights, dataset: str, say: Callable[[str], None]
    ) -> Row:
        from zoo.factory import create
        from zoo.metrics.classifier_table import measure

        model = create(_name(card, weights), pretrained=True)
        scores = measure(model, dataset, self.protocol, self.root, say)
        return self._row(card, weights, dataset, scores=scores)

    def _kept(self, card: Card, weights: Weights, dataset: str) -> Row | None:
        """The complete row of the same weights, built and measured alike, if it is known."""
        row = self.known.get(_name(card, weights))
        if row is None or not row.complete:
            return None
        return row if row == self._row(card, weights, dataset, scores=row.scores) else None

    def _row(
        self,
        card: Card,
        weights: Weights,
        dataset: str,
        *,
        scores: tuple[Score, ...] = (),
        error: str | None = None,
    ) -> Row:
        from zoo.metrics.classifier_table import Row

        plain = card_to_json(card)
        config = plain["config"] | plain["weights"][weights.tag].get("config", {})
        built = {"architecture": card.architecture, "config": config}
        digest = self.protocol.digest(dataset, built)
        name = _name(card, weights)
        return Row(name, dataset, weights.sha256, digest, self.command, scores, error)

    def _is_here(self, dataset: str) -> bool:
        """Whether a data set can be read; why not is said once."""
        from zoo import data

        if dataset not in self.here:
            try:
                data.load(dataset, self.root, "test")
                self.here[dataset] = True
            except (DataError, UnknownNameError) as error:
                self.progress(str(error))
                self.here[dataset] = False
        return self.here[dataset]

    def _write(self, rows: Sequence[Row]) -> None:
        from zoo.metrics.classifier_table import to_csv, to_markdown
        from zoo.training.files import write_atomically

        write_atomically(self.folder / CSV, to_csv(rows).encode())
        text = to_markdown(rows, self.notes, self.command)
        write_atomically(self.folder / MARKDOWN, text.encode())


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise UnknownNameError(f"Unknown task {task!r}{did_you_mean(task, TASKS)}")
    if task != TASK:
        raise UnknownNameError(
            f"There is no table for {task}, only for {TASK}; measure a single model with "
            "`zoo verify NAME --metrics`"
        )


def _command(numbers: Mapping[str, int]) -> str:
    changed = [f"--{name} {n}" for name, n in numbers.items() if n != DEFAULTS[name]]
    return " ".join([f"zoo verify --metrics --task {TASK}", *changed])


def _titled(say: Callable[[str], None], title: str) -> Callable[[str], None]:
    return lambda line: say(title + line)


def _name(card: Card, weights: Weights) -> str:
    return f"{card.name}.{weights.tag}"


def _dataset(card: Card) -> str:
    """The name of a card's data set as `zoo.data` has it: `Fashion-MNIST` is `fashion-mnist`."""
    return re.sub(r"[^a-z0-9]+", "-", card.data.name.lower()).strip("-")


def _check(name: str, say: Callable[[str], None]) -> None:
    """Verify files and outputs.

    Raises:
        WeightsError: a file is missing or wrong, or the outputs are not the golden ones.
    """
    from zoo.verify import verify

    report = verify(name, progress=say)
    if not report.ok:
        problems = [file.problem for file in report.files if file.problem]
        raise WeightsError(problems[0] if problems else "The outputs are not the golden ones")


@contextmanager
def _opened(folder: Path) -> Iterator[list[Row]]:
    """The rows that a folder has, while no other process works there."""
    from filelock import FileLock, Timeout

    from zoo.metrics.classifier_table import TableError

    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TableError(
            f"{folder}: another process is at work there; use another --out"
        ) from error
    except OSError as error:
        raise TableError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        yield _read(folder / CSV)
    finally:
        # The folder may be one of a repository: nothing but the table stays in it.
        with suppress(OSError):
            (folder / LOCK).unlink()
        lock.release()


def _read(path: Path) -> list[Row]:
    from zoo.metrics.classifier_table import TableError, from_csv

    if not path.exists():
        return []
    try:
        return from_csv(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, TableError) as error:
        raise TableError(f"{path}: {error}; use another --out, or remove it") from error


def show(table: Table) -> None:
    """Print a table for each data set, in 80 columns, and where the files are."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Grid

    from zoo.metrics.classifier_table import ATTACKED, CLEAN, CORRUPTED, percent, radius, sizes

    # Without these three a text is shown as it is.
    console = Console(markup=False, highlight=False, emoji=False)
    for dataset in dict.fromkeys(row.dataset for row in table.rows):
        rows = [row for row in table.rows if row.dataset == dataset]
        grid = Grid(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        grid.add_column(dataset, overflow="fold")
        for head in ("Clean", "Corrupted", "PGD-40"):
            grid.add_column(head, justify="right", no_wrap=True)
        for row in rows:
            cells = [percent(row[m]) for m in (CLEAN, CORRUPTED, ATTACKED)] if row.scores else []
            grid.add_row(row.name, *(cells or ["failed"]))
        console.print(grid)
        if measured := [row for row in rows if row.scores]:
            console.print(f"n = {sizes(measured[0])}; epsilon {radius(dataset)}")
        console.print()
    for note in table.notes:
        console.print(note.replace("`", ""), soft_wrap=True)
    console.print("Accuracy in percent ± one standard error. PGD-40 is an upper bound only:")
    console.print("zoo audit NAME is the worst case. Written to:")
    for name in (CSV, MARKDOWN):
        console.print(str(table.folder / name), soft_wrap=True)
