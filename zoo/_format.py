"""Numbers as people read them, for the tables of the command line and of the cards."""

from __future__ import annotations

from collections.abc import Mapping

from zoo._schema import Card

__all__ = [
    "NOTHING",
    "arguments",
    "duration",
    "headline",
    "metric_value",
    "parameters",
    "size",
    "summary_row",
]

NOTHING = "-"
"""What a table shows where there is nothing to show."""


def arguments(config: Mapping[str, object]) -> str:
    """Keyword arguments: `side=64, factors=[shape, colour]`; of things with names the names."""
    return ", ".join(f"{name}={_argument(value)}" for name, value in config.items())


def _argument(value: object) -> str:
    if isinstance(value, tuple) and value:
        names = [each.get("name") for each in value if isinstance(each, Mapping)]
        if len(names) == len(value) and all(names):
            return f"[{', '.join(map(str, names))}]"
        return repr(tuple(dict(each) if isinstance(each, Mapping) else each for each in value))
    return repr(value)


def parameters(n: int) -> str:
    """A number of parameters: `962`, `3.3 M`."""
    for unit, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= factor:
            return f"{n / factor:.1f} {unit}"
    return str(n)


def size(n: int) -> str:
    """A number of bytes in decimal units: `962 B`, `6.6 MB`."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= factor:
            return f"{n / factor:.1f} {unit}"
    return f"{n} B"


def duration(seconds: float) -> str:
    """A time: `42 s`, `7 min 5 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def metric_value(metric: str, value: float) -> str:
    """A value of the named metric: an accuracy in percent, anything else with four digits.

    Ratios and mean squared errors have three digits: `0.43`, `0.0123`.
    """
    if metric.startswith(("accuracy", "robust-accuracy")):
        return f"{100 * value:.2f}%"
    return f"{value:.3g}" if metric.startswith(("restoration-", "mse-")) else f"{value:.4g}"


def headline(card: Card) -> str:
    """The first metric of the default weights, such as `accuracy 90.12% (fashion-mnist)`."""
    weights = card.weights[card.default] if card.default is not None else None
    if weights is None or not weights.metrics:
        return NOTHING
    first = weights.metrics[0]
    return f"{first.metric} {metric_value(first.metric, first.value)} ({first.dataset})"


def summary_row(card: Card) -> dict[str, str]:
    """What a table of models says about one: task, paper, size and headline metric."""
    weights = card.weights[card.default] if card.default is not None else None
    return {
        "task": card.task,
        "paper": card.paper.title,
        "parameters": parameters(weights.parameters) if weights else NOTHING,
        "size": size(weights.bytes) if weights else NOTHING,
        "headline": headline(card),
    }
