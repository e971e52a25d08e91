"""Splits into labelled, unlabelled and held-out images."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from zoo.training import SettingsError
from zoo.training.few_labels.split import balanced_order, split


def labels(*sizes: int) -> Tensor:
    """`sizes[k]` images of class k, in a mixed order."""
    together = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return together[torch.randperm(len(together), generator=torch.Generator().manual_seed(3))]


LABELS = labels(40, 31, 60, 25, 44)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("count", "validation"), [(50, 25), (53, 25), (5, 60), (2, 7), (71, 52)])
def test_labelled_and_held_out_images_are_balanced(count: int, validation: int, seed: int) -> None:
    found = split(LABELS, count, validation=validation, seed=seed)
    for part, size in ((found.labelled, count), (found.validation, validation)):
        counts = LABELS[part].bincount(minlength=5)
        assert len(part.unique()) == counts.sum() == size
        assert counts.max() - counts.min() == (size % 5 > 0)


def test_the_parts_are_disjoint_and_nothing_is_left_out() -> None:
    labelled, unlabelled, validation = split(LABELS, 30, validation=20, seed=0)
    assert not set(validation.tolist()) & set(unlabelled.tolist())
    assert set(labelled.tolist()) < set(unlabelled.tolist())
    assert sorted([*unlabelled.tolist(), *validation.tolist()]) == list(range(200))
    # The order of the unlabelled images says nothing about their classes.
    assert unlabelled.tolist() == sorted(unlabelled.tolist())


def test_fewer_labels_are_among_more_and_the_held_out_images_stay() -> None:
    every = [split(LABELS, count, validation=20, seed=4) for count in (1, 10, 57, 180, None)]
    for fewer, more in pairwise(every):
        assert torch.equal(fewer.labelled, more.labelled[: len(fewer.labelled)])
        assert torch.equal(fewer.validation, more.validation)
    # None is all there are.
    assert torch.equal(every[3].labelled, every[4].labelled)
    assert torch.equal(every[4].labelled.sort().values, every[4].unlabelled)


def test_a_split_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    first = split(LABELS, 30, validation=20, seed=0)
    torch.manual_seed(2)
    again, other = (split(LABELS, 30, validation=20, seed=seed) for seed in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.labelled, other.labelled)
    assert not torch.equal(first.validation, other.validation)


def test_every_image_of_a_class_is_drawn_equally_often() -> None:
    """2,000 draws of 1 of 5 images: a standard deviation of 18 around 400; the bound is 5 of it."""
    few = labels(5, 5)
    drawn = torch.cat([split(few, 2, validation=2, seed=seed).labelled for seed in range(2000)])
    assert (drawn.bincount(minlength=10) - 400).abs().max() < 90


def test_a_class_without_images_left_is_missing_in_later_rounds() -> None:
    few = labels(2, 5, 4)
    order = balanced_order(few, torch.Generator().manual_seed(0))
    rounds = [set(few[part].tolist()) for part in torch.split(order, [3, 3, 2, 2, 1])]
    assert rounds == [{0, 1, 2}, {0, 1, 2}, {1, 2}, {1, 2}, {1}]
    assert sorted(order.tolist()) == list(range(11))


@pytest.mark.parametrize("count", [0, -1, 181])
def test_more_labels_than_there_are_are_refused(count: int) -> None:
    expected = rf"labels: expected 1 \.\.\. 180, which is 200 images less 20.*, found {count}; ask"
    with pytest.raises(SettingsError, match=expected):
        split(LABELS, count, validation=20, seed=0)


@pytest.mark.parametrize("validation", [-1, 200, 1000])
def test_more_held_out_images_than_there_are_are_refused(validation: int) -> None:
    expected = rf"validation: expected 0 \.\.\. 199 of 200 images held out, found {validation}"
    with pytest.raises(SettingsError, match=expected):
        split(LABELS, 1, validation=validation, seed=0)


def test_labels_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels: expected 0 \.\.\. 3, found 0 \.\.\. 4; check"):
        split(LABELS, 10, validation=10, seed=0, classes=4)
    with pytest.raises(ValueError, match=r"labels: expected 0 or more, found -1 \.\.\. 3"):
        split(LABELS - 1, 10, validation=10, seed=0)


@pytest.mark.parametrize("wrong", [LABELS.float(), LABELS.view(2, 100), LABELS[:0]])
def test_what_is_no_row_of_labels_is_refused(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match=r"labels: expected int64 \(N,\), found"):
        split(wrong, 10, validation=10, seed=0)
