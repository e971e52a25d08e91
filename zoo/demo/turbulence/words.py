"""What was simulated and what was forecast, in plain words and in a table."""

from collections.abc import Sequence

from zoo.demo.section import Table
from zoo.demo.turbulence.measure import FITTED, LEARNT
from zoo.demo.turbulence.simulation import Live
from zoo.metrics.turbulence_table import Row

__all__ = ["about_errors", "about_flow", "errors_table", "what_they_are"]


def about_flow(live: Live) -> str:
    """Size of the simulation, and how well its energy is accounted for."""
    lost, dissipated = float(live.lost[-1]), float(live.dissipated[-1])
    return (
        f"{live.points}³ points, {live.steps} steps, Re_λ = {live.reynolds:.0f} at the end: "
        f"{100 * lost / float(live.energy[0]):.1f} % of the energy is lost, and the dissipation, "
        f"summed up, differs from that by {abs(dissipated / lost - 1):.0e} of it."
    )


def about_errors(errors: Sequence[Row]) -> str:
    """The error of the dissipation on unseen seeds: the learnt one and the best closure."""
    seeds = [row for row in errors if row.quantity == "epsilon" and row.split == "test-seed"]
    (learnt,) = (row for row in seeds if row.model == LEARNT)
    best = min((row for row in seeds if row.model != LEARNT), key=lambda row: row.error)
    return (
        f"From the peak of the dissipation over two turnovers the {LEARNT} misses the dissipation "
        f"of {learnt.n} unseen runs by {100 * learnt.error:.1f} % in the mean; the best of these "
        f"closures, {best.model}, by {100 * best.error:.1f} %."
    )


def what_they_are(errors: Sequence[Row]) -> str:
    """What the numbers are."""
    return (
        "Mean relative error of the dissipation from its peak over 2 k₀/ε₀, ± one standard error "
        f"over the runs. The constant of {FITTED!r} is the best for the training runs from the "
        "same start over the same time. One that depends on Re_T comes nearer, and an LSTM with "
        "the same inputs ties: FINDINGS.md of the card has both."
    )


def errors_table(errors: Sequence[Row]) -> Table:
    """The error of the dissipation of every model, for each kind of unseen run."""
    own = [row for row in errors if row.quantity == "epsilon"]
    columns = list(dict.fromkeys((row.column, row.n) for row in own))
    rows = [
        (model, *(_percent(row) for row in own if row.model == model))
        for model in dict.fromkeys(row.model for row in own)
    ]
    head = ("model", *(f"{title} ({n})" for title, n in columns))
    return Table("Turbulence: how far off forecasts of ε are", head, rows)


def _percent(row: Row) -> str:
    return f"{100 * row.error:.1f} ± {100 * row.standard_error:.1f} %"
