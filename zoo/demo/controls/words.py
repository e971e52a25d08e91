"""What was read and what was drawn, in plain words and in a table."""

from collections.abc import Sequence

from zoo.demo.controls.measure import Reading
from zoo.demo.section import Table

__all__ = ["about_reading", "reading_table"]


def about_reading(readings: Sequence[Reading], n: int) -> str:
    """How many factors are read better than by chance, and how far off codes are."""
    ordinal = [each for each in readings if each.error is not None]
    mean = sum(each.error or 0 for each in ordinal) / max(1, len(ordinal))
    blind = sum(each.blind or 0 for each in ordinal) / max(1, len(ordinal))
    return (
        f"Read off {n} rendered scenes that were not trained on: the codes of "
        f"{len(ordinal)} ordered factors are {mean:.3f} off in the mean; a code that is always ½ "
        f"is {blind:.3f} off."
    )


def reading_table(readings: Sequence[Reading], n: int) -> Table:
    """A row for each factor."""
    rows = [
        (
            each.factor.name,
            str(each.factor.values),
            f"{100 * each.right:.0f} %",
            f"{100 / each.factor.values:.0f} %",
            _number(each.error),
            _number(each.blind),
        )
        for each in readings
    ]
    head = ("factor", "values", "read right", "by chance", "code off by", "½ off by")
    return Table(f"Controls: what is read off {n} unseen scenes", head, rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
