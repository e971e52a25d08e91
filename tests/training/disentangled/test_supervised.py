"""Supervision alone: one step by the book, which images are looked at, when it stops, a resume."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo import training
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.factors import Factor
from zoo.training.disentangled import supervised
from zoo.training.disentangled.draws import Draws
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.files import read_json
from zoo.training.settings import SettingsError

FACTORS = [Factor("light", 5, "brightness"), Factor("tint", 2, "red or blue", True)]
N = 40
TINY: dict[str, Any] = {
    "method": "supervised",
    "image_size": 8,
    "sizes": (8,),
    "images": (40,),
    "labels": 20,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "labelled_weight": 2.0,
    "smoothness_weight": 0.5,
    "threads": 1,
    "device": "cpu",
}


def settings(**changes: Any) -> DisentangledSettings:
    return DisentangledSettings(**{**TINY, **changes})


def network(factors: list[Factor] = FACTORS) -> DisentangledStyleGAN:
    torch.manual_seed(0)
    sizes = {"latent_dim": 4, "style_dim": 4, "mapping_layers": 1, "features": 16}
    return DisentangledStyleGAN(factors, 8, channels=[8, 8], **sizes)


def scenes(model: DisentangledStyleGAN, n: int = N, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Flat images, as bright as the first factor says, red or blue as the second says."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(each.values, (n,), generator=generator) for each in FACTORS]
    values = torch.stack(drawn)
    light, tint = 0.2 + 0.2 * values[0].float(), values[1].float()
    colours = torch.stack([light * (1 - tint), light / 2, light * tint], 1)
    noise = torch.randn(n, 3, 8, 8, generator=generator) * 0.02
    images = (colours[:, :, None, None] + noise).clamp(0, 1)
    return (images * 255).round().byte(), model.layout.encode(values.T)


def open_run(folder: Path, config: DisentangledSettings, *, resume: bool = False) -> training.Run:
    return training.Run(folder, config, name="x", source=Path(__file__), command="x", resume=resume)


def trained(
    folder: Path,
    config: DisentangledSettings,
    images: Tensor | None = None,
    codes: Tensor | None = None,
    *,
    resume: bool = False,
    every_steps: int | None = None,
) -> DisentangledStyleGAN:
    model = network()
    usual = scenes(model)
    labelled = torch.arange(0, N, 2)
    with open_run(folder, config, resume=resume) as run:
        run.steps = partial(run.steps, every_steps=every_steps)  # type: ignore[method-assign]
        supervised.fit(
            model,
            usual[0] if images is None else images,
            usual[1] if codes is None else codes,
            labelled,
            config,
            run,
        )
    return model


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def error(raw: Tensor, codes: Tensor) -> Tensor:
    """One ordinal and one categorical factor: absolute error and cross-entropy."""
    entropy = -(codes[:, 1:] * raw[:, 1:].log_softmax(1)).sum(1)
    return ((raw[:, 0] - codes[:, 0]).abs() + entropy).mean()


def test_one_step_by_the_book(tmp_path: Path) -> None:
    """Adam's first step is lr · g / (|g| + ε); the average of the weights takes it in."""
    config = settings(images=(8,), ema_images=8.0)
    model = network()
    images, codes = scenes(model)
    kept, _ = supervised.split(torch.arange(0, N, 2), config.seed)
    with open_run(tmp_path / "draws", config) as run:
        # Eight labelled images in a step, as many as real ones beside a generator.
        draws = Draws(model, images, codes, kept, settings(labelled_batch=8), run)
        known, names = draws.labelled(0, 1.0)
        (a, b), share = draws.pairs(0, 8, 8)
    # Those that Draws gives are images that training may see, with their own codes.
    pairs = zip(images[kept], codes[kept], strict=True)
    pool = {image.numpy().tobytes(): code for image, code in pairs}
    own = (known * 255).round().byte()
    for row, name in zip(own, names, strict=True):
        assert torch.equal(pool[row.numpy().tobytes()], name)
    wide = share[:, None, None, None]
    mixed = wide * known[a] + (1 - wide) * known[b]
    between = share[:, None] * names[a] + (1 - share[:, None]) * names[b]
    encoder = copy.deepcopy(model.discriminator)
    loss = 2.0 * error(encoder(known)[1], names) + 0.5 * error(encoder(mixed)[1], between)
    loss.backward()
    # A half-life of max(1, 8/20) images, of which 8 were seen.
    share_of_new = 1 - 0.5**8
    found = trained(tmp_path / "run", config).discriminator
    for (name, before), after in zip(encoder.named_parameters(), found.parameters(), strict=True):
        step = 0.0 if before.grad is None else 0.01 * before.grad / (before.grad.abs() + 1e-8)
        assert (before.grad is None) == (name == "logit.weight")
        torch.testing.assert_close(after, before - share_of_new * step, atol=2e-6, rtol=1e-4)


