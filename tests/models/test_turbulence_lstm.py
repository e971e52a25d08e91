"""The recurrent baseline of turbulence: its cell by torch's own, between its steps, its size."""

import pytest
import torch
from torch import nn

from tests.models.turbulence_states import states
from zoo.models.turbulence import read_state
from zoo.models.turbulence_lstm import TurbulenceLSTM
from zoo.models.turbulence_ode import TurbulenceODE


@pytest.fixture
def model() -> TurbulenceLSTM:
    torch.manual_seed(0)
    made = TurbulenceLSTM(members=2, recurrent=5).double().eval()
    made.shift.copy_(torch.tensor([4.0, 0.47, 1.1]))
    made.scale.copy_(torch.tensor([0.7, 0.05, 0.1]))
    return made


def test_on_its_grid_it_is_an_lstm_cell_that_adds_to_what_it_has_predicted(
    model: TurbulenceLSTM,
) -> None:
    start = read_state(states())
    steps = torch.arange(5).double()
    found = model.curves(start, (steps * model.step).expm1().expand(6, -1))
    for member in range(2):
        cell = nn.LSTMCell(3, 5).double()
        # torch's order of the gates is input, forget, cell, output.
        order = torch.tensor([0, 1, 3, 2])
        weight = model.gates.weight[member].T.unflatten(0, (4, 5))[order].flatten(0, 1)
        bias = model.gates.bias[member, 0].unflatten(0, (4, 5))[order].flatten()
        cell.weight_ih.data, cell.weight_hh.data = weight[:, :3].clone(), weight[:, 3:].clone()
        cell.bias_ih.data, cell.bias_hh.data = bias.clone(), torch.zeros_like(bias)
        seen = (torch.stack([start.log_reynolds, start.skewness, start.log_destruction], 1)) - (
            model.shift
        )
        first, _, second = model.encoder
        hidden = (seen / model.scale) @ first.weight[member] + first.bias[member]
        state = (hidden.tanh() @ second.weight[member] + second.bias[member]).tanh().split(5, dim=1)
        curve = torch.zeros(6, 2).double()
        for step in range(1, 5):
            log_reynolds = start.log_reynolds + 2 * curve[:, 0] - curve[:, 1]
            inputs = torch.cat([curve, ((log_reynolds - 4.0) / 0.7).unsqueeze(1)], dim=1)
            state = cell(inputs, tuple(state))
            change = state[0] @ model.readout.weight[member] + model.readout.bias[member]
            curve = curve + model.step * change
            torch.testing.assert_close(found[member, :, step], curve)


def test_between_the_points_of_its_grid_it_is_smooth(model: TurbulenceLSTM) -> None:
    start = read_state(states(1))
    fine = model.curves(start, torch.linspace(0, 32, 1601).double().div(16).expm1()[None])
    knots = fine[:, :, ::50]
    assert knots.shape[2] == 33
    # A cubic through the same knots, with central differences for slopes, by its Bernstein form.
    for index in (1, 17, 30):
        before, here, there, after = knots[:, :, index - 1 : index + 3].unbind(2)
        left, right = here + (there - before) / 6, there - (after - here) / 6
        inside = fine[:, :, 50 * index + 25]
        torch.testing.assert_close(inside, (here + 3 * left + 3 * right + there) / 8)


def test_it_has_the_size_of_the_neural_ode() -> None:
    sizes = [
        sum(each.numel() for each in kind().parameters())
        for kind in (TurbulenceODE, TurbulenceLSTM)
    ]
    assert 0.9 < sizes[1] / sizes[0] < 1.2


def test_it_has_no_solver(model: TurbulenceLSTM) -> None:
    with pytest.raises(ValueError, match=r"no solver.*found method"):
        model.forecast(states(), torch.tensor([0.0, 1.0]), method="rk4")
