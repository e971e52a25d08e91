"""Optimal pairs against all permutations, and against what is known of them."""

from itertools import permutations

import pytest
import torch

from zoo.training.flows.coupling import optimal_pairs


def draws(n: int, *shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=generator), 3 + torch.randn(
        n, *shape, generator=generator
    )


@pytest.mark.parametrize("seed", range(4))
def test_no_permutation_is_better(seed: int) -> None:
    noise, data = draws(6, 3, seed=seed)
    cost = torch.cdist(noise.double(), data.double()).square()
    every = torch.tensor(list(permutations(range(6))))
    best = every[cost[torch.arange(6), every].sum(1).argmin()]
    assert torch.equal(optimal_pairs(noise, data), best)


def test_in_one_dimension_the_order_is_kept() -> None:
    noise, data = draws(300, 1)
    order = noise[:, 0].argsort()
    paired = data[optimal_pairs(noise, data)]
    assert torch.equal(paired[order, 0], data[:, 0].sort().values)


def test_images_are_flattened() -> None:
    noise, data = draws(5, 1, 2, 2)
    pairs = optimal_pairs(noise, data)
    assert torch.equal(pairs, optimal_pairs(noise.flatten(1), data.flatten(1)))
    assert pairs.dtype == torch.int64


def test_a_shifted_batch_goes_with_itself() -> None:
    noise, _ = draws(50, 2)
    mixed = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    # Optimal transport of a translation is the translation, however far.
    assert torch.equal(mixed[optimal_pairs(noise, noise[mixed] + 1e3)], torch.arange(50))


@pytest.mark.parametrize(
    ("noise", "data"),
    [
        (torch.zeros(3, 2), torch.zeros(4, 2)),
        (torch.zeros(3, 2), torch.zeros(3, 1)),
        (torch.zeros(3), torch.zeros(3)),
        (torch.zeros(0, 2), torch.zeros(0, 2)),
    ],
)
def test_shapes_that_make_no_pairs_are_refused(noise: torch.Tensor, data: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected two batches.*found \("):
        optimal_pairs(noise, data)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite values"):
        optimal_pairs(torch.zeros(3, 2), torch.full((3, 2), torch.nan))
