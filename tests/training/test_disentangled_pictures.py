"""Pictures of controllable models for cards, from models that were never trained."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests import robot_models
from zoo.data import robot_scenes
from zoo.demo.canvas import MARGIN, ZOOM
from zoo.demo.controls.sheet import HEADER
from zoo.errors import DataError
from zoo.training import disentangled_curve as curve
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
    assert drawn.size[0] == ZOOM * (2 * MARGIN + 10 * 64 + 9 * 8)


def test_models_of_another_kind_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    out = ["--out", str(tmp_path)]
    assert pictures.main(["traversal", *out, "--model", "an-editor"]) == 1
    assert "'an-editor' has no controls: a FineStyleGAN" in capsys.readouterr().err
    assert pictures.main(["edits", *out, "--editor", "a-control"]) == 1
    assert "'a-control' edits no images: a DisentangledStyleGAN" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pictures.main(["portrait", *out])
    assert "no picture 'portrait'; there are traversal, samples" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pictures.main(["labels", *out])
    assert "labels wants the numbers of a study: --study FILE" in capsys.readouterr().err


STUDY = """method,labels,seed,metric,value
few,200,0,mig,0.4
few,200,1,mig,0.6
few,2000,0,mig,0.9
none,0,0,mig,0.2
alone,200,0,mig,0.3
few,200,0,code-error,0.1
"""


def test_the_curve_has_the_mean_of_every_method_over_the_labels(tmp_path: Path):
    path = tmp_path / "study.csv"
    path.write_text(STUDY)
    points = curve.read(path)
    figure = curve.draw(points, ["mig", "code-error"])
    left, right = figure.axes
    lines = {line.get_label(): line for line in left.get_lines() if line.get_label()[0] != "_"}
    assert set(lines) == {"few", "none", "alone"}
    assert lines["few"].get_ydata() == pytest.approx([0.5, 0.9])
    fewest = math.log10(200)
    assert lines["few"].get_xdata() == pytest.approx([fewest, fewest + 1])
    assert lines["none"].get_xdata()[0] < fewest - 0.5
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "200", "2,000"]
    assert len(right.get_lines()) == 2 and right.get_ylim()[0] == 0
    with pytest.raises(ValueError, match="no 'sap'"):
        curve.draw(points, ["sap"])
    out = tmp_path / "out"
    assert pictures.main(["labels", "--study", str(path), "--out", str(out)]) == 0
    assert (out / "labels.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("text", ["method,labels\na,1\n", STUDY.replace("0.9", "much")])
def test_a_study_of_another_form_is_refused(text: str, tmp_path: Path):
    path = tmp_path / "study.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="expected CSV with the columns method, labels, seed"):
        curve.read(path)
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        curve.read(tmp_path / "none.csv")
