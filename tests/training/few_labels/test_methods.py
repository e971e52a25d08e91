"""The methods' losses against closed forms, and how images are perturbed."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.training import SettingsError
from zoo.training.few_labels.mean_teacher import (
    MeanTeacher,
    consistency,
    sigmoid_ramp,
    teacher_decay,
)
from zoo.training.few_labels.methods import Batch, make, perturb, predict, translate
from zoo.training.few_labels.pseudo_labels import PseudoLabels, linear_ramp, pseudo_label_loss
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.few_labels.supervised import Supervised

SETTINGS = FewLabelsSettings(steps=100, method="supervised")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4))


def never() -> Tensor:
    raise AssertionError("only one view of the images is needed")


def batch(labelled: int = 3, unlabelled: int = 5, again: Callable[[], Tensor] = never) -> Batch:
    images = torch.rand(labelled + unlabelled, 3, 2, 2, generator=seeded())
    labels = torch.randint(4, (labelled,), generator=seeded(1))
    return Batch(images[:labelled], labels, images[labelled:], again)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def logits(model: nn.Module, images: Tensor) -> np.ndarray:
    """Those of `linear()` in float64, by NumPy."""
    weight, bias = (each.detach().double().numpy() for each in model.parameters())
    return images.flatten(1).double().numpy() @ weight.T + bias


def cross_entropy(z: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(softmax(z)[np.arange(len(z)), labels]).mean())


def test_the_supervised_loss_is_the_cross_entropy_of_the_labelled_images() -> None:
    model, given = linear(), batch()
    expected = cross_entropy(logits(model, given.labelled), given.labels.numpy())
    loss, terms = Supervised().loss(model, given, 0)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert terms["cross_entropy"].item() == loss.item()
    assert not terms["cross_entropy"].requires_grad


def test_the_supervised_loss_never_looks_at_unlabelled_images() -> None:
    given = batch()
    poisoned = replace(given, unlabelled=torch.full_like(given.unlabelled, math.nan))
    model = nn.Sequential(nn.BatchNorm2d(3), linear())
    expected = Supervised().loss(model, replace(given, unlabelled=given.unlabelled[:0]), 0)[0]
    assert Supervised().loss(model, poisoned, 0)[0].item() == expected.item()


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0), (9.9, 0), (10, 0), (35, 0.5), (47.5, 0.75), (60, 1), (99, 1)]
)
def test_the_weight_of_pseudo_labels_rises_in_a_straight_line(step: float, expected: float) -> None:
    assert linear_ramp(step, 10, 60) == pytest.approx(expected)


def test_a_ramp_of_no_length_is_a_step() -> None:
    assert [linear_ramp(step, 10, 10) for step in (9, 10, 11)] == [0, 1, 1]
    assert sigmoid_ramp(0, 0) == 1


def test_the_gradient_of_pseudo_labels_is_that_of_cross_entropy_with_the_argmax() -> None:
    """d/dz = (softmax(z) - onehot(argmax z)) / U: the label is a constant."""
    z = torch.randn(6, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    loss = pseudo_label_loss(z)
    loss.backward()
    own = z.detach().numpy()
    p, label = softmax(own), own.argmax(1)
    assert loss.item() == pytest.approx(-np.log(p.max(1)).mean())
    np.testing.assert_allclose(z.grad.numpy(), (p - np.eye(4)[label]) / 6, atol=1e-14)


@pytest.mark.parametrize(("step", "ramp"), [(0, 0.0), (10, 0.0), (35, 0.5), (80, 1.0)])
def test_the_loss_with_pseudo_labels_is_that_of_the_paper(step: int, ramp: float) -> None:
    config = replace(SETTINGS, pseudo_weight=3.0, pseudo_begin=0.1, pseudo_full=0.6)
    model, given = linear(), batch()
    supervised = cross_entropy(logits(model, given.labelled), given.labels.numpy())
    z = logits(model, given.unlabelled)
    loss, terms = PseudoLabels(config).loss(model, given, step)
    assert terms["pseudo_label"].item() == pytest.approx(cross_entropy(z, z.argmax(1)), rel=1e-6)
    expected = supervised + 3 * ramp * cross_entropy(z, z.argmax(1))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_weight_of_consistency_is_a_sigmoid_ramp() -> None:
    """Section 3.1 of arXiv 1703.01780: exp(-5 (1 - x)²)."""
    found = [sigmoid_ramp(step, 40) for step in (0, 10, 20, 30, 40, 90)]
    expected = [math.exp(-5), math.exp(-5 * 0.5625), math.exp(-1.25), math.exp(-0.3125), 1, 1]
    assert found == pytest.approx(expected, rel=1e-12)


def test_consistency_is_the_mean_square_of_the_difference_of_probabilities() -> None:
    """Its gradient by the Jacobian of the softmax, diag(p) - p pᵀ; none for the teacher."""
    z = torch.randn(6, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    target = torch.randn(6, 4, generator=seeded(1), dtype=torch.float64)
    loss = consistency(z, target)
    loss.backward()
    p, q = softmax(z.detach().numpy()), softmax(target.numpy())
    assert loss.item() == pytest.approx(((p - q) ** 2).sum() / 24)
    outward = 2 * (p - q) / 24
    expected = p * (outward - (p * outward).sum(1, keepdims=True))
    np.testing.assert_allclose(z.grad.numpy(), expected, atol=1e-14)


def test_the_loss_of_a_mean_teacher_compares_two_views_of_all_images() -> None:
    config = replace(SETTINGS, consistency_weight=30.0, consistency_ramp=0.4)
    model, views = linear(), torch.rand(8, 3, 2, 2, generator=seeded(5))
    given = batch(again=lambda: views)
    method = MeanTeacher(config, model)
    with torch.no_grad():
        method.teacher[1].weight.mul_(0.5)
    p = softmax(logits(model, given.images))
    q = softmax(logits(method.teacher, views))
    supervised = cross_entropy(logits(model, given.labelled), given.labels.numpy())
    for step, ramp in ((0, math.exp(-5)), (20, math.exp(-1.25)), (40, 1.0)):
        loss, terms = method.loss(model, given, step)
        assert terms["consistency"].item() == pytest.approx(((p - q) ** 2).mean(), rel=1e-5)
        expected = supervised + 30 * ramp * ((p - q) ** 2).mean()
        assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert all(each.grad is None for each in method.teacher.parameters())
    assert method.predictor(model) is method.teacher
    assert list(method.state()) == ["teacher"]


def test_the_average_begins_as_the_mean_of_all_weights_so_far() -> None:
    assert [teacher_decay(step, 0.6) for step in (0, 1, 2, 3)] == pytest.approx(
        [0, 1 / 2, 0.6, 0.6]
    )
    assert teacher_decay(98, 0.999) == pytest.approx(98 / 99)
    assert teacher_decay(10**6, 0.999) == 0.999


def test_the_teacher_is_a_moving_average_with_two_decays() -> None:
    """On a scalar: θ' ← d θ' + (1 - d) θ with d = min(.6, 1 - 1/(t + 1)), and .8 after the ramp."""
    config = replace(SETTINGS, consistency_ramp=0.05, teacher_decays=(0.6, 0.8))
    model = nn.Linear(1, 1, bias=False).double()
    method = MeanTeacher(config, model)
    values = np.random.default_rng(0).normal(size=12)
    average = math.nan  # what it began with is forgotten
    for step, value in enumerate(values):
        with torch.no_grad():
            model.weight.fill_(value)
        method.after_step(model, step)
        decay = min(0.6 if step < 5 else 0.8, 1 - 1 / (step + 1))
        average = value if step == 0 else decay * average + (1 - decay) * value
        assert method.teacher.weight.item() == pytest.approx(average, rel=1e-12)


def test_the_teacher_has_running_statistics_of_its_own() -> None:
    """Of its own view of the images, once a step; the student's leave them alone."""
    views = torch.rand(8, 3, 2, 2, generator=seeded(5))
    given = batch(again=lambda: views)
    model = nn.Sequential(nn.BatchNorm2d(3), linear())
    method = MeanTeacher(SETTINGS, model)
    norm = method.teacher[0]
    for step in (0, 1):
        method.loss(model, given, step)
        method.after_step(model, step)
        # From 0, with the momentum 0.1.
        expected = (1 - 0.9 ** (step + 1)) * views.double().numpy().mean((0, 2, 3))
        np.testing.assert_allclose(norm.running_mean.numpy(), expected, rtol=1e-5)
        assert norm.num_batches_tracked == step + 1
    found = (1 - 0.9**2) * given.images.double().numpy().mean((0, 2, 3))
    np.testing.assert_allclose(model[0].running_mean.numpy(), found, rtol=1e-5)


