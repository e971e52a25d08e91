"""The latent ODE: exact linear dynamics, the encoder by the book, batches, and bad input."""

import math

import pytest
import torch
from torch import Tensor, nn

import zoo.models
from zoo.models.latent_ode import LatentODE, Posterior, hermite
from zoo.models.series import observations
from zoo.odes import SolverError


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model() -> LatentODE:
    torch.manual_seed(0)
    made = LatentODE(dim=2, latent=3, hidden=16, recurrent=6, step=0.125)
    # Larger weights than at the beginning of a training, so that curves bend.
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2)
        made.shift.copy_(torch.tensor([1.0, -2.0]))
        made.scale.copy_(torch.tensor([3.0, 0.5]))
    return made.eval()


def case(batch: int = 5, seen: int = 7, asked: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Series that start at different times, with a point of which nothing, or half, is observed."""
    generator = torch.Generator().manual_seed(3)
    times = torch.rand(batch, seen + asked, generator=generator).cumsum(1) + 10 * torch.rand(
        batch, 1, generator=generator
    )
    mask = torch.ones(batch, seen, 2, dtype=torch.bool)
    mask[1, 3], mask[2, 5, 0], mask[3, 0] = False, False, False
    return times[:, :seen], draw(batch, seen, 2), mask, times[:, seen - 2 : seen + asked - 2]


class Linear(nn.Module):
    """f(z) = A z."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.matrix.T


@pytest.mark.parametrize("solver", [{}, {"method": "dopri5", "rtol": 1e-10, "atol": 1e-10}])
def test_linear_dynamics_are_the_matrix_exponential(solver: dict[str, object]) -> None:
    model = LatentODE(latent=2, step=1 / 64).double()
    matrix = torch.tensor([[0.3, -1.0], [1.2, -0.5]], dtype=torch.float64)
    model.field = Linear(matrix)  # type: ignore[assignment]
    start = draw(3, 2).double()
    elapsed = torch.tensor([[0.0, 0.77, 2.0], [3.1, 0.01, 1.0], [0.5, 0.25, 0.3]]).double()
    found = model.trajectory(start, elapsed, **solver)
    exact = torch.linalg.matrix_exp(elapsed[..., None, None] * matrix) @ start[:, None, :, None]
    torch.testing.assert_close(found, exact.squeeze(-1), rtol=0, atol=2e-8)
    assert model.nfe > 0


def test_the_grid_has_an_error_of_fourth_order() -> None:
    matrix = torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=torch.float64)
    elapsed = torch.linspace(0.03, 3, 50, dtype=torch.float64).expand(4, -1)
    start = draw(4, 2).double()
    exact = torch.linalg.matrix_exp(elapsed[..., None, None] * matrix) @ start[:, None, :, None]
    errors = []
    for step in (0.1, 0.05):
        model = LatentODE(latent=2, step=step).double()
        model.field = Linear(matrix)  # type: ignore[assignment]
        errors.append((model.trajectory(start, elapsed) - exact.squeeze(-1)).abs().max().item())
    assert 13 < errors[0] / errors[1] < 19


def test_interpolation_is_exact_for_cubics() -> None:
    step, grid = 0.5, 0.5 * torch.arange(5).double()
    powers = torch.arange(4).double()
    coefficients = draw(4, 3, 2).double()  # of each power, for three series of two variables

    def value(t: Tensor) -> Tensor:  # (..., 3) -> (..., 3, 2)
        return torch.einsum("...bp,pbl->...bl", t[..., None] ** powers, coefficients)

    def slope(t: Tensor) -> Tensor:
        lowered = torch.where(powers > 0, powers * t[..., None] ** (powers - 1).clamp(min=0), 0)
        return torch.einsum("...bp,pbl->...bl", lowered, coefficients)

    on_grid = grid[:, None].expand(-1, 3)
    asked = torch.tensor([[0.0, 0.2, 2.0], [1.9, 0.5, 0.51], [1.0, 1.3, 1.7]]).double()
    found = hermite(value(on_grid), slope(on_grid), asked / step, step)
    expected = value(asked.T).transpose(0, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_encoder_is_the_one_by_the_book(model: LatentODE) -> None:
    times, values, mask, _ = case()
    posterior = model.encode(model.observe(times, values, mask))
    encoder = model.encoder
    for b in range(len(times)):
        state, after = torch.zeros(1, 6), None
        for n in reversed(range(times.shape[1])):
            if not mask[b, n].any():
                continue
            if after is not None:
                state = state + (after - times[b, n]) * encoder.field(state)
            point = torch.where(mask[b, n], (values[b, n] - model.shift) / model.scale, 0)
            state = encoder.cell(torch.cat([point, mask[b, n].float()])[None], state)
            after = times[b, n]
        mean, spread = encoder.head(state)[0].chunk(2)
        torch.testing.assert_close(posterior.mean[b], mean, rtol=1e-5, atol=1e-5)
        expected = torch.log1p(spread.exp()) + 1e-4
        torch.testing.assert_close(posterior.std[b], expected, rtol=1e-5, atol=1e-5)


def test_the_divergence_is_that_of_torch_distributions() -> None:
    mean, std = draw(5, 3).double(), draw(5, 3, seed=2).double().exp()
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, std), normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(Posterior(mean, std).divergence(), expected)


