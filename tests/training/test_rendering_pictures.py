"""Pictures of renderings for cards, from a model that was never trained."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.rendering_model import renderer
from zoo import data
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.demo.canvas import MARGIN, ZOOM
from zoo.demo.controls.sheet import HEADER, HEADS, TITLES
from zoo.demo.renderings.section import pick
from zoo.models.cnnf import CNNF
from zoo.training import rendering_pictures as pictures


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"a-renderer": renderer, "a-cnn": lambda: CNNF(iterations=0)}
    monkeypatch.setattr(pictures, "create", lambda name, pretrained: given[name]())


def test_both_pictures_are_small_and_in_few_colours(tmp_path: Path, capsys: pytest.CaptureFixture):
    out = tmp_path / "new"
    assert pictures.main(["a-renderer", "--out", str(out)]) == 0
    paths = [out / "renderings.png", out / "labels.png"]
    assert capsys.readouterr().out.split() == [str(path) for path in paths]
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "P")
        assert path.stat().st_size < 120_000


def test_a_picture_holds_the_images_that_the_seed_chooses(tmp_path: Path):
    arguments = ["a-renderer", "labels", "--images", "2", "--seed", "3", "--out", str(tmp_path)]
    assert pictures.main(arguments) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["labels.png"]
    first = data.as_float(pick(fashion_mnist_sample(), 2, 3).images)[0]
    with Image.open(tmp_path / "labels.png") as picture:
        pixels = torch.frombuffer(bytearray(picture.convert("L").tobytes()), dtype=torch.uint8)
        pixels = pixels.view(picture.height, picture.width)
    left, top = ZOOM * (MARGIN + TITLES), ZOOM * (HEADER + HEADS)
    # Every pixel is a square of 2 × 2, in units of ZOOM pixels.
    found = pixels[top : top + 112, left : left + 112][2::4, 2::4] / 255
    assert (found - first[0]).abs().max() < 0.06


def test_what_cannot_be_drawn_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture):
    out = ["--out", str(tmp_path / "out")]
    assert pictures.main(["a-cnn", *out]) == 1
    assert "'a-cnn' renders no labels: a CNNF, no DGM" in capsys.readouterr().err
    assert pictures.main(["a-renderer", "--dataset", "nothing", *out]) == 1
    assert "nothing" in capsys.readouterr().err
    for arguments, words in (
        (["portrait"], "no picture 'portrait'; there are renderings, labels"),
        (["--images", "0"], "at least one row"),
    ):
        with pytest.raises(SystemExit):
            pictures.main(["a-renderer", *arguments, *out])
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
