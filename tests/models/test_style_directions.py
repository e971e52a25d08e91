"""Closed-form directions against a known decomposition, a search, and the blocks themselves."""

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.models.style_directions import Directions, factorise, style_directions
from zoo.models.style_generator import Synthesis


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def orthonormal(size: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(draw(size, size, seed=seed)).Q


def test_directions_of_a_known_decomposition() -> None:
    """A = U diag(s) Vᵀ has the rows of Vᵀ as directions, and s² as their strengths."""
    v, s = orthonormal(6), torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    u = torch.linalg.qr(draw(20, 6, seed=1)).Q
    a = u @ s.diag() @ v.T
    found = factorise([a[:7], a[7:12], a[12:]], 4, normalise=False)
    torch.testing.assert_close(found.strengths, (s[:4] ** 2).float())
    match = (found.vectors.double() @ v).abs()
    torch.testing.assert_close(match, torch.eye(6, dtype=torch.float64)[:4], atol=1e-6, rtol=0)


def test_rows_count_alike_whatever_their_length() -> None:
    """With rows of length 1, the reference in NumPy: eigenvectors of the matrix of row products."""
    a = draw(30, 5)
    unit = (a / a.norm(dim=1, keepdim=True)).numpy()
    values, vectors = np.linalg.eig(unit.T @ unit)
    order = np.argsort(-values)
    found = factorise([a], 5)
    np.testing.assert_allclose(found.strengths.numpy(), values[order], rtol=1e-6)
    match = np.abs(found.vectors.double().numpy() @ vectors[:, order])
    np.testing.assert_allclose(match, np.eye(5), atol=1e-6)
    longer = a * torch.rand(30, 1, generator=torch.Generator().manual_seed(1)).add(0.1)
    torch.testing.assert_close(factorise([longer], 5).vectors, found.vectors)
    assert not torch.allclose(factorise([longer], 5, normalise=False).vectors, found.vectors)


def test_no_unit_vector_changes_the_styles_more_than_the_first() -> None:
    a = draw(12, 8)
    first = factorise([a], 1, normalise=False)
    tries = torch.nn.functional.normalize(draw(5_000, 8, seed=2), dim=1)
    reached = (tries @ a.T).square().sum(1).max()
    own = (first.vectors.double() @ a.T).square().sum()
    assert reached < own
    torch.testing.assert_close(own.float(), first.strengths[0])


def test_coordinates_and_moves() -> None:
    found = factorise([draw(12, 8)], 3)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(3))
    assert bool((found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all())
    w = draw(4, 8, seed=3).float()
    moved = found.project(found.move(w, 1, 2.5)) - found.project(w)
    torch.testing.assert_close(moved, torch.tensor([0.0, 2.5, 0.0]).expand(4, -1))


def test_the_blocks_of_a_synthesis() -> None:
    """The first direction moves the styles of all blocks more than a random one."""
    torch.manual_seed(0)
    synthesis = Synthesis((8, 6, 4), 10)
    for each in synthesis.modules():
        if hasattr(each, "style"):
            # A direction that every block listens to three times as well as to any other.
            each.style.weight.data[:, 4] *= 3
    found = style_directions(synthesis, 10, normalise=False)
    assert found.vectors[0].argmax() == 4
    epilogues = [each for each in synthesis.modules() if hasattr(each, "style")]
    assert len(epilogues) == 6

    def change(n: Tensor) -> float:
        zero = torch.zeros(1, 10)
        moved = [each.style(zero + n) - each.style(zero) for each in epilogues]
        return float(torch.cat(moved, 1).square().sum())

    with torch.no_grad():
        for index, strength in enumerate(found.strengths):
            # The layers scale their weights by 1/√S.
            assert change(found.vectors[index]) == pytest.approx(float(strength) / 10, rel=1e-4)


@pytest.mark.parametrize(
    ("weights", "count", "message"),
    [
        ([], 1, "found none"),
        ([torch.ones(3, 4), torch.ones(3, 5)], 1, r"one S, found \(3, 4\), \(3, 5\)"),
        ([torch.ones(3, 4), torch.ones(4)], 1, r"found \(3, 4\), \(4,\)"),
        ([torch.ones(3, 4)], 5, "expected 1 ... 4 directions, found 5"),
        ([torch.ones(3, 4)], 0, "expected 1 ... 4 directions, found 0"),
    ],
)
def test_bad_weights(weights: list[Tensor], count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        factorise(weights, count)


def test_a_direction_that_is_not_there() -> None:
    found = Directions(torch.eye(3)[:2], torch.ones(2))
    with pytest.raises(ValueError, match=r"expected a direction 0 \.\.\. 1, found 2"):
        found.move(torch.zeros(1, 3), 2, 1.0)
