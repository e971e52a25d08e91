"""Auto-PGD against closed forms and against Algorithm 1, written out for one image."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from zoo.metrics.apgd import checkpoints, cross_entropy, dlr
from zoo.metrics.robustness import apgd, pgd, random_start


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(weight: Tensor, bias: float = 0.0):
    """Logits (bias, w.x): with label 0 the worst case within epsilon adds epsilon * ||w||_1."""

    def predict(images: Tensor) -> Tensor:
        score = images.flatten(1) @ weight
        return torch.stack([torch.full_like(score, bias), score], 1)

    return predict


def network(seed: int, classes: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Linear(25, 16), nn.Tanh(), nn.Linear(16, classes)
    return nn.Sequential(nn.Flatten(), *layers).double()


def flat(images: Tensor) -> Tensor:
    """Logits 3 x_0, 2 x_1, x_2."""
    return images.flatten(1)[:, :3] * torch.tensor([3.0, 2.0, 1.0])


class Counter:
    """A predict that notes how many images it is asked about, call by call."""

    def __init__(self, predict) -> None:
        self.predict, self.sizes = predict, []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return self.predict(images)


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(25, generator=generator(1), dtype=torch.float64)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(12, 1, 5, 5, generator=generator(2), dtype=torch.float64)


def test_a_linear_model_meets_its_worst_case(weight, images):
    # Pixels are as near to 0 and 1 as can be, so the box matters; the bias lets no image fall.
    worst = (images + 0.1 * weight.sign().view(5, 5)).clamp(0, 1)
    assert (worst != images + 0.1 * weight.sign().view(5, 5)).any()
    predict = linear(weight, bias=float(weight.abs().sum()))
    labels = torch.zeros(12, dtype=torch.long)
    hard = apgd(predict, images, labels, epsilon=0.1, steps=3, generator=generator())
    torch.testing.assert_close(hard, worst, rtol=0, atol=1e-15)


def test_a_linear_model_loses_exactly_the_images_within_reach(weight):
    inner = 0.3 + 0.4 * torch.rand(60, 1, 5, 5, generator=generator(3), dtype=torch.float64)
    weight = weight - weight.mean()
    scores = linear(weight)(inner)[:, 1]
    labels = (scores > 0).long()
    safe = scores.abs() > 0.05 * weight.abs().sum()
    hard = apgd(linear(weight), inner, labels, epsilon=0.05, steps=5, generator=generator())
    assert 0 < safe.sum() < 60
    assert torch.equal(linear(weight)(hard).argmax(1) == labels, safe)


def test_the_step_length_shrinks_onto_a_peak_inside_the_ball(images):
    peak = 0.2 + 0.6 * torch.rand(25, generator=generator(4), dtype=torch.float64)
    start = (peak + 0.05 * torch.linspace(-1, 1, 25)).view(1, 1, 5, 5)

    def hill(images: Tensor) -> Tensor:
        height = -((images.flatten(1) - peak) ** 2).sum(1)
        return torch.stack([torch.ones_like(height), height], 1)

    attack = {"labels": torch.tensor([0]), "epsilon": 0.1, "generator": generator()}
    fixed = pgd(hill, start, step=0.2, steps=100, **attack)
    found = apgd(hill, start, steps=100, **attack)
    assert (fixed.flatten() - peak).abs().max() > 0.05
    assert (found.flatten() - peak).abs().max() < 0.005


@pytest.mark.parametrize("steps", [1, 5, 20, 33, 100, 250, 1000])
def test_checkpoints_follow_the_recursion_of_the_paper(steps):
    shares = [Fraction(0), Fraction(22, 100)]
    while shares[-1] < 1:
        gap = max(shares[-1] - shares[-2] - Fraction(3, 100), Fraction(6, 100))
        shares.append(shares[-1] + gap)
    assert list(checkpoints(steps)) == sorted({math.ceil(p * steps) for p in shares if p < 1})


def test_the_checkpoints_of_a_hundred_steps():
    assert checkpoints(100) == (0, 22, 41, 57, 70, 80, 87, 93, 99)


def test_dlr_by_hand():
    logits = torch.tensor([[4.0, 1.0, 3.0, -2.0, 0.0]]).expand(5, 5)
    # Best is 4, third is 1; against label 0 the best other is 3, against the rest it is 4.
    expected = torch.tensor([(3 - 4) / 3, (4 - 1) / 3, (4 - 3) / 3, (4 + 2) / 3, (4 - 0) / 3])
    torch.testing.assert_close(dlr(logits, torch.arange(5)), expected)


def test_dlr_of_equal_logits_is_zero_and_has_a_finite_gradient():
    logits = torch.ones(2, 3, requires_grad=True)
    losses = dlr(logits, torch.tensor([0, 2]))
    losses.sum().backward()
    assert torch.equal(losses.detach(), torch.zeros(2))
    assert logits.grad.isfinite().all()


def test_dlr_knows_neither_shift_nor_scale():
    logits = torch.randn(9, 6, generator=generator(5), dtype=torch.float64)
    labels = torch.arange(9) % 6
    torch.testing.assert_close(dlr(1e4 * logits - 70, labels), dlr(logits, labels))
    assert not torch.allclose(dlr(-logits, labels), dlr(logits, labels))


def test_dlr_breaks_a_model_whose_cross_entropy_has_no_gradient():
    weight = torch.randn(3, 25, generator=generator(6))
    images = torch.rand(20, 1, 5, 5, generator=generator(7))

    def predict(images: Tensor) -> Tensor:
        return 1e5 * images.flatten(1) @ weight.T

    labels = predict(images).argmax(1)
    standing = {}
    for loss in ("ce", "dlr"):
        hard = apgd(
            predict, images, labels, epsilon=0.3, steps=10, loss=loss, generator=generator()
        )
        standing[loss] = int((predict(hard).argmax(1) == labels).sum())
    assert standing["ce"] > standing["dlr"] == 0


def by_the_book(predict, image, label, start, epsilon, steps, objective):
    """Algorithm 1 for one image: its points until one is wrong, the best, why η was halved."""

    def project(x):
        return torch.maximum(torch.minimum(x, image + epsilon), image - epsilon).clamp(0, 1)

    def look(x):
        x = x.clone().requires_grad_(True)
        value = objective(predict(x), label).sum()
        return x.detach(), value.item(), torch.autograd.grad(value, x)[0]

    w = checkpoints(steps)
    points = [start]
    before = current = best = look(start)
    eta, rose, eta_at, best_at, reasons = 2 * epsilon, [], {}, {}, []
    for k in range(1, steps + 1):
        if predict(points[-1]).argmax() != label:
            break
        alpha, (x, f, gradient) = 1 if k == 1 else 0.75, current
        z = project(x + eta * gradient.sign())
        new = look(project(x + alpha * (z - x) + (1 - alpha) * (x - before[0])))
        rose.append(new[1] > f)
        points.append(new[0])
        best = new if new[1] > best[1] else best
        before, current = current, new
        if k in w:
            j = w.index(k)
            eta_at[j], best_at[j] = eta, best[1]
            few = sum(rose[w[j - 1] :]) < 0.75 * (w[j] - w[j - 1])
            # As in the authors' code, the first checkpoint has none before it to compare with.
            stuck = j > 1 and eta_at[j - 1] == eta and best_at[j - 1] == best_at[j]
            if few or stuck:
                eta, current = eta / 2, best
                reasons.append((few, stuck))
    return points, best[0], reasons


def two_hills(threshold: float):
    """Logits (threshold, hill, hill): ill-conditioned parabolas with peaks of height 0."""
    slope = torch.randn(2, 9, 9, generator=generator(4), dtype=torch.float64)
    peaks = torch.tensor([0.5, 0.52], dtype=torch.float64).view(2, 1, 1)

    def predict(images: Tensor) -> Tensor:
        hills = -((images.flatten(1) - peaks) @ slope).square().sum(2).T
        return torch.cat([torch.full_like(hills[:, :1], threshold), hills], 1)

    return predict


@pytest.mark.parametrize(("loss", "threshold"), [("ce", 0.0), ("ce", -0.01), ("dlr", -0.01)])
def test_every_point_is_that_of_algorithm_1(loss, threshold):
    model, objective = two_hills(threshold), {"ce": cross_entropy, "dlr": dlr}[loss]
    images = 0.42 + 0.16 * torch.rand(12, 1, 3, 3, generator=generator(6), dtype=torch.float64)
    labels, epsilon, steps, seen = torch.zeros(12, dtype=torch.long), 0.06, 40, []

    def predict(batch: Tensor) -> Tensor:
        seen.append(batch.detach().clone())
        return model(batch)

    hard = apgd(
        predict, images, labels, epsilon=epsilon, steps=steps, loss=loss, generator=generator(1)
    )
    start = random_start(images, epsilon, generator(1))
    runs = [
        by_the_book(model, *one, epsilon, steps, objective)
        for one in zip(*(t.split(1) for t in (images, labels, start)), strict=True)
    ]
    lengths = [len(points) for points, _, _ in runs]
    if threshold == 0:  # above every hill but its peak: no image falls
        assert set(lengths) == {steps + 1}
        assert {(True, False), (False, True)} <= {r for _, _, reasons in runs for r in reasons}
    else:
        assert len(set(lengths)) > 5
    assert torch.equal(seen[0], images)
    assert len(seen) == 1 + max(lengths)
    for k, batch in enumerate(seen[1:]):
        expected = torch.cat([points[k] for points, _, _ in runs if len(points) > k])
        torch.testing.assert_close(batch, expected, rtol=0, atol=1e-12)
    for found, (points, best, _) in zip(hard, runs, strict=True):
        fell = model(points[-1]).argmax() != 0
        torch.testing.assert_close(found[None], points[-1] if fell else best, rtol=0, atol=1e-12)


def test_images_cost_nothing_once_they_are_wrong():
    predict = Counter(two_hills(-0.01))
    images = 0.42 + 0.16 * torch.rand(40, 1, 3, 3, generator=generator(2), dtype=torch.float64)
    labels = torch.zeros(40, dtype=torch.long)
    labels[:5] = 1
    hard = apgd(predict, images, labels, epsilon=0.06, steps=20, generator=generator())
    assert torch.equal(hard[:5], images[:5])
    assert predict.sizes[:2] == [40, 35]
    assert all(later <= sooner for sooner, later in pairwise(predict.sizes))
    standing = int((predict.predict(hard).argmax(1) == labels).sum())
    assert 0 < standing <= predict.sizes[-1] < 35


def test_a_model_that_is_always_wrong_is_asked_once(weight, images):
    predict = Counter(linear(weight))
    labels = 1 - linear(weight)(images).argmax(1)
    assert torch.equal(apgd(predict, images, labels, epsilon=0.1), images)
    assert predict.sizes == [12]


def test_restarts_go_on_with_what_still_stands_and_lose_nothing():
    # A bumpy landscape: where a run ends depends on where it began.
    images = 0.3 + 0.4 * torch.rand(8, 1, 5, 5, generator=generator(2))

    def bumpy(images: Tensor) -> Tensor:
        score = torch.sin(40 * images).flatten(1).sum(1)
        return torch.stack([torch.full_like(score, 23.5), score], 1)

    attack = {"labels": torch.zeros(8, dtype=torch.long), "epsilon": 0.1, "steps": 4}
    found = [
        bumpy(apgd(bumpy, images, generator=generator(5), restarts=n, **attack))[:, 1]
        for n in (1, 6)
    ]
    broken = [score > 23.5 for score in found]
    assert (broken[1] | ~broken[0]).all()
    assert (found[1] >= found[0])[~broken[1]].all() and (found[1] > found[0]).any()


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_result_is_in_the_ball_and_a_function_of_the_seed(loss, dtype, images):
    model, images = network(1).to(dtype), images.to(dtype)
    copy, labels = images.clone(), model(images).argmax(1)

    def attack(seed: int) -> Tensor:
        return apgd(
            model, images, labels, epsilon=0.05, steps=4, loss=loss, generator=generator(seed)
        )

    hard = attack(1)
    assert hard.dtype == dtype and not hard.requires_grad
    assert hard.min() >= 0 and hard.max() <= 1
    assert 0.04 < (hard - images).abs().max() <= 0.05 + 1e-6
    assert torch.equal(hard, attack(1)) and not torch.equal(hard, attack(2))
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(images, copy)
    with torch.no_grad():
        assert torch.equal(attack(1), hard)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": math.nan}, "epsilon"),
        ({"epsilon": math.inf}, "epsilon"),
        ({"steps": 0}, "steps"),
        ({"restarts": 0}, "restarts"),
        ({"loss": "hinge"}, "ce, dlr, found 'hinge'"),
        ({"loss": "dlr", "predict": lambda x: 3 * x.flatten(1)[:, :2]}, "three classes, found 2"),
        ({"images": torch.full((2, 1, 5, 5), 1.01)}, r"\[0, 1\]"),
        ({"images": torch.full((2, 25), 0.5)}, "shape"),
        ({"images": torch.zeros(0, 1, 5, 5), "labels": torch.zeros(0).long()}, "found none"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "labels"),
        ({"labels": torch.zeros(2)}, "int64"),
        ({"labels": torch.tensor([0, 3])}, r"0 \.\.\. 2"),
        ({"predict": lambda x: x.flatten(1)[:, :3].softmax(1)}, "softmax"),
        ({"predict": lambda x: x.flatten(1)[:, :3] / 0}, "finite"),
        ({"predict": lambda x: x.flatten(1)[:, :3].detach()}, "square"),
        # The root of zero is finite, its gradient is not.
        ({"predict": lambda x: flat(x) + (0 * x.flatten(1)[:, :3]).sqrt()}, "finite gradients"),
    ],
)
def test_bad_input_is_refused(change, word):
    arguments = {
        "predict": flat,
        "images": torch.full((2, 1, 5, 5), 0.5),
        "labels": torch.zeros(2, dtype=torch.long),
        "epsilon": 0.1,
        "steps": 2,
    } | change
    with pytest.raises(ValueError, match=word):
        apgd(**arguments)
