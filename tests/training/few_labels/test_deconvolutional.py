"""The deconvolutional objective: which terms a step has, what reaches which weight, a kill."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.training.few_labels.test_fit import SETTINGS, same, train
from zoo.models.dgm import DGM
from zoo.training.few_labels.deconvolutional import Deconvolutional, DeconvolutionalTeacher
from zoo.training.few_labels.mean_teacher import sigmoid_ramp
from zoo.training.few_labels.methods import Batch, make
from zoo.training.few_labels.settings import FewLabelsSettings

LAYERS = [
    {"channels": 4, "kernel": 3, "padding": 2, "pool": None},
    {"channels": 5, "kernel": 2, "pool": 2},
]
WEIGHTS = {
    "reconstruction_weight": 0.3,
    "entropy_weight": 0.7,
    "entropy_ramp": 0.5,
    "moment_weight": 0.2,
    "path_weight": 0.4,
    "path_every": 2,
    "min_weight": 0.25,
    "min_every": 3,
}
CONFIG = replace(SETTINGS, method="deconvolutional", steps=6, **WEIGHTS)


def network() -> DGM:
    torch.manual_seed(1)
    return DGM(image_shape=(1, 9, 9), layers=LAYERS, num_classes=3)


def batch(config: FewLabelsSettings = CONFIG) -> Batch:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(10, 1, 9, 9, generator=generator)
    return Batch(images[:4], torch.tensor([0, 1, 2, 0]), images[4:], lambda: images.flip(3))


@pytest.mark.parametrize("step", range(4))
def test_the_loss_is_the_weighted_sum_of_its_terms(step: int) -> None:
    model = network()
    loss, parts = Deconvolutional(CONFIG, model).loss(model, batch(), step)
    weights = {
        "cross_entropy": 0.75,
        "entropy": 0.7 * sigmoid_ramp(step, 3),
        "reconstruction": 0.3,
        "moments": 0.2,
    }
    if step % 3 == 0:
        weights["lower_cross_entropy"] = 0.25 * 3
    if step % 2 == 0:
        weights["path"] = 0.4 * 2
    assert parts.keys() == weights.keys()
    expected = sum(weights[name] * part for name, part in parts.items())
    torch.testing.assert_close(loss.detach(), expected)
    assert all(not part.requires_grad for part in parts.values())


def test_terms_are_of_the_right_images() -> None:
    """Cross-entropy of the labelled ones; entropy and rendering of all, unlabelled as predicted."""
    model, images = network(), batch()
    logits, states = model.explain(images.images)
    labels = torch.cat([images.labels, logits[4:].argmax(1)])
    rendered = model.descend(model.one_hot(labels), states)[-1].below
    _, parts = Deconvolutional(CONFIG, network()).loss(network(), images, 0)
    torch.testing.assert_close(
        parts["cross_entropy"], F.cross_entropy(logits[:4], images.labels).detach()
    )
    lower = network().lower(images.labelled)
    torch.testing.assert_close(
        parts["lower_cross_entropy"], F.cross_entropy(lower, images.labels).detach()
    )
    p = logits.softmax(1)
    entropy = -(p * p.log()).sum(1).mean() - math.log(3)
    torch.testing.assert_close(parts["entropy"], entropy.detach())
    error = (images.images * 2 - 1 - rendered).square().mean() / 2
    torch.testing.assert_close(parts["reconstruction"], error.detach())


@pytest.mark.parametrize("name", ["reconstruction", "entropy", "moment", "path", "min"])
def test_a_term_of_weight_zero_is_not_computed(name: str) -> None:
    key = {"moment": "moments", "min": "lower_cross_entropy"}.get(name, name)
    model = network()
    config = replace(CONFIG, **{f"{name}_weight": 0.0})
    _, parts = Deconvolutional(config, model).loss(model, batch(), 0)
    _, full = Deconvolutional(CONFIG, model).loss(model, batch(), 0)
    assert full.keys() - parts.keys() == {key}


def test_moments_upwards_are_targets() -> None:
    """Moment matching alone moves nothing but what is rendered: no gain and no bias upwards."""
    model = network()
    none = {f"{name}_weight": 0.0 for name in ("reconstruction", "entropy", "path", "min")}
    method = Deconvolutional(replace(CONFIG, **none), model)
    whole, parts = method.loss(model, batch(), 0)
    supervised = F.cross_entropy(model.explain(batch().images)[0][:4], batch().labels)
    own = torch.autograd.grad(whole, model.units[0].norm_up.gain)[0]
    alone = torch.autograd.grad(supervised, model.units[0].norm_up.gain)[0]
    torch.testing.assert_close(own, alone, rtol=1e-4, atol=1e-6)
    assert parts["moments"] > 0


def test_every_parameter_learns() -> None:
    model = network()
    loss, _ = Deconvolutional(CONFIG, model).loss(model, batch(), 0)
    loss.backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == set()


def test_the_teacher_is_added_to_the_objective_and_renders() -> None:
    model = network()
    config = replace(CONFIG, method="deconvolutional-teacher", consistency_weight=2.0)
    method = make(config, model)
    assert isinstance(method, DeconvolutionalTeacher)
    own, _ = Deconvolutional(CONFIG, model).loss(network(), batch(), 2)
    student = network()
    loss, parts = method.loss(student, batch(), 2)
    ramp = sigmoid_ramp(2, config.consistency_ramp * config.steps)
    torch.testing.assert_close(loss, own + 2.0 * ramp * parts["consistency"])
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    method.after_step(student, 2)
    assert isinstance(method.teacher, DGM)
    mine, theirs = dict(student.named_buffers()), dict(method.teacher.named_buffers())
    for name, buffer in theirs.items():
        assert torch.equal(buffer, mine[name]) == ("norm_up" not in name), name
    # d = min(0.7, 1 - 1/3) of what it was, the rest of the student
    weight = dict(network().named_parameters())["units.0.bias"]
    torch.testing.assert_close(method.teacher.units[0].bias.data, weight.data + 1 / 3)


def test_a_model_that_does_not_render_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a DGM, found .*Linear"):
        make(CONFIG, nn.Linear(2, 2))


@pytest.mark.parametrize("method", ["deconvolutional", "deconvolutional-teacher"])
def test_the_same_bytes_after_a_kill(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, method=method)
    whole = train(tmp_path / "whole", config, model=network())
    explained = Deconvolutional.explained

    def killed(self: Deconvolutional, model: nn.Module, drawn: Batch, step: int) -> tuple:
        if step == 4:
            raise KeyboardInterrupt
        return explained(self, model, drawn, step)

    monkeypatch.setattr(Deconvolutional, "explained", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", config, model=network())
    monkeypatch.setattr(Deconvolutional, "explained", explained)
    assert same(whole, train(tmp_path / "killed", config, model=network(), resume=True))
