"""Errors of forecasts of decaying turbulence: against closed forms, and as lines of cards."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from zoo import metrics
from zoo.data import decaying_turbulence
from zoo.data.decaying_turbulence import Problem
from zoo.errors import DataError, UnknownNameError
from zoo.metrics import turbulence
from zoo.metrics.turbulence import calibration, decays, forecast_members, over_runs, relative_errors
from zoo.models.k_epsilon import KEpsilon
from zoo.models.turbulence_ode import TurbulenceODE
from zoo.registry import Metric

LINE = Metric("decaying-turbulence", "test-seed", "epsilon-error", 0.0, 3, "none")
TRUTH = 1.6
"""C of the decays that are forecast here."""


def power_law(constant: float, tau: Tensor) -> Tensor:
    """k/k₀ and ε/ε₀, (2, ...): the textbook's formula with n = 1/(C - 1)."""
    n = 1 / (constant - 1)
    base = 1 + tau / n
    return torch.stack([base**-n, base ** (-n - 1)])


def decaying(n: int, horizon: float, points: int = 65) -> Problem:
    """`n` flows with a constant C, each in units of its own."""
    scale = 1.0 + torch.arange(n, dtype=torch.float64)
    k, epsilon = 0.7 * scale, 0.3 / scale
    tau = torch.linspace(0, horizon, points, dtype=torch.float64)
    curves = power_law(TRUTH, tau)
    state = {
        "k": k,
        "epsilon": epsilon,
        "nu": 0.01 * scale**3,
        "skewness": torch.full_like(k, -0.5),
        "palinstrophy": 300 / scale**7,
    }
    return Problem(
        state=state,
        times=tau * (k / epsilon).unsqueeze(1),
        k=k.unsqueeze(1) * curves[0],
        epsilon=epsilon.unsqueeze(1) * curves[1],
        names=tuple(f"flow{index}" for index in range(n)),
    )


