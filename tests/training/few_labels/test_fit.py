"""The loop of the trainings with few labels: what it reads, what it keeps, a kill in between."""

import json
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import training
from zoo.data import ImageDataset
from zoo.training.few_labels import fit as room
from zoo.training.few_labels.fit import Best, accuracy, endless, fit
from zoo.training.few_labels.methods import Batch
from zoo.training.few_labels.pseudo_labels import PseudoLabels
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.few_labels.split import split
from zoo.training.few_labels.supervised import Supervised

BASELINES = ("supervised", "pseudo-labels", "mean-teacher")
SETTINGS = FewLabelsSettings(
    labels=12,
    method="supervised",
    steps=8,
    batch_size=10,
    labelled_share=0.4,
    validation=9,
    warmup=2,
    translate=1,
    noise=0.1,
    evaluate_every=3,
    pseudo_begin=0.0,
    teacher_decays=(0.5, 0.7),
    threads=1,
)


def dataset(n: int = 60) -> ImageDataset:
    """Three classes of noise, each brighter in its own row."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(150, (n, 1, 9, 9), generator=generator, dtype=torch.uint8)
    labels = torch.arange(n) % 3
    images[torch.arange(n), 0, 3 * labels + 1] += 100
    return ImageDataset("random", "train", images, labels, ("first", "second", "third"))


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


def open_run(folder: Path, config: FewLabelsSettings, *, resume: bool = False) -> training.Run:
    return training.Run(
        folder, config, name="toy", source=Path(__file__), command="python toy.py", resume=resume
    )


def train(
    folder: Path,
    config: FewLabelsSettings,
    images: ImageDataset | None = None,
    *,
    model: nn.Module | None = None,
    resume: bool = False,
) -> dict[str, Tensor]:
    """The weights of the predictor that a training returns."""
    with open_run(folder, config, resume=resume) as run:
        model = network() if model is None else model
        found = fit(model, dataset() if images is None else images, config, run)
    assert not found.training
    return found.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def poisoned(images: ImageDataset, spared: Tensor) -> ImageDataset:
    """Other pixels wherever an image is not among the spared ones."""
    pixels = 255 - images.images
    pixels[spared] = images.images[spared]
    return replace(images, images=pixels)


def test_every_step_is_that_of_adamw(tmp_path: Path) -> None:
    """A linear model in float64, with the gradient and the update of arXiv 1711.05101 by hand."""
    config = replace(SETTINGS, translate=0, noise=0.0, learning_rate=0.01, weight_decay=0.1)
    images = dataset()
    model = _Double(nn.Sequential(nn.Flatten(), nn.Linear(81, 3, bias=False)).double())
    w = model.network[1].weight.detach().clone()
    moments = torch.zeros(2, 3, 81, dtype=torch.float64)
    offered = []
    labelled = split(images.labels, 12, validation=9, seed=0).labelled
    trained = train(tmp_path / "run", config, images, model=model)
    for step in range(8):
        # 4 + 6 labelled images a step: 12 make an epoch and 2 of the next.
        index = labelled[endless(12, 10, 0, step, "labelled")]
        x = images.images[index].flatten(1).double() / 255
        p = torch.softmax(x @ w.T, 1)
        g = (p - F.one_hot(images.labels[index], 3)).T @ x / 10
        moments[0] = 0.9 * moments[0] + 0.1 * g
        moments[1] = 0.999 * moments[1] + 0.001 * g**2
        m, v = moments[0] / (1 - 0.9 ** (step + 1)), moments[1] / (1 - 0.999 ** (step + 1))
        rate = 0.01 * min(1, (step + 1) / 2) * 0.5 * (1 + np.cos(np.pi * step / 8))
        w = w - rate * (m / (v.sqrt() + 1e-8) + 0.1 * w)
        offered.append(w)
    chosen = json.loads((tmp_path / "run" / "run.json").read_text())["validation"]["step"]
    assert chosen in (2, 5, 7)
    expected = offered[chosen]
    torch.testing.assert_close(trained["network.1.weight"], expected, rtol=1e-5, atol=1e-7)


class _Double(nn.Module):
    """A network in float64 for the float32 images of the loop."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.double())


