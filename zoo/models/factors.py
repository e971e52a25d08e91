"""Factors of variation: what a controllable model can be told about an image.

Nothing here needs torch, so that a renderer can name its factors without loading it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo._names import did_you_mean

__all__ = ["Factor", "find"]


@dataclass(frozen=True)
class Factor:
    """One factor of variation that takes a few values.

    Value k of an ordinal factor has the label k / (values - 1) in [0, 1]. A categorical factor has
    no order: its code is one-hot.

    Args:
        name: a Python identifier, because it becomes the name of an argument.
        values: how many values it takes, at least 2.
        meaning: what it changes in an image.
        categorical: whether its values have no order.

    Raises:
        ValueError: if the name is not an identifier or there are fewer than two values.
    """

    name: str
    values: int
    meaning: str
    categorical: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"name of a factor: expected an identifier, found {self.name!r}")
        if isinstance(self.values, bool) or not isinstance(self.values, int) or self.values < 2:
            raise ValueError(f"{self.name}: expected at least 2 values, found {self.values!r}")

    @property
    def width(self) -> int:
        """Numbers that its code has."""
        return self.values if self.categorical else 1

    def to_json(self) -> dict[str, Any]:
        """The factor as a card's config holds it; `Factor(**it)` is the inverse."""
        shown: dict[str, Any] = {
            "name": self.name,
            "values": self.values,
            "meaning": self.meaning,
        }
        return {**shown, "categorical": True} if self.categorical else shown


def find(factors: tuple[Factor, ...], name: str) -> int:
    """The position of the factor called `name`.

    Raises:
        ValueError: if there is none; the message names the nearest.
    """
    names: Mapping[str, int] = {factor.name: i for i, factor in enumerate(factors)}
    if name not in names:
        known = ", ".join(names) or "none"
        raise ValueError(f"no factor {name!r}{did_you_mean(name, names)}; the factors are {known}")
    return names[name]
