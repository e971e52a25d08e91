"""Training to restore: the objective against its formula, the schedule, and that it restores."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.models.by_the_book import Book
from zoo import training
from zoo.data import corrupt_randomly
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.models.cnnf import CNNF
from zoo.training.restoring import RestoringSettings, fit, objective, warmup_and_cosine

SETTINGS = RestoringSettings(
    epochs=4,
    images=320,
    batch_size=32,
    learning_rate=0.003,
    clip=1.0,
    iterations=1,
    reconstruction_weight=5.0,
    warmup=5,
    threads=1,
    precision="bfloat16",
)


@pytest.fixture
def model() -> CNNF:
    torch.manual_seed(0)
    return CNNF(feedback_to=0, damping=0.3)


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_objective_and_gradients_are_the_formulas(model: CNNF, iterations: int) -> None:
    generator = torch.Generator().manual_seed(1)
    images, corrupted = torch.rand(2, 5, 1, 28, 28, generator=generator)
    labels = torch.randint(10, (5,), generator=generator)
    settings = replace(SETTINGS, iterations=iterations)
    loss, terms = objective(model, images, corrupted, labels, settings)
    logits, _, reconstructions = Book(model, 0.3, 0).run(corrupted, iterations)
    expected = torch.stack([F.cross_entropy(y, labels) for y in logits]).mean()
    if iterations:
        errors = [F.mse_loss(rendered[0], 2 * images - 1) for rendered in reconstructions]
        expected = expected + 5.0 * torch.stack(errors).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert ("reconstruction" in terms) == (iterations > 0)
    mine = torch.autograd.grad(loss, list(model.parameters()))
    book = torch.autograd.grad(expected, list(model.parameters()))
    for a, b in zip(mine, book, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-4)


def test_learning_rate_rises_then_falls_along_a_cosine() -> None:
    factors = [warmup_and_cosine(step, 10, 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == pytest.approx(0.5 * (1 + math.cos(0.09 * math.pi)))
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    assert warmup_and_cosine(0, 0, 100) == 1.0


@pytest.mark.slow
def test_a_minute_of_training_already_restores_noise(model: CNNF, tmp_path: Path) -> None:
    """On images that it was not trained on, and in no way before the training."""
    sample = fashion_mnist_sample()
    images = sample.images[800:].float() / 255
    noisy = corrupt_randomly(images, torch.Generator().manual_seed(1), ("noise",), clean=0.0)

    def ratio() -> float:
        with torch.no_grad():
            restored = model.eval().reconstruct(noisy, 1)
        return float((restored - images).square().mean() / (noisy - images).square().mean())

    before = ratio()
    run = training.Run(
        tmp_path / "run", SETTINGS, name="toy", source=Path(__file__), command="python toy.py"
    )
    with run:
        fit(model, sample, replace(SETTINGS, kinds=("noise",)), run)
    assert before > 2
    assert ratio() < 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"clean_share": 1.5}, "clean_share: expected 0 to 1"),
        ({"warmup": -1}, "warmup: expected at least 0"),
        ({"kinds": ("noise", "fire")}, "kinds: expected of noise"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, object], expected: str) -> None:
    with pytest.raises(training.SettingsError, match=expected):
        RestoringSettings(**change)
