import math

import pytest
import torch
from torch import nn

from zoo import data
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.errors import UnknownNameError
from zoo.metrics import MEASURES, measure, tolerance
from zoo.metrics.restoration import Restoration, restoration
from zoo.models.cnnf import CNNF
from zoo.registry import Metric

N = 60


class Mixture(nn.Module):
    """Renders (1 - w) of the clean images and w of what it is given; notes how it was called.

    Args:
        weights: w of each image, (N,).
    """

    def __init__(self, clean: torch.Tensor, weights: torch.Tensor) -> None:
        super().__init__()
        self.device = nn.Parameter(torch.empty(0))
        self.clean, self.weights = clean, weights.view(-1, 1, 1, 1)
        self.batches: list[int] = []
        self.iterations_seen: list[int | None] = []

    def reconstruct(self, images: torch.Tensor, iterations: int | None = None) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        here = slice(sum(self.batches), sum(self.batches) + len(images))
        self.batches.append(len(images))
        self.iterations_seen.append(iterations)
        return torch.lerp(self.clean[here], images, self.weights[here])


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return data.as_float(fashion_mnist_sample().images[:N])


def line(name: str, n: int = N, value: float = 0.5) -> Metric:
    return Metric("fashion-mnist-sample", "test", name, value, n, "zoo verify x --metrics")


@pytest.mark.parametrize("kind", ["noise", "blur", "pixelate"])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 2.0])
def test_a_part_of_the_way_back_is_its_square(images, kind, weight):
    found = restoration(Mixture(images, torch.full((N,), weight)), images, kind, 2)
    corrupted = data.corrupt(images, kind, 2)
    assert found.n == N
    assert found.mse_input == pytest.approx(float((corrupted - images).square().mean()))
    assert found.ratio == pytest.approx(weight**2, rel=1e-5, abs=1e-9)
    assert found.mse_restored == pytest.approx(weight**2 * found.mse_input, rel=1e-5, abs=1e-9)
    # Each image is restored in the same proportion, so other images would give the same ratio.
    assert found.standard_error == pytest.approx(0, abs=1e-6)


def test_the_ratio_is_of_sums_and_its_error_is_that_of_other_samples(images):
    weights = torch.rand(N, generator=torch.Generator().manual_seed(0))
    found = restoration(Mixture(images, weights), images, "noise", 3)
    before = (data.corrupt(images, "noise", 3) - images).double().square().flatten(1).mean(1)
    after = weights.double().square() * before
    assert found.ratio == pytest.approx(float(after.sum() / before.sum()))
    # The jackknife: the ratio with each image left out in turn.
    others = (after.sum() - after) / (before.sum() - before)
    jackknife = ((N - 1) / N * (others - others.mean()).square().sum()).sqrt()
    assert found.standard_error == pytest.approx(float(jackknife), rel=0.05)


def test_a_single_image_has_no_standard_error(images):
    found = restoration(Mixture(images, torch.full((1,), 0.5)), images[:1], "noise", 1)
    assert found.ratio == pytest.approx(0.25) and math.isnan(found.standard_error)


def test_options_reach_the_model_and_the_corruption(images):
    model = Mixture(images, torch.ones(N))
    found = restoration(model, images, "noise", 1, seed=7, iterations=2, batch_size=25)
    assert model.batches == [25, 25, 10] and model.iterations_seen == [2, 2, 2]
    expected = (data.corrupt(images, "noise", 1, seed=7) - images).square().mean()
    assert found.mse_input == pytest.approx(float(expected))
    assert (
        found.mse_input != restoration(Mixture(images, torch.ones(N)), images, "noise", 1).mse_input
    )


def test_what_nothing_corrupts_cannot_be_restored():
    black = torch.zeros(2, 1, 28, 28)
    with pytest.raises(ValueError, match="dropout 3 changes none of the 2 images"):
        restoration(Mixture(black, torch.ones(2)), black, "dropout", 3)


def test_cards_name_the_three_numbers_of_every_kind_and_severity(images):
    expected = restoration(Mixture(images, torch.full((N,), 0.5)), images, "stripe", 4)
    for name, number in (
        ("restoration-stripe-4", expected.ratio),
        ("mse-restored-stripe-4", expected.mse_restored),
        ("mse-corrupted-stripe-4", expected.mse_input),
    ):
        assert measure(line(name), Mixture(images, torch.full((N,), 0.5))) == number
    for family in ("restoration", "mse-restored", "mse-corrupted"):
        names = {f"{family}-{kind}-{s}" for kind in data.CORRUPTIONS for s in range(1, 6)}
        assert names <= MEASURES.keys()


def test_a_network_with_feedback_is_measured_through_its_own_loop(images):
    torch.manual_seed(0)
    model = CNNF(feedback_to=0, iterations=2).eval()
    expected = restoration(model, images[:2], "blur", 3, iterations=2)
    assert isinstance(expected, Restoration)
    assert measure(line("restoration-blur-3", n=2), model) == expected.ratio
    assert expected.ratio != restoration(model, images[:2], "blur", 3, iterations=1).ratio


@pytest.mark.parametrize("name", ["restoration-noise-1", "mse-restored-noise-1"])
def test_a_model_without_feedback_restores_nothing(name):
    for model in (CNNF(iterations=0), nn.Linear(1, 1)):
        with pytest.raises(UnknownNameError, match=type(model).__name__):
            measure(line(name, n=2), model)
    assert measure(line("mse-corrupted-noise-1", n=2), CNNF(iterations=0)) > 0


@pytest.mark.parametrize("name", ["restoration-noise-1", "mse-restored-blur-2"])
def test_a_hundredth_is_tolerated(name):
    assert tolerance(line(name, value=0.43)) == pytest.approx(0.0043)
