"""The terms of the deconvolutional objective: closed forms, and gradients by differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, Normal, kl_divergence

from zoo.models.batch_norm import Moments
from zoo.models.dgm import DGM
from zoo.training.few_labels import terms


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


LABELS = torch.tensor([0, 2, 1, 2])


def test_cross_entropy_is_the_mean_log_probability_of_the_label() -> None:
    logits = drawn(4, 3)
    expected = -(logits.softmax(1)[range(4), LABELS].log().mean())
    torch.testing.assert_close(
        terms.cross_entropy(logits, LABELS).double(), expected, rtol=1e-6, atol=1e-6
    )


def test_reconstruction_is_half_a_mean_square() -> None:
    images, rendered = drawn(2, 3, 4, 5), drawn(2, 3, 4, 5, seed=1)
    found = terms.reconstruction(images, rendered)
    torch.testing.assert_close(found.double(), F.mse_loss(images, rendered) / 2, rtol=1e-6, atol=0)
    assert terms.reconstruction(images, images) == 0


@pytest.mark.parametrize("classes", [3, 10])
def test_entropy_lies_between_minus_log_k_and_zero(classes: int) -> None:
    logits = drawn(6, classes)
    expected = Categorical(logits=logits).entropy().mean() - math.log(classes)
    torch.testing.assert_close(terms.entropy(logits).double(), expected, rtol=1e-5, atol=1e-6)
    sure = 1e4 * F.one_hot(torch.arange(classes), classes).double()
    assert terms.entropy(sure).item() == pytest.approx(-math.log(classes), rel=1e-6)
    assert terms.entropy(torch.zeros(2, classes)).item() == pytest.approx(0.0, abs=1e-6)


def test_moment_matching_is_the_divergence_of_gaussians() -> None:
    pairs, expected = [], torch.zeros(())
    for layer, channels in enumerate((3, 5)):
        down, up = (
            Moments(drawn(channels, seed=s), drawn(channels, seed=s + 1).square() + 0.1)
            for s in (10 * layer, 10 * layer + 5)
        )
        pairs.append((down, up))
        p, q = (Normal(m.mean.float(), m.variance.float().sqrt()) for m in (down, up))
        expected = expected + kl_divergence(p, q).mean()
    torch.testing.assert_close(terms.moment_matching(pairs), expected, rtol=1e-3, atol=1e-4)
    same = terms.moment_matching([(up, up) for _, up in pairs])
    assert same.item() == pytest.approx(0.0, abs=1e-6)


def test_path_normalisation_is_the_mean_distance_to_the_peak_of_the_class() -> None:
    scores, peaks = torch.tensor([1.0, 2.0, 3.0, -1.0]), torch.tensor([2.0, 3.0, 2.0])
    found = terms.path_normalisation(scores, peaks, LABELS, 10)
    assert found.item() == pytest.approx((1 + 0 + 0 + 3) / 4 / 10)


def test_path_normalisation_is_zero_without_biases() -> None:
    torch.manual_seed(0)
    model = DGM(normalisation="none", layers=[{"channels": 4, "kernel": 3, "pool": 2}])
    images = torch.rand(4, 1, 28, 28)
    _, latents = model.infer(images)
    scores = model.log_prior(latents, LABELS)
    assert terms.path_normalisation(scores, model.prior_peak(), LABELS, 784) == 0
    with torch.no_grad():
        model.units[0].bias.normal_()
    scores = model.log_prior(latents, LABELS)
    assert terms.path_normalisation(scores, model.prior_peak(), LABELS, 784) > 0


CHECKED = {
    "cross-entropy": (lambda a: terms.cross_entropy(a, LABELS), (drawn(4, 3),)),
    "reconstruction": (terms.reconstruction, (drawn(2, 1, 3, 3), drawn(2, 1, 3, 3, seed=1))),
    "entropy": (terms.entropy, (drawn(4, 3),)),
    "moments": (
        lambda a, b, c, d: terms.moment_matching([(Moments(a, b.exp()), Moments(c, d.exp()))]),
        tuple(drawn(3, seed=s) for s in range(4)),
    ),
    "path": (
        lambda a, b: terms.path_normalisation(a, b, LABELS, 2),
        (drawn(4), drawn(3, seed=1)),
    ),
}


@pytest.mark.parametrize("name", CHECKED)
def test_gradients_by_differences(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The terms work in float32; differences need float64.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    function, arguments = CHECKED[name]
    assert torch.autograd.gradcheck(function, arguments)
