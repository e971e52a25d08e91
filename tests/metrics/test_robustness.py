import math

import pytest
import torch
from torch import Tensor, nn

from zoo.metrics.robustness import (
    accuracy,
    fgsm,
    pgd,
    random_start,
    robust_accuracy,
    standard_error,
)


def linear(weight: Tensor):
    """Logits (0, w.x): with label 0 the worst case within epsilon adds epsilon * ||w||_1."""

    def predict(images: Tensor) -> Tensor:
        score = images.flatten(1) @ weight
        return torch.stack([torch.zeros_like(score), score], 1)

    return predict


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(25, generator=generator(1))


@pytest.fixture
def interior() -> Tensor:
    return 0.3 + 0.4 * torch.rand(8, 1, 5, 5, generator=generator(2))


def test_pgd_reaches_the_worst_case_of_a_linear_model(weight, interior):
    labels = torch.tensor([0, 1] * 4)
    hard = pgd(
        linear(weight), interior, labels, epsilon=0.1, step=0.03, steps=10, generator=generator()
    )
    change = linear(weight)(hard)[:, 1] - linear(weight)(interior)[:, 1]
    expected = 0.1 * weight.abs().sum() * torch.tensor([1.0, -1.0] * 4)
    torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-5)


def test_fgsm_is_exact_for_a_linear_model_and_stops_at_the_box(weight):
    images = torch.cat([torch.zeros(1, 1, 5, 5), torch.ones(1, 1, 5, 5)])
    hard = fgsm(linear(weight), images, torch.tensor([0, 0]), epsilon=0.1)
    expected = (images + 0.1 * weight.sign().view(5, 5)).clamp(0, 1)
    torch.testing.assert_close(hard, expected)


@pytest.mark.parametrize("steps", [1, 7])
def test_pgd_stays_in_the_ball_and_in_the_box(steps):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 16), nn.ReLU(), nn.Linear(16, 3))
    images = torch.rand(16, 1, 5, 5, generator=generator(4))
    labels = torch.arange(16) % 3
    hard = pgd(model, images, labels, epsilon=0.2, step=0.15, steps=steps, generator=generator())
    assert not hard.requires_grad
    assert hard.min() >= 0 and hard.max() <= 1
    assert (hard - images).abs().max() <= 0.2 + 1e-6
    before, after = (nn.functional.cross_entropy(model(x), labels) for x in (images, hard))
    assert after > before


def test_the_attack_leaves_parameters_and_images_alone(interior):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 3))
    copy = interior.clone()
    pgd(model, interior, torch.zeros(8, dtype=torch.long), epsilon=0.1, step=0.1, steps=3)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not interior.requires_grad and torch.equal(interior, copy)


def test_the_attack_works_inside_no_grad(weight, interior):
    labels = torch.zeros(8, dtype=torch.long)
    outside = fgsm(linear(weight), interior, labels, epsilon=0.1)
    with torch.no_grad():
        inside = fgsm(linear(weight), interior, labels, epsilon=0.1)
    assert torch.equal(inside, outside)


def test_the_same_generator_gives_the_same_attack(interior):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 16), nn.Tanh(), nn.Linear(16, 3))
    labels = torch.zeros(8, dtype=torch.long)

    def attack(seed: int) -> Tensor:
        return pgd(
            model, interior, labels, epsilon=0.1, step=0.02, steps=1, generator=generator(seed)
        )

    assert torch.equal(attack(1), attack(1))
    assert not torch.equal(attack(1), attack(2))


def test_restarts_keep_the_largest_margin_of_each_image(interior):
    # A bumpy landscape: where a run ends depends on where it began.
    def bumpy(images: Tensor) -> Tensor:
        score = torch.sin(40 * images).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)

    labels = torch.zeros(8, dtype=torch.long)
    shared = generator(5)
    single = [
        pgd(bumpy, interior, labels, epsilon=0.1, step=0.01, steps=4, generator=shared)
        for _ in range(4)
    ]
    together = pgd(
        bumpy, interior, labels, epsilon=0.1, step=0.01, steps=4, generator=generator(5), restarts=4
    )
    best = torch.stack([bumpy(x)[:, 1] for x in single]).amax(0)
    torch.testing.assert_close(bumpy(together)[:, 1], best)
    assert (best > bumpy(single[0])[:, 1]).any()


