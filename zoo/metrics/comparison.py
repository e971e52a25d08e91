"""Is one model more robust than another? Audits of several seeds of each, compared.

With a_s,i in {0, 1} whether seed s of model A withstands all attacks on image i, b likewise:

    gain          = mean_s mean_i a_s,i - mean_s mean_i b_s,i
    error (seeds) = sqrt(var_s(mean_i a_s,i) / S_a + var_s(mean_i b_s,i) / S_b)
    error (images) = std_i(mean_s a_s,i - mean_s b_s,i) / sqrt(n)

The first error says how much the gain would change with other seeds of the training, the second,
which is paired by image, with other images. A gain counts when it is above two of the larger one.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.metrics.audit_report import Audit
from zoo.metrics.battery import OUTPUT
from zoo.metrics.outcomes import AuditError

__all__ = ["Comparison", "compare"]

ERRORS = 2
"""Standard errors that a gain has to exceed."""

FREE = ("seed", "batch_size", "small", "other_steps", "curve", "curve_steps")
"""Settings in which compared audits may differ: they do not make an attack stronger."""


@dataclass(frozen=True)
class Comparison:
    """The gain of A over B in worst-case accuracy, a fraction in [-1, 1].

    Args:
        view: The view that was compared.
        n: Number of images.
        a, b: Worst-case accuracy of every audit.
        gain: Mean of `a` minus mean of `b`.
        error_seeds: Its standard error over seeds; None unless both have at least two.
        error_images: Its standard error over images, paired.
    """

    view: str
    n: int
    a: tuple[float, ...]
    b: tuple[float, ...]
    gain: float
    error_seeds: float | None
    error_images: float

    @property
    def significant(self) -> bool:
        """Whether A is better by more than two standard errors, over seeds and over images."""
        if self.error_seeds is None:
            return False
        return self.gain > ERRORS * max(self.error_seeds, self.error_images)

    def __str__(self) -> str:
        seeds = "unknown" if self.error_seeds is None else _points(self.error_seeds)
        rows = [
            f"worst-case accuracy of the {self.view}, n = {self.n:,}",
            f"  A: {_seeds(self.a)}",
            f"  B: {_seeds(self.b)}",
            f"  gain of A: {100 * self.gain:+.2f} points; standard error over seeds {seeds}, "
            f"over images {_points(self.error_images)}",
            f"  {self._verdict()}",
        ]
        return "\n".join(rows)

    def _verdict(self) -> str:
        if self.error_seeds is None:
            return "no claim: at least two seeds of each model are needed"
        if self.significant:
            return f"a gain of more than {ERRORS} standard errors"
        return f"no significant gain: not above {ERRORS} standard errors"


def compare(
    audits_a: Sequence[Audit], audits_b: Sequence[Audit], *, view: str = OUTPUT
) -> Comparison:
    """Compare two models, each by audits of one or more seeds on the same images.

    Raises:
        AuditError: no audits; or they differ in images, radius or the strength of the attacks, or
            lack the view.
    """
    if not (audits_a and audits_b):
        raise AuditError("expected at least one audit of each model")
    _check_alike([*audits_a, *audits_b], view)
    a, b = (torch.stack([_bits(x, view) for x in each]) for each in (audits_a, audits_b))
    means_a, means_b = (tuple(x.mean(1).tolist()) for x in (a, b))
    n = a.shape[1]
    difference = a.mean(0) - b.mean(0)
    return Comparison(
        view=view,
        n=n,
        a=means_a,
        b=means_b,
        gain=statistics.fmean(means_a) - statistics.fmean(means_b),
        error_seeds=_error_of_means(means_a, means_b),
        error_images=float(difference.std()) / math.sqrt(n) if n > 1 else math.inf,
    )


def _error_of_means(a: Sequence[float], b: Sequence[float]) -> float | None:
    if min(len(a), len(b)) < 2:
        return None
    return math.sqrt(sum(statistics.variance(values) / len(values) for values in (a, b)))


def _bits(audit: Audit, view: str) -> Tensor:
    return torch.tensor([bit == "1" for bit in audit.survived[view]], dtype=torch.float64)


def _check_alike(audits: Sequence[Audit], view: str) -> None:
    first = audits[0]
    for other in audits:
        if view not in other.survived:
            known = ", ".join(other.views)
            raise AuditError(f"{other.name or 'an audit'} has no view {view!r}; it has {known}")
        for what, expected, found in (
            ("images", first.facts["images"], other.facts["images"]),
            ("epsilon", first.epsilon, other.epsilon),
            ("settings", _strength(first), _strength(other)),
        ):
            if expected != found:
                raise AuditError(
                    f"{what} differ: {expected} for {first.name or 'the first'}, {found} for "
                    f"{other.name or 'another'}; audit both in the same way"
                )


def _strength(audit: Audit) -> dict[str, object]:
    settings: dict[str, object] = dict(audit.facts["settings"])
    return {name: value for name, value in settings.items() if name not in FREE}


def _seeds(values: Sequence[float]) -> str:
    listed = ", ".join(f"{100 * value:.2f}" for value in values)
    return f"{100 * statistics.fmean(values):.2f} (seeds: {listed})"


def _points(value: float) -> str:
    return f"{100 * value:.2f}"
