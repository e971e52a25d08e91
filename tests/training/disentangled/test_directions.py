"""Directions as a baseline: errors against closed forms, a reader that learns, a whole run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.data import robot_scenes
from zoo.data.robot_scenes import Scenes
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.style_directions import style_directions
from zoo.models.style_discriminator import Discriminator
from zoo.training import checkpoint
from zoo.training.disentangled import directions
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.files import write_json

SMALL: dict[str, Any] = {
    "latent_dim": 4,
    "style_dim": 4,
    "mapping_layers": 1,
    "features": 8,
    "channels": [8, 8],
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_labels_that_are_affine_in_one_code() -> None:
    """Codes in another order, with other signs and scales: no error in either way."""
    labels = draw(50, 2).sigmoid()
    codes = torch.stack([draw(50, seed=1), 3 - 2 * labels[:, 1], 5 * labels[:, 0] - 1], 1)
    one, every = directions.affine_errors(codes[:30], labels[:30], codes[30:], labels[30:])
    assert one < 1e-12
    assert every < 1e-12


def test_labels_in_a_mixture_of_codes() -> None:
    """Rotated by 45°: all codes give the labels exactly, one code what a line in NumPy does."""
    labels = torch.stack([draw(400, seed=i).sigmoid() for i in (1, 2)], 1)
    codes = torch.stack([labels[:, 0] + labels[:, 1], labels[:, 0] - labels[:, 1]], 1)
    one, every = directions.affine_errors(codes[:200], labels[:200], codes[200:], labels[200:])
    assert every < 1e-12
    expected = []
    for factor in range(2):
        fits = [np.polyfit(codes[:200, k], labels[:200, factor], 1, full=True) for k in range(2)]
        best = int(np.argmin([fit[1][0] for fit in fits]))
        said = np.clip(np.polyval(fits[best][0], codes[200:, best]), 0, 1)
        expected.append(np.abs(said - labels[200:, factor].numpy()).mean())
    assert one == pytest.approx(float(np.mean(expected)), abs=1e-12)
    assert one > 0.05


def test_a_code_that_never_changes_is_no_code() -> None:
    labels = draw(20, 1).sigmoid()
    codes = torch.cat([torch.ones(20, 1, dtype=torch.float64), labels], 1)
    assert directions.affine_errors(codes, labels, codes, labels)[0] < 1e-12
    nothing = codes[:, :1]
    mean = (labels.mean() - labels).abs().mean()
    one, every = directions.affine_errors(nothing, labels, nothing, labels)
    assert one == pytest.approx(float(mean))
    assert every == pytest.approx(float(mean))


def plain(**changes: Any) -> DisentangledStyleGAN:
    torch.manual_seed(0)
    model = DisentangledStyleGAN([], 8, **{**SMALL, **changes})
    with torch.no_grad():
        # Colours that depend strongly on the style, as after a training.
        model.generator.synthesis.to_image["8"].weight *= 3
    return model.eval()


def test_a_reader_learns_the_coordinates() -> None:
    model = plain()
    found = style_directions(model.generator.synthesis, 2)
    torch.manual_seed(1)
    network = Discriminator((16, 16), 2, features=32)
    reader = directions.train_reader(model, found, network, steps=100, batch_size=32)
    assert not network.training
    z = torch.randn(500, 4, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        w = model.generator.mapping(z, torch.zeros(500, 0))
        images = (model(z, torch.zeros(500, 0)) * 255).round().byte()
        said, truth = reader.read(images), found.project(w)
    # What it says of new images goes with the coordinates, and it knows how well.
    for k in range(2):
        correlation = torch.corrcoef(torch.stack([said[:, k], truth[:, k]]))[0, 1]
        assert correlation > 0.7
    unit = (truth - truth.mean(0)) / truth.std(0)
    explained = 1 - (said - unit).square().mean()
    assert float(explained) == pytest.approx(reader.explained, abs=0.15)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a plain training, and the packaged scenes as both splits."""
    config = DisentangledSettings(
        method="plain",
        image_size=32,
        sizes=(32,),
        images=(32,),
        factors=("robot_x", "wall_color"),
        threads=torch.get_num_threads(),
        **{**SMALL, "channels": (4, 4, 4, 4)},
    )
    torch.manual_seed(0)
    model = DisentangledStyleGAN([], 32, **{**SMALL, "channels": [4, 4, 4, 4]})
    state = {"step": 1, "state": {"ema": model.state_dict()}}
    checkpoint.write(tmp_path / "checkpoint.train.safetensors", state)
    settings = {**config.to_json(), "dataset": "robot-scenes"}
    write_json(tmp_path / "run.json", {"settings": settings})
    scenes = robot_scenes.sample()

    def load(root: Path | None, *, split: str) -> Scenes:
        return scenes

    monkeypatch.setattr(robot_scenes, "load", load)
    return tmp_path


def test_from_a_run_to_a_score(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(run), "--directions", "3", "--steps", "2"]
    assert directions.main([*arguments, "--labels", "20", "30"]) == 0
    assert directions.main([*arguments, "--labels", "20", "--seed", "1"]) == 0
    assert directions.main([*arguments, "--labels", "20"]) == 0
    kept = json.loads((run / directions.FILE).read_text())
    keys = [f"labels {n}, directions 3, seed {seed}" for n, seed in ((20, 0), (20, 1), (30, 0))]
    assert sorted(kept) == keys
    # One reader, whatever the labels: only the errors are others.
    assert kept[keys[0]]["mig"] == kept[keys[2]]["mig"]
    assert kept[keys[0]]["error_all"] != kept[keys[2]]["error_all"]
    score = directions.Score(**kept[keys[0]])
    assert 0 <= score.mig <= 1
    assert 0 < score.error_one < 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[3] != lines[2]
    assert f"MIG {score.mig:.3f}, error {score.error_one:.3f} (one code)" in lines[0]


def test_other_runs_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = json.loads((run / "run.json").read_text())["settings"]
    write_json(run / "run.json", {"settings": {**settings, "method": "supervised"}})
    assert directions.main([str(run)]) == 1
    assert "expected a run with --method plain, found 'supervised'" in capsys.readouterr().err
    write_json(run / "run.json", {"settings": settings})
    (run / "checkpoint.train.safetensors").unlink()
    assert directions.main([str(run)]) == 1
    assert "error:" in capsys.readouterr().err
