"""The metrics of flows, on models whose density is the truth, a Gaussian, or a real flow."""

import math

import pytest
import torch
from torch import Tensor, nn

from zoo import metrics
from zoo.data import densities, tabular
from zoo.errors import DataError, UnknownNameError
from zoo.metrics import likelihood
from zoo.models.cnf import CNF
from zoo.registry import Metric


class Model(nn.Module):
    """What metrics ask of a flow; it remembers how they asked."""

    def __init__(self):
        super().__init__()
        self.register_parameter("here", nn.Parameter(torch.zeros(())))
        self.asked: list[dict] = []

    def encode(self, x: Tensor, **solver) -> Tensor:
        self.asked.append(solver)
        return 2 * x

    def decode(self, z: Tensor, **solver) -> Tensor:
        """The inverse of `encode`, but for one coordinate of one point."""
        self.asked.append(solver)
        x = z / 2
        x[3, 1] -= 0.25
        return x


class Truth(Model):
    """The density itself, `lost` nats too low."""

    def __init__(self, name: str, lost: float = 0.0):
        super().__init__()
        self.density, self.lost = densities.get(name), lost

    def log_prob(self, x: Tensor, **solver) -> Tensor:
        self.asked.append(solver)
        return self.density.log_prob(x) - self.lost


class Gaussian(Model):
    """N(0, s² I) on the plane."""

    def __init__(self, s: float):
        super().__init__()
        self.s = s

    def log_prob(self, x: Tensor, **solver) -> Tensor:
        square = x.double().square().sum(1) / self.s**2
        return (-square / 2 - math.log(2 * math.pi * self.s**2)).float()


def line(metric: str, n: int, dataset: str = "8gaussians", split: str = "test") -> Metric:
    return Metric(dataset, split, metric, 0.0, n, "zoo verify cnf-toy --metrics")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


VARIANCE = (4 / 1.414) ** 2 / 2 + (0.5 / 1.414) ** 2
"""Of each coordinate of 8gaussians: E x = 0, and the centres lie evenly on a circle."""


def gaussian_nll(s: float) -> float:
    """E[-ln N(x; 0, s² I)] under 8gaussians, in closed form."""
    return VARIANCE / s**2 + math.log(2 * math.pi * s**2)


@pytest.mark.parametrize("name", ["moons", "checkerboard", "pinwheel"])
def test_the_truth_is_at_no_distance_from_itself(name):
    found = likelihood.paired_kl(Truth(name), densities.get(name), 500, seeded())
    assert found == (0, 0)
    off = likelihood.paired_kl(Truth(name, lost=0.125), densities.get(name), 500, seeded())
    assert off == pytest.approx((0.125, 0), abs=1e-12)


@pytest.mark.parametrize("s", [1.5, 2.5])
def test_the_divergence_of_a_gaussian_is_its_cross_entropy_less_the_entropy(s):
    density = densities.get("8gaussians")
    found = likelihood.paired_kl(Gaussian(s), density, 40_000, seeded(1))
    expected = gaussian_nll(s) - density.entropy
    assert 0.001 < found.standard_error < 0.01
    assert found.mean == pytest.approx(expected, abs=4 * found.standard_error)


def test_the_standard_error_is_the_spread_over_repetitions():
    density, model = densities.get("8gaussians"), Gaussian(2.0)
    found = [likelihood.paired_kl(model, density, 200, seeded(k)) for k in range(400)]
    means, errors = (torch.tensor(column) for column in zip(*found, strict=True))
    # A standard deviation of 400 numbers is good to 3.5 %.
    assert float(means.std()) == pytest.approx(float(errors.mean()), rel=0.15)


def test_the_negative_log_likelihood_of_given_points():
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    found = likelihood.nll(Gaussian(1.0), x)
    # The values are c and c + 2 with c = ln 2π: their mean is c + 1, its error √2 / √2.
    assert found == pytest.approx((math.log(2 * math.pi) + 1, 1.0), rel=1e-6)


@pytest.mark.parametrize("name", ["rings", "moons"])
def test_the_mass_of_the_truth_is_one(name):
    low, high = densities.get(name).box
    assert likelihood.mass(Truth(name), (low, high), 120) == pytest.approx(1, abs=1e-5)
    half = likelihood.mass(Truth(name, lost=math.log(2)), (low, high), 120)
    assert half == pytest.approx(0.5, abs=1e-5)


def test_the_mass_of_a_gaussian_is_that_of_its_box():
    found = likelihood.mass(Gaussian(1.5), (-2.0, 1.0), 300)
    one_axis = (math.erf(2 / 1.5 / math.sqrt(2)) + math.erf(1 / 1.5 / math.sqrt(2))) / 2
    assert found == pytest.approx(one_axis**2, abs=1e-5)


def test_the_inversion_error_is_the_largest():
    model = Truth("moons")
    x = torch.rand(10, 2, generator=seeded())
    assert likelihood.inversion_error(model, x) == pytest.approx(0.25, rel=1e-6)
    assert model.asked == 2 * [{"method": "dopri5", "rtol": 1e-6, "atol": 1e-6}]


