"""What few labels reach: every method at several numbers of labels, with seeds, and an ablation.

    python -m zoo.training.few_labels.study --data DIR --out runs/few-labels --workers 2

trains the network of `dgm-fashion-mnist`, at half its channels unless `--set widths=32,64,64,128`
says otherwise, by every method on 100, 500, 1,000 and all labels of Fashion-MNIST, and once more
without each term of the deconvolutional objective. Each of these rows is a run in a folder of its
own. The method chooses its predictor by validation images, and the test images are looked at once,
at the end of the row. Rows of one seed begin with the same weights and have the same labelled,
unlabelled and validation images. In the folder `--out`:

    results.json   every finished row; one that is there is not trained again
    study.csv      the same, a line each
    study.md       the tables: `zoo.training.few_labels.study_report`
    curve.png      test error over labels: `zoo.training.few_labels.curve`

A stopped study goes on where it was. Several processes may work in one folder, those of `--workers`
or any that are started later: each takes the first row that is neither done nor another's, and the
row of a process that died is taken up again.
"""

import argparse
import multiprocessing
import shlex
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, get_args, get_type_hints

from torch import Tensor, nn

from zoo import data
from zoo.data import ImageDataset, as_float
from zoo.errors import ZooError
from zoo.metrics.robustness import accuracy
from zoo.training.few_labels.curve import write_picture
from zoo.training.few_labels.fit import fit
from zoo.training.few_labels.networks import NARROW, fashion
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.few_labels.split import split
from zoo.training.few_labels.study_report import write_tables
from zoo.training.few_labels.study_rows import (
    BUDGET,
    MAIN_COUNT,
    OWN,
    ROW,
    TERMS,
    Part,
    Result,
    Row,
    finished,
    rows,
    work,
    writing,
)
from zoo.training.files import read_json
from zoo.training.folder import RECORD
from zoo.training.run import Run, Stateful
from zoo.training.settings import MACHINE, SettingsError, option, parse

__all__ = ["Material", "StudySettings", "configure", "main", "train_row"]

METHODS: tuple[str, ...] = get_args(get_type_hints(FewLabelsSettings)["method"])
COUNTS: tuple[int | None, ...] = (100, 500, MAIN_COUNT, None)


@dataclass(frozen=True)
class StudySettings(FewLabelsSettings):
    """The settings of a row, and of its network."""

    widths: tuple[int, ...] = option(NARROW, "channels of the four convolutions, for all methods")

    def __post_init__(self) -> None:
        super().__post_init__()
        fashion(self.widths)  # a wrong number of them is better found before the first row


@dataclass(frozen=True)
class Material:
    """What all rows share: the images, the network, and how it is trained.

    Args:
        build: a new network, from the global generator.
        fit: trains it; returns the predictor, chosen without the test images.
    """

    train: ImageDataset
    test: ImageDataset
    build: Callable[[StudySettings], nn.Module]
    fit: Callable[[nn.Module, ImageDataset, FewLabelsSettings, Run], nn.Module]


class TimedRun(Run):
    """A run that notes the CPU time of every step, as `step_seconds`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.step_seconds: list[float] = []

    def steps(self, total: int, state: Mapping[str, Stateful], **options: Any) -> Iterator[int]:
        """As `Run.steps`; the time of checkpoints is not that of a step."""
        for step in super().steps(total, state, **options):
            begun = time.process_time()
            yield step
            self.step_seconds.append(time.process_time() - begun)


def configure(row: Row, changes: Mapping[str, Any]) -> StudySettings:
    """The settings of a row.

    Args:
        changes: name of a setting -> value for all rows; `method.name` for one method's.

    Raises:
        SettingsError: one does not exist, or is the row's to say, or is to be the same for all.
    """
    values: dict[str, Any] = {}
    # Those of a method come last, so that they win.
    for name, value in sorted(changes.items(), key=lambda item: "." in item[0]):
        method, _, setting = name.rpartition(".")
        if method not in ("", *METHODS):
            raise SettingsError(f"{name}: no method {method!r}; there are {', '.join(METHODS)}")
        if setting in ROW - MACHINE:
            raise SettingsError(f"{name}: every row has its own; it cannot be set for all")
        if method and setting in BUDGET:
            raise SettingsError(f"{name}: all methods have the same; set {setting}")
        if method in ("", row.method):
            values[setting] = value
    if row.without is not None:
        values[TERMS[row.without]] = 0.0
    own = {"method": row.method, "labels": row.labels, "seed": row.seed}
    return StudySettings.from_json({**values, **own})


def train_row(
    row: Row, config: StudySettings, folder: Path, material: Material, command: str
) -> Result:
    """Train a row in `folder`, or go on with what is there, and measure it.

    Raises:
        SettingsError: the folder holds a row of other settings.
    """
    resume = (folder / RECORD).exists()
    if resume:
        before = read_json(folder / RECORD)
        _check_same(config, before["settings"], folder)
        if before["status"] == "done":
            return Result(**before["result"])
    source = Path(__file__).resolve()
    run = TimedRun(folder, config, name=row.key, source=source, command=command, resume=resume)
    with run:
        predictor = material.fit(material.build(config), material.train, config, run).eval()
        result = _measure(row, predictor, config, material, run)
        run.record(result=asdict(result))
    return result


def _measure(
    row: Row, predictor: nn.Module, config: FewLabelsSettings, material: Material, run: TimedRun
) -> Result:
    train, test = material.train, material.test
    parts = split(train.labels, row.labels, validation=config.validation, seed=row.seed)

    def score(images: Tensor, labels: Tensor) -> float:
        return accuracy(predictor, as_float(images.to(run.device)), labels.to(run.device))

    own = parts.validation
    return Result(
        **asdict(row),
        labelled=len(parts.labelled),
        test_error=round(1 - score(test.images, test.labels), 6),
        test_images=len(test),
        validation_accuracy=score(train.images[own], train.labels[own]),
        validation_images=len(own),
        steps=config.steps,
        step_seconds=statistics.median(run.step_seconds) if run.step_seconds else None,
        seconds=round(run.seconds, 3),
    )


def _check_same(config: FewLabelsSettings, before: Mapping[str, Any], where: Path) -> None:
    now = config.to_json()
    for name in sorted((now.keys() | before.keys()) - MACHINE):
        if now.get(name) != before.get(name):
            raise SettingsError(
                f"{where}: was trained with {name} = {before.get(name)}, expected {now.get(name)}; "
                "give the settings that the study began with, or another --out"
            )


def _command(words: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "zoo.training.few_labels.study", *words])


def _todo(options: argparse.Namespace) -> list[Row]:
    """The rows that are asked for; terms that the objective has no weight for are left out."""
    full = configure(Row(OWN, MAIN_COUNT, 0), options.changes)
    return rows(
        options.methods,
        options.labels,
        options.seeds,
        terms=[term for term, weight in TERMS.items() if getattr(full, weight)],
        ablation_seeds=options.ablation_seeds,
        first_seed=options.first_seed,
        only=options.only,
    )


def _load(options: argparse.Namespace) -> Material:
    from zoo.models.dgm import DGM

    train, test = (data.load("fashion-mnist", options.data, part) for part in ("train", "test"))
    return Material(train, test, lambda config: DGM(**fashion(config.widths)), fit)


def _work(options: argparse.Namespace, material: Material | None) -> int:
    """One process's share; returns the exit code."""
    own = material or _load(options)
    changes = {**options.changes, "threads": options.threads}

    def train(row: Row, folder: Path) -> tuple[Result, Mapping[str, Any]]:
        config = configure(row, changes)
        return train_row(row, config, folder, own, options.command), config.to_json()

    return 1 if work(_todo(options), options.out, train, write_tables) else 0


