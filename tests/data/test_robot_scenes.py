"""Robot scenes as a data set: splits, errors, and the sample of the package."""

import numpy as np
import pytest
import torch

from tests.simulations import robots
from zoo.data import robot_scenes
from zoo.data.robot_scenes import Scenes, at_size, load, sample
from zoo.errors import DataError
from zoo.models.factors import Factor
from zoo.simulations.robot_chunks import Chunk, Ensemble, packed
from zoo.simulations.robot_factors import FACTORS, SIZES, indices_of
from zoo.training.files import write_json

COUNT = 520


def write(root, ensemble, count=COUNT):
    """A folder of painted scenes, as the command leaves it."""
    folder = root / "robot-scenes" / ensemble.name
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", {**ensemble.as_dict(), "count": count})
    for chunk in Chunk.all(ensemble.numbers(count)):
        images, facts = robots.paint(chunk, ensemble.size, ensemble.arm)
        (folder / chunk.file).write_bytes(packed(chunk, images, facts))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    write(path, Ensemble(size=8))
    return path


def painted(count):
    """All images, from the files' own painter."""
    chunks = Chunk.all(Ensemble(size=8).numbers(count))
    return np.concatenate([robots.paint(chunk, 8, "primitive")[0] for chunk in chunks])


def test_splits_are_the_scenes_in_their_order(root):
    every = load(root, size=8, split="all")
    assert torch.equal(every.images, torch.from_numpy(painted(COUNT)))
    assert every.indices.numpy().tolist() == indices_of(Ensemble().numbers(COUNT)).tolist()
    train, test = load(root, size=8), load(root, size=8, split="test")
    assert (len(train), len(test)) == (468, 52)
    assert torch.equal(torch.cat([train.images, test.images]), every.images)
    assert torch.equal(torch.cat([train.indices, test.indices]), every.indices)


def test_count_is_a_prefix_of_the_split(root):
    for split in ("train", "test", "all"):
        whole, part = load(root, size=8, split=split), load(root, size=8, split=split, count=40)
        assert torch.equal(part.images, whole.images[:40]) and len(part) == 40
        assert torch.equal(part.indices, whole.indices[:40])


def test_fixed_factors_have_a_folder_of_their_own(tmp_path):
    write(tmp_path, Ensemble("jaco", 8, 4, {"object_scale": 3}), count=30)
    found = load(tmp_path, size=8, arm="jaco", seed=4, fixed={"object_scale": 3}, split="all")
    assert set(found.indices[:, 4].tolist()) == {3} and len(found) == 30


def test_zoo_data_is_the_usual_folder(root, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(root))
    assert len(load(size=8, count=5)) == 5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "`zoo simulate robot --size 64 --arm primitive --data "),
        ({"size": 8, "arm": "jaco"}, "--size 8 --arm jaco"),
        ({"size": 8, "fixed": {"wall_color": 1}}, "--fix wall_color=1"),
        ({"size": 8, "seed": 7}, "expected seed 7, found 0"),
        ({"size": 8, "split": "valid"}, "expected the split train, test, all, found 'valid'"),
        ({"size": 8, "count": 469}, r"expected 1 to 468 scenes \(train\), asked for 469"),
        ({"size": 8, "count": 0}, "asked for 0"),
    ],
)
def test_what_is_not_there_is_said(root, options, text):
    with pytest.raises(DataError, match=text):
        load(root, **options)


def test_damage_is_said(tmp_path):
    folder = write(tmp_path, Ensemble(size=8))
    path = folder / "scenes-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert len(load(tmp_path, size=8, count=250)) == 250
    with pytest.raises(DataError, match=r"scenes-00001.*sha256 differs.*--count 520"):
        load(tmp_path, size=8)
    path.unlink()
    with pytest.raises(DataError, match=r"scenes-00001.*missing"):
        load(tmp_path, size=8)
    write_json(folder / "settings.json", {**Ensemble(size=8).as_dict(), "count": "many"})
    with pytest.raises(DataError, match="expected a count, found 'many'"):
        load(tmp_path, size=8)


def test_values_by_name(root):
    scenes = load(root, size=8, count=50)
    wanted = (FACTORS[8], Factor("robot_x", 8, "under a meaning of one's own"))
    assert torch.equal(scenes.values(wanted), scenes.indices[:, [8, 1]])
    with pytest.raises(ValueError, match="robot_x: expected 8 values, found 5"):
        scenes.values([Factor("robot_x", 5, "")])
    with pytest.raises(ValueError, match="no factor 'robot_z'"):
        scenes.values([Factor("robot_z", 5, "")])


def test_averages_of_squares(root):
    scenes = load(root, size=8, count=3)
    pixels = scenes.images.numpy().astype(float)
    half = at_size(scenes, 4)
    expected = pixels.reshape(3, 3, 4, 2, 4, 2).mean(axis=(3, 5)).round()
    np.testing.assert_array_equal(half.images.numpy(), expected)
    assert torch.equal(half.indices, scenes.indices) and at_size(scenes, 8) is scenes
    for size in (3, 16, 0):
        with pytest.raises(ValueError, match="expected a divisor of 8"):
            at_size(scenes, size)


def test_scenes_check_themselves():
    images, indices = (
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(2, 9, dtype=torch.int64),
    )
    assert len(Scenes(images, indices).head(1)) == 1
    with pytest.raises(ValueError, match="images: expected uint8"):
        Scenes(images.float(), indices)
    with pytest.raises(ValueError, match="indices: expected int64"):
        Scenes(images, indices[:, :8])
    with pytest.raises(ValueError, match="indices: expected 0 <= index < "):
        Scenes(images, indices + torch.tensor(SIZES))
    with pytest.raises(ValueError, match="count: expected 1 to 2"):
        Scenes(images, indices).head(3)


def test_sample_is_the_end_of_the_usual_test_split():
    scenes = sample()
    assert scenes.images.shape == (36, 3, 64, 64)
    expected = indices_of(Ensemble().numbers(20_000)[-36:])
    np.testing.assert_array_equal(scenes.indices.numpy(), expected)
    for column, size in enumerate(SIZES):
        assert len(scenes.indices[:, column].unique()) == size
    assert robot_scenes.SAMPLE.stat().st_size < 150_000


def test_sample_is_made_again(tmp_path, monkeypatch):
    numbers = Ensemble().numbers(20_000)[-36:].tolist()
    again = tmp_path / "sample.png"
    again.write_bytes(robot_scenes.make_sample(sample(), numbers))
    before = sample()
    monkeypatch.setattr(robot_scenes, "SAMPLE", again)
    assert torch.equal(sample().images, before.images)


def test_damaged_sample_is_said(tmp_path, monkeypatch):
    scenes = sample()
    scenes.images[0, 0, 0, 0] ^= 1
    file = tmp_path / "sample.png"
    file.write_bytes(robot_scenes.make_sample(scenes, range(36)))
    monkeypatch.setattr(robot_scenes, "SAMPLE", file)
    with pytest.raises(DataError, match="is damaged: its pixels have sha256"):
        sample()
    file.write_bytes(b"no picture")
    with pytest.raises(DataError, match="install the package again"):
        sample()