@pytest.mark.parametrize("method", BASELINES)
def test_what_is_returned_is_the_best_on_the_held_out_images(method: str, tmp_path: Path) -> None:
    config = replace(SETTINGS, method=method, steps=60, evaluate_every=7, learning_rate=0.03)
    images = dataset()
    weights = train(tmp_path / "run", config, images)
    looks = {r["step"]: r["validation_accuracy"] for r in rows(tmp_path / "run") if _look(r)}
    assert list(looks) == [6, 13, 20, 27, 34, 41, 48, 55, 59]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    best = max(looks.values())
    assert record["validation"]["accuracy"] == pytest.approx(best)
    assert record["validation"]["step"] == min(step for step in looks if looks[step] == best)
    assert (record["validation"]["n"], record["labelled"]) == (9, 12)
    model = network()
    model.load_state_dict(weights)
    held_out = split(images.labels, 12, validation=9, seed=0).validation
    with torch.no_grad():
        logits = model.eval()(images.images[held_out].float() / 255)
    found = (logits.argmax(1) == images.labels[held_out]).float().mean().item()
    assert found == pytest.approx(best) and best > 0.8


def _look(row: dict[str, float]) -> bool:
    return "validation_accuracy" in row


def test_the_best_weights_are_the_earlier_of_equal_ones() -> None:
    best, model = Best(), nn.Linear(1, 1, bias=False)
    for step, (weight, value) in enumerate([(1.0, 0.2), (2.0, 0.7), (3.0, 0.7), (4.0, 0.1)]):
        nn.init.constant_(model.weight, weight)
        best.offer(model, value, step)
    kept = Best()
    kept.load_state_dict(best.state_dict())
    kept.restore(model)
    assert (model.weight.item(), kept.accuracy, kept.step) == (2.0, 0.7, 1)


class Stop(Exception):
    """As if killed."""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", BASELINES)