def test_a_forecast_is_the_decoded_curve_of_the_posterior(model: LatentODE) -> None:
    model.double()
    times, values, mask, query = case()
    values = values.double()
    seeded = torch.Generator().manual_seed(5)
    found = model.forecast(times, values, mask, query, samples=3, generator=seeded)
    assert found.mean.shape == (5, 4, 2) and found.samples.shape == (3, 5, 4, 2)
    posterior = model.encode(model.observe(times, values, mask))
    noise = torch.randn(3, 1, 3, generator=torch.Generator().manual_seed(5)).double()
    first = torch.stack([row[seen][0] for row, seen in zip(times, mask.any(2), strict=True)])
    elapsed = (query - first[:, None]).double()
    tight = {"method": "dopri5", "rtol": 1e-9, "atol": 1e-9}
    for curve, start in (
        (found.mean, posterior.mean),
        *zip(found.samples, posterior.mean + posterior.std * noise, strict=True),
    ):
        states = model.trajectory(start, elapsed, **tight)
        # Both interpolate on the same grid; what differs is the solve.
        torch.testing.assert_close(curve, model.decode(states), rtol=0, atol=2e-4)
    gradient = torch.autograd.grad(
        model(times, values, mask, query).sum(), model.encoder.cell.bias_ih
    )
    assert gradient[0].abs().sum() > 0
    # The forecast solves the samples' curves in the same batch, whose size may turn the last digit.
    torch.testing.assert_close(model(times, values, mask, query), found.mean, rtol=0, atol=1e-12)


def test_reading_off_the_grid_is_as_good_as_a_tight_solve_at_each_time(model: LatentODE) -> None:
    model.double()
    start, elapsed = draw(3, 3).double(), torch.tensor([[0.05, 0.6, 1.9]]).double().expand(3, -1)
    fine = LatentODE(dim=2, latent=3, hidden=16, recurrent=6, step=0.005).double()
    fine.load_state_dict(model.state_dict())
    rough, exact = (each.decode(each.trajectory(start, elapsed)) for each in (model, fine))
    assert 0 < (rough - exact).abs().max() < 1e-3
    assert (exact.amax(1) - exact.amin(1)).max() > 0.5  # the curves move


