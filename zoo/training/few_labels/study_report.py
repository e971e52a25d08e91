"""The tables of a study of label efficiency (`zoo.training.few_labels.study`), Markdown and CSV.

    python -m zoo.training.few_labels.study_report FOLDER

writes `study.md` and `study.csv` anew from the results in the study's folder, however many rows are
done, and prints the first.
"""

import argparse
import csv
import io
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, median, stdev
from typing import TypeVar

from scipy.special import stdtr

from zoo.errors import ZooError
from zoo.training.few_labels.study_rows import MAIN_COUNT, OWN, TERMS, Result, read
from zoo.training.files import write_atomically

__all__ = ["NAMES", "Summary", "gains", "main", "report", "to_csv", "write_tables"]

K = TypeVar("K")

NAMES: Mapping[str, str] = {
    "supervised": "labels alone",
    "pseudo-labels": "pseudo-labels",
    "mean-teacher": "mean teacher",
    "deconvolutional": "DGM",
    "deconvolutional-teacher": "DGM + mean teacher",
}
"""Method -> what tables and curves call it, in their order."""
OWN_METHODS = (OWN, f"{OWN}-teacher")
"""Those with the deconvolutional objective."""
BOLD = 2.0
"""Standard errors beyond which a difference is set in bold."""


@dataclass(frozen=True)
class Summary:
    """Mean of numbers x_1 ... x_n and its standard error √(Σ (x_i - mean)² / (n - 1) / n).

    Args:
        error: None of a single number.
        agree: how many of the numbers have the sign of the mean.
    """

    n: int
    mean: float
    error: float | None
    agree: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Of at least one number."""
        mean, n = fmean(values), len(values)
        error = stdev(values) / math.sqrt(n) if n > 1 else None
        return cls(n, mean, error, sum(value * mean > 0 for value in values))

    @property
    def clear(self) -> bool:
        """Whether the mean is more than `BOLD` standard errors from 0."""
        return self.error is not None and abs(self.mean) > BOLD * self.error


def gains(ours: Iterable[Result], theirs: Iterable[Result]) -> list[float]:
    """Test error of `ours` less that of `theirs`, in percentage points, of seeds that both have.

    Both are rows with the same number of labels, so that a pair has the same labelled images.
    """
    other = {each.seed: each.test_error for each in theirs}
    pairs = sorted((each.seed, each.test_error) for each in ours if each.seed in other)
    return [100 * (error - other[seed]) for seed, error in pairs]


def report(results: Sequence[Result]) -> str:
    """All tables for which there are rows."""
    table = [each for each in results if each.without is None]
    parts = ["## Test error by number of labels", _protocol(results), _labels(table)]
    if rows := _paired(table):
        title = "## The deconvolutional objective less a baseline, seed by seed"
        text = (
            "Difference of the test errors in percentage points, mean ± standard error over the "
            "seeds that both have; below 0 the deconvolutional objective is better. "
            f"{_bold(table)}"
        )
        parts += [title, text, rows]
    if any(each.without for each in results):
        title = f"## The deconvolutional objective without each term, {MAIN_COUNT:,} labels"
        text = (
            "Test error less that of the full objective with the same seed, in percentage points; "
            f"above 0 the term helps. {_bold([each for each in results if each.without])}"
        )
        parts += [title, text, _ablation(results)]
    parts += ["## Cost", _COST, _cost(table)] if table else []
    return "\n\n".join(parts) + "\n"


_COST = (
    "CPU time of a step: the median over the steps of a row, then over the rows of the method; "
    "drawing the images, forward, backward and optimiser, without validation and checkpoints. "
    "The ratio is to labels alone, with the same number of images a step."
)


def to_csv(results: Iterable[Result]) -> str:
    """Every row with all that it has shown, a line each."""
    text = io.StringIO()
    names = [each.name for each in fields(Result)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for result in results:
        labels = "all" if result.labels is None else result.labels
        writer.writerow({**asdict(result), "labels": labels})
    return text.getvalue()


def write_tables(out: Path) -> str:
    """Write `study.md` and `study.csv` into the folder of a study; returns the first.

    Raises:
        DataError: there are no results, or they are of unlike runs.
    """
    results = read(out)
    text = report(results)
    write_atomically(out / "study.csv", to_csv(results).encode())
    write_atomically(out / "study.md", text.encode())
    return text


def _protocol(results: Sequence[Result]) -> str:
    tests, held = (
        _span(getattr(each, name) for each in results)
        for name in ("test_images", "validation_images")
    )
    steps = _span(each.steps for each in results)
    return (
        f"Percent of {tests} test images, mean ± standard error over the seeds (n of them); the "
        "standard error is of split, first weights and training together. Every training has "
        f"{steps} steps with the same number of images; {held} further labelled images choose its "
        "predictor, and the test images are looked at once, after that."
    )


def _span(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def _bold(results: Sequence[Result]) -> str:
    """What bold means, and how often chance alone would do that."""
    n = len({each.seed for each in results})
    text = f"Bold: more than {BOLD:g} standard errors from 0"
    if n < 2:
        return f"{text}, for which there are too few seeds."
    return f"{text}; of equally good ones {chance(n):.0%} would be with {n} seeds."


def chance(n: int) -> float:
    """Probability that the mean of n normal numbers of mean 0 is beyond `BOLD` standard errors.

    That of Student's t with n - 1 degrees of freedom.
    """
    return float(2 * stdtr(n - 1, -BOLD))


def _grouped(results: Iterable[Result], key: Callable[[Result], K]) -> dict[K, list[Result]]:
    groups: dict[K, list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return groups


def _counts(results: Iterable[Result]) -> list[int | None]:
    """Numbers of labels, the smallest first and all last."""
    return sorted({each.labels for each in results}, key=lambda each: (each is None, each or 0))


def _labels(table: Sequence[Result]) -> str:
    groups = _grouped(table, lambda each: (each.labels, each.method))
    methods = [name for name in NAMES if any(each.method == name for each in table)]
    rows = [["labels", *(NAMES[name] for name in methods)]]
    for count in _counts(table):
        cells = [_mean(groups.get((count, name), [])) for name in methods]
        rows.append([_name(count, table), *cells])
    return _markdown(rows)


def _mean(group: Sequence[Result]) -> str:
    if not group:
        return "-"
    found = Summary.of([100 * each.test_error for each in group])
    return f"{found.mean:.2f}{_plus_minus(found)} ({found.n})"


def _name(count: int | None, table: Iterable[Result]) -> str:
    if count is not None:
        return f"{count:,}"
    return f"all {_span(each.labelled for each in table if each.labels is None)}"


def _paired(table: Sequence[Result]) -> str:
    groups = _grouped(table, lambda each: (each.labels, each.method))
    rows = [["labels", "model", "baseline", "difference", "seeds", "better in"]]
    for count, own, other in itertools.product(_counts(table), OWN_METHODS, NAMES):
        pairs = gains(groups.get((count, own), []), groups.get((count, other), []))
        if not pairs or other in OWN_METHODS:
            continue
        better = f"{sum(each < 0 for each in pairs)} of {len(pairs)}"
        difference = _difference(Summary.of(pairs))
        names = [_name(count, table), NAMES[own], NAMES[other]]
        rows.append([*names, difference, str(len(pairs)), better])
    return _markdown(rows) if len(rows) > 1 else ""


def _ablation(results: Sequence[Result]) -> str:
    own = [each for each in results if each.method == OWN and each.labels == MAIN_COUNT]
    groups = _grouped(own, lambda each: each.without)
    less = {each.seed for each in own if each.without}
    full = [each for each in groups.get(None, []) if each.seed in less]
    rows = [["objective", "test error (seeds)", "difference", "worse in"]]
    rows.append(["full", _mean(full), "", ""])
    for term in TERMS:
        if term in groups:
            pairs = gains(groups[term], full)
            cells = ["-", "-"]
            if pairs:
                worse = f"{sum(each > 0 for each in pairs)} of {len(pairs)}"
                cells = [_difference(Summary.of(pairs)), worse]
            rows.append([f"without {term.replace('-', ' ')}", _mean(groups[term]), *cells])
    return _markdown(rows)


def _cost(table: Sequence[Result]) -> str:
    found = {}
    for name in NAMES:
        timed = [each.step_seconds for each in table if each.method == name]
        if known := [each for each in timed if each is not None]:
            found[name] = (median(known), len(known))
    rows = [["method", "CPU time a step", "rows", "ratio"]]
    for name in NAMES:
        if name in found:
            seconds, count = found[name]
            base = found.get("supervised")
            ratio = f"{seconds / base[0]:.2f}" if base else "-"
            rows.append([NAMES[name], f"{1000 * seconds:.1f} ms", str(count), ratio])
    return _markdown(rows)


def _difference(found: Summary) -> str:
    text = f"{found.mean:+.2f}{_plus_minus(found)}"
    return f"**{text}**" if found.clear else text


def _plus_minus(found: Summary) -> str:
    return "" if found.error is None else f" ± {found.error:.2f}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables and print them; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.few_labels.study_report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="FOLDER", help="of the study")
    try:
        print(write_tables(parser.parse_args(argv).out), end="")
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
