"""The pictures of an image flow: what is on them, and the command that makes them."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from zoo.metrics.image_likelihood import Traits
from zoo.models.image_cnf import ImageCNF
from zoo.odes import Solver
from zoo.training import image_flow_pictures
from zoo.training.image_flow_pictures import OWN, extremes, grid, likelihood_figure, main


def test_a_grid_shows_every_image_at_its_place() -> None:
    images = torch.zeros(2, 3, 1, 4, 4)
    images[1, 2] = 128 / 255
    picture = Image.open(io.BytesIO(grid(images)))
    # Two pixels of white between images, and everything twice as large.
    assert picture.size == (2 * (3 * 4 + 2 * 2), 2 * (2 * 4 + 2))
    assert picture.getpixel((0, 0)) == (0, 0, 0)
    assert picture.getpixel((8, 0)) == (255, 255, 255)
    assert picture.getpixel((picture.width - 1, picture.height - 1)) == (128, 128, 128)


def test_extremes_are_the_most_and_the_least_likely() -> None:
    images = torch.arange(6.0).view(6, 1, 1, 1)
    log_prob = torch.tensor([0.0, 5.0, -3.0, 2.0, 9.0, -7.0])
    found = extremes(images, log_prob, 2)[..., 0, 0, 0]
    assert found.tolist() == [[4, 1], [5, 2]]


def test_the_figure_has_one_histogram_for_each_set() -> None:
    sets = {name: Traits(*torch.randn(4, 50).double()) for name in (OWN, "mnist")}
    figure = likelihood_figure(sets, dim=16)
    assert [axes.get_xlabel() for axes in figure.axes] == ["bits per dimension", "|z(0)|² / D"]
    for axes in figure.axes:
        assert len(axes.patches) == 2
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert set(labels) == set(sets)


def test_other_models_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["resnet20-cifar", "--out", str(tmp_path / "pictures")]) == 1
    assert "no flow of images" in capsys.readouterr().err
    assert not (tmp_path / "pictures").exists()
    with pytest.raises(SystemExit):
        main(["resnet20-cifar", "--out", str(tmp_path), "--count", "1"])


def test_all_pictures_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ImageCNF(width=16, blocks=1).eval()
    model.solver = Solver("euler", steps=1)
    monkeypatch.setattr(image_flow_pictures, "create", lambda name, pretrained: model)
    monkeypatch.setattr(image_flow_pictures, "SETS", ("constant",))
    assert main(["toy", "--out", str(tmp_path), "--count", "4"]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        f"{name}.png" for name in ("samples", "path", "interpolation", "extremes", "likelihood")
    }
    # Four pairs, nine images from one to the other.
    with Image.open(tmp_path / "interpolation.png") as picture:
        assert picture.size == (2 * (9 * 30 - 2), 2 * (4 * 30 - 2))