def test_random_start_fills_the_ball(interior):
    start = random_start(interior, 0.05, generator())
    distance = (start - interior).abs()
    assert 0.045 < distance.max() <= 0.05 + 1e-6
    assert abs((start - interior).mean()) < 0.01


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"epsilon": math.nan}, "epsilon"),
        ({"step": 0.0}, "step"),
        ({"steps": 0}, "steps"),
        ({"restarts": 0}, "restarts"),
        ({"images": torch.full((2, 1, 5, 5), 1.01)}, r"\[0, 1\]"),
        ({"images": torch.full((2, 1, 5, 5), math.nan)}, r"\[0, 1\]"),
        ({"images": torch.zeros(2, 1, 5, 5, dtype=torch.uint8)}, "uint8"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "labels"),
        ({"predict": lambda x: x.flatten(1)[:, :3].softmax(1)}, "softmax"),
        ({"predict": lambda x: x.flatten(1)[:, :3] / 0}, "finite"),
        ({"predict": lambda x: x.flatten(1)[:, 0]}, "shape"),
        ({"start": torch.zeros(2, 1, 5, 5), "restarts": 2}, "restarts"),
    ],
)
def test_bad_input_is_refused(weight, change, word):
    arguments = {
        "predict": linear(weight),
        "images": torch.full((2, 1, 5, 5), 0.5),
        "labels": torch.zeros(2, dtype=torch.long),
        "epsilon": 0.1,
        "step": 0.1,
        "steps": 1,
    } | change
    with pytest.raises(ValueError, match=word):
        pgd(**arguments)


def test_accuracy_counts_every_image_once_whatever_the_batches(weight):
    images = torch.rand(23, 1, 5, 5, generator=generator(6))
    labels = linear(weight)(images).argmax(1)
    labels[:5] = 1 - labels[:5]
    for batch_size in (1, 7, 23, 100):
        assert accuracy(linear(weight), images, labels, batch_size) == 18 / 23


def test_robust_accuracy_is_the_share_outside_the_margin(weight):
    images = 0.3 + 0.4 * torch.rand(40, 1, 5, 5, generator=generator(7))
    predict = linear(weight - weight.mean())
    scores = predict(images)[:, 1]
    labels = (scores > 0).long()
    reach = 0.05 * (weight - weight.mean()).abs().sum()
    expected = float((scores.abs() > reach).float().mean())
    assert 0 < expected < 1
    for batch_size in (7, 40):
        measured = robust_accuracy(
            predict, images, labels, epsilon=0.05, step=0.02, steps=10, batch_size=batch_size
        )
        assert measured == pytest.approx(expected)


def test_robust_accuracy_does_not_depend_on_the_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 16), nn.Tanh(), nn.Linear(16, 2))
    images = torch.rand(50, 1, 5, 5, generator=generator(8))
    labels = model(images).argmax(1)

    def measured(batch_size: int) -> float:
        return robust_accuracy(
            model,
            images,
            labels,
            epsilon=0.05,
            step=0.02,
            steps=1,
            generator=generator(9),
            batch_size=batch_size,
        )

    assert measured(50) == measured(7)


def test_a_transfer_attack_is_made_on_the_other_network(weight, interior):
    labels = linear(weight)(interior).argmax(1)
    blind = linear(torch.zeros(25))  # no gradient, so the attack only finds its random start
    attack = {"epsilon": 0.3, "step": 0.1, "steps": 5}
    transfer = robust_accuracy(
        linear(weight), interior, labels, attacked=blind, generator=generator(), **attack
    )
    white_box = robust_accuracy(linear(weight), interior, labels, generator=generator(), **attack)
    assert white_box == 0
    assert transfer > white_box


def test_standard_error():
    assert standard_error(0.5, 100) == pytest.approx(0.05)
    assert standard_error(1.0, 10) == 0