def _study(options: argparse.Namespace, material: Material | None) -> int:
    todo = _todo(options)
    before = finished(options.out)
    for row in todo:
        if row.key in before:
            config = configure(row, options.changes)
            _check_same(config, before[row.key]["settings"], options.out / row.key)
    code = _work(options, material) if options.workers == 1 else _crew(options, material)
    if finished(options.out):
        with writing(options.out):
            print(write_tables(options.out), end="")
            write_picture(options.out)
    if left := sum(row.key not in finished(options.out) for row in todo):
        print(f"{left} of {len(todo)} rows failed, or are other processes'", file=sys.stderr)
    return code


def _crew(options: argparse.Namespace, material: Material | None) -> int:
    """The work of several processes; returns the exit code."""
    # Spawned ones, which have no threads of this process to be surprised by.
    context = multiprocessing.get_context("spawn")
    crew = [
        context.Process(target=_enter, args=(options, material), daemon=True)
        for _ in range(options.workers)
    ]
    with _terminable():
        for each in crew:
            each.start()
        for each in crew:
            each.join()
    return 1 if any(each.exitcode for each in crew) else 0


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end this process by an exception, so that its daemons end with it."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _enter(options: argparse.Namespace, material: Material | None) -> None:
    raise SystemExit(_guarded(lambda: _work(options, material)))


def _guarded(do: Callable[[], int]) -> int:
    try:
        return do()
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _count(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number of labels or all, found {text!r}")
    return int(text)


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    hint = StudySettings.types().get(name.rpartition(".")[2])
    if not equals or hint is None:
        raise argparse.ArgumentTypeError(f"expected SETTING=VALUE of a training, found {text!r}")
    try:
        return name, parse(value, hint)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(f"{name}: {error}") from None


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.few_labels.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder of the data sets (default: $ZOO_DATA)")
    add("--out", type=Path, required=True, metavar="DIR", help="of the runs and the tables")
    add(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=list(METHODS),
        metavar="NAME",
        help=f"of {', '.join(METHODS)} (default: all)",
    )
    add(
        "--labels",
        nargs="+",
        type=_count,
        default=list(COUNTS),
        metavar="N",
        help="numbers of labels (default: 100 500 1000 all)",
    )
    add("--seeds", type=_natural, default=5, metavar="N", help="number of seeds (default: 5)")
    add("--first-seed", type=int, default=0, metavar="S", help="the seeds are S ... S + N - 1")
    add("--ablation-seeds", type=_natural, default=3, metavar="N", help="of the ablation")
    add("--only", choices=get_args(Part), help="a part of the study")
    add("--workers", type=_natural, default=1, metavar="N", help="processes (default: 1)")
    add("--threads", type=_natural, default=1, metavar="N", help="of each process (default: 1)")
    add(
        "--set",
        action="extend",
        nargs="+",
        type=_change,
        default=[],
        metavar="SETTING=VALUE",
        dest="changes",
        help="for all methods, or METHOD.SETTING=VALUE for one",
    )
    return parser


def main(argv: Sequence[str] | None = None, material: Material | None = None) -> int:
    """Do the rows that are left, and print the tables; returns the exit code.

    Args:
        material: of another network or data set than those of `dgm-fashion-mnist`.
    """
    options = _parser().parse_args(argv)
    options.changes = dict(options.changes)
    options.command = _command(sys.argv[1:] if argv is None else list(argv))
    return _guarded(lambda: _study(options, material))


if __name__ == "__main__":
    raise SystemExit(main())
