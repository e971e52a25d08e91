"""The tables of a study of labels (`zoo.training.disentangled.study`), in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

from zoo.training.disentangled.study import NAMES, Gain, Result, gains, grouped

__all__ = ["gain_table", "label_table", "report", "trade_off_table"]

COLUMNS: Mapping[str, str] = {
    "mig": "MIG",
    "code-error": "error",
    "mig-gen": "MIG-gen",
    "code-error-gen": "error-gen",
    "retrieval-top-1": "retrieval",
    "frechet-oracle": "Fréchet",
}
"""Name of a metric on cards -> head of its column."""
TWO_SIDES = ("mig", "mig-gen", "code-error", "code-error-gen")
"""What the weights of the codes trade: how well the encoder reads, how well the generator obeys."""
CAPTION = (
    "MIG and error of codes read off real test images, MIG-gen and error-gen of codes that an "
    "oracle reads off generated ones; errors are mean absolute ones of labels in [0, 1]. "
    "Mean over the runs ± their standard deviation."
)


def label_table(results: Sequence[Result]) -> str:
    """A row for each method and number of labels."""
    shown = [name for name in COLUMNS if any(name in each.metrics for each in results)]
    groups = grouped(results, lambda each: (list(NAMES).index(each.method), each.labels))
    rows = [["method", "labels", "runs", *(COLUMNS[name] for name in shown)]]
    for (_, labels), group in sorted(groups.items()):
        first = [NAMES[group[0].method], f"{labels:,}", str(len(group))]
        rows.append([*first, *(_metric(group, name) for name in shown)])
    return _markdown(rows)


def gain_table(found: Iterable[Gain]) -> str:
    """A row for each number of labels."""
    groups: dict[int, list[Gain]] = {}
    for gain in found:
        groups.setdefault(gain.labels, []).append(gain)
    rows = [["labels", "pairs", "MIG, difference", "error, ratio"]]
    for labels, group in sorted(groups.items()):
        mig, error = ([getattr(each, name) for each in group] for name in ("mig", "error"))
        rows.append([f"{labels:,}", str(len(group)), _spread(mig, "+.3f"), _spread(error, ".2f")])
    return _markdown(rows)


def trade_off_table(results: Sequence[Result]) -> str:
    """A row for each pair of weights."""
    groups = grouped(results, lambda each: each.weights)
    heads = [COLUMNS[name] for name in TWO_SIDES]
    rows = [["weight for the encoder", "weight for the generator", "runs", *heads]]
    for weights, group in sorted(groups.items()):
        first = [*(f"{weight:g}" for weight in weights), str(len(group))]
        rows.append([*first, *(_metric(group, name) for name in TWO_SIDES)])
    return _markdown(rows)


def report(results: Sequence[Result], swept: Sequence[Result] = ()) -> str:
    """All tables of a study.

    Args:
        results: of the study of labels.
        swept: of the sweep of the weights of codes; without them there is no such table.
    """
    parts = ["## What labels bring", CAPTION, label_table(results)]
    if pairs := gains(results):
        title = "## Semi-supervised beside supervision alone, on the same labelled images"
        parts += [title, gain_table(pairs)]
    if swept:
        labels = " or ".join(f"{each:,}" for each in sorted({each.labels for each in swept}))
        title = f"## The weights of generated images' codes, {labels} labels"
        parts += [title, trade_off_table(swept)]
    return "\n\n".join(parts) + "\n"


def _metric(group: Sequence[Result], name: str) -> str:
    """Of the runs that have it; how many these are, if not all."""
    found = [each.metrics[name] for each in group if name in each.metrics]
    if not found:
        return "-"
    few = f" (n = {len(found)})" if len(found) < len(group) else ""
    return _spread(found, ".3f") + few


def _spread(values: Sequence[float], form: str) -> str:
    deviation = f" ± {stdev(values):{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{fmean(values):{form}}{deviation}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
