"""Every recipe: its command line, its smoke run, and the promise of the same bytes."""

import json
import runpy
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.training.toy import ROOT, killer, launch, launch_two
from zoo import registry, training
from zoo.training.gan import GanSettings

WITHOUT_CARD = {"very_simple_gan"}
"""Recipes of pictures and tables only; their tests are files of their own."""
RECIPES = sorted({path.stem for path in (ROOT / "recipes").glob("*.py")} - WITHOUT_CARD)
TINY = ("--smoke", "--threads", "1", "--images", "48", "--batch-size", "16")


def script(name: str) -> Path:
    return ROOT / "recipes" / f"{name}.py"


def run_here(name: str, *argv: str) -> None:
    """Run a recipe in this process: starting another one takes seconds."""
    recipe = runpy.run_path(str(script(name)))
    training.main(
        recipe["train"],
        recipe["Config"],
        presets=recipe["PRESETS"],
        name=name.replace("_", "-"),
        doc=recipe["__doc__"],
        argv=argv,
    )


def record(folder: Path) -> dict[str, object]:
    return json.loads((folder / "run.json").read_text())


def test_every_card_has_its_recipe_and_every_recipe_its_card() -> None:
    assert {name.replace("-", "_") for name in registry.cards()} == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_dry_run_prints_the_settings_and_writes_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_here(name, "--dry-run", "--batch-size", "8")
    plan = json.loads(capsys.readouterr().out)
    assert plan["settings"]["batch_size"] == 8
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*RECIPES, *sorted(WITHOUT_CARD)])
def test_help_documents_every_setting(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run_here(name, "--help")
    out = capsys.readouterr().out
    for each in fields(runpy.run_path(str(script(name)))["Config"]):
        assert f"--{each.name.replace('_', '-')}" in out


def test_the_defaults_are_the_released_settings() -> None:
    fashion, plain, cifar = (
        runpy.run_path(str(script(name)))["Config"]()
        for name in ("cnnf_robust", "cnn_robust", "cnnf_cifar")
    )
    shared = {"batch_size": 256, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
    for config in (fashion, plain, cifar):
        assert {name: getattr(config, name) for name in shared} == shared
        assert (config.clip, config.attack_steps, config.reconstruction_weight) == (0.5, 7, 0.1)
    assert (fashion.epochs, fashion.iterations, fashion.clean_weight) == (200, 1, 0.1)
    assert (fashion.epsilon, fashion.attack_step) == (0.1, 0.0355)
    assert (cifar.epochs, cifar.iterations, cifar.clean_weight) == (500, 2, 0.05)
    assert (cifar.epsilon, cifar.attack_step) == (0.0315, 0.01)
    # The baseline differs in nothing but the loop.
    assert {**plain.to_json(), "iterations": 1} == fashion.to_json()


def test_the_defaults_of_the_resnet_are_those_of_its_paper() -> None:
    config = runpy.run_path(str(script("resnet20_cifar")))["Config"]()
    shared = {"batch_size": 128, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
    assert {name: getattr(config, name) for name in shared} == shared
    assert (config.schedule, config.precision) == ("steps", "float32")
    steps = config.epochs * training.steps_per_epoch(50_000, config.batch_size)
    assert steps == pytest.approx(64_000, rel=2e-3)


def test_the_two_gans_differ_in_the_optimiser_only() -> None:
    competitive, penalty = (
        runpy.run_path(str(script(name))) for name in ("cgd_wgan_cifar", "wgan_gp_cifar")
    )
    one, other = competitive["Config"](), penalty["Config"]()
    shared = {each.name for each in fields(GanSettings)}
    both = [{name: getattr(config, name) for name in shared} for config in (one, other)]
    assert both[0] == both[1]
    for preset, settings in penalty["PRESETS"].items():
        # The linear solver has a tolerance; one core does as many operations for both.
        own = {"tolerance"} | ({"steps"} if preset == "cpu" else set())
        other_settings = competitive["PRESETS"][preset]
        assert {k: v for k, v in other_settings.items() if k not in own} == {
            k: v for k, v in settings.items() if k not in own
        }
    # Of the logged run, and of the baseline.
    assert (one.steps, one.batch_size, one.learning_rate) == (468_600, 64, 1e-4)
    assert (one.latent, one.width, one.precision) == (128, 64, "float32")
    assert (one.beta, one.eps, one.tolerance, one.iterations) == (0.99, 1e-5, 1e-5, None)
    assert (other.critic_steps, other.penalty, other.betas) == (5, 10.0, (0.5, 0.99))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--epochs", "0", "more than 0"),
        ("--epsilon", "0", "more than 0"),
        ("--attack-steps", "-1", "more than 0"),
        ("--iterations", "-1", "at least 0"),
        ("--reconstruction-weight", "-0.5", "at least 0"),
        ("--precision", "float16", "bfloat16"),
        ("--method", "restoring", "must be 0"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_starts(
    option: str, value: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_here("cnnf_robust", "--smoke", option, value, "--out", str(tmp_path / "run"))
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert expected in message
    assert option.strip("-").replace("-", "_") in message or option in message
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("cnn_robust", "smoke"),
        ("cnnf_cifar", "smoke"),
        ("cnnf_robust", "restoring-smoke"),
        ("resnet20_cifar", "smoke"),
    ],
)
def test_smoke_run_exports_a_card_that_loads_and_verifies(
    name: str, preset: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    few = ("--images", "16", "--batch-size", "8")
    run_here(name, "--preset", preset, *few, "--out", str(out))
    assert record(out)["status"] == "done"
    where = f"local-dir:{out / 'card'}"
    tag = "#smoke" if registry.cards()[name.replace("_", "-")].default != "smoke" else ""
    model = zoo.create(where + tag, pretrained=True)
    with torch.no_grad():
        assert model(torch.rand(2, *model.image_shape)).shape == (2, 10)
    assert zoo.verify(where + tag, metrics=True).ok


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cgd_wgan_cifar", "wgan_gp_cifar"])
def test_smoke_run_exports_a_gan_that_loads_and_verifies(name: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_here(name, "--smoke", "--steps", "2", "--out", str(out))
    assert record(out)["status"] == "done"
    where = f"local-dir:{out / 'card'}#smoke"
    model = zoo.create(where, pretrained=True)
    images = model.sample(3, torch.Generator().manual_seed(0))
    assert images.shape == (3, 3, 32, 32)
    assert model.discriminator(images).shape == (3,)
    assert zoo.verify(where, metrics=True).ok


@pytest.mark.slow
def test_smoke_run_exports_a_flow_of_images_that_loads_and_verifies(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_here("cnf_fashion_mnist", "--smoke", "--out", str(out))
    assert record(out)["status"] == "done"
    where = f"local-dir:{out / 'card'}#smoke"
    model = zoo.create(where, pretrained=True)
    images = model.sample(2, torch.Generator().manual_seed(0), method="rk4", steps=2)
    assert images.shape == (2, 1, 28, 28)
    assert zoo.verify(where, metrics=True).ok


@pytest.mark.parametrize(("looped", "plain"), [("restoring", "corrupted"), ("clean", "clean")])
def test_the_baseline_of_every_training_differs_in_nothing_but_the_loop(
    looped: str, plain: str
) -> None:
    loop = {"iterations", "feedback_to", "damping", "reconstruction_weight", "tag"}
    settings = [
        runpy.run_path(str(script(name)))["PRESETS"][preset]
        for name, preset in (("cnnf_robust", looped), ("cnn_robust", plain))
    ]
    both = [{k: v for k, v in each.items() if k not in loop} for each in settings]
    assert both[0] == both[1]
    assert settings[0]["iterations"] > 0
    assert "iterations" not in settings[1]  # its default is 0


@pytest.mark.slow
def test_same_seed_same_bytes_also_after_a_kill_and_another_seed_differs(tmp_path: Path) -> None:
    name = "cnnf_robust"
    whole, other, killed = tmp_path / "whole", tmp_path / "other", tmp_path / "killed"
    run_here(name, *TINY, "--out", str(whole))
    run_here(name, *TINY, "--out", str(other), "--seed", "1")
    first = launch("-c", killer(calls=2, every_steps=1), script(name), *TINY, "--out", killed)
    assert first.returncode == -9, first.stderr
    assert (killed / "checkpoint.train.safetensors").exists()
    assert not (killed / "card").exists()
    second = launch(script(name), "--resume", "--out", killed)
    assert second.returncode == 0, second.stderr
    results = [record(folder)["result"] for folder in (whole, killed, other)]
    assert results[0] == results[1] != results[2]
    file = results[0]["file"]
    assert (whole / file).read_bytes() == (killed / file).read_bytes()


@pytest.mark.slow
def test_two_processes_make_the_weights_of_one(tmp_path: Path) -> None:
    name = "cnnf_robust"
    run_here(name, *TINY, "--out", str(tmp_path / "one"))
    two = launch_two(script(name), *TINY, "--out", tmp_path / "two")
    assert two.returncode == 0, two.stderr
    checkpoint = "checkpoint.train.safetensors"
    one, other = (load_file(tmp_path / folder / checkpoint) for folder in ("one", "two"))
    biases = [key for key in one if "/model/" in key and key.endswith("bias")]
    momenta = [key for key in one if key.endswith("momentum_buffer")]
    assert (len(biases), len(momenta)) == (7, 14)
    # The attack steps along signs and the loop masks by signs: where rounding turns one, more than
    # rounding is left of it; how much depends on the CPU. Seen at most: 0.065 of the way that the
    # biases went from zero, 0.25 of the momenta. Without the average at least 0.36 and 0.39.
    for keys, share in (biases, 0.2), (momenta, 0.33):
        for key in keys:
            assert (other[key] - one[key]).norm() < share * one[key].norm(), key


def test_missing_data_are_an_error_that_says_how_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_here("cnnf_robust", "--data", str(tmp_path), "--out", str(tmp_path / "run"))
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert "FashionMNIST" in message
    assert "download=True" in message
    assert not (tmp_path / "run").exists()
