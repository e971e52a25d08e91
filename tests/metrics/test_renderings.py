"""Renderings as cards measure them: against formulas written out here, and against what is real."""

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from torch import nn

from zoo import data
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.errors import UnknownNameError
from zoo.factory import create
from zoo.metrics import MEASURES, measure, tolerance
from zoo.metrics.generation import load_network
from zoo.metrics.renderings import (
    frechet_renderings,
    grey_network,
    reconstruction_error,
    render,
)
from zoo.models.cnnf import CNNF
from zoo.models.dgm import DGM
from zoo.registry import Metric

N = 120


class Copyist(nn.Module):
    """Renders what it is given, with noise of so many units and a part of its contrast."""

    def __init__(self, noise: float = 0.0, contrast: float = 1.0) -> None:
        super().__init__()
        self.device = nn.Parameter(torch.empty(0))
        self.noise, self.contrast = noise, contrast
        self.generator = torch.Generator().manual_seed(0)
        self.batches: list[int] = []

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        self.batches.append(len(images))
        noise = torch.randn(images.shape, generator=self.generator)
        return (self.contrast * images + self.noise * noise).clamp(0, 1)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return fashion_mnist_sample().images[: 2 * N]


@pytest.fixture(scope="module")
def network():
    return grey_network()


def line(name: str, n: int = N, value: float = 0.5, **changes: str) -> Metric:
    fields = {"dataset": "fashion-mnist-sample", "split": "test"} | changes
    return Metric(metric=name, value=value, n=n, command="zoo verify x --metrics", **fields)


def hidden(images: torch.Tensor) -> torch.Tensor:
    """The 128 features of `cnn-robust.corrupted`, written out from its weights."""
    state = create("cnn-robust.corrupted", pretrained=True).state_dict()
    x = data.as_float(images) * 2 - 1
    for index in range(4):
        x = F.conv2d(x, state[f"units.{index}.weight"], padding=1)
        x = x / x.square().mean((2, 3), keepdim=True).add(1e-8).sqrt()
        x = F.relu(x + state[f"units.{index}.bias"][:, None, None])
        x = F.max_pool2d(x, 2) if index >= 2 else x
    x = x.flatten(1)
    for index in (4, 5):
        x = F.relu(F.linear(x, state[f"units.{index}.weight"], state[f"units.{index}.bias"]))
    return x


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """|m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½), with the square root of another library."""
    first, second = a.double().numpy(), b.double().numpy()
    one, two = np.cov(first.T), np.cov(second.T)
    shift = first.mean(0) - second.mean(0)
    # A small ridge, because features that are always 0 have no variance.
    ridge = 1e-9 * np.eye(len(one))
    root = scipy.linalg.sqrtm((one + ridge) @ (two + ridge)).real
    return float(shift @ shift + np.trace(one + two - 2 * root))


def test_the_grey_network_is_read_in_front_of_its_last_layer(images, network):
    features, logits = network.function(data.as_float(images[:50]))
    assert features.shape == (50, 128) and network.name == "cnn-robust.corrupted"
    torch.testing.assert_close(features, hidden(images[:50]), rtol=1e-4, atol=1e-4)
    model = create("cnn-robust.corrupted", pretrained=True)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(data.as_float(images[:50])))


def test_real_against_real_is_the_first_images_against_those_that_follow(images):
    expected = distance(hidden(images[:N]), hidden(images[N:]))
    name = "frechet-renderings-cnn-robust-of-real"
    for model in (Copyist(noise=0.3), nn.Linear(1, 1)):
        assert measure(line(name), model) == pytest.approx(expected, rel=1e-3)


def test_perfect_renderings_are_as_far_away_as_real_images(images):
    floor = measure(line("frechet-renderings-cnn-robust-of-real"), Copyist())
    assert measure(line("frechet-renderings-cnn-robust"), Copyist()) == floor > 0