def test_only_labelled_images_are_looked_at(tmp_path: Path) -> None:
    images, codes = scenes(network())
    poisoned = images.clone()
    poisoned[1::2] = 255 - poisoned[1::2]
    unknown = codes.clone()
    unknown[1::2] = torch.nan
    first = trained(tmp_path / "a", settings())
    assert same(first, trained(tmp_path / "b", settings(), poisoned, unknown))
    poisoned[0::2] = 255 - poisoned[0::2]
    assert not same(first, trained(tmp_path / "c", settings(), poisoned, unknown))


def test_the_generator_stays_and_the_factors_are_read(tmp_path: Path) -> None:
    start = network()
    model = trained(tmp_path, settings(images=(640,)))
    assert same(start.generator, model.generator)
    assert not model.training
    images, codes = scenes(model, seed=2)
    truth = model.layout.scalars(codes)
    with torch.no_grad():
        errors = [
            (each.layout.scalars(each.encode(images / 255)) - truth).abs().mean(0)
            for each in (start, model)
        ]
    assert float(errors[0].max()) > 0.2
    assert float(errors[1].max()) < 0.1
    facts = read_json(tmp_path / "run.json")["supervised"]
    assert (facts["trained_on"], facts["validated_on"]) == (18, 2)


def test_validation_images_are_a_tenth_of_the_labelled_ones() -> None:
    labelled = torch.arange(100, 160)
    kept, held = supervised.split(labelled, 0)
    assert (len(kept), len(held)) == (54, 6)
    assert sorted([*kept.tolist(), *held.tolist()]) == labelled.tolist()
    assert supervised.split(labelled, 1)[1].tolist() != held.tolist()
    assert len(supervised.split(labelled[:2], 0)[1]) == 1


def test_it_stops_and_keeps_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors 3, 1, 2, 2, ...: the second look was the best, and three more are enough."""
    said = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    kept: list[dict[str, Tensor]] = []

    def judge(model: DisentangledStyleGAN, *rest: object) -> float:
        kept.append(copy.deepcopy(model.discriminator.state_dict()))
        return next(said)

    monkeypatch.setattr(supervised, "CHECK", 1)
    monkeypatch.setattr(supervised, "PATIENCE", 3)
    monkeypatch.setattr(supervised, "_error", judge)
    model = trained(tmp_path, settings(images=(800,)))
    assert len(kept) == 5
    found = model.discriminator.state_dict()
    assert all(torch.equal(found[name], kept[1][name]) for name in found)
    assert not torch.equal(found["code.weight"], kept[4]["code.weight"])
    facts = read_json(tmp_path / "run.json")["supervised"]
    assert (facts["best_step"], facts["validation_error"]) == (2, 1.0)


def test_a_resume_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "CHECK", 2)
    whole = trained(tmp_path / "whole", settings())
    original, calls = supervised._loss, []

    def killed(*arguments: Any) -> Tensor:
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(supervised, "_loss", killed)
        trained(tmp_path / "killed", settings(), every_steps=1)
    assert same(whole, trained(tmp_path / "killed", settings(), resume=True))
    facts = [read_json(tmp_path / name / "run.json")["supervised"] for name in ("whole", "killed")]
    assert facts[0] == facts[1]


def test_without_mixtures_and_what_it_needs(tmp_path: Path) -> None:
    plain = trained(tmp_path / "a", settings(smoothness_weight=0.0))
    assert not same(plain, trained(tmp_path / "b", settings()))
    with pytest.raises(SettingsError, match=r"at least 2, one to train on .* found 1"):
        supervised.split(torch.tensor([3]), 0)
    model = network([])
    config = settings()
    images, _ = scenes(network())
    with (
        open_run(tmp_path / "c", config) as run,
        pytest.raises(SettingsError, match="factors: supervision needs some"),
    ):
        supervised.fit(model, images, torch.zeros(N, 0), torch.arange(20), config, run)
