"""What was measured of the flows, in plain words and in a table."""

from collections.abc import Sequence

from zoo.demo.flows.measure import Portrait, Score
from zoo.demo.section import Table
from zoo.metrics.likelihood import Estimate

__all__ = ["about_paths", "about_scores", "scores_table", "what_they_are"]


def about_scores(scores: Sequence[Score]) -> str:
    """The nearest and the furthest flow."""
    ordered = sorted(scores, key=lambda score: score.kl.mean)
    best, worst = ordered[0], ordered[-1]
    if best is worst:
        return f"The flow of {best.name} is {_pm(best.kl, 4)} nats away from its density."
    return (
        f"From its density the flow of {best.name} is {_pm(best.kl, 4)} nats away, the nearest of "
        f"{len(scores)}, and that of {worst.name} {_pm(worst.kl, 4)} nats, the furthest "
        "(Kullback-Leibler divergence)."
    )


def about_paths(portraits: Sequence[Portrait]) -> str:
    """How many evaluations the samples took."""
    counts = [portrait.evaluations for portrait in portraits]
    span = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    return (
        "Every sample ends a path that begins in noise, at t\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0 "
        "(grey), and is data at t\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}1 (coloured). "
        f"An adaptive solver evaluates the velocity {span} times for such a path."
    )


def what_they_are(scores: Sequence[Score]) -> str:
    """What the numbers are."""
    return (
        f"Nats, ± one standard error, over {scores[0].n:,} fresh points of each density, with the "
        f"exact divergence and {scores[0].evaluations} evaluations of the velocity (rk4). The "
        "entropy is exact, and the NLL of no model is less but by chance of the points; KL "
        "compares the flow with the density point by point, so that most of this chance cancels. "
        "The card has the numbers of 100,000. Evaluations: of the velocity, for a sample (dopri5)."
    )


def scores_table(scores: Sequence[Score], portraits: Sequence[Portrait]) -> Table:
    """Entropy, NLL and KL of every flow, and what one path takes."""
    rows = [
        (
            score.name,
            f"{score.entropy:.4f}",
            _pm(score.nll, 3),
            _pm(score.kl, 4),
            str(portrait.evaluations),
        )
        for score, portrait in zip(scores, portraits, strict=True)
    ]
    return Table(
        f"Flows: {scores[0].n:,} fresh points of each density, nats",
        ("density", "entropy", "NLL", "KL", "evaluations"),
        rows,
    )


def _pm(estimate: Estimate, digits: int) -> str:
    text = f"{estimate.mean:.{digits}f} ± {estimate.standard_error:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")
