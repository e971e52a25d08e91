"""Designs: which runs, under which names, in which order."""

import json
import re
from collections import Counter

import pytest

from zoo.errors import UnknownNameError
from zoo.simulations.design import DESIGNS, SPLITS, Condition, Design, find, shard


def test_tests_of_the_bundled_design_are_unseen():
    cases = find("cpu").cases()
    by_split = {split: [case for case in cases if case.split == split] for split in SPLITS}
    assert all(by_split.values())
    seen = {(case.viscosity, case.spectrum) for case in by_split["train"]}
    assert len(seen) >= 4
    for split in ("validation", "test-seed"):
        assert {(case.viscosity, case.spectrum) for case in by_split[split]} == seen
    assert max(case.viscosity for case in by_split["test-viscosity"]) < min(seen)[0]
    assert {case.spectrum for case in by_split["test-spectrum"]} == {"k2"}
    assert {spectrum for _, spectrum in seen} == {"k4"}


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_grids_are_fine_enough_for_their_viscosities(name):
    for each in find(name).conditions:
        assert each.points * each.viscosity**0.75 > 4.3
    assert find(name).resolution == 1.5


@pytest.mark.parametrize("name", DESIGNS)
def test_designs_come_back_from_json(name):
    design = find(name)
    assert Design.from_dict(json.loads(json.dumps(design.as_dict()))) == design


def test_names_tell_runs_apart():
    condition = Condition("train", 128, 0.012, seeds=(3,))
    assert condition.cases()[0].name == "nu0.0120-k4-seed3"
    other = Condition("train", 128, 0.00375, peak_wavenumber=4.5, spectrum="k2")
    assert other.cases()[0].name == "nu0.00375-k2-peak4.5-seed0"
    for design in DESIGNS.values():
        names = [case.name for case in design.cases()]
        assert len(set(names)) == len(names)


def test_part_of_an_ensemble_is_balanced():
    design = find("cpu")
    cases = design.cases()
    for part in (0.25, 0.5, 0.75):
        done = Counter((c.split, c.viscosity) for c in cases[: round(part * len(cases))])
        for each in design.conditions:
            share = done[each.split, each.viscosity] / len(each.seeds)
            assert abs(share - part) <= 0.5 / len(each.seeds) + 0.5 * (len(each.seeds) == 1) + 0.1


def test_two_shards_have_about_the_same_work():
    design = find("cpu")
    work = [sum(c.cost(0.6) for c in shard(design.cases(), i, 2)) for i in (1, 2)]
    assert max(work) < 1.2 * sum(work) / 2


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_are_a_partition(count):
    cases = find("cpu").cases()
    parts = [shard(cases, index, count) for index in range(1, count + 1)]
    assert Counter(case.name for part in parts for case in part) == Counter(
        case.name for case in cases
    )


@pytest.mark.parametrize(("index", "count"), [(0, 2), (3, 2), (-1, 2)])
def test_no_such_shard(index, count):
    with pytest.raises(ValueError, match=f"1 <= i <= n, found {index}/{count}"):
        shard([], index, count)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test"}, "split: expected one of train, .*, found 'test'"),
        ({"spectrum": "k3"}, "spectrum: expected one of k4, k2, found 'k3'"),
        ({"points": 15}, "points: expected an even number from 8 on, found 15"),
        ({"points": 4}, "points: expected an even number from 8 on, found 4"),
        ({"viscosity": -0.1}, "viscosity: expected a positive number, found -0.1"),
        ({"peak_wavenumber": 0.0}, "peak_wavenumber: expected a positive number, found 0.0"),
        ({"seeds": ()}, re.escape("seeds: expected different numbers, found []")),
        ({"seeds": (1, 1)}, re.escape("seeds: expected different numbers, found [1, 1]")),
    ],
)
def test_bad_conditions(changes, message):
    usual = {"split": "train", "points": 16, "viscosity": 0.02}
    with pytest.raises(ValueError, match=message):
        Condition(**(usual | changes))


def test_two_runs_of_one_name_are_refused():
    condition = Condition("train", 16, 0.02)
    with pytest.raises(ValueError, match=r"two runs are called nu0\.0200-k4-seed0"):
        Design("twice", (condition, Condition("validation", 16, 0.02)))


def test_unknown_design():
    with pytest.raises(UnknownNameError, match="no design 'tpu'; there are cpu, smoke, gpu"):
        find("tpu")


def test_values_of_no_design():
    with pytest.raises(ValueError, match="not a design of an ensemble"):
        Design.from_dict({"name": "x"})
