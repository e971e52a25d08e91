"""What the command line shows, as rich tables that are readable at 80 columns.

In a pipe, or with `NO_COLOR` set, rich leaves out colours by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from zoo._format import NOTHING, arguments, duration, metric_value, parameters, size, summary_row
from zoo.registry import Card, Weights

if TYPE_CHECKING:
    from zoo.verify import MetricCheck, Report

__all__ = ["show_card", "show_list", "show_report"]


def show_list(cards: Iterable[Card]) -> None:
    """Print one line for each model."""
    table = _table("Model", "Task", "Weights", "Params", "Headline metric", whole=2)
    for card in cards:
        row = summary_row(card)
        tags = "\n".join(card.weights) or NOTHING
        table.add_row(card.name, row["task"], tags, row["parameters"], row["headline"])
    console = _console()
    if table.row_count:
        console.print(table)
    else:
        console.print("no model is like that; `zoo list` shows all")


def show_card(card: Card) -> None:
    """Print all about one model, and how to load it."""
    console = _console()
    console.print(card.name, style="bold cyan")
    console.print(f"{card.summary}\n")
    arxiv = f" arXiv {card.paper.arxiv}." if card.paper.arxiv else ""
    _pairs(
        console,
        {
            "task": card.task,
            "architecture": f"{card.architecture}({arguments(card.config)})",
            "paper": f"{card.paper.authors}: {card.paper.title}. {card.paper.venue}.{arxiv}",
            "licence": card.licence,
            "data": f"{card.data.name} ({card.data.licence}), {card.data.source}",
            "recipe": f"python {card.recipe}",
            "folder": str(card.folder),
        },
    )
    for weights in card.weights.values():
        _show_weights(console, card, weights)
    if not card.weights:
        console.print("\nThere are no weights yet; the recipe trains them.")
    console.print("\nLoad it:", style="bold")
    pretrained = ", pretrained=True" if card.weights else ""
    console.print(f'  zoo.create("{card.name}"{pretrained})')


def _show_weights(console: Console, card: Card, weights: Weights) -> None:
    default = " (default)" if weights.tag == card.default else ""
    console.print(f"\nWeights {card.name}.{weights.tag}{default}", style="bold")
    trained = weights.trained
    hub = f"{weights.hub.repo}@{weights.hub.revision}" if weights.hub.repo else "not published"
    settings = {"settings": arguments(weights.config)} if weights.config else {}
    _pairs(
        console,
        {
            "file": f"{weights.file}, {size(weights.bytes)}, {weights.dtype}",
            "sha256": weights.sha256,
            "parameters": parameters(weights.parameters),
            **settings,
            "hub": hub,
            "trained by": trained.command,
            "seed": str(trained.seed),
            "commit": trained.commit,
            "trained in": f"{duration(trained.seconds)} on {trained.hardware}",
            "versions": ", ".join(f"{name} {text}" for name, text in trained.versions.items()),
        },
    )
    table = _table("Data", "Split", "Metric", "Value", "n")
    for metric in weights.metrics:
        value = metric_value(metric.metric, metric.value)
        table.add_row(metric.dataset, metric.split, metric.metric, value, f"{metric.n:,}")
    if table.row_count:
        console.print()
        console.print(table)


def show_report(report: Report) -> None:
    """Print what was verified, card against measured."""
    console = _console()
    files = _table("File", "Size", "sha256", "")
    for file in report.files:
        files.add_row(file.file, size(file.bytes), f"{file.sha256[:16]}...", _verdict(file.ok))
    console.print(files)
    console.print()
    for problem in (file.problem for file in report.files if file.problem):
        console.print(f"{problem}\n")
    if report.golden:
        outputs = _table("Output", "Difference from golden", "Allowed", "")
        for check in report.golden:
            row = (f"{check.difference:.1e}", f"{check.tolerance:.0e}", _verdict(check.ok))
            outputs.add_row(check.output, *row)
        console.print(outputs)
        console.print()
    if report.metrics:
        _show_metrics(console, report)
    console.print(f"{report.name}: {_verdict(report.ok)}", style="green" if report.ok else "red")


def _show_metrics(console: Console, report: Report) -> None:
    """A table for each data set: in a column of its own its name would break all lines."""
    for dataset in dict.fromkeys(check.dataset for check in report.metrics):
        table = _table(dataset, "n", "Card", "Measured", "±", "", whole=6)
        for check in report.metrics:
            if check.dataset == dataset:
                table.add_row(check.metric, f"{check.n:,}", *_values(check), _outcome(check))
        console.print(table)
        console.print()
    for note in dict.fromkeys(check.note for check in report.metrics if check.note):
        console.print(f"{note}\n")


def _values(check: MetricCheck) -> list[str]:
    """What the card says, what was measured, and how far they may be apart."""
    return [
        metric_value(check.metric, value) if value is not None and math.isfinite(value) else NOTHING
        for value in (check.card, check.measured, check.tolerance)
    ]


def _outcome(check: MetricCheck) -> str:
    return _verdict(check.ok) if check.measured is not None or not check.ok else "not measured"


def _verdict(ok: bool) -> str:
    return "ok" if ok else "WRONG"


def _pairs(console: Console, pairs: Mapping[str, str]) -> None:
    """Print labels and texts in two columns."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in pairs.items():
        grid.add_row(f"  {label}", text)
    console.print(grid)


def _table(*heads: str, whole: int = 1) -> Table:
    """A table of these columns, of which the first `whole` are never broken into lines."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for index, head in enumerate(heads):
        table.add_column(head, no_wrap=index < whole, overflow="fold")
    return table


def _console() -> Console:
    # Without these three a text of a card is shown as it is.
    return Console(markup=False, highlight=False, emoji=False)
