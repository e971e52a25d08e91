"""Signs that gradients mislead the attacks: checks of an audit's results against each other.

An attack that gets weaker where it should get stronger has been misled, and what it leaves standing
is not robust. None of the checks proves robustness; a failed one says what to look at.

Reference:
    Carlini et al., "On Evaluating Adversarial Robustness", arXiv 1902.06705.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.metrics.audit_report import Check
from zoo.metrics.battery import (
    FIRST,
    LARGE,
    OUTPUT,
    AuditSettings,
    ImageSet,
    curve_name,
)
from zoo.metrics.outcomes import Outcomes
from zoo.metrics.threat import Predict, slices

__all__ = ["consistency", "probe"]

POINT = 0.01
"""What a result may be on the wrong side by chance: one point."""

ROUNDING = 1e-9

CHANCE = 0.1
"""Accuracy that is left at most where every image can be made grey."""

NOISE_SHARE = 0.25
"""Random noise of the same size costs at most this share of what PGD costs."""

ZERO_SHARE = 0.05
"""Largest share of images without any gradient."""

REPEATABLE = 1e-4
"""Largest difference of two forward passes, relative to the largest logit."""


def consistency(
    outcomes: Outcomes,
    sets: Sequence[ImageSet],
    settings: AuditSettings,
    probed: Mapping[str, float],
) -> tuple[Check, ...]:
    """All checks that apply.

    Args:
        outcomes: Complete.
        sets: The battery.
        probed: What `probe` measured.
    """
    return (
        *_end_to_end(outcomes, settings),
        *_transfer(outcomes, sets),
        _square(outcomes, sets),
        _steps(outcomes, settings),
        _radii(outcomes, settings),
        _large(outcomes),
        _noise(outcomes, settings),
        _gradients(probed),
        _repeatable(probed),
    )


def probe(
    predict: Predict, images: Tensor, labels: Tensor, device: torch.device, batch_size: int
) -> dict[str, float]:
    """Measure what the outcomes do not tell: gradients that are zero, and forward passes that
    differ.

    Returns:
        `zero_gradients`, the share of images whose cross entropy has no gradient at all in any
        pixel; `difference`, the largest between two passes on the same images, relative to the
        largest logit.
    """
    zero, difference, largest = 0, 0.0, 0.0
    for part in slices(len(images), batch_size):
        batch, own = images[part].to(device).requires_grad_(True), labels[part].to(device)
        with torch.enable_grad():
            logits = predict(batch)
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, own, reduction="sum"), batch)
        zero += int((gradient.flatten(1).abs().amax(1) == 0).sum())
        with torch.no_grad():
            difference = max(difference, float((predict(batch) - logits).abs().max()))
            largest = max(largest, float(logits.abs().max()))
    return {
        "zero_gradients": zero / len(images),
        "difference": difference / largest if largest else 0.0,
    }


def _end_to_end(outcomes: Outcomes, settings: AuditSettings) -> Iterator[Check]:
    own = f"pgd{settings.pgd_steps}"
    other = f"{own}-{FIRST.replace(' ', '-')}"
    if other not in outcomes.right:
        return
    end, first = outcomes.accuracy(own, OUTPUT), outcomes.accuracy(other, OUTPUT)
    yield Check(
        "end to end",
        end <= first + POINT + ROUNDING,
        "PGD through all passes is at least as strong as PGD on the first pass (1 point)",
        {"through all passes": end, "on the first pass": first},
        "gradients through the loop mislead: the output is weaker than attacks on it say",
    )


def _transfer(outcomes: Outcomes, sets: Sequence[ImageSet]) -> Iterator[Check]:
    """White-box attacks alone, against white-box and transferred ones."""
    attacks = [s for s in sets if s.scope == "all" and s.target is not None]
    own = [s.name for s in attacks if s.target == OUTPUT]
    if len(own) == len(attacks):
        return
    alone = _survive(outcomes, own)
    together = _survive(outcomes, [s.name for s in attacks])
    yield Check(
        "transfer",
        together >= alone - POINT - ROUNDING,
        "Images made against other views and models break at most 1 point more than attacks on "
        "the output itself",
        {"attacks on the output": alone, "with the others": together},
        "attacks on the output miss what others find: its gradients are masked",
    )


def _square(outcomes: Outcomes, sets: Sequence[ImageSet]) -> Check:
    names = [s.name for s in sets if s.scope == "all"]
    before, after = _survive(outcomes, names), _survive(outcomes, [*names, "square"])
    return Check(
        "square",
        after >= before - POINT - ROUNDING,
        "Square, which uses no gradient, breaks at most 1 point of the images that the others left",
        {"before": before, "after": after},
        "gradient-based attacks miss what random search finds: gradients are masked",
    )


def _steps(outcomes: Outcomes, settings: AuditSettings) -> Check:
    ladder = {n: f"steps-{n}" for n in settings.other_steps}
    ladder[settings.pgd_steps] = f"pgd{settings.pgd_steps}"
    names = {f"{steps} steps": name for steps, name in sorted(ladder.items())}
    numbers = _ladder(outcomes, names, settings.small)
    return Check(
        "more steps",
        _never_rises(numbers.values()),
        "The accuracy does not rise with the number of PGD steps (1 point)",
        numbers,
        "more steps make PGD weaker: its gradients mislead it",
    )


def _radii(outcomes: Outcomes, settings: AuditSettings) -> Check:
    names = {f"{factor:g} epsilon": curve_name(factor) for factor in settings.curve}
    numbers = _ladder(outcomes, names, settings.small)
    return Check(
        "larger radius",
        _never_rises(numbers.values()),
        "The accuracy under PGD does not rise with the radius (1 point)",
        numbers,
        "a larger ball makes PGD weaker, which it cannot be: its gradients mislead it",
    )


def _large(outcomes: Outcomes) -> Check:
    found = outcomes.accuracy("large-epsilon", OUTPUT)
    return Check(
        "large radius",
        found <= CHANCE + ROUNDING,
        f"At epsilon {LARGE}, where every image can be made grey, PGD leaves at most 10 %",
        {"accuracy": found},
        "PGD cannot break images that have nothing left to see: it is misled",
    )


def _noise(outcomes: Outcomes, settings: AuditSettings) -> Check:
    clean = outcomes.accuracy("clean", OUTPUT)
    noise = clean - outcomes.accuracy("noise", OUTPUT)
    attack = clean - outcomes.accuracy(f"pgd{settings.pgd_steps}", OUTPUT)
    return Check(
        "noise",
        attack > 0 and noise <= NOISE_SHARE * attack + ROUNDING,
        "Uniform noise of the same size costs at most a quarter of what PGD costs",
        {"noise costs": noise, "PGD costs": attack},
        "PGD hardly does better than chance: it has no gradient to follow",
    )


def _gradients(probed: Mapping[str, float]) -> Check:
    zero = probed["zero_gradients"]
    return Check(
        "gradients",
        zero <= ZERO_SHARE,
        "At most 5 % of the images have a gradient that is zero everywhere",
        {"without a gradient": zero},
        "attacks stand still on those images: use a loss or a precision that does not vanish there",
    )


def _repeatable(probed: Mapping[str, float]) -> Check:
    difference = probed["difference"]
    return Check(
        "repeatable",
        difference <= REPEATABLE,
        "Two forward passes give the same logits",
        {"relative difference": difference},
        "the model draws random numbers: attacks would have to average over them",
    )


def _survive(outcomes: Outcomes, names: Iterable[str]) -> float:
    return float(outcomes.survivors(OUTPUT, names).double().mean())


def _ladder(outcomes: Outcomes, names: Mapping[str, str], n: int) -> dict[str, float]:
    return {label: outcomes.accuracy(name, OUTPUT, n) for label, name in names.items()}


def _never_rises(values: Iterable[float]) -> bool:
    return all(after <= before + POINT + ROUNDING for before, after in pairwise(values))
