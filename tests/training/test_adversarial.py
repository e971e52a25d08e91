"""The objective against its formula by the book, and the attack that goes with it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.by_the_book import Book
from zoo.models.cnnf import CNNF
from zoo.training.adversarial import AdversarialSettings, attack, objective


def draw(seed: int, n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 28, 28, generator=generator)
    return images, torch.randint(10, (n,), generator=generator)


@pytest.fixture
def model() -> CNNF:
    torch.manual_seed(0)
    return CNNF()


def formula(model: CNNF, images: Tensor, hard: Tensor, labels: Tensor, c: float, k: int) -> Tensor:
    """The loss as the docstring has it, clean and attacked images side by side."""
    n = len(images)
    book = Book(model, model.damping, model.loop_from)
    logits, features, reconstructions = book.run(torch.cat([images, hard]), k)
    loss = torch.zeros(())
    for y in logits:
        loss = loss + c * F.cross_entropy(y[:n], labels) + F.cross_entropy(y[n:], labels)
    loss = loss / (2 * (k + 1))
    for rendered in reconstructions:
        for found, target in zip(rendered, features[0], strict=True):
            loss = loss + 0.1 * F.mse_loss(found[n:], target[:n]) / (len(rendered) * k)
    return loss


@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_objective_and_gradients_are_the_formulas(model: CNNF, iterations: int) -> None:
    (images, labels), (hard, _) = draw(1), draw(2)
    settings = AdversarialSettings(iterations=iterations, clean_weight=0.3)
    loss, terms = objective(model, images, hard, labels, settings)
    expected = formula(model, images, hard, labels, 0.3, iterations)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert ("reconstruction" in terms) == (iterations > 0)
    mine = torch.autograd.grad(loss, list(model.parameters()))
    book = torch.autograd.grad(expected, list(model.parameters()))
    for a, b in zip(mine, book, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_bfloat16_is_near_float32(model: CNNF) -> None:
    (images, labels), (hard, _) = draw(1, 16), draw(2, 16)
    settings = AdversarialSettings()
    exact, _ = objective(model, images, hard, labels, settings)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = objective(model, images, hard, labels, settings)
    torch.testing.assert_close(rough, exact, rtol=0.03, atol=0.0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_attack_stays_in_its_ball_and_makes_images_harder(model: CNNF, precision: str) -> None:
    images, labels = draw(3, 16)
    settings = AdversarialSettings(precision=precision)
    hard = attack(model, images, images, labels, settings)
    assert hard.dtype == torch.float32
    assert (hard - images).abs().max() <= settings.epsilon + 1e-6
    assert hard.min() >= 0
    assert hard.max() <= 1
    before, after = (F.cross_entropy(model(x, 0), labels) for x in (images, hard))
    assert after > before
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
