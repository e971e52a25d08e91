"""Pictures of controllable models for cards, from models that were never trained."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests import robot_models
from zoo.data import robot_scenes
from zoo.demo.canvas import MARGIN, ZOOM
from zoo.demo.controls.sheet import HEADER
from zoo.training import disentangled_pictures as pictures


@pytest.fixture(autouse=True)
def scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot_scenes, "sample", robot_models.noise)
    given = {"a-control": robot_models.control, "an-editor": robot_models.editor}
    monkeypatch.setattr(pictures, "create", lambda name, pretrained: given[name]())


def test_every_picture_is_drawn_in_few_colours(tmp_path: Path, capsys: pytest.CaptureFixture):
    arguments = ["--out", str(tmp_path), "--model", "a-control", "--editor", "an-editor"]
    assert pictures.main(arguments) == 0
    paths = [tmp_path / f"{name}.png" for name in ("traversal", "samples", "truth", "edits")]
    assert capsys.readouterr().out.split() == [str(path) for path in paths]
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "P")


def test_samples_are_those_of_the_model_with_the_seed():
    model = robot_models.control()
    drawn = pictures.samples(model, 7)
    images = model.sample(50, generator=torch.Generator().manual_seed(7))
    first = images[0, :, 0, 0]
    corner = drawn.getpixel((ZOOM * MARGIN, ZOOM * HEADER))
    assert corner == tuple((255 * first).round().int().tolist())
    assert drawn.size[0] == ZOOM * (2 * MARGIN + 10 * 16 + 9 * 8)


def test_models_of_another_kind_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    out = ["--out", str(tmp_path)]
    assert pictures.main(["traversal", *out, "--model", "an-editor"]) == 1
    assert "'an-editor' has no controls: a FineStyleGAN" in capsys.readouterr().err
    assert pictures.main(["edits", *out, "--editor", "a-control"]) == 1
    assert "'a-control' edits no images: a DisentangledStyleGAN" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pictures.main(["portrait", *out])
    assert "no picture 'portrait'; there are traversal, samples" in capsys.readouterr().err
