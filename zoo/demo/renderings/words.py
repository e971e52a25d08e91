"""How far renderings are from images, in plain words and in a table."""

from collections.abc import Sequence

from zoo.demo.renderings.measure import Outcome
from zoo.demo.section import Table
from zoo.metrics.robustness import standard_error

__all__ = ["about", "outcomes_table"]


def about(accuracy: float, outcomes: Sequence[Outcome], n: int) -> str:
    """Accuracy, and the error of renderings over that of the mean image."""
    own, *_, mean = outcomes
    return (
        f"On the first {n} test images: {100 * accuracy:.1f} ± "
        f"{100 * standard_error(accuracy, n):.1f} % are seen right, and the squared error of what "
        f"is rendered of them is {own.error / mean.error:.2f} times that of their mean image."
    )


def outcomes_table(outcomes: Sequence[Outcome], n: int) -> Table:
    """A row for each kind of rendering."""
    rows = [(each.what, f"{each.error:.4f}", _percent(each.consistent)) for each in outcomes]
    head = ("what is rendered", "squared error", "seen as its label")
    return Table(f"Renderings of {n} test images", head, rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
