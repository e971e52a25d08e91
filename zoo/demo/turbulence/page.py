"""The part of the page on turbulence."""

from collections.abc import Sequence
from html import escape

from zoo.demo.page import figure, table
from zoo.demo.turbulence.simulation import Live
from zoo.demo.turbulence.words import about_errors, about_flow, errors_table, what_they_are
from zoo.metrics.turbulence_table import Row

__all__ = ["GIVEN", "INTRODUCTION", "PRETRAINED", "write_flow", "write_forecasts"]

INTRODUCTION = (
    "Stirred once and left alone, a turbulent flow decays: its energy k is lost at the rate ε, "
    "exactly; how ε itself goes on is what closures disagree about. A direct numerical "
    "simulation resolves every eddy and needs no closure."
)
PRETRAINED = (
    "<code>node-turbulence</code> keeps the exact part, dk/dt = -ε, and has learnt the rest from "
    "such simulations: it forecasts others from their state at the peak of the dissipation. "
    "The band is twice the spread of its members."
)
GIVEN = "Forecasts of a model given by the caller, from the peak of the dissipation."


def write_flow(live: Live, light: bytes, dark: bytes) -> str:
    """A simulation of just now.

    Args:
        light, dark: PNG for light and dark pages.
    """
    return f"""<p>{INTRODUCTION}</p>
{figure("flow", light, dark, "A plane of a decaying turbulent flow, and its energy over time")}
<p class="note">Simulated just now: {escape(about_flow(live))}</p>"""


def write_forecasts(errors: Sequence[Row], introduction: str, light: bytes, dark: bytes) -> str:
    """Forecasts of unseen runs, and how far they are off.

    Args:
        introduction: Whose forecasts they are, HTML.
        light, dark: PNG for light and dark pages.
    """
    return f"""<p>{introduction}</p>
{figure("decay", light, dark, "Forecasts of four unseen runs of decaying turbulence")}
<p class="note">The first run of each kind, not chosen otherwise.</p>
<p>{escape(about_errors(errors))}</p>
{table(errors_table(errors))}
<p class="note">{escape(what_they_are(errors))}</p>"""
