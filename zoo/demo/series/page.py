"""The part of the page on the latent ODE."""

from collections.abc import Mapping

from zoo.data.spirals import FUTURE, WINDOW
from zoo.demo.page import figure, table
from zoo.demo.series.words import about_errors, errors_table, what_they_are
from zoo.metrics.forecast import Error

__all__ = ["GIVEN", "INTRODUCTION", "PRETRAINED", "write_series"]

INTRODUCTION = (
    "A latent ODE takes a series for one curve of a hidden dynamical system. A network reads what "
    "was observed, at whatever times, into the state at the first of them; an ODE solver carries "
    "that state on to any later time."
)
PRETRAINED = (
    f"Here <code>latent-ode-spirals</code> sees noisy points of a window of {WINDOW} steps of a "
    f"spiral and draws the window and the {FUTURE} steps after it. Where the samples spread, the "
    "points leave open how the curve goes."
)
GIVEN = "A forecaster given by the caller."


def write_series(errors: Mapping[int, Error], introduction: str, light: bytes, dark: bytes) -> str:
    """The picture of the forecasts, and how far they are off.

    Args:
        introduction: Whose forecasts they are, HTML.
        light, dark: PNG for light and dark pages.
    """
    return f"""<p>{INTRODUCTION}</p>
<p>{introduction}</p>
{figure("series", light, dark, "Forecasts of four spirals, from few and from many points")}
<p class="note">The first two spirals of the test split in each direction; the same four in both \
rows.</p>
<p>{about_errors(errors)}</p>
{table(errors_table(errors))}
<p class="note">{what_they_are(errors)}</p>"""
