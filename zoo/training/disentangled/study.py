"""What labels bring, and what the baselines reach: finished runs gathered into tables.

    python -m zoo.training.disentangled.study RUN [RUN ...] [--trade-off RUN ...] --out FOLDER

reads the records of runs of `stylegan_disentangled_*` recipes: semi-supervised ones with any number
of labels, supervision alone (`--method supervised`), and plain StyleGANs (`--method plain`) whose
directions were scored (`python -m zoo.training.disentangled.directions`). It writes

    study.csv   every number of every run: method, labels, seed, metric, value
    study.md    for each method and number of labels the mean over the runs, after ± their standard
                deviation; what semi-supervision gains over supervision alone, by pairs of runs with
                the same labelled images; and, of the runs after `--trade-off`, what the weights of
                the codes do to encoder and generator

Runs of one method differ in seed and labels only, those of the trade-off in seed and the two
weights: anything else that differs is an error, so that no mean is of unlike runs.
"""

import argparse
import csv
import io
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zoo.errors import DataError, ZooError
from zoo.training.disentangled.directions import FILE
from zoo.training.files import read_json, write_atomically
from zoo.training.folder import RECORD
from zoo.training.settings import MACHINE

__all__ = ["Gain", "Result", "check_alike", "gains", "grouped", "main", "read", "to_csv"]

K = TypeVar("K")

NAMES = {
    "semi-supervised": "semi-supervised",
    "supervised": "supervision alone",
    "plain": "directions of a plain StyleGAN",
}
"""The setting `method` -> what tables and curves call it."""
WEIGHTS = ("code_weight_encoder", "code_weight_generator")
ASIDE = MACHINE | {"seed", "tag"}
"""Settings that make no other method."""
HEAD = ("method", "labels", "seed", "metric", "value")


@dataclass(frozen=True)
class Result:
    """The numbers of one run.

    Args:
        method: as in `NAMES`.
        labels: labelled images that it was given.
        seed: of the run; runs of one seed have the same labelled images.
        settings: all of them.
        metrics: name of a metric, as on cards -> value.
        where: what an error calls the run.
    """

    method: str
    labels: int
    seed: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    where: str

    @property
    def weights(self) -> tuple[float, float]:
        """Of generated images' codes, for the encoder and for the generator."""
        encoder, generator = (float(self.settings[name]) for name in WEIGHTS)
        return encoder, generator


@dataclass(frozen=True)
class Gain:
    """A semi-supervised run beside supervision alone on the same labelled images.

    Args:
        mig: difference of the gaps.
        error: ratio of the mean absolute errors; below 1 is a gain.
    """

    labels: int
    seed: int
    mig: float
    error: float


def read(folder: Path) -> list[Result]:
    """The results that a run's folder holds: one, or one for each score of a plain StyleGAN.

    Raises:
        DataError: if there are none yet.
        FileError: if there is no record.
    """
    record = read_json(folder / RECORD)
    settings, where = record["settings"], str(folder)
    if settings.get("method") not in NAMES:
        raise DataError(f"{where}: expected a run of a disentangled StyleGAN, found none")
    if settings["method"] == "plain":
        return _directions(folder, settings)
    if record.get("status") != "done" or not record.get("metrics"):
        raise DataError(f"{where}: not finished, or not measured; there are no metrics to gather")
    # A key is the data set and the metric.
    metrics = {name.rpartition(" ")[2]: value for name, value in record["metrics"].items()}
    labels, seed = settings["labels"], settings["seed"]
    return [Result(settings["method"], labels, seed, settings, metrics, where)]


def _directions(folder: Path, settings: Mapping[str, Any]) -> list[Result]:
    path = folder / FILE
    if not path.exists():
        raise DataError(
            f"{folder}: the directions have no score; "
            f"run: python -m zoo.training.disentangled.directions {folder}"
        )
    return [
        Result(
            "plain",
            score["labels"],
            score["seed"],
            settings,
            {
                "mig": score["mig"],
                "code-error": score["error_one"],
                "code-error-all": score["error_all"],
            },
            f"{path}, {name}",
        )
        for name, score in read_json(path).items()
    ]


def check_alike(results: Iterable[Result], free: Iterable[str]) -> None:
    """Refuse results of one method that differ in more than the settings `free`.

    Raises:
        DataError: names the setting and two runs.
    """
    first: dict[str, Result] = {}
    for result in results:
        other = first.setdefault(result.method, result)
        for name in sorted({*result.settings, *other.settings} - ASIDE - set(free)):
            values = [each.settings.get(name) for each in (other, result)]
            if values[0] != values[1]:
                raise DataError(
                    f"{name} is {values[0]} in {other.where} and {values[1]} in {result.where}: "
                    "their mean would be of unlike runs; leave one of them out"
                )


def grouped(results: Iterable[Result], key: Callable[[Result], K]) -> dict[K, list[Result]]:
    """Results with the same key, in the order of their first."""
    groups: dict[K, list[Result]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return dict(groups)


def gains(results: Iterable[Result]) -> list[Gain]:
    """Semi-supervised runs beside supervision alone, wherever both have the labels and the seed."""
    pairs = grouped(results, lambda each: (each.labels, each.seed))
    found = []
    for (labels, seed), group in sorted(pairs.items()):
        own = {each.method: each.metrics for each in group}
        if "semi-supervised" in own and "supervised" in own:
            ours, alone = own["semi-supervised"], own["supervised"]
            ratio = ours["code-error"] / alone["code-error"]
            found.append(Gain(labels, seed, ours["mig"] - alone["mig"], ratio))
    return found


def to_csv(results: Iterable[Result]) -> str:
    """Every number, a line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for result in results:
        for metric, value in result.metrics.items():
            writer.writerow([NAMES[result.method], result.labels, result.seed, metric, value])
    return text.getvalue()


def _study(options: argparse.Namespace) -> str:
    from zoo.training.disentangled.study_report import report

    results = [result for run in options.runs for result in read(run)]
    swept = [result for run in options.trade_off for result in read(run)]
    check_alike(results, ["labels"])
    check_alike(swept, WEIGHTS)
    text = report(results, swept)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out / "study.csv", to_csv(results).encode())
    write_atomically(options.out / "study.md", text.encode())
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables and print them; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.disentangled.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a training")
    parser.add_argument(
        "--trade-off", nargs="+", type=Path, default=[], metavar="RUN", help="runs of the sweep"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="to write to")
    options = parser.parse_args(argv)
    try:
        print(_study(options), end="")
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
