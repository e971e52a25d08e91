"""Moving averages of weights."""

import pytest
import torch
from torch import nn

from zoo.training import EMA


def test_the_average_is_the_closed_form():
    model = nn.Linear(2, 1)
    start = model.weight.detach().clone()
    ema = EMA(model, decay=0.9)
    with torch.no_grad():
        model.weight += 1
    for _ in range(5):
        ema.update(model)
    # Constant weights w after a start at s: w + (s - w) d^n.
    assert torch.allclose(ema.module.weight, start + (1 - 0.9**5), atol=1e-6)


def test_a_decay_for_one_update():
    model = nn.Linear(2, 1)
    ema = EMA(model, decay=0.9)
    with torch.no_grad():
        model.weight += 1
    ema.update(model, decay=0.0)
    assert torch.equal(ema.module.weight, model.weight)


def test_buffers_are_copied_and_gradients_are_off():
    model = nn.BatchNorm1d(3)
    ema = EMA(model, decay=0.5)
    model(torch.randn(8, 3))
    ema.update(model)
    assert torch.equal(ema.module.running_mean, model.running_mean)
    assert int(ema.module.num_batches_tracked) == 1
    assert not ema.module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_state_comes_back():
    first, second = EMA(nn.Linear(2, 1), 0.9), EMA(nn.Linear(2, 1), 0.9)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.module.weight, second.module.weight)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_outside_of_its_range_is_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        EMA(nn.Linear(2, 1), decay)
