"""What `zoo audit` shows: views side by side, the checks, and the curve; 80 columns are enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from zoo._format import duration

if TYPE_CHECKING:
    from zoo.metrics.audit_report import Audit, Check, Score

__all__ = ["show_audit"]


def show_audit(audit: Audit, path: Path) -> None:
    """Print an audit, and where it is written."""
    # Without these three a text is shown as it is.
    console = Console(markup=False, highlight=False, emoji=False)
    console.print(f"{audit.name or 'model'} under attack", style="bold cyan")
    console.print(f"{audit.n:,} images of {audit.dataset}, epsilon {audit.epsilon:.4g}")
    console.print("Accuracy in percent ± standard error\n")
    console.print(_attacks(audit))
    console.print()
    console.print(_curve(audit))
    console.print()
    for check in audit.checks:
        _show_check(console, check)
    flags = sum(not check.ok for check in audit.checks)
    verdict = f"{flags} of {len(audit.checks)} checks failed" if flags else "all checks hold"
    console.print(f"\n{verdict}; {duration(audit.seconds)}; written to:")
    # A path is never wrapped.
    console.print(str(path), soft_wrap=True)


def _attacks(audit: Audit) -> Table:
    table = _table("Attack", *audit.views)
    for row in audit.rows:
        table.add_row(row.title, *(_percent(row.scores[view]) for view in audit.views))
    table.add_section()
    worst = (_percent(audit.worst[view]) for view in audit.views)
    table.add_row("all of them", *worst, style="bold")
    return table


def _curve(audit: Audit) -> Table:
    table = _table("PGD on the output", *(f"{point.epsilon:.4g}" for point in audit.curve))
    small = min(audit.n, audit.settings.small)
    table.add_row(f"{small:,} images", *(f"{100 * p.score.accuracy:.1f}" for p in audit.curve))
    return table


def _show_check(console: Console, check: Check) -> None:
    numbers = ", ".join(f"{name} {100 * value:.1f}" for name, value in check.numbers.items())
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, width=4)
    grid.add_column(no_wrap=True, width=13)
    grid.add_column(overflow="fold")
    grid.add_row("ok" if check.ok else "FLAG", check.name, numbers)
    if not check.ok:
        grid.add_row("", "", f"Expected: {check.claim[0].lower()}{check.claim[1:]}.")
        grid.add_row("", "", f"It may mean: {check.failure}.")
    console.print(grid, style=None if check.ok else "red")


def _percent(score: Score) -> str:
    return f"{100 * score.accuracy:.1f} ± {100 * score.error:.1f}"


def _table(first: str, *heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table
