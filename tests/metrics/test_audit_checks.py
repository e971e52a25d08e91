"""The checks of an audit: models that mislead gradients in known ways, and made-up results."""

import pytest
import torch
from torch import nn

from tests.metrics.linear_views import EPSILON, LinearViews, pairs
from zoo.metrics.audit import AuditSettings, audit
from zoo.metrics.battery import battery, views
from zoo.metrics.consistency import consistency, probe
from zoo.metrics.outcomes import Outcomes

N = 100
SETTINGS = AuditSettings(pgd_steps=40, small=N, other_steps=(7, 100), curve=(0.0, 1.0, 2.0))
PROBED = {"zero_gradients": 0.0, "difference": 0.0}
HONEST = {
    "clean": 90,
    "noise": 88,
    "fgsm": 75,
    "pgd40": 70,
    "pgd40-first-pass": 74,
    "pgd40-last": 72,
    "pgd40-baseline": 80,
    "apgd-ce": 69,
    "apgd-dlr": 68,
    "apgd-ce-first-pass": 74,
    "apgd-ce-baseline": 80,
    "square": 68,
    "steps-7": 73,
    "steps-100": 69,
    "curve-1": 70,
    "curve-2": 40,
    "large-epsilon": 0,
}
"""How many of 100 images are right: the first ones, so that sets are nested."""


def checked(probed=None, **changes):
    """The checks, by name, of results as in `HONEST` but for `changes` (dashes as underscores)."""
    targets = {**views(LinearViews()), "baseline": LinearViews(1)}
    sets = battery(targets, SETTINGS, EPSILON)
    counts = HONEST | {name.replace("_", "-"): n for name, n in changes.items()}
    assert {each.name for each in sets} == set(counts)
    outcomes = Outcomes({each.name: (("output",), N) for each in sets})
    for name, n in counts.items():
        outcomes.put(name, slice(0, N), {"output": torch.arange(N) < n})
    found = consistency(outcomes, sets, SETTINGS, PROBED | (probed or {}))
    return {check.name: check for check in found}


def flags(*arguments, **changes):
    return [name for name, check in checked(*arguments, **changes).items() if not check.ok]


def test_nothing_is_said_against_an_honest_result():
    assert flags() == []


@pytest.mark.parametrize(
    ("flag", "still_right", "wrong"),
    [
        ("end to end", {"pgd40_first_pass": 69}, {"pgd40_first_pass": 68, "apgd_dlr": 67}),
        ("transfer", {"apgd_ce_baseline": 67}, {"apgd_ce_baseline": 66}),
        ("square", {"square": 67}, {"square": 66}),
        ("more steps", {"steps_100": 71}, {"steps_100": 72}),
        ("more steps", {"steps_7": 69}, {"steps_7": 68}),
        ("larger radius", {"curve_2": 71}, {"curve_2": 72}),
        ("large radius", {"large_epsilon": 10}, {"large_epsilon": 11}),
        ("noise", {"noise": 85}, {"noise": 84}),
        ("gradients", {"probed": {"zero_gradients": 0.05}}, {"probed": {"zero_gradients": 0.06}}),
        ("repeatable", {"probed": {"difference": 1e-4}}, {"probed": {"difference": 2e-4}}),
    ],
)
def test_where_a_flag_is_raised(flag, still_right, wrong):
    assert flag not in flags(**still_right)
    assert flags(**wrong) == [flag]


def test_an_attack_that_costs_nothing_is_flagged():
    same = {"pgd40": 90, "noise": 90}
    assert "noise" in flags(**same)


def test_a_check_has_its_numbers_and_a_sentence():
    check = checked(square=60)["square"]
    assert check.numbers == {"before": 0.68, "after": 0.6}
    assert "random search" in check.failure
    steps = checked()["more steps"]
    assert steps.numbers == {"7 steps": 0.73, "40 steps": 0.7, "100 steps": 0.69}


class Steps(nn.Module):
    """Grey levels rounded to sixteenths before a linear model: no gradient, hardly more robust."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = LinearViews(feedback=False)
        self.eval()

    def forward(self, images):
        return self.inner((images * 16).round() / 16)


def test_a_model_without_gradients_is_found_out():
    images, labels = pairs(24)
    settings = AuditSettings(steps=3, pgd_steps=5, queries=60, small=12, other_steps=(7,))
    baseline = LinearViews(feedback=False)
    found = audit(Steps(), images, labels, epsilon=EPSILON, settings=settings, baseline=baseline)
    flagged = {check.name for check in found.checks if not check.ok}
    assert {"gradients", "transfer", "large radius"} <= flagged
    alone = audit(Steps(), images, labels, epsilon=EPSILON, settings=settings)
    assert {"gradients", "square"} <= {check.name for check in alone.checks if not check.ok}
    assert (
        alone.worst["output"].accuracy
        < {r.attack: r for r in alone.rows}["pgd5"].scores["output"].accuracy
    )


def test_probe_counts_images_without_a_gradient():
    def half(images):
        kept = images.clone()
        kept[::2] = kept[::2].detach()
        return LinearViews()(kept)

    images, labels = pairs(10)
    found = probe(half, images, labels, torch.device("cpu"), batch_size=4)
    assert found == {"zero_gradients": 0.5, "difference": 0.0}


def test_probe_sees_random_outputs():
    draws = torch.Generator().manual_seed(0)

    def noisy(images):
        logits = LinearViews()(images)
        return logits + torch.randn(logits.shape, generator=draws)

    images, labels = pairs(10)
    found = probe(noisy, images, labels, torch.device("cpu"), batch_size=4)
    assert found["difference"] > 0.01