def test_batch_norm_takes_its_statistics_over_both_kinds_of_images() -> None:
    norm, given = nn.BatchNorm2d(3, momentum=1.0), batch()
    labelled, unlabelled = predict(nn.Sequential(norm, nn.Flatten()), given)
    images = given.images.double().numpy()
    mean, variance = images.mean((0, 2, 3)), images.var((0, 2, 3))
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-6)
    expected = (images - mean[:, None, None]) / np.sqrt(variance[:, None, None] + norm.eps)
    found = torch.cat([labelled, unlabelled]).detach().numpy()
    np.testing.assert_allclose(found, expected.reshape(8, -1), atol=1e-5)
    assert len(labelled) == 3


def test_predictions_of_half_precision_are_judged_in_full() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for each in predict(linear(), batch()):
            assert each.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "expected"),
    [("supervised", Supervised), ("pseudo-labels", PseudoLabels), ("mean-teacher", MeanTeacher)],
)
def test_settings_name_the_method(name: str, expected: type) -> None:
    assert isinstance(make(replace(SETTINGS, method=name), linear()), expected)


def test_a_translation_shifts_each_image_by_its_own_pixels() -> None:
    images = torch.rand(200, 2, 6, 7, generator=seeded())
    found = translate(images, 2, seeded(1))
    assert found.shape == images.shape
    shifts = {}
    for down in range(-2, 3):
        for right in range(-2, 3):
            # A cut and a black frame, without any index.
            expected = F.pad(images, (right, -right, down, -down))
            hits = (found == expected).flatten(1).all(1)
            shifts |= {int(index): (down, right) for index in hits.nonzero()}
    assert len(shifts) == 200
    assert len(set(shifts.values())) == 25
    assert torch.equal(found, translate(images, 2, seeded(1)))


