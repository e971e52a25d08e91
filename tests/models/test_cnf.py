"""The flow: density, sign and inverse against closed forms, and what it refuses."""

import math

import pytest
import torch
from scipy.linalg import expm
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import zoo.models
from zoo.models.cnf import CNF, standard_normal

A = torch.tensor([[0.3, -1.0], [1.2, -0.5]], dtype=torch.float64)


class Linear(nn.Module):
    """v = A z: the flow is e^A, its log-determinant tr A."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def with_divergence(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return self(t, x), self.matrix.trace().expand(len(x))


def linear_flow(matrix: Tensor = A) -> CNF:
    flow = CNF(len(matrix)).double()
    flow.velocity = Linear(matrix)
    return flow


def trained_like(dim: int = 2, **arguments: object) -> CNF:
    """A flow with weights as if it were trained, in float64."""
    torch.manual_seed(0)
    flow = CNF(dim, hidden=(16, 16, 16), **arguments).double()
    nn.init.normal_(flow.velocity.matrices[-1], std=0.5)
    flow.shift.copy_(torch.linspace(-1, 2, dim))
    flow.scale.copy_(torch.linspace(0.5, 3, dim))
    return flow


def draw(n: int = 9, dim: int = 2) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("dim", [2, 3, 6])
@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
def test_a_linear_field_gives_the_gaussian_of_its_exponential(dim: int, tolerance: float) -> None:
    matrix = A if dim == 2 else torch.randn(dim, dim, dtype=torch.float64) / 2
    flow, z = linear_flow(matrix), draw(dim=dim)
    exponential = torch.as_tensor(expm(matrix.detach().numpy()))
    settings = {"rtol": tolerance, "atol": tolerance}
    x = flow.decode(z, **settings)
    size = float((z @ exponential.T).abs().max().clamp(min=1))
    torch.testing.assert_close(x, z @ exponential.T, rtol=0, atol=5 * tolerance * size)
    truth = MultivariateNormal(torch.zeros(dim).double(), exponential @ exponential.T)
    found = flow.log_prob(z @ exponential.T, **settings)
    torch.testing.assert_close(
        found, truth.log_prob(z @ exponential.T), rtol=0, atol=100 * tolerance
    )
    # The sign of the log-determinant, by itself.
    at_zero = flow.log_prob(torch.zeros(1, dim).double(), **settings)
    wanted = -0.5 * dim * math.log(2 * math.pi) - float(matrix.trace())
    assert at_zero.item() == pytest.approx(wanted, abs=1e-10)


def test_the_untrained_flow_is_the_scaled_normal() -> None:
    flow = CNF(3).double()
    flow.standardise(torch.tensor([[1.0, 2.0, 3.0], [3.0, 8.0, 3.5]]).double())
    torch.testing.assert_close(flow.shift, torch.tensor([2.0, 5.0, 3.25]).double())
    x = draw(dim=3)
    truth = torch.distributions.Normal(flow.shift, flow.scale).log_prob(x).sum(1)
    torch.testing.assert_close(flow.log_prob(x), truth)
    torch.testing.assert_close(flow.decode(x), flow.shift + flow.scale * x)


def test_the_density_integrates_to_one() -> None:
    flow = trained_like()
    axis = torch.linspace(-14, 14, 141, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = flow.log_prob(grid, method="rk4", steps=8).exp()
    mass = density.sum() * (axis[1] - axis[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=2e-3)


def test_encode_then_decode_and_the_other_way_round() -> None:
    flow, z = trained_like(), draw()
    settings = {"rtol": 1e-6, "atol": 1e-6}
    x = flow.decode(z, **settings)
    torch.testing.assert_close(flow.encode(x, **settings), z, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        flow.decode(flow.encode(z, **settings), **settings), z, atol=1e-4, rtol=0
    )


def test_the_density_is_that_of_the_change_of_variables() -> None:
    """log p(decode(z)) = log N(z) - log |det of decode's own Jacobian|."""
    flow, z = trained_like(), draw(3)
    settings = {"method": "rk4", "steps": 40}
    for row in z:
        jacobian = torch.autograd.functional.jacobian(
            lambda y: flow.decode(y[None], **settings)[0], row
        )
        wanted = standard_normal(row[None]) - jacobian.det().abs().log()
        found = flow.log_prob(flow.decode(row[None], **settings), **settings)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-7)