def test_a_killed_training_goes_on_to_the_same_bytes(
    method: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(SETTINGS, method=method, precision=precision)
    whole = train(tmp_path / "whole", config)
    draw, draws = room._Batches.draw, []

    def killed(self: room._Batches, step: int) -> Batch:
        draws.append(step)
        if step == 5 and len(draws) == 6:
            raise Stop
        return draw(self, step)

    often = partialmethod(training.Run.steps, every_steps=1)
    monkeypatch.setattr(training.Run, "steps", often)
    monkeypatch.setattr(room._Batches, "draw", killed)
    with pytest.raises(Stop):
        train(tmp_path / "killed", config)
    # The weights of step 2 may be the best: they must have come through the kill.
    again = train(tmp_path / "killed", config, resume=True)
    assert draws == [0, 1, 2, 3, 4, 5, 5, 6, 7]
    assert same(whole, again)
    whole_rows, again_rows = rows(tmp_path / "whole"), rows(tmp_path / "killed")
    assert whole_rows == again_rows


def test_the_best_weights_come_through_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look is made the best, and the kill comes after it."""
    looks: list[float] = []

    def falling(*_: object) -> float:
        looks.append(0.9 - 0.1 * len(looks))
        return looks[-1]

    often = partialmethod(training.Run.steps, every_steps=1)
    monkeypatch.setattr(training.Run, "steps", often)
    monkeypatch.setattr(room, "accuracy", falling)
    early = train(tmp_path / "early", replace(SETTINGS, evaluate_every=3))
    draw = room._Batches.draw

    def killed(self: room._Batches, step: int) -> Batch:
        if step == 5:
            raise Stop
        return draw(self, step)

    looks.clear()
    with monkeypatch.context() as patched:
        patched.setattr(room._Batches, "draw", killed)
        with pytest.raises(Stop):
            train(tmp_path / "killed", SETTINGS)
    assert same(early, train(tmp_path / "killed", SETTINGS, resume=True))
    record = json.loads((tmp_path / "killed" / "run.json").read_text())
    assert record["validation"]["step"] == 2


@pytest.mark.parametrize("method", BASELINES)
def test_the_same_seed_gives_the_same_bytes(method: str, tmp_path: Path) -> None:
    config = replace(SETTINGS, method=method)
    first, again = train(tmp_path / "first", config), train(tmp_path / "again", config)
    assert same(first, again)
    assert not same(first, train(tmp_path / "other", replace(config, seed=1)))


@pytest.mark.parametrize("method", BASELINES)
def test_unlabelled_images_are_read_by_those_that_learn_from_them(
    method: str, tmp_path: Path
) -> None:
    images = dataset()
    parts = split(images.labels, 12, validation=9, seed=0)
    other = poisoned(images, torch.cat([parts.labelled, parts.validation]))
    config = replace(SETTINGS, method=method)
    weights = train(tmp_path / "clean", config), train(tmp_path / "other", config, other)
    assert same(*weights) == (method == "supervised")


@pytest.mark.parametrize("method", BASELINES)
def test_the_labels_of_unlabelled_images_are_never_read(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cross-entropy with a label of -7 is an error; only the draw of the split sees them all."""
    images = dataset()
    parts = split(images.labels, 12, validation=9, seed=0)
    labels = torch.full_like(images.labels, -7)
    known = torch.cat([parts.labelled, parts.validation])
    labels[known] = images.labels[known]
    config = replace(SETTINGS, method=method)
    clean = train(tmp_path / "clean", config)
    monkeypatch.setattr(room, "split", lambda *_, **__: parts)
    assert same(clean, train(tmp_path / "poisoned", config, replace(images, labels=labels)))


@pytest.mark.parametrize("method", BASELINES)
def test_nothing_is_trained_on_the_held_out_images(method: str, tmp_path: Path) -> None:
    """They choose among weights, so there is one look alone, at the end."""
    images = dataset()
    parts = split(images.labels, 12, validation=9, seed=0)
    config = replace(SETTINGS, method=method, evaluate_every=100)
    weights = train(tmp_path / "clean", config)
    assert same(weights, train(tmp_path / "other", config, poisoned(images, parts.unlabelled)))


@pytest.mark.parametrize(
    ("method", "sizes"),
    [
        ("supervised", [(10, 0)] * 8),
        ("pseudo-labels", [(4, 6)] * 8),
        ("mean-teacher", [(4, 6)] * 8),
    ],
)
def test_every_method_sees_equally_many_images_a_step(
    method: str, sizes: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, drawn = room._Batches.draw, []

    def recorded(self: room._Batches, step: int) -> Batch:
        batch = draw(self, step)
        drawn.append((len(batch.labelled), len(batch.unlabelled)))
        again = batch.again()
        assert again.shape == batch.images.shape and not torch.equal(again, batch.images)
        assert torch.equal(again, batch.again())
        return batch

    monkeypatch.setattr(room._Batches, "draw", recorded)
    train(tmp_path / "run", replace(SETTINGS, method=method))
    assert drawn == sizes


def test_the_labelled_images_of_a_step_are_the_same_for_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a loss of nothing but labels every method is supervised training."""
    monkeypatch.setattr(PseudoLabels, "loss", Supervised.loss)
    config = replace(SETTINGS, method="pseudo-labels", translate=0, noise=0.0)
    # 10 labelled images a step: here beside 10 unlabelled ones, there alone.
    halves = train(tmp_path / "halves", replace(config, batch_size=20, labelled_share=0.5))
    assert same(halves, train(tmp_path / "alone", replace(config, method="supervised")))


@pytest.mark.parametrize(("n", "size"), [(12, 5), (5, 12), (7, 7), (3, 1)])
def test_every_image_comes_equally_often(n: int, size: int) -> None:
    drawn = torch.cat([endless(n, size, 3, step, "some") for step in range(4 * n)])
    assert drawn.shape == (4 * n * size,)
    for epoch in drawn.view(-1, n):
        assert sorted(epoch.tolist()) == list(range(n))
    assert drawn.view(-1, n).unique(dim=0).shape[0] > 1


def test_accuracy_is_measured_in_eval_mode_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CHUNK", 7)
    images, seen = dataset(30), []
    model = network().train()
    model.register_forward_hook(
        lambda module, args, _: seen.append((module.training, len(args[0])))
    )
    found = accuracy(model, images.images, images.labels, "float32")
    assert model.training
    assert seen == [(False, 7)] * 4 + [(False, 2)]
    with torch.no_grad():
        logits = model.eval()(images.images.float() / 255)
    assert found == (logits.argmax(1) == images.labels).double().mean().item()


def test_all_labels_are_those_that_are_not_held_out(tmp_path: Path) -> None:
    train(tmp_path / "run", replace(SETTINGS, labels=None))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["labelled"] == 51


def test_more_labels_than_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(training.SettingsError, match=r"labels: expected 1 \.\.\. 51.*found 52"):
        train(tmp_path / "run", replace(SETTINGS, labels=52))


def test_a_label_without_a_class_is_refused(tmp_path: Path) -> None:
    images = replace(dataset(), classes=("first", "second"))
    with pytest.raises(ValueError, match=r"labels: expected 0 \.\.\. 1, found 0 \.\.\. 2"):
        train(tmp_path / "run", SETTINGS, images)


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(tmp_path / "run", SETTINGS) as run:
        monkeypatch.setattr("zoo.training.distributed.world_size", lambda: 2)
        with pytest.raises(training.SettingsError, match="expected one process, found 2"):
            fit(network(), dataset(), SETTINGS, run)
        monkeypatch.undo()
