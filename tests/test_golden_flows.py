"""Golden tensors of flows and forecasters: what they hold, and that they see a weight move."""

import copy

import pytest
import torch
from torch import nn

from zoo import golden
from zoo.models.cnf import CNF
from zoo.models.image_cnf import ImageCNF
from zoo.models.latent_ode import LatentODE
from zoo.models.turbulence_lstm import TurbulenceLSTM
from zoo.models.turbulence_ode import TurbulenceODE


def flow() -> CNF:
    model = CNF(2, hidden=(8, 8))
    nn.init.normal_(model.velocity.matrices[-1])
    return model


def image_flow() -> ImageCNF:
    model = ImageCNF((1, 8, 8), width=16, blocks=1)
    nn.init.normal_(model.velocity.head.weight, std=0.1)
    return model


MODELS = {
    "flow": (flow, "density-estimation"),
    "image flow": (image_flow, "density-estimation"),
    "forecaster": (lambda: LatentODE(latent=3, hidden=8, recurrent=5), "forecasting"),
    "turbulence": (lambda: TurbulenceODE(members=2), "forecasting"),
    "turbulence by k, epsilon and nu": (lambda: TurbulenceLSTM(inputs=()), "forecasting"),
}
NAMES = {
    "flow": {"input.z", "output.x", "output.log_prob"},
    "image flow": {"input.z", "output.x"},
    "forecaster": {
        "input.times",
        "input.values",
        "input.mask",
        "input.times_query",
        "output.mean",
    },
    "turbulence": {
        *(f"input.{name}" for name in ("k", "epsilon", "nu", "skewness", "palinstrophy", "times")),
        *("output.k", "output.epsilon"),
    },
    "turbulence by k, epsilon and nu": {
        *(f"input.{name}" for name in ("k", "epsilon", "nu", "times")),
        *("output.k", "output.epsilon"),
    },
}


def build(name: str) -> tuple[nn.Module, str]:
    torch.manual_seed(0)
    make, task = MODELS[name]
    return make().eval(), task


@pytest.mark.parametrize("name", MODELS)
def test_they_are_inputs_and_outputs_that_the_model_gives(name: str) -> None:
    model, task = build(name)
    tensors = golden.make(model, task)
    assert tensors.keys() == NAMES[name]
    assert all(len(each) == 4 and each.dtype == torch.float32 for each in tensors.values())
    for difference in golden.compare(model, task, tensors).values():
        assert difference <= golden.tolerance(model, task) / 5


@pytest.mark.parametrize("name", MODELS)
def test_a_weight_that_moves_is_seen(name: str) -> None:
    model, task = build(name)
    tensors, moved = golden.make(model, task), copy.deepcopy(model)
    with torch.no_grad():
        next(p for p in reversed(list(moved.parameters())) if p.dim() > 1).mul_(1.05)
    assert max(golden.compare(moved, task, tensors).values()) > golden.tolerance(model, task)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_does_not_matter(name: str, batch: int) -> None:
    model, task = build(name)
    tensors = golden.make(model, task)
    part = {key: value[:batch] for key, value in tensors.items()}
    for difference in golden.compare(model, task, part).values():
        assert difference <= golden.tolerance(model, task)


def test_the_density_is_that_of_the_points() -> None:
    model, task = build("flow")
    tensors = golden.make(model, task)
    with torch.no_grad():
        exact = model.log_prob(tensors["output.x"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(tensors["output.log_prob"], exact, rtol=0, atol=2e-3)


def test_states_are_drawn_from_the_range_of_the_training() -> None:
    model, task = build("turbulence")
    model.lowest.copy_(torch.tensor([3.5, 0.30, 0.9]))
    model.highest.copy_(torch.tensor([3.6, 0.31, 0.95]))
    # Warnings are errors here, and a state out of range is warned of.
    tensors = golden.make(model, task)
    k, epsilon, nu = (tensors[f"input.{name}"] for name in ("k", "epsilon", "nu"))
    reynolds = (k.square() / (nu * epsilon)).log()
    assert bool(((reynolds > 3.5) & (reynolds < 3.6)).all())
    destruction = (4 * nu.square() * tensors["input.palinstrophy"] * k / epsilon.square()).log()
    assert bool(((destruction > 0.9) & (destruction < 0.95)).all())
