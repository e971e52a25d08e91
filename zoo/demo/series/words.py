"""What was measured of the forecasts, in plain words and in a table."""

from collections.abc import Mapping

from zoo.data.spirals import FUTURE, NOISE, WINDOW
from zoo.demo.section import Table
from zoo.metrics.forecast import Error

__all__ = ["about_errors", "errors_table", "what_they_are"]


def about_errors(errors: Mapping[int, Error]) -> str:
    """The error with the fewest and with the most observed points."""
    few, many = min(errors), max(errors)
    return (
        f"Seen {few} of {WINDOW} points, the future is missed by {errors[few].rmse:.3f} (root mean "
        f"square of a coordinate); seen {many}, by {errors[many].rmse:.3f}. Every observed point "
        f"is off by {NOISE:g} itself."
    )


def what_they_are(errors: Mapping[int, Error]) -> str:
    """What the numbers are."""
    n = next(iter(errors.values())).n
    return (
        f"± one standard error, over {n:,} spirals that no training has seen: the mean of the "
        f"forecast at the {FUTURE} points after the window, against where they are without noise. "
        "The card has the numbers of 1,000, and those of recurrent networks."
    )


def errors_table(errors: Mapping[int, Error]) -> Table:
    """The error for every number of observed points."""
    n = next(iter(errors.values())).n
    rows = [
        (f"{count} of {WINDOW}", f"{error.rmse:.3f} ± {error.standard_error:.3f}")
        for count, error in errors.items()
    ]
    return Table(f"Latent ODE: futures of {n:,} spirals", ("observed points", "RMSE"), rows)