@pytest.fixture
def ensemble(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What was asked of three runs in every split, which are never looked at."""
    asked: list[tuple[object, ...]] = []

    def load(split: str, path: Path | None = None) -> list[object]:
        asked.append((split, path))
        return [SimpleNamespace(name=f"run{index}") for index in range(3)]

    def problem(runs: list[object], start: float, horizon: float, points: int) -> Problem:
        asked.append((len(runs), start, horizon))
        return decaying(len(runs), horizon, points)

    monkeypatch.setattr(decaying_turbulence, "load", load)
    monkeypatch.setattr(decaying_turbulence, "problem", problem)
    return asked


@dataclass
class Fixed:
    """Members that are off by given factors, at all times after the start."""

    truth: Problem
    factors: tuple[float, ...]

    def forecast_members(self, state: dict[str, Tensor], times: Tensor) -> dict[str, Tensor]:
        factors = torch.tensor(self.factors, dtype=torch.float64).view(-1, 1, 1)
        return {"k": factors * self.truth.k, "epsilon": factors**2 * self.truth.epsilon}

    def forecast(self, state: dict[str, Tensor], times: Tensor) -> dict[str, Tensor]:
        found = self.forecast_members(state, times)
        return {name: each.log().mean(0).exp() for name, each in found.items()}


@pytest.mark.parametrize(
    ("metric", "which", "start", "horizon"),
    [
        ("epsilon-error", 1, 0.0, 2.0),
        ("k-error", 0, 0.0, 2.0),
        ("epsilon-error-similar", 1, 1.5, 0.71),
        ("k-error-similar", 0, 1.5, 0.71),
    ],
)
def test_errors_are_those_of_the_closed_form(
    ensemble: list[tuple[object, ...]], metric: str, which: int, start: float, horizon: float
) -> None:
    tau = torch.linspace(0, horizon, 65, dtype=torch.float64)[1:]
    expected = (power_law(1.92, tau) / power_law(TRUTH, tau) - 1).abs()[which].mean()
    line = replace(LINE, metric=metric, split="test-viscosity")
    found = metrics.measure(line, KEpsilon(1.92).double())
    assert found == pytest.approx(float(expected), rel=1e-6)
    assert ensemble == [("test-viscosity", None), (3, start, horizon)]
    assert metrics.measure(line, KEpsilon(TRUTH).double()) < 1e-7
    assert metrics.tolerance(replace(line, value=0.1)) == pytest.approx(1e-3)


def test_the_mean_is_over_runs_whose_standard_error_is_that_of_the_mean() -> None:
    values = torch.tensor([[0.1, 0.3], [0.2, 0.6], [0.0, 0.0]])
    found = over_runs(values)
    assert (found.value, found.n) == (pytest.approx(0.2), 3)
    # (0.2, 0.4, 0) about 0.2: variance 0.04.
    assert found.standard_error == pytest.approx(0.2 / math.sqrt(3))
    assert math.isnan(over_runs(values[:1]).standard_error)


def test_the_start_is_no_part_of_the_error() -> None:
    curve = torch.tensor([[5.0, 2.0, 3.0]])
    found = relative_errors(curve, torch.tensor([[1.0, 4.0, 2.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5]]))


def test_calibration_compares_error_and_spread_in_logarithms() -> None:
    problem = decaying(2, 2.0)
    members = forecast_members(Fixed(problem, (1.1, 1.3, 1.2)), problem)
    logs = torch.tensor([1.1, 1.3, 1.2], dtype=torch.float64).log()
    error, spread = calibration(members["k"], problem.k)
    assert error == pytest.approx(float(logs.mean()))
    assert spread == pytest.approx(float(logs.std()))
    squared = calibration(members["epsilon"], problem.epsilon)
    assert squared == pytest.approx((2 * error, 2 * spread))
    with pytest.raises(ValueError, match="at least 2 members, found 1"):
        calibration(members["k"][:1], problem.k)


def test_the_ratio_of_error_and_spread_is_a_line_of_a_card(
    ensemble: list[tuple[object, ...]],
) -> None:
    line = replace(LINE, metric="epsilon-error-to-spread")
    logs = torch.tensor([1.1, 1.3], dtype=torch.float64).log()
    model = Fixed(decaying(3, 2.0), (1.1, 1.3))
    expected = float(logs.mean() / logs.std())
    assert metrics.measure(line, model) == pytest.approx(expected, rel=1e-9)


def test_a_model_without_members_is_its_only_one() -> None:
    class Single:
        forecast = KEpsilon(1.7).double().forecast

    problem = decaying(2, 2.0)
    found = forecast_members(Single(), problem)
    assert found["k"].shape == (1, 2, 65)
    assert torch.equal(found["k"][0], turbulence.forecast(Single(), problem)["k"])


@pytest.mark.parametrize(("constant", "expected"), [(1.05, True), (1.92, True), (0.9, False)])
def test_a_roll_out_is_asked_for_five_times_the_horizon(constant: float, expected: bool) -> None:
    # With C = 0.9 both reach 0 at 10 k₀/ε₀, which is 5 times 2 and not before.
    problem = decaying(2, 2.01)
    model = KEpsilon(constant).double()
    assert decays(model, problem).tolist() == [expected] * 2
    assert decays(model, problem, stretch=4.9).all()


@pytest.mark.parametrize("name", ["k", "epsilon"])
@pytest.mark.parametrize("wrong", [0.0, 10.0, math.nan])
def test_a_curve_that_rises_or_ends_does_not_decay(name: str, wrong: float) -> None:
    problem = decaying(2, 2.0)

    class Broken(Fixed):
        def forecast(self, state: dict[str, Tensor], times: Tensor) -> dict[str, Tensor]:
            torch.testing.assert_close(times, 5 * problem.times)
            found = super().forecast(state, times)
            found[name][1, 40] = wrong
            return found

    assert decays(Broken(problem, (1.0,)), problem).tolist() == [True, False]


def test_states_beyond_the_training_are_measured_without_a_warning(
    ensemble: list[tuple[object, ...]],
) -> None:
    torch.manual_seed(0)
    model = TurbulenceODE(members=2, hidden=2, encoder=2).eval()
    model.lowest.fill_(100.0)
    model.highest.fill_(101.0)
    assert metrics.measure(replace(LINE, metric="monotone"), model) in (0.0, 1 / 3, 2 / 3, 1.0)


def test_lines_that_make_no_sense_are_refused(
    ensemble: list[tuple[object, ...]], tmp_path: Path
) -> None:
    model = KEpsilon()
    with pytest.raises(UnknownNameError, match="is of decaying-turbulence, not of 'spirals'"):
        metrics.measure(replace(LINE, dataset="spirals"), model)
    with pytest.raises(UnknownNameError, match="a Linear forecasts nothing"):
        metrics.measure(LINE, nn.Linear(1, 1))
    with pytest.raises(DataError, match=r"of 4 runs of test-seed, found 3; .* --data FILE"):
        metrics.measure(replace(LINE, n=4), model)
    ensemble.clear()
    # A folder of data sets is no ensemble, a file is one.
    metrics.measure(LINE, model, tmp_path)
    (tmp_path / "other.safetensors").touch()
    metrics.measure(LINE, model, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="neither the file of an ensemble nor a folder"):
        metrics.measure(LINE, model, tmp_path / "missing.safetensors")
    assert [path for _, path in (ensemble[0], ensemble[2])] == [
        None,
        tmp_path / "other.safetensors",
    ]
