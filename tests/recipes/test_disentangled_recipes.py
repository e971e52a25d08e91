"""The recipes of controllable StyleGANs: smoke runs, and made-up files in the real layouts."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from tests.data import celeba_files
from tests.recipes.test_recipes import record, run_here, script
from zoo.data import isaac3d
from zoo.simulations.robot_chunks import Ensemble

ROBOT, FINE, ISAAC, CELEBA = (
    f"stylegan_disentangled_{name}"
    for name in ("robot64", "fine_robot64", "isaac3d512", "celeba256")
)
TINY = ("--smoke", "--images", "8,8", "--batch-size", "4", "--labelled-batch", "2")


@pytest.mark.slow
@pytest.mark.parametrize("name", [ROBOT, FINE, ISAAC, CELEBA])
def test_smoke_run_exports_a_card_that_loads_and_verifies(name: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_here(name, "--smoke", "--out", str(out))
    assert record(out)["status"] == "done"
    where = f"local-dir:{out / 'card'}#smoke"
    model = zoo.create(where, pretrained=True)
    codes = model.layout.sample(3, torch.Generator().manual_seed(0))
    images = torch.rand(3, *model.image_shape, generator=torch.Generator().manual_seed(1))
    drawn = model(images, torch.zeros(3, model.latent_dim), codes) if name == FINE else None
    drawn = model.sample(3, codes) if drawn is None else drawn
    assert drawn.shape == images.shape and drawn.min() >= 0 and drawn.max() <= 1
    assert model.encode(images).shape == codes.shape
    assert zoo.verify(where, metrics=True).ok


def test_the_defaults_are_the_sizes_and_images_of_the_predecessor() -> None:
    isaac, faces = (runpy.run_path(str(script(name)))["Config"]() for name in (ISAAC, CELEBA))
    for config in (isaac, faces):
        assert (config.learning_rate, config.betas, config.r1_weight) == (1e-3, (0.0, 0.99), 10.0)
        assert (config.r1_every, config.fade, config.precision) == (1, 0.5, "float32")
        assert sum(config.images) == 29_600_000 and config.sizes[-1] == config.image_size
        assert config.images[0] == 740_000 and set(config.images[1:-1]) == {1_480_000}
    assert (isaac.image_size, faces.image_size) == (512, 256)
    # A hundredth of all, a twentieth of the training split.
    assert isaac.labels == round(0.01 * isaac.total)
    assert faces.labels == round(0.05 * 162_770)


def test_the_networks_of_the_defaults_are_those_of_the_cards() -> None:
    for name in (ROBOT, FINE, ISAAC, CELEBA):
        recipe = runpy.run_path(str(script(name)))
        config, card = recipe["Config"](), zoo.info(name.replace("_", "-")).config
        for key in ("image_size", "latent_dim", "style_dim", "mapping_layers"):
            assert getattr(config, key) == card[key], (name, key)
        assert config.channels is None and "channels" not in card


def test_isaac3d_is_trained_on_from_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Isaac3D_down128" / "images"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in Ensemble().numbers(20).tolist():
        pixels = draw.integers(256, size=(128, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06d}.png")
    out = tmp_path / "run"
    own = ("--data", str(tmp_path), "--dataset", "isaac3d", "--total", "20", "--labels", "5")
    run_here(ISAAC, *TINY, *own, "--out", str(out))
    held_out = record(out)["held_out"]
    assert len(held_out) == 2 + 9 and all(0 <= value <= 1 for value in held_out.values())
    model = zoo.create(f"local-dir:{out / 'card'}#smoke", pretrained=True)
    assert [(each.name, each.categorical) for each in model.factors] == [
        (each.name, False) for each in isaac3d.FACTORS
    ]


def test_faces_are_trained_on_from_the_folder_of_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    celeba_files.write(tmp_path, (0,) * 12 + (1, 1) + (2,) * 4, monkeypatch)
    out = tmp_path / "run"
    own = ("--data", str(tmp_path), "--dataset", "celeba", "--labels", "5", "--count", "10")
    chosen = ("--attributes", "Young,Bangs", "--cache", str(tmp_path / "cache"))
    run_here(CELEBA, *TINY, *own, *chosen, "--out", str(out))
    names = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert names == ["celeba-test-4-32.u8", "celeba-train-10-32.u8"]
    assert set(record(out)["held_out"]) == {
        "mig",
        "code-error",
        "code-error young",
        "code-error bangs",
    }
    model = zoo.create(f"local-dir:{out / 'card'}#smoke", pretrained=True)
    assert [(each.name, each.values) for each in model.factors] == [("young", 2), ("bangs", 2)]


def test_an_unknown_attribute_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_here(CELEBA, "--smoke", "--attributes", "Smilling", "--out", str(tmp_path / "run"))
    assert caught.value.code == 2
    assert "did you mean 'Smiling'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_missing_scenes_name_the_command_that_draws_them(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        run_here(ROBOT, "--data", str(tmp_path), "--out", str(tmp_path / "run"))
    assert "zoo simulate robot" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
