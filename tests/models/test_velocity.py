"""The velocity field: its divergence and Jacobian against automatic differentiation, in float64."""

import itertools

import pytest
import torch
from torch import Tensor

from zoo.models import coupled, tangents
from zoo.models.activations import ACTIVATIONS
from zoo.models.velocity import VelocityMLP
from zoo.odes import exact_divergence

SHAPES = [(7,), (7, 9), (7, 9, 8), (5, 6, 7, 8)]
T = torch.tensor(0.3, dtype=torch.float64)


def build(hidden: tuple[int, ...], activation: str = "tanh", dim: int = 3) -> VelocityMLP:
    torch.manual_seed(0)
    field = VelocityMLP(dim, hidden, activation, frequencies=2).double()
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return field


def points(n: int = 11, dim: int = 3) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", SHAPES)
def test_divergence_and_its_gradients(hidden: tuple[int, ...], activation: str) -> None:
    field, x = build(hidden, activation), points().requires_grad_(True)
    targets = [x, *field.parameters()]
    weights = torch.randn(11, 3, dtype=torch.float64), torch.randn(11, dtype=torch.float64)

    def gradients(value: Tensor, divergence: Tensor) -> tuple[Tensor, ...]:
        loss = (value * weights[0]).sum() + (divergence * weights[1]).sum()
        return torch.autograd.grad(loss, targets)

    found, wanted = field.with_divergence(T, x), exact_divergence(lambda y: field(T, y), x)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(*found), gradients(*wanted), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_gradcheck_of_what_is_derived_by_hand(count: int, activation: str) -> None:
    sizes = [2, *[4] * count, 2]
    weights = [
        torch.randn(after, before, dtype=torch.float64, requires_grad=True)
        for before, after in itertools.pairwise(sizes)
    ]
    conditions = torch.randn(2 * sum(sizes[1:]), dtype=torch.float64, requires_grad=True)
    x = points(3, 2).requires_grad_(True)

    def function(x: Tensor, conditions: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        formula = coupled if count == 2 else tangents
        return formula.value_and_divergence(x, conditions, weights, ACTIVATIONS[activation])

    assert torch.autograd.gradcheck(function, (x, conditions, *weights))


@pytest.mark.parametrize("hidden", SHAPES)
def test_the_jacobian(hidden: tuple[int, ...]) -> None:
    field, x = build(hidden), points()
    value, jacobian = field.with_jacobian(T, x)
    wanted = torch.func.vmap(torch.func.jacrev(lambda y: field(T, y[None])[0]))(x)
    torch.testing.assert_close(value, field(T, x))
    torch.testing.assert_close(jacobian, wanted)


@pytest.mark.parametrize("hidden", SHAPES)
def test_one_time_and_a_time_for_every_point_are_the_same(hidden: tuple[int, ...]) -> None:
    field, x = build(hidden), points()
    torch.testing.assert_close(field(T, x), field(T.expand(len(x)), x))
    times = torch.linspace(0, 1, len(x), dtype=torch.float64)
    alone = torch.cat([field(t, row[None]) for t, row in zip(times, x, strict=True)])
    torch.testing.assert_close(field(times, x), alone)


def test_the_arithmetic_of_a_layer() -> None:
    field, x = build((4,)), points()
    t = float(T)
    angles = torch.tensor([torch.pi * t, 2 * torch.pi * t], dtype=torch.float64)
    features = torch.cat([T[None], angles.cos(), angles.sin()])
    gates, shifts = (field.time.weight @ features + field.time.bias).chunk(2)
    first, last = field.matrices
    h = torch.tanh(torch.sigmoid(gates[:4]) * (x @ first.T) + shifts[:4])
    wanted = torch.sigmoid(gates[4:]) * (h @ last.T) + shifts[4:]
    torch.testing.assert_close(field(T, x), wanted)


def test_slopes_and_pulls_are_first_and_second_derivatives() -> None:
    a = torch.linspace(-4, 4, 41, dtype=torch.float64, requires_grad=True)
    for each in ACTIVATIONS.values():
        value = each.value(a)
        (slope,) = torch.autograd.grad(value.sum(), a, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), a)
        found = each.with_slope(a)
        torch.testing.assert_close(found, (value, slope))
        bars = torch.randn(2, 41, dtype=torch.float64)
        pulled = each.pull(a, *found, *bars.clone())
        torch.testing.assert_close(pulled, bars[0] * slope + bars[1] * curvature)


@pytest.mark.parametrize("hidden", SHAPES)
def test_the_untrained_field_is_zero(hidden: tuple[int, ...]) -> None:
    value, divergence = VelocityMLP(3, hidden).double().with_divergence(T, points())
    assert torch.equal(value, torch.zeros_like(value))
    assert torch.equal(divergence, torch.zeros_like(divergence))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"dim": 0}, "at least 1"),
        ({"dim": 2, "hidden": ()}, "one hidden layer or more"),
        ({"dim": 2, "hidden": (4, 0)}, "at least 1"),
        ({"dim": 2, "frequencies": -1}, "no negative"),
        ({"dim": 2, "activation": "relu"}, "no activation 'relu'"),
    ],
)
def test_sizes_that_no_field_can_have(arguments: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        VelocityMLP(**arguments)


def test_the_divergence_needs_one_time() -> None:
    with pytest.raises(ValueError, match="one time for the batch"):
        build((4,)).with_divergence(T.expand(11), points())
