"""Audits of several seeds compared, against numpy."""

import dataclasses
import json

import numpy as np
import pytest

from zoo.metrics.audit import AuditError, compare, main
from zoo.metrics.audit_report import Audit, Score
from zoo.metrics.battery import AuditSettings

N = 400
RIGHT = np.random.default_rng(0).random((6, N)) < np.array([[0.7, 0.72, 0.71, 0.5, 0.49, 0.52]]).T


def made(right, **changes):
    """An audit whose output withstands the attacks where `right` says so."""
    settings = AuditSettings()
    fields = {
        "name": "m",
        "dataset": "d",
        "split": "test",
        "n": len(right),
        "epsilon": 0.1,
        "settings": settings,
        "rows": (),
        "worst": {"output": Score(float(np.mean(right)), 0.0)},
        "survived": {"output": "".join("01"[int(bit)] for bit in right)},
        "checks": (),
        "curve": (),
        "facts": {"images": "abc", "settings": dataclasses.asdict(settings)},
        "versions": {},
        "seconds": 1.0,
    }
    return Audit(**(fields | changes))


AUDITS = [made(right) for right in RIGHT]


def test_a_comparison_against_numpy():
    found = compare(AUDITS[:3], AUDITS[3:])
    means = RIGHT.mean(1)
    assert found.a == pytest.approx(means[:3])
    assert found.b == pytest.approx(means[3:])
    assert found.gain == pytest.approx(means[:3].mean() - means[3:].mean())
    over_seeds = np.sqrt(means[:3].var(ddof=1) / 3 + means[3:].var(ddof=1) / 3)
    assert found.error_seeds == pytest.approx(over_seeds)
    paired = RIGHT[:3].mean(0) - RIGHT[3:].mean(0)
    assert found.error_images == pytest.approx(paired.std(ddof=1) / np.sqrt(N))
    assert found.significant
    assert "more than 2 standard errors" in str(found)


def test_pairing_takes_out_what_images_have_in_common():
    # B is A but for ten images of 400: the error is that of the ten alone.
    worse = RIGHT[0].copy()
    worse[np.flatnonzero(worse)[:10]] = False
    found = compare([AUDITS[0]], [made(worse)])
    assert found.gain == pytest.approx(10 / N)
    share = 10 / N
    assert found.error_images == pytest.approx(np.sqrt(share * (1 - share) / (N - 1)))


def test_a_loss_is_no_gain():
    found = compare(AUDITS[3:], AUDITS[:3])
    assert found.gain < 0
    assert not found.significant
    assert "no significant gain" in str(found)


def test_the_larger_error_decides():
    low, high = np.zeros(N, dtype=bool), np.ones(N, dtype=bool)
    # Seeds differ far more than images do.
    found = compare([made(low), made(high)], [made(low), made(low)])
    assert found.gain == 0.5
    assert found.error_images == 0.0
    assert found.error_seeds == pytest.approx(0.5)
    assert not found.significant


def test_one_seed_is_no_claim():
    found = compare(AUDITS[:1], AUDITS[3:4])
    assert found.gain > 2 * found.error_images
    assert found.error_seeds is None
    assert not found.significant
    assert "at least two seeds" in str(found)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epsilon": 0.2}, "epsilon differ: 0.1 for m, 0.2"),
        ({"facts": {**AUDITS[0].facts, "images": "xyz"}}, "images differ"),
        (
            {"facts": {"images": "abc", "settings": {**AUDITS[0].facts["settings"], "steps": 5}}},
            "settings differ",
        ),
        ({"survived": {"first pass": "1"}, "worst": {"first pass": Score(1, 0)}}, "no view"),
    ],
)
def test_what_was_not_audited_alike_is_not_compared(changes, text):
    with pytest.raises(AuditError, match=text):
        compare(AUDITS[:1], [made(RIGHT[1], **changes)])


def test_the_seed_of_the_attacks_may_differ():
    settings = {**AUDITS[0].facts["settings"], "seed": 5, "batch_size": 7}
    other = made(RIGHT[3], facts={"images": "abc", "settings": settings})
    assert compare(AUDITS[:1], [other]).gain > 0


def test_no_audits():
    with pytest.raises(AuditError, match="at least one"):
        compare([], AUDITS[:1])


def test_the_door(tmp_path, capsys):
    paths = []
    for index, each in enumerate(AUDITS):
        paths.append(str(tmp_path / f"{index}.json"))
        (tmp_path / f"{index}.json").write_text(json.dumps(each.as_dict()))
    assert main(["compare", *paths[:3], "--", *paths[3:]]) == 0
    assert capsys.readouterr().out == f"{compare(AUDITS[:3], AUDITS[3:])}\n"
    for wrong in ([], ["compare"], ["compare", "a", "b"], ["compare", "--", "b"]):
        assert main(wrong) == 2
        assert "usage: python -m zoo.metrics.audit compare" in capsys.readouterr().err
    assert main(["compare", "none.json", "--", paths[0]]) == 1
    assert "none.json: cannot be read" in capsys.readouterr().err
