"""Likelihood and regularisers along the paths of a linear field, against closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from zoo.models.velocity import VelocityMLP
from zoo.odes import Solver
from zoo.training.flows.likelihood import path_terms

TIGHT = Solver(rtol=1e-10, atol=1e-10)
A = torch.tensor([[0.3, -1.0], [1.2, -0.5]], dtype=torch.float64)


class Linear(nn.Module):
    """v = A x: x(1) = e^A x(0), and every rate is a constant or a square."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(A.clone())

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return x @ self.matrix.T


def points(n: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=generator, dtype=torch.float64)


def both(n: int) -> Tensor:
    """Probes whose average is exact: √2 times the two unit vectors."""
    eye = math.sqrt(2) * torch.eye(2, dtype=torch.float64)
    return eye[:, None].expand(2, n, 2)


def network(seed: int = 0, hidden: tuple[int, ...] = (16, 16)) -> VelocityMLP:
    """With a last layer that is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VelocityMLP(2, hidden).double()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.4)
    return model


def test_the_likelihood_of_a_linear_field_is_that_of_a_gaussian() -> None:
    x = points()
    terms = path_terms(Linear(), x, TIGHT, probes=both(len(x)))
    carried = torch.linalg.matrix_exp(A)
    gaussian = MultivariateNormal(torch.zeros(2, dtype=torch.float64), carried @ carried.T)
    torch.testing.assert_close(terms.log_prob, gaussian.log_prob(x), rtol=0, atol=1e-8)
    assert terms.kinetic is None
    assert terms.jacobian is None


def test_the_regularisers_of_a_linear_field() -> None:
    x = points()
    terms = path_terms(Linear(), x, TIGHT, kinetic=True, jacobian=True, probes=both(len(x)))
    # x(t) = e^{(t-1)A} x, and ∫ ‖A x(t)‖² dt by Gauss-Legendre, exact to rounding here.
    nodes, weights = (torch.from_numpy(each) for each in _legendre(20))
    ways = torch.stack([x @ torch.linalg.matrix_exp((t - 1) * A).T for t in nodes])
    kinetic = (weights[:, None] * (ways @ A.T).square().sum(2)).sum(0)
    assert terms.kinetic is not None
    assert terms.jacobian is not None
    torch.testing.assert_close(terms.kinetic, kinetic, rtol=0, atol=1e-7)
    torch.testing.assert_close(terms.jacobian, A.square().sum().expand(len(x)), rtol=0, atol=1e-8)


def _legendre(count: int) -> tuple:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


@pytest.mark.parametrize("hidden", [(16,), (16, 16), (8, 8, 8)])
def test_exact_terms_are_those_of_automatic_differentiation(hidden: tuple[int, ...]) -> None:
    model, x = network(hidden=hidden), points()
    solver = Solver("rk4", steps=5)
    own = path_terms(model, x, solver, kinetic=True, jacobian=True)
    plain = path_terms(model, x, solver)
    other = path_terms(model, x, solver, kinetic=True, jacobian=True, probes=both(len(x)))
    for name in ("log_prob", "kinetic", "jacobian"):
        torch.testing.assert_close(getattr(own, name), getattr(other, name))
    torch.testing.assert_close(own.log_prob, plain.log_prob)
    assert own.evaluations == 20


def gradient(model: nn.Module, x: Tensor, solver: Solver, **options: bool | Tensor) -> Tensor:
    model.zero_grad()
    terms = path_terms(model, x, solver, **options)
    loss = -terms.log_prob.mean()
    for weight, values in ((0.3, terms.kinetic), (0.2, terms.jacobian)):
        if values is not None:
            loss = loss + weight * values.mean()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("regularised", [False, True])
@pytest.mark.parametrize("estimated", [False, True])
def test_the_adjoint_has_the_direct_gradient(regularised: bool, estimated: bool) -> None:
    model, x = network(), points(8)
    options = {"kinetic": regularised, "jacobian": regularised}
    if estimated:
        options["probes"] = both(len(x))
    direct, adjoint = (
        gradient(model, x, Solver(rtol=1e-7, atol=1e-7, adjoint=way), **options)
        for way in (False, True)
    )
    assert direct.abs().max() > 0.1
    torch.testing.assert_close(adjoint, direct, rtol=0, atol=1e-5)


def test_the_gradient_is_that_of_differences() -> None:
    model, x, solver = network(), points(8), Solver("rk4", steps=4)
    found = gradient(model, x, solver, kinetic=True, jacobian=True)
    parameters = list(model.parameters())
    flat = torch.nn.utils.parameters_to_vector(parameters).detach()
    generator = torch.Generator().manual_seed(3)
    way = torch.randn(len(flat), generator=generator, dtype=torch.float64)

    def loss(step: float) -> float:
        torch.nn.utils.vector_to_parameters(flat + step * way, parameters)
        with torch.no_grad():
            terms = path_terms(model, x, solver, kinetic=True, jacobian=True)
        assert terms.kinetic is not None
        assert terms.jacobian is not None
        mean = -terms.log_prob + 0.3 * terms.kinetic + 0.2 * terms.jacobian
        return mean.mean().item()

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert slope == pytest.approx(float(found @ way), rel=1e-6)


def test_a_field_that_does_not_know_its_divergence_needs_probes() -> None:
    with pytest.raises(TypeError, match="Linear does not know its divergence: pass probes"):
        path_terms(Linear(), points(), TIGHT)
