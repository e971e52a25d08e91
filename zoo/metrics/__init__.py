"""Metrics: how good a model is, measured again from a line of its card.

Each family has a file with a table of the metrics it knows and a rule for an acceptable difference;
a further family joins `FAMILIES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from zoo._names import did_you_mean
from zoo.errors import UnknownNameError
from zoo.metrics import (
    classification,
    controllability,
    editing,
    forecast,
    generation,
    image_likelihood,
    likelihood,
    renderings,
    restoration,
    turbulence,
)

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = ["MEASURES", "measure", "measured", "tolerance"]

FAMILIES = (
    (classification.MEASURES, classification.tolerance),
    (restoration.MEASURES, restoration.tolerance),
    (renderings.MEASURES, renderings.tolerance),
    (forecast.MEASURES, forecast.tolerance),
    (image_likelihood.MEASURES, image_likelihood.tolerance),
    (turbulence.MEASURES, turbulence.tolerance),
    *controllability.FAMILIES,
    *editing.FAMILIES,
    *generation.FAMILIES,
    *likelihood.FAMILIES,
)
"""The table of each family, and its rule."""

MEASURES: Mapping[str, Callable[["Metric", nn.Module, Path | None], float]] = {
    name: measure for table, _ in FAMILIES for name, measure in table.items()
}
"""Name of a metric -> function of the card's metric, the model and the data folder."""


def measure(metric: "Metric", model: nn.Module, root: str | Path | None = None) -> float:
    """Measure `metric` of `model` as the card describes it: data set, split, number of examples.

    Args:
        metric: A line of a card; its value is not used.
        model: In eval mode; measured on the device that it is on.
        root: Folder of the data sets; default $ZOO_DATA.

    Raises:
        UnknownNameError: there is no such metric or data set.
        DataError: the data set is not here, or damaged.
    """
    _check_name(metric.metric)
    return MEASURES[metric.metric](metric, model, None if root is None else Path(root))


def measured(line: "Metric", model: nn.Module, root: str | Path | None = None) -> "Metric":
    """The line of a card with the value that `model` has; that of `line` is not used."""
    return replace(line, value=round(measure(line, model, root), 6))


def tolerance(metric: "Metric") -> float:
    """How far a repeated measurement may be from the card's value.

    Raises:
        UnknownNameError: there is no such metric.
    """
    _check_name(metric.metric)
    (rule,) = (rule for table, rule in FAMILIES if metric.metric in table)
    return rule(metric.value, metric.n)


def _check_name(name: str) -> None:
    if name not in MEASURES:
        raise UnknownNameError(f"no metric {name!r}{did_you_mean(name, MEASURES)}")
