"""The recurrent baselines: torch's GRU by hand, one point after the other."""

import pytest
import torch
from torch import Tensor, nn

from zoo.models.gru_forecaster import GRUForecaster
from zoo.models.latent_ode import LatentODE
from zoo.models.recurrence import gru_step


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def case(batch: int = 4, seen: int = 6, asked: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    times = (0.1 + torch.rand(batch, seen + asked, generator=generator)).cumsum(1)
    mask = torch.ones(batch, seen, dtype=torch.bool)
    mask[1, 5], mask[2, 0] = False, False
    return times[:, :seen], draw(batch, seen, 2), mask, times[:, seen:]


@pytest.fixture(params=[False, True], ids=["gru", "gru-dt"])
def model(request: pytest.FixtureRequest) -> GRUForecaster:
    torch.manual_seed(0)
    made = GRUForecaster(recurrent=7, hidden=5, gaps=request.param).double()
    made.shift.copy_(torch.tensor([1.0, -2.0]))
    made.scale.copy_(torch.tensor([3.0, 0.5]))
    return made


def test_a_step_is_that_of_torch() -> None:
    cell = nn.GRUCell(3, 4).double()
    inputs, state = draw(5, 3).double(), draw(5, 4, seed=2).double()
    gates = inputs @ cell.weight_ih.T + cell.bias_ih
    found = gru_step(gates, state, cell.weight_hh, cell.bias_hh)
    torch.testing.assert_close(found, cell(inputs, state))


def test_every_prediction_is_made_by_torchs_gru_from_what_comes_before(
    model: GRUForecaster,
) -> None:
    times, values, mask, query = case()
    inside, future = model(times, values.double(), mask, query)
    for b in range(len(times)):
        seen = mask[b]
        stamps = torch.cat([times[b][seen], query[b]]).double()
        points = ((values[b][seen].double() - model.shift) / model.scale).tolist()
        predicted: list[Tensor] = []
        for n in range(int(seen.sum()), len(stamps) + 1):
            # The whole past again from the start, for every single prediction.
            gaps = stamps[1 : n + 1] - stamps[:n] if n < len(stamps) else None
            if gaps is None:
                break
            past = torch.tensor(points[:n], dtype=torch.float64)
            parts = [past, torch.ones_like(past), gaps[:, None]]
            states, _ = model.gru(torch.cat(parts[: 2 + model.gaps], dim=1)[None])
            outputs = model.readout(states[0])
            predicted.append(outputs[-1])
            points.append(outputs[-1].tolist())
        own = int(seen.sum()) - 1
        expected = torch.stack(predicted) * model.scale + model.shift
        torch.testing.assert_close(future[b], expected)
        within = outputs[:own] * model.scale + model.shift
        torch.testing.assert_close(inside[b, :own], within)


def test_the_forecast_is_the_future_and_has_no_spread(model: GRUForecaster) -> None:
    model.float()
    inputs = case()
    found = model.forecast(*inputs)
    torch.testing.assert_close(found.mean, model(*inputs)[1], rtol=0, atol=0)
    assert torch.equal(found.samples, found.mean[None])


def test_padding_and_permuting_a_batch_change_nothing(model: GRUForecaster) -> None:
    model.float()
    times, values, mask, query = case()
    mean = model.forecast(times, values, mask, query).mean
    order = torch.tensor([2, 0, 3, 1])
    permuted = model.forecast(*(each[order] for each in (times, values, mask, query))).mean
    torch.testing.assert_close(permuted, mean[order], rtol=0, atol=1e-5)
    longer = (
        torch.cat([torch.full((4, 2), torch.nan), times], 1),
        torch.cat([torch.full((4, 2, 2), torch.nan), values], 1),
        torch.cat([torch.zeros(4, 2, dtype=torch.bool), mask], 1),
    )
    torch.testing.assert_close(model.forecast(*longer, query).mean, mean, rtol=0, atol=1e-5)


def test_only_the_one_with_gaps_sees_the_times(model: GRUForecaster) -> None:
    times, values, mask, query = case()
    values = values.double()
    one, other = model(times, values, mask, query), model(2 * times, values, mask, 2 * query)
    assert (
        (one[1] - other[1]).abs().max().item() > 1e-3
        if model.gaps
        else torch.equal(*[each[1] for each in (one, other)])
    )


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"query": lambda q: q.flip(1)}, "strictly increasing times after the last observation"),
        ({"query": lambda q: q - 1}, "strictly increasing times after the last observation"),
        ({"query": lambda q: q[:2]}, r"times_query: expected \(4, Q\)"),
        ({"times": lambda t: t.flip(1)}, "times_observed: expected strictly increasing"),
        ({"values": lambda v: v * torch.nan}, "values: expected finite"),
    ],
)
def test_bad_input_is_refused(wrong: dict, expected: str) -> None:
    inputs = dict(zip(("times", "values", "mask", "query"), case(), strict=True))
    inputs |= {name: change(inputs[name]) for name, change in wrong.items()}
    with pytest.raises(ValueError, match=expected):
        GRUForecaster(recurrent=3, hidden=3).forecast(*inputs.values())
    with pytest.raises(ValueError, match="recurrent must be an integer"):
        GRUForecaster(recurrent=0)


def test_the_baselines_are_as_large_as_the_latent_ode() -> None:
    own, *others = (
        sum(parameter.numel() for parameter in made.parameters())
        for made in (LatentODE(), GRUForecaster(gaps=False), GRUForecaster(gaps=True))
    )
    for other in others:
        assert abs(other / own - 1) < 0.05