def test_padding_and_permuting_a_batch_change_nothing(model: LatentODE) -> None:
    times, values, mask, query = case()

    def run(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        found = model.forecast(*inputs, samples=2, generator=torch.Generator().manual_seed(0))
        return found.mean, found.samples

    mean, samples = run(times, values, mask, query)
    order = torch.tensor([3, 0, 4, 2, 1])
    permuted = run(*(each[order] for each in (times, values, mask, query)))
    torch.testing.assert_close(permuted[0], mean[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(permuted[1], samples[:, order], rtol=0, atol=1e-5)
    # Unobserved points anywhere, with anything in them, and a neighbour that is asked much later.
    junk = torch.full((5, 3), math.nan)
    places = torch.tensor([0, 7, 1, 2, 8, 3, 4, 5, 6, 9])
    padded = (
        torch.cat([times, junk], 1)[:, places],
        torch.cat([values, junk.unsqueeze(2).expand(-1, -1, 2)], 1)[:, places],
        torch.cat([mask, torch.zeros(5, 3, 2, dtype=torch.bool)], 1)[:, places],
        query,
    )
    late = (times[:1], values[:1], mask[:1], query[:1] + 20)
    longer = torch.cat([late[0], late[0][:, -1:] + torch.arange(1, 4)], 1)
    other = (longer, draw(1, 10, 2), torch.ones(1, 10, 2, dtype=torch.bool), late[3])
    padded_mean, padded_samples = run(
        *(torch.cat([one, two]) for one, two in zip(padded, other, strict=True))
    )
    torch.testing.assert_close(padded_mean[:5], mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(padded_samples[:, :5], samples, rtol=0, atol=1e-5)
    alone = [run(*(each[i : i + 1] for each in (times, values, mask, query)))[0] for i in range(5)]
    torch.testing.assert_close(torch.cat(alone), mean, rtol=0, atol=1e-5)


def test_only_time_differences_count(model: LatentODE) -> None:
    model.double()
    times, values, mask, query = (each.double() for each in case())
    here = model.forecast(times, values, mask, query, samples=0).mean
    later = model.forecast(times + 100, values, mask, query + 100, samples=0).mean
    torch.testing.assert_close(later, here, rtol=0, atol=1e-9)


def test_a_mask_of_points_and_of_numbers_is_taken(model: LatentODE) -> None:
    times, values, mask, query = case()
    mask = mask.all(2)
    expected = model.forecast(times, values, mask, query, samples=0).mean
    for other in (mask.float(), mask.unsqueeze(2).expand(-1, -1, 2), mask.long()):
        found = model.forecast(times, values, other, query, samples=0).mean
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"times": lambda t: t.flip(1)}, "strictly increasing times, found .* in series 0"),
        ({"times": lambda t: t.index_copy(1, torch.tensor([2]), t[:, 1:2])}, "strictly increasing"),
        ({"times": lambda t: t[0]}, r"times_observed: expected \(B, N\)"),
        ({"times": lambda t: t[:, :0]}, r"at least one series and one point, found \(5, 0\)"),
        ({"times": lambda t: t[:0]}, r"found \(0, 7\)"),
        ({"times": lambda t: t * math.nan}, "times_observed: expected finite .* in series 0"),
        ({"values": lambda v: v[:, :, :1]}, r"values: expected \(5, 7, 2\), found \(5, 7, 1\)"),
        ({"values": lambda v: v.index_fill(0, torch.tensor([4]), math.nan)}, "NaN .* in series 4"),
        ({"mask": lambda m: m & (torch.arange(5) != 2).view(5, 1, 1)}, "series 2: .* at least one"),
        ({"mask": lambda m: m[:, :3]}, "mask: expected"),
        ({"mask": lambda m: m * 0.5}, "mask: expected true and false"),
        ({"query": lambda q: q - 50}, "from the first observation on"),
        ({"query": lambda q: q[:3]}, r"times_query: expected \(5, Q\)"),
        ({"query": lambda q: q[:, :0]}, "Q of at least 1"),
        ({"query": lambda q: q * math.inf}, "times_query: expected finite"),
    ],
)
def test_bad_input_is_refused(model: LatentODE, wrong: dict, expected: str) -> None:
    inputs = dict(zip(("times", "values", "mask", "query"), case(), strict=True))
    inputs |= {name: change(inputs[name]) for name, change in wrong.items()}
    with pytest.raises(ValueError, match=expected):
        model.forecast(*inputs.values())


def test_other_arguments_out_of_range_are_refused(model: LatentODE) -> None:
    with pytest.raises(ValueError, match="samples: expected at least 0"):
        model.forecast(*case(), samples=-1)
    with pytest.raises(ValueError, match="atol: expected a tolerance above 0"):
        model.forecast(*case(), method="dopri5", atol=0.0)
    with pytest.raises(SolverError, match="more than 10000 evaluations"):
        times, values, mask, query = case()
        model.forecast(times, values, mask, query + 1e4)
    for wrong in ({"latent": 0}, {"hidden": 2.5}, {"step": 0.0}, {"noise": math.inf}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LatentODE(**wrong)  # type: ignore[arg-type]


def test_whatever_the_mask_hides_is_not_looked_at() -> None:
    times = torch.tensor([[5.0, 1.0, math.nan, 2.0]])
    values = torch.tensor([[[math.inf], [1.0], [math.nan], [2.0]]])
    seen = observations(times, values, torch.tensor([[False, True, False, True]]), 1)
    assert seen.times.tolist() == [[1.0, 2.0]] and seen.values.flatten().tolist() == [1.0, 2.0]
    assert seen.counts.tolist() == [2] and seen.first.tolist() == [1.0]


def test_the_zoo_knows_the_architecture() -> None:
    assert zoo.models.architecture("latent-ode") is LatentODE