def test_noise_has_the_standard_deviation_asked_for_and_stays_in_range() -> None:
    config = replace(SETTINGS, translate=0, noise=0.05)
    grey = torch.full((20, 1, 32, 32), 0.5)
    noise = perturb(grey, config, seeded()) - 0.5
    # 20,480 numbers: the standard error of their deviation is 0.5 %.
    assert noise.std().item() == pytest.approx(0.05, rel=0.03)
    assert abs(noise.mean().item()) < 0.002
    light = perturb(torch.ones(2, 1, 32, 32), config, seeded())
    assert 0 <= light.min() < light.max() == 1


def test_every_other_image_is_mirrored_where_asked_for() -> None:
    images = torch.rand(400, 2, 5, 6, generator=seeded())
    found = perturb(images, replace(SETTINGS, translate=0, flip=True), seeded(1))
    mirrored = (found == images.flip(3)).flatten(1).all(1)
    assert torch.equal(found[~mirrored], images[~mirrored])
    # A standard deviation is 10.
    assert 150 < mirrored.sum() < 250


def test_images_stay_as_they_are_where_nothing_is_asked_for() -> None:
    images = torch.rand(4, 1, 8, 8, generator=seeded())
    assert perturb(images, replace(SETTINGS, translate=0, noise=0.0), seeded()) is images


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"labels": 0}, "labels: expected more than 0"),
        (
            {"labelled_share": 0.0},
            "labelled_share: expected 1 to 63 of 64 images of a batch, found 0",
        ),
        ({"labelled_share": 1.0}, "labelled_share: expected 1 to 63 of 64 .*, found 64"),
        ({"steps": 0}, "steps: expected more than 0"),
        ({"evaluate_every": 0}, "evaluate_every: expected more than 0"),
        ({"translate": -1}, "translate: expected at least 0"),
        ({"consistency_weight": -1.0}, "consistency_weight: expected at least 0"),
        ({"pseudo_begin": 1.5}, "pseudo_begin: expected 0 to 1, found 1.5"),
        ({"pseudo_begin": 0.7}, "pseudo_begin: expected at most pseudo_full, which is 0.6"),
        ({"consistency_ramp": -0.1}, "consistency_ramp: expected 0 to 1"),
        ({"teacher_decays": (0.99, 1.0)}, "teacher_decays: expected 0 to less than 1"),
        ({"min_weight": 1.1}, "min_weight: expected at most 1"),
        ({"method": "guessing"}, "one of supervised, pseudo-labels, .*; found 'guessing'"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict, expected: str) -> None:
    values = {"batch_size": 64, "pseudo_full": 0.6, **change}
    with pytest.raises(SettingsError, match=expected):
        FewLabelsSettings(**values)
