"""Randomness as a function of seed, stream and step."""

import random

import numpy as np
import pytest
import torch

from zoo.training.randomness import (
    batch_indices,
    derive,
    deterministic,
    generator,
    seed_everything,
    steps_per_epoch,
)


def test_a_derived_seed_is_the_same_for_ever():
    # Recorded runs depend on this number: it must not change with versions of anything.
    assert derive(0, "noise", 1) == 5435416777847457754


def test_streams_are_told_apart():
    streams = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 1), (0, "a", "1"), (0, "ab"), (0, "a", "b")]
    assert len({derive(*stream) for stream in streams}) == len(streams)


def test_a_generator_repeats_itself():
    first = torch.randn(5, generator=generator(3, "noise", 7))
    assert torch.equal(first, torch.randn(5, generator=generator(3, "noise", 7)))
    assert not torch.equal(first, torch.randn(5, generator=generator(3, "noise", 8)))


@pytest.mark.parametrize("device", [None, "cpu"])
def test_seeding_everything_repeats_all_global_generators(device):
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.rand(), torch.rand(()).item()

    seed_everything(1, "step", 2, device=device)
    first = draw()
    seed_everything(1, "step", 2, device=device)
    assert draw() == first
    seed_everything(1, "step", 3, device=device)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_an_epoch_shows_every_example_once_in_another_order():
    epochs = [
        torch.cat([batch_indices(20, 5, 0, step) for step in range(4 * epoch, 4 * epoch + 4)])
        for epoch in range(3)
    ]
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(20))
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], torch.arange(20))


def test_the_rest_of_an_epoch_is_dropped_or_a_smaller_batch():
    assert steps_per_epoch(10, 4) == 2
    assert steps_per_epoch(10, 4, drop_last=False) == 3
    assert [len(batch_indices(10, 4, 0, step)) for step in range(4)] == [4] * 4
    whole = [batch_indices(10, 4, 0, step, drop_last=False) for step in range(3)]
    assert [len(batch) for batch in whole] == [4, 4, 2]
    assert torch.equal(torch.cat(whole).sort().values, torch.arange(10))


def test_batches_depend_on_seed_and_stream_and_nothing_else():
    batch = batch_indices(1000, 10, 0, 123)
    torch.rand(3)
    assert torch.equal(batch, batch_indices(1000, 10, 0, 123))
    assert not torch.equal(batch, batch_indices(1000, 10, 1, 123))
    assert not torch.equal(batch, batch_indices(1000, 10, 0, 123, stream="unlabelled"))


def test_changing_a_batch_in_place_leaves_the_next_ones_alone():
    expected = batch_indices(10, 5, 0, 0).clone()
    batch_indices(10, 5, 0, 0).zero_()
    assert torch.equal(batch_indices(10, 5, 0, 0), expected)


@pytest.mark.parametrize(("n", "batch_size"), [(3, 4), (0, 1), (10, 0)])
def test_a_batch_that_cannot_be_is_refused(n, batch_size):
    with pytest.raises(ValueError, match="batch"):
        batch_indices(n, batch_size, 0, 0)


def test_determinism_ends_with_its_block():
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
