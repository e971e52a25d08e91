"""Divergences by automatic differentiation, and the two laws of Hutchinson's estimate."""

import pytest
import torch
from torch import Tensor

from zoo.odes import exact_divergence, hutchinson_divergence, probe

D = 6
J = torch.randn(D, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def linear(x: Tensor) -> Tensor:
    return x @ J.T


def curved(x: Tensor) -> Tensor:
    return torch.sin(x) * x.flatten(1).sum(1).reshape(-1, *[1] * (x.dim() - 1))


def test_the_exact_divergence_of_a_curved_field() -> None:
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    value, divergence = exact_divergence(curved, x)
    torch.testing.assert_close(value, curved(x))
    flat = x.flatten(1)
    wanted = (flat.cos() * flat.sum(1, keepdim=True) + flat.sin()).sum(1)
    torch.testing.assert_close(divergence, wanted)


@pytest.mark.parametrize("law", ["rademacher", "gaussian"])
def test_mean_and_variance_of_the_estimate_obey_their_laws(law: str) -> None:
    n = 400_000
    x = torch.zeros(1, D, dtype=torch.float64)
    probes = probe(x, n, law=law, generator=torch.Generator().manual_seed(0))
    # One product for all probes: the field is linear, and a batch of n points has n probes.
    _, draws, squares = hutchinson_divergence(linear, x.expand(n, D), probes.reshape(1, n, D))
    symmetric = (J + J.T) / 2
    off_diagonal = symmetric - torch.diag(symmetric.diagonal())
    variance = 2 * (off_diagonal if law == "rademacher" else symmetric).square().sum()
    assert abs(draws.mean() - J.trace()) <= 4 * (variance / n).sqrt()
    assert draws.var() == pytest.approx(float(variance), rel=0.03)
    assert squares.mean() == pytest.approx(float(J.square().sum()), rel=0.02)


def test_rademacher_probes_are_exact_for_a_diagonal_jacobian() -> None:
    x = torch.randn(4, D, dtype=torch.float64)
    probes = probe(x, 1, generator=torch.Generator().manual_seed(0))
    _, estimate, _ = hutchinson_divergence(torch.tanh, x, probes)
    torch.testing.assert_close(estimate, (1 - x.tanh().square()).sum(1))


def test_the_same_probes_give_the_same_bits() -> None:
    x = torch.randn(4, 3)
    probes = probe(x, 2, generator=torch.Generator().manual_seed(0))
    again = probe(x, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(probes, again)
    first, second = (hutchinson_divergence(curved, x, each)[1] for each in (probes, again))
    assert torch.equal(first, second)


def test_several_probes_are_averaged() -> None:
    x = torch.randn(4, 3)
    probes = probe(x, 3, law="gaussian", generator=torch.Generator().manual_seed(0))
    together = hutchinson_divergence(curved, x, probes)[1]
    alone = [hutchinson_divergence(curved, x, probes[i : i + 1])[1] for i in range(3)]
    torch.testing.assert_close(together, torch.stack(alone).mean(0))


def test_gradients_flow_only_when_they_are_on() -> None:
    x = torch.randn(4, 3, dtype=torch.float64)
    probes = probe(x, 1)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def field(y: Tensor) -> Tensor:
        return scale * torch.sin(y)

    for divergence in (
        exact_divergence(field, x)[1],
        hutchinson_divergence(field, x, probes)[1],
    ):
        (gradient,) = torch.autograd.grad(divergence.sum(), scale)
        torch.testing.assert_close(gradient, x.cos().sum())
    with torch.no_grad():
        assert not exact_divergence(field, x)[1].requires_grad
        assert not hutchinson_divergence(field, x, probes)[1].requires_grad


@pytest.mark.parametrize("count", [0, -1, True, 1.0])
def test_fewer_than_one_probe_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="probes: expected at least 1"):
        probe(torch.zeros(2, 2), count)


def test_an_unknown_law_is_refused() -> None:
    with pytest.raises(ValueError, match="rademacher or gaussian"):
        probe(torch.zeros(2, 2), law="cauchy")