@pytest.mark.parametrize("hidden", [(16, 16), (12, 12, 12)])
def test_hutchinson_with_many_probes_approaches_the_exact_trace(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    flow = CNF(4, hidden=hidden)
    nn.init.normal_(flow.velocity.matrices[-1], std=0.5)
    x = draw(6, 4).float()
    settings = {"method": "rk4", "steps": 4}
    with torch.no_grad():
        exact = flow.log_prob(x, **settings)
        few = flow.log_prob(
            x, trace="hutchinson", generator=torch.Generator().manual_seed(0), **settings
        )
        many = flow.log_prob(
            x,
            trace="hutchinson",
            probes=300,
            generator=torch.Generator().manual_seed(0),
            **settings,
        )
    assert (few - exact).abs().max() > 1e-2
    assert (many - exact).abs().max() < 0.25 * (few - exact).abs().max()


def test_the_generator_decides_the_probes_and_the_samples() -> None:
    flow = trained_like()

    def generator(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    x = flow.sample(5, generator=generator(0))
    assert x.shape == (5, 2) and not x.requires_grad
    assert torch.equal(x, flow.sample(5, generator=generator(0)))
    assert not torch.equal(x, flow.sample(5, generator=generator(1)))
    first, again = (flow.log_prob(x, trace="hutchinson", generator=generator(3)) for _ in range(2))
    assert torch.equal(first, again)


def test_without_gradients_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, x = trained_like(), draw(10)
    settings = {"method": "rk4", "steps": 6}
    together = flow.log_prob(x, **settings)
    hutchinson = {"trace": "hutchinson", "probes": 2, **settings}
    probed = flow.log_prob(x, generator=torch.Generator().manual_seed(0), **hutchinson)
    monkeypatch.setattr("zoo.models.cnf.BATCH", 4)
    with torch.no_grad():
        torch.testing.assert_close(flow.log_prob(x, **settings), together.detach())
        torch.testing.assert_close(
            flow.log_prob(x, generator=torch.Generator().manual_seed(0), **hutchinson),
            probed.detach(),
        )
        torch.testing.assert_close(flow.decode(x, **settings), flow.decode(x[:10], **settings))


@pytest.mark.parametrize("adjoint", [False, True])
def test_gradients_of_the_likelihood(adjoint: bool) -> None:
    """Of a linear flow at its closed form: the mean of -log p over points."""
    flow, x = linear_flow(), draw()
    flow.log_prob(x, rtol=1e-8, atol=1e-8, adjoint=adjoint).mean().backward()
    matrix = A.clone().requires_grad_(True)
    z = x @ torch.matrix_exp(-matrix).T
    (standard_normal(z) - matrix.trace()).mean().backward()
    torch.testing.assert_close(flow.velocity.matrix.grad, matrix.grad, rtol=0, atol=1e-6)


def test_a_trajectory_goes_from_noise_to_data() -> None:
    flow, z = trained_like(), draw()
    way = flow.trajectory(z, torch.tensor([0.0, 0.5, 1.0]))
    assert way.shape == (3, 9, 2)
    torch.testing.assert_close(way[0], flow.shift + flow.scale * z)
    torch.testing.assert_close(way[2], flow.decode(z), rtol=0, atol=1e-3)
    back = flow.trajectory(way[2].sub(flow.shift) / flow.scale, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(back[1], way[0], rtol=0, atol=1e-3)


def test_evaluations_are_counted() -> None:
    flow, x = trained_like(), draw()
    flow.log_prob(x, method="rk4", steps=7)
    assert flow.nfe == 28
    flow.decode(x)
    assert 6 < flow.nfe < 1000


@pytest.mark.parametrize("distance", [1e2, 1e6, 1e15, 1e30])
def test_far_outside_the_data_the_density_is_finite_and_very_low(distance: float) -> None:
    flow = trained_like().float()
    value = flow.log_prob(torch.tensor([[distance, -distance]]))
    assert torch.isfinite(value).all() and value.item() < -100


POINTS = torch.zeros(3, 2)


@pytest.mark.parametrize("call", ["log_prob", "encode", "decode"])
@pytest.mark.parametrize(
    ("x", "text"),
    [
        (torch.zeros(3, 3), r"expected floating point \(B, 2\)"),
        (torch.zeros(2), r"expected floating point \(B, 2\)"),
        (torch.zeros(3, 2, dtype=torch.long), "expected floating point"),
        (torch.zeros(0, 2), "empty batch"),
        (torch.tensor([[0.0, float("nan")]]), "NaN or inf in 1 points"),
        (torch.tensor([[0.0, float("inf")]]), "NaN or inf in 1 points"),
    ],
)
def test_points_that_are_no_points_are_refused(call: str, x: Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        getattr(CNF(2), call)(x)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"probes": 0}, "probes: expected at least 1"),
        ({"probes": 1.5}, "probes: expected at least 1"),
        ({"trace": "both"}, "exact or hutchinson"),
        ({"rtol": 0.0}, "rtol: expected a tolerance above 0"),
        ({"atol": 0.0}, "atol: expected a tolerance above 0"),
        ({"method": "rk4"}, "steps"),
        ({"steps": 4}, "chooses its own steps"),
    ],
)
def test_settings_that_no_likelihood_can_have(settings: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CNF(2).log_prob(POINTS, **settings)


@pytest.mark.parametrize("n", [0, -1, 2.0, True])
def test_a_number_of_samples_that_is_none(n: object) -> None:
    with pytest.raises(ValueError, match="n: expected at least 1"):
        CNF(2).sample(n)


@pytest.mark.parametrize(
    ("times", "text"),
    [([0.0, 1.5], "from 0 to 1"), ([0.0, 0.0], "strictly"), ([0.5], "two or more")],
)
def test_times_that_are_not_on_the_way(times: list[float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CNF(2).trajectory(POINTS, torch.tensor(times))


def test_a_constant_variable_has_no_scale() -> None:
    with pytest.raises(ValueError, match="variable 1 is constant"):
        CNF(2).standardise(torch.tensor([[1.0, 2.0], [3.0, 2.0]]))


def test_a_card_finds_it_by_name() -> None:
    assert zoo.models.architecture("cnf") is CNF
