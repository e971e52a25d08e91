"""What was read and what was drawn, in plain words and in a table."""

from collections.abc import Sequence

from zoo.demo.controls.measure import Reading
from zoo.demo.section import Table

__all__ = ["about_reading", "reading_table"]


def about_reading(readings: Sequence[Reading], n: int) -> str:
    """How far off codes are that are read and drawn, in the mean over the ordered factors."""
    ordered = [each for each in readings if not each.factor.categorical]
    parts = [f"the codes that are read are {_mean([each.error for each in ordered])} off"]
    if any(each.drawn is not None for each in ordered):
        parts.append(
            f"what is drawn for the true codes is {_mean([each.drawn for each in ordered])} off, "
            "as a network reads it that was trained with all labels"
        )
    parts.append(f"a code that is always ½ is {_mean([each.blind for each in ordered])} off")
    return (
        f"On {n} rendered scenes that were not trained on, in the mean over {len(ordered)} ordered "
        f"factors: {'; '.join(parts)}."
    )


def reading_table(readings: Sequence[Reading], n: int) -> Table:
    """A row for each factor."""
    rows = [
        (
            f"{each.factor.name} ({each.factor.values})",
            f"{100 * each.right:.0f} %",
            *map(_number, (each.error, each.drawn, each.blind)),
        )
        for each in readings
    ]
    head = ("factor (values)", "read right", "read off by", "drawn off by", "½ off by")
    return Table(f"Controls: codes of {n} unseen scenes", head, rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.3f}" if known else "-"