def test_lines_of_cards_are_measured_on_points_of_their_own_seed():
    n, model = 2000, Gaussian(2.0)
    x = densities.get("8gaussians").sample(n, seeded(likelihood.SEED))
    nll, kl = (metrics.measure(line(name, n), model) for name in ("nll", "kl"))
    assert nll == pytest.approx(float(-model.log_prob(x).double().mean()), abs=1e-9)
    truth = float(densities.get("8gaussians").log_prob(x).mean())
    assert kl == pytest.approx(truth + nll, abs=1e-9)
    assert nll == pytest.approx(gaussian_nll(2.0), abs=0.1)


def test_lines_of_cards_say_how_the_equation_is_solved():
    model = Truth("moons")
    for name in ("nll", "kl", "mass", "kl-28-evaluations"):
        metrics.measure(line(name, 16, "moons"), model)
    default = {"trace": "exact", "method": "dopri5", "rtol": 1e-5, "atol": 1e-5}
    assert model.asked == [*3 * [default], {"trace": "exact", "method": "rk4", "steps": 7}]


@pytest.fixture
def flow() -> CNF:
    """A real flow that turns and stretches."""
    torch.manual_seed(0)
    model = CNF(hidden=(16, 16)).requires_grad_(False).eval()
    for parameter in model.velocity.parameters():
        parameter.normal_(0, 0.4)
    return model


def test_a_real_flow_is_measured(flow):
    assert metrics.measure(line("mass", 60**2), flow) == pytest.approx(1, abs=2e-3)
    assert metrics.measure(line("inversion-error", 100), flow) < 1e-4
    x = densities.get("8gaussians").sample(100, seeded(likelihood.SEED))
    z = flow.encode(x, rtol=1e-7, atol=1e-7)
    assert float((z - x).abs().max()) > 0.1  # it is not the identity that is inverted
    kl = metrics.measure(line("kl", 100), flow)
    fixed = metrics.measure(line("kl-28-evaluations", 100), flow)
    assert flow.nfe == 28
    assert kl == pytest.approx(fixed, abs=1e-2) and kl > 0


def test_the_mass_is_taken_over_half_as_much_again_as_the_box():
    low, high = densities.get("8gaussians").box
    expected = likelihood.mass(Gaussian(6.0), (1.5 * low, 1.5 * high), 40)
    assert metrics.measure(line("mass", 1600), Gaussian(6.0)) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="a square number n of points of a grid, found 1601"):
        metrics.measure(line("mass", 1601), Gaussian(6.0))


def test_a_further_data_set_is_a_further_row(monkeypatch):
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]])
    rows = {**likelihood.SOURCES, "three-points": lambda metric, root: points}
    monkeypatch.setattr(likelihood, "SOURCES", rows)
    found = metrics.measure(line("nll", 2, "three-points"), Gaussian(1.0))
    assert found == pytest.approx(math.log(2 * math.pi) + 1, rel=1e-6)
    with pytest.raises(DataError, match="three-points has 3 test points, of 4 expected"):
        metrics.measure(line("nll", 4, "three-points"), Gaussian(1.0))
    with pytest.raises(UnknownNameError, match="no toy density 'three-points'"):
        metrics.measure(line("kl", 2, "three-points"), Gaussian(1.0))


def test_tables_are_measured_on_the_first_rows_of_a_part(monkeypatch):
    parts = tabular.Parts(*(torch.full((5, 2), float(k)) for k in range(3)))
    monkeypatch.setattr(tabular, "tabular", lambda name, root: parts)
    for split, square in (("train", 0), ("validation", 2), ("test", 8)):
        found = metrics.measure(line("nll", 4, "kin40k", split), Gaussian(1.0))
        assert found == pytest.approx(math.log(2 * math.pi) + square / 2, rel=1e-6)
    with pytest.raises(DataError, match="kin40k has 5 test points, of 6 expected"):
        metrics.measure(line("nll", 6, "kin40k"), Gaussian(1.0))
    with pytest.raises(DataError, match="kin40k has train, validation, test, not 'valid'"):
        metrics.measure(line("nll", 4, "kin40k", "valid"), Gaussian(1.0))


def test_what_cannot_be_measured_is_refused():
    model = Gaussian(1.0)
    with pytest.raises(UnknownNameError, match=r"'moon' \(did you mean 'moons' or"):
        metrics.measure(line("nll", 10, "moon"), model)
    for name in ("nll", "kl", "mass"):
        with pytest.raises(DataError, match="its only split is 'test', not 'train'"):
            metrics.measure(line(name, 16, split="train"), model)
    with pytest.raises(UnknownNameError, match="a Linear has no density"):
        metrics.measure(line("nll", 10), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="at least two points, found 1"):
        likelihood.paired_kl(model, densities.get("moons"), 1)


def test_a_repeated_measurement_may_differ_by_rounding():
    assert metrics.tolerance(line("kl", 100_000)) == 2e-4
    high = Metric("8gaussians", "test", "nll", -150.0, 100, "zoo verify")
    assert metrics.tolerance(high) == pytest.approx(0.03)
    inversion = Metric("moons", "test", "inversion-error", 2e-5, 100, "zoo verify")
    assert metrics.tolerance(inversion) == pytest.approx(4e-5)
