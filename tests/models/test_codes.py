"""Factors and their codes: layout, round trips, what is refused."""

import itertools

import pytest
import torch

from zoo.models.codes import Layout
from zoo.models.factors import Factor, find

FACTORS = (
    Factor("angle", 8, "turns"),
    Factor("shape", 3, "what it is", True),
    Factor("on", 2, "?"),
)


@pytest.fixture
def layout() -> Layout:
    return Layout(FACTORS)


def grid() -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(8), range(3), range(2))))


def test_ordinal_labels_are_evenly_spaced_and_categorical_ones_one_hot(layout: Layout) -> None:
    codes = layout.encode(torch.tensor([[0, 0, 0], [7, 2, 1], [3, 1, 0]]))
    expected = [[0, 1, 0, 0, 0], [1, 0, 0, 1, 1], [3 / 7, 0, 1, 0, 0]]
    torch.testing.assert_close(codes, torch.tensor(expected))
    assert layout.width == 5
    assert layout.columns("shape") == slice(1, 4)


def test_every_point_of_the_grid_comes_back(layout: Layout) -> None:
    assert torch.equal(layout.decode(layout.encode(grid())), grid())


def test_decode_takes_the_nearest_value(layout: Layout) -> None:
    noisy = torch.tensor([[0.49 / 7, 0.2, 0.5, 0.3, 0.4], [1.3, 0.5, 0.2, 0.3, -0.2]])
    assert layout.decode(noisy).tolist() == [[0, 1, 0], [7, 0, 0]]


def test_scalars_are_one_number_a_factor(layout: Layout) -> None:
    found = layout.scalars(layout.encode(grid()))
    torch.testing.assert_close(found, grid() / torch.tensor([7.0, 2.0, 1.0]))


def test_samples_are_uniform_on_the_grid_and_seeded(layout: Layout) -> None:
    drawn = layout.sample(40_000, torch.Generator().manual_seed(0))
    again = layout.sample(40_000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
    counts = torch.zeros(8, 3, 2)
    counts.index_put_(tuple(layout.decode(drawn).T), torch.ones(40_000), accumulate=True)
    # Chi square with 47 degrees of freedom: beyond 83 in one of a thousand.
    expected = 40_000 / 48
    assert ((counts - expected).square() / expected).sum() < 83


def test_no_factor_is_no_code() -> None:
    layout = Layout()
    assert layout.sample(4).shape == (4, 0)
    assert layout.scalars(torch.zeros(4, 0)).shape == (4, 0)
    assert layout.decode(torch.zeros(4, 0)).shape == (4, 0)


def test_factors_travel_as_json(layout: Layout) -> None:
    again = Layout(factor.to_json() for factor in FACTORS)
    assert again.factors == layout.factors
    assert "categorical" not in FACTORS[0].to_json()


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (torch.zeros(2, 4), r"shape \(B, 5\).*angle \(1\), shape \(3\).*\(2, 4\)"),
        (torch.zeros(2, 5, dtype=torch.int64), "int64"),
        (torch.full((2, 5), 1.5), r"in \[0, 1\], found values from 1.5 to 1.5"),
        (torch.full((2, 5), torch.nan), "nan"),
    ],
)
def test_codes_are_checked(layout: Layout, codes: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        layout.check(codes)


def test_values_are_checked(layout: Layout) -> None:
    with pytest.raises(ValueError, match=r"angle: expected values 0 ... 7, found 0 ... 8"):
        layout.encode(torch.tensor([[0, 0, 0], [8, 0, 0]]))
    with pytest.raises(ValueError, match=r"integers of shape \(N, 3\)"):
        layout.encode(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"shape \(N, 5\)"):
        layout.scalars(torch.zeros(2, 3))


def test_factors_are_checked() -> None:
    with pytest.raises(ValueError, match="at least 2 values, found 1"):
        Factor("a", 1, "")
    with pytest.raises(ValueError, match="identifier, found 'a-b'"):
        Factor("a-b", 2, "")
    with pytest.raises(ValueError, match="different names"):
        Layout([FACTORS[0], FACTORS[0]])
    with pytest.raises(ValueError, match="expected a factor with name"):
        Layout([{"title": "a"}])
    with pytest.raises(ValueError, match=r"no factor .angel. .did you mean .angle."):
        find(FACTORS, "angel")