def test_the_distance_grows_with_noise_and_with_a_lack_of_contrast(images, network):
    def found(**changes: float) -> float:
        # From the very images that are rendered, so that nothing else makes a difference.
        return frechet_renderings(Copyist(**changes), network, images[:N], images[:N])

    assert found() == pytest.approx(0, abs=1e-3)
    assert 1 < found(noise=0.1) < 0.5 * found(noise=0.3)
    assert 1 < found(contrast=0.7) < 0.5 * found(contrast=0.4)


def test_the_order_of_images_does_not_matter(images, network):
    first, second = images[:N], images[N:]
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    found = frechet_renderings(Copyist(contrast=0.7), network, first, second)
    other = frechet_renderings(Copyist(contrast=0.7), network, first[order], second.flip(0))
    assert other == pytest.approx(found, rel=1e-5)


def test_the_error_of_a_reconstruction_is_written_out(images):
    given = data.as_float(images[:N]).double()
    expected = 0.25 * float(given.square().mean())
    assert measure(line("reconstruction-error"), Copyist(contrast=0.5)) == pytest.approx(expected)
    assert reconstruction_error(Copyist(), images[:7]) == 0


def test_images_are_rendered_in_batches_and_stay_in_order(images):
    model = Copyist(contrast=0.5)
    found = render(model, images[:180].repeat(2, 1, 1, 1))
    assert model.batches == [250, 110]
    torch.testing.assert_close(found, 0.5 * data.as_float(images[:180]).repeat(2, 1, 1, 1))


def test_a_network_with_feedback_is_measured_through_its_own_loop(images):
    torch.manual_seed(0)
    model = CNNF(feedback_to=0, iterations=1).eval()
    with torch.no_grad():
        expected = (
            model.reconstruct(data.as_float(images[:3])) - data.as_float(images[:3])
        ).square()
    assert measure(line("reconstruction-error", n=3), model) == pytest.approx(
        float(expected.mean())
    )


def test_a_generative_model_renders_its_prediction_without_a_loop(images):
    torch.manual_seed(0)
    layers = [{"channels": 4, "kernel": 5, "padding": 2, "pool": 2}]
    model, given = DGM(layers=layers).eval(), data.as_float(images[:20])
    with torch.no_grad():
        logits, latents = model.infer(given)
        expected = (model.render(logits.argmax(1), latents) - given).square().mean()
    assert measure(line("reconstruction-error", n=20), model) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", ["reconstruction-error", "frechet-renderings-cnn-robust"])
def test_a_model_that_renders_nothing_is_refused(name):
    for model in (CNNF(iterations=0), nn.Linear(1, 1)):
        with pytest.raises(UnknownNameError, match=f"{type(model).__name__} that is no renderer"):
            measure(line(name, n=2), model)


@pytest.mark.parametrize("n", [1, 501])
def test_each_side_has_its_own_images(n):
    with pytest.raises(ValueError, match=f"n is 2 to 500, found {n}"):
        measure(line("frechet-renderings-cnn-robust-of-real", n=n), Copyist())


def test_sides_of_different_numbers_are_refused(images, network):
    with pytest.raises(ValueError, match="as many images on both sides, found 3 and 2"):
        frechet_renderings(Copyist(), network, images[:3], images[3:5])


def test_colour_images_have_a_network_of_their_own(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (40, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.zeros(40, dtype=torch.int64)
    found = data.ImageDataset("cifar-10", "test", pictures, labels, ["one"])
    monkeypatch.setattr(data, "load", lambda name, root, split: found)
    features = load_network("resnet20-cifar").function
    with torch.no_grad():
        first, second = (features(data.as_float(part))[0] for part in pictures.split(20))
    expected = distance(first, second)
    metric = line("frechet-renderings-resnet20-of-real", n=20, dataset="cifar-10")
    assert measure(metric, Copyist()) == pytest.approx(expected, rel=2e-2)


def test_cards_name_the_metrics_and_a_hundredth_is_tolerated():
    names = {"reconstruction-error"} | {
        f"frechet-renderings-{network}{of}"
        for network in ("cnn-robust", "resnet20")
        for of in ("", "-of-real")
    }
    assert names <= MEASURES.keys()
    for name in names:
        assert tolerance(line(name, value=0.43)) == pytest.approx(0.0043)
