"""Bits per dimension, traits, and scores of foreign images: against formulas and by counting."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from torch import Tensor, nn

from zoo import data, metrics
from zoo.data import ImageDataset
from zoo.errors import UnknownNameError
from zoo.metrics import image_likelihood
from zoo.metrics.image_likelihood import SCORES, SETS, Traits, auroc, foreign, traits
from zoo.models.image_cnf import ImageCNF
from zoo.registry import Metric
from zoo.training.randomness import generator


def line(metric: str, n: int, dataset: str = "toy") -> Metric:
    return Metric(dataset, "test", metric, 0.0, n, "zoo verify")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def model() -> ImageCNF:
    """A flow that does nothing but shift and scale."""
    torch.manual_seed(0)
    model = ImageCNF((1, 4, 4), width=16, blocks=1, alpha=0.01).eval()
    model.shift.fill_(-0.5)
    model.scale.fill_(1.5)
    return model


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> dict[str, ImageDataset]:
    """A data set of small images, each pixel with a few levels of its own."""
    sets = {}
    for seed, (split, n) in enumerate((("train", 400), ("test", 40))):
        stream = torch.Generator().manual_seed(seed)
        levels = torch.randint(4, (n, 1, 4, 4), generator=stream) * torch.arange(16).view(4, 4)
        labels = torch.zeros(n, dtype=torch.int64)
        sets[split] = ImageDataset("toy", split, levels.to(torch.uint8), labels, ["none"])
    monkeypatch.setattr(data, "load", lambda name, root, split="test": sets[split])
    return sets


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    inside, outside = draw(30).mul(2).round(), draw(40, seed=1).add(0.5).mul(2).round()
    pairs = [(b > a) + 0.5 * (b == a) for a in inside.tolist() for b in outside.tolist()]
    assert any(pair == 0.5 for pair in pairs)
    assert auroc(inside, outside) == pytest.approx(sum(pairs) / 1200, abs=1e-12)
    statistic = scipy.stats.mannwhitneyu(outside, inside).statistic
    assert auroc(inside, outside) == pytest.approx(statistic / 1200, abs=1e-12)
    assert auroc(inside, inside + 100) == 1
    assert auroc(inside, inside - 100) == 0
    assert auroc(torch.zeros(3), torch.zeros(5)) == 0.5


def test_of_two_normal_scores_it_is_the_known_integral() -> None:
    found = auroc(draw(20_000), draw(20_000, seed=1) + 1)
    assert found == pytest.approx(scipy.stats.norm.cdf(1 / math.sqrt(2)), abs=0.01)


def test_scores_are_distances_from_what_is_usual() -> None:
    usual, found = (Traits(*draw(4, n, seed=n)) for n in (50, 7))
    rows, centre = (np.stack([trait.numpy() for trait in t.columns()], 1) for t in (found, usual))
    mean = centre.mean(0)
    np.testing.assert_allclose(SCORES["likelihood"](found, usual), -rows[:, 0])
    for index, name in enumerate(("typicality", "norm", "energy")):
        np.testing.assert_allclose(SCORES[name](found, usual), abs(rows[:, index] - mean[index]))
    inverse = np.linalg.inv(np.cov(centre.T))
    expected = [scipy.spatial.distance.mahalanobis(row, mean, inverse) ** 2 for row in rows]
    np.testing.assert_allclose(SCORES["together"](found, usual), expected)


def test_traits_are_those_of_a_flow_that_does_nothing(model: ImageCNF) -> None:
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    found = traits(model, images)
    stream = generator(image_likelihood.SEED, "likelihood", 0)
    y = ((255 * images + torch.rand(images.shape, generator=stream)) / 256).double().flatten(1)
    a = 0.01 + 0.98 * y
    w = (a / (1 - a)).log()
    normal = torch.distributions.Normal(-0.5, 1.5).log_prob(w).sum(1)
    expected = normal + (0.98 / (a * (1 - a))).log().sum(1)
    # Within the tolerance of the solver.
    torch.testing.assert_close(found.log_prob, expected, rtol=0, atol=0.03)
    torch.testing.assert_close(found.norm, ((w + 0.5) / 1.5).square().sum(1), rtol=5e-3, atol=0)
    assert float(found.energy.min()) > 0


def test_an_image_has_its_draws_wherever_the_set_ends(
    model: ImageCNF, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_likelihood, "CHUNK", 2)
    images = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    solves = []
    solve = image_likelihood._solve
    monkeypatch.setattr(image_likelihood, "_recent", {})
    monkeypatch.setattr(image_likelihood, "_solve", lambda *a: solves.append(1) or solve(*a))
    whole, head = traits(model, images), traits(model, images[:4])
    assert len(solves) == 3  # those of the first four were solved before
    for one, other in zip(whole[:4].columns(), head.columns(), strict=True):
        assert torch.equal(one, other)
    model.shift.add_(0.1)
    assert not torch.equal(traits(model, images[:4]).log_prob, head.log_prob)
    assert len(solves) == 5


def test_lines_of_bits(model: ImageCNF, toy: dict[str, ImageDataset]) -> None:
    images = data.as_float(toy["test"].images[:6])
    bits = 8 - traits(model, images).log_prob / 16 / math.log(2)
    found = metrics.measure(line("bits-per-dimension", 6), model)
    assert found == pytest.approx(float(bits.mean()))
    error = metrics.measure(line("bits-per-dimension-standard-error", 6), model)
    assert error == pytest.approx(scipy.stats.sem(bits.numpy()))


def test_bits_of_histograms_are_those_of_counting(
    model: ImageCNF, toy: dict[str, ImageDataset]
) -> None:
    train, test = (toy[split].images.flatten(1).tolist() for split in ("train", "test"))
    total = 0.0
    for image in test[:5]:
        for pixel, level in enumerate(image):
            count = sum(other[pixel] == level for other in train)
            total -= math.log2((count + 1) / (400 + 256))
    found = metrics.measure(line("bits-per-dimension-of-histogram", 5), model)
    assert found == pytest.approx(total / 5 / 16)


def test_bits_of_a_gaussian_are_those_of_scipy(
    model: ImageCNF, toy: dict[str, ImageDataset]
) -> None:
    seed = image_likelihood.SEED
    z, _ = model.latent(data.as_float(toy["train"].images), generator(seed, "gaussian", "train"))
    test, volume = model.latent(
        data.as_float(toy["test"].images[:5]), generator(seed, "gaussian", "test")
    )
    z, test = (each.flatten(1).double().numpy() for each in (z, test))
    normal = scipy.stats.multivariate_normal(z.mean(0), np.cov(z.T))
    expected = 8 - (normal.logpdf(test) + volume.numpy()) / 16 / math.log(2)
    found = metrics.measure(line("bits-per-dimension-of-gaussian", 5), model)
    assert found == pytest.approx(expected.mean(), rel=1e-4)
    # A Gaussian of the right covariance knows more than a uniform model.
    assert found < 8


def test_lines_of_areas(model: ImageCNF, toy: dict[str, ImageDataset]) -> None:
    images = data.as_float(toy["test"].images[:12])
    own, noise = traits(model, images), traits(model, foreign("noise", images[:6]))
    expected = auroc(-own[:6].log_prob, -noise.log_prob)
    assert metrics.measure(line("auroc-noise-likelihood", 6), model) == expected
    centre = own[6:].norm.mean()
    expected = auroc((own[:6].norm - centre).abs(), (noise.norm - centre).abs())
    assert metrics.measure(line("auroc-noise-norm", 6), model) == expected


def test_foreign_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    digits = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 28, 28)
    asked = []

    def mnist(root: Path | None, split: str) -> ImageDataset:
        asked.append((root, split))
        labels = torch.zeros(6, dtype=torch.int64)
        return ImageDataset("mnist", split, digits, labels, ["none"])

    monkeypatch.setattr(image_likelihood, "mnist", mnist)
    found = {name: foreign(name, images, tmp_path) for name in SETS}
    assert asked == [(tmp_path, "test")]
    assert all(each.shape == images.shape for each in found.values())
    assert all(0 <= float(each.min()) <= float(each.max()) <= 1 for each in found.values())
    assert torch.equal(found["mnist"], digits[:4].float() / 255)
    assert torch.equal(found["upside-down"][:, :, 0], images[:, :, -1])
    assert torch.equal(found["negative"], 1 - images)
    assert torch.equal(found["constant"].amax((1, 2, 3)), found["constant"].amin((1, 2, 3)))
    assert len(found["constant"].amax((1, 2, 3)).unique()) > 1
    assert 0.45 < float(found["noise"].mean()) < 0.55
    for name in SETS:
        assert torch.equal(foreign(name, images, tmp_path), found[name])


@pytest.mark.parametrize("name", ["bits-per-dimension", "auroc-noise-energy"])
def test_other_models_have_none_of_these(name: str, toy: dict[str, ImageDataset]) -> None:
    measure: Callable[..., float] = metrics.MEASURES[name]
    with pytest.raises(UnknownNameError, match="Linear gives no likelihood of images"):
        measure(line(name, 4), nn.Linear(2, 2), None)


def test_a_repeated_measurement_may_differ_by_rounding_only() -> None:
    assert metrics.tolerance(line("bits-per-dimension", 1000)) == 0.005
