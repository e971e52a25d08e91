"""Folders of robot scenes: the same bytes whatever dies, stops, or was there before."""

import subprocess
import sys

import filelock
import numpy as np
import pytest
import safetensors.numpy

from tests.simulations import robots
from zoo.errors import SimulationError
from zoo.simulations import robot_ensemble
from zoo.simulations.robot_chunks import CHUNK, Chunk, Ensemble, complaint, packed
from zoo.simulations.robot_ensemble import simulate
from zoo.simulations.robot_factors import COUNT, FACTORS, indices_of
from zoo.training.files import read_json

SMALL = Ensemble(size=8)


def painted(folder, count, **options):
    """An ensemble without OpenGL."""
    options = {"workers": 2, "quiet": True, "draw": robots.paint, **options}
    simulate(folder, options.pop("ensemble", SMALL), count, **options)


def files(folder):
    """Name -> content of the files of scenes."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("scenes-*"))}


def expected(count, ensemble=SMALL):
    """What `files` should be."""
    return {
        chunk.file: packed(chunk, images, ensemble.as_dict() | facts)
        for chunk in Chunk.all(ensemble.numbers(count))
        for images, facts in [robots.paint(chunk, ensemble.size, ensemble.arm)]
    }


def test_scenes_are_different_and_a_prefix_of_more():
    few, many = SMALL.numbers(300), SMALL.numbers(COUNT)
    np.testing.assert_array_equal(many[:300], few)
    np.testing.assert_array_equal(np.sort(many), np.arange(COUNT))
    assert few[:4].tolist() == np.random.RandomState(0).permutation(COUNT)[:4].tolist()
    assert not np.array_equal(Ensemble(seed=1).numbers(300), few)


def test_fixed_factors_stay_fixed():
    ensemble = Ensemble("jaco", 32, 5, {"wall_color": 2, "robot_x": 7})
    numbers = ensemble.numbers(ensemble.total)
    assert ensemble.total == len(set(numbers.tolist())) == COUNT // 32
    indices = indices_of(numbers)
    assert set(indices[:, 1].tolist()) == {7} and set(indices[:, 8].tolist()) == {2}
    assert len(np.unique(indices[:, 6])) == FACTORS[6].values
    assert ensemble.name == "jaco-32-robot_x=7-wall_color=2"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Ensemble(fixed={"wall": 1}), "no factor 'wall'"),
        (lambda: Ensemble(fixed={"wall_color": 4}), "wall_color: expected 0 to 3, found 4"),
        (lambda: Ensemble(seed=-1), "seed: expected 0 to"),
        (lambda: SMALL.numbers(COUNT + 1), "count: expected 1 to 737280 different scenes"),
        (lambda: SMALL.numbers(0), "count: expected 1 to"),
    ],
)
def test_wrong_ensembles_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_death_of_a_process_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_DIED", str(tmp_path / "died"))
    painted(tmp_path / "scenes", 4 * CHUNK + 10, draw=robots.paint_or_die)
    assert (tmp_path / "died").exists()
    assert files(tmp_path / "scenes") == expected(4 * CHUNK + 10)


def test_death_of_a_renderer_changes_nothing(tmp_path, monkeypatch):
    """The real thing: what the process that takes over draws is what this process draws."""
    monkeypatch.setenv("TEST_DIED", str(tmp_path / "died"))
    ensemble = Ensemble(size=robots.SIZE)
    draw = {"draw": robots.draw_or_die, "ensemble": ensemble}
    if not robots.opengl():
        with pytest.raises(SimulationError, match=r"structured-zoo\[robot\]|MUJOCO_GL"):
            painted(tmp_path / "scenes", 4, **draw)
        return
    painted(tmp_path / "scenes", 4, **draw)
    assert (tmp_path / "died").exists()
    [content] = files(tmp_path / "scenes").values()
    tensors = safetensors.numpy.load(content)
    renderer = robots._renderer("primitive")
    for image, number in zip(tensors["images"], ensemble.numbers(4), strict=True):
        here = renderer.render(indices_of(number)).transpose(2, 0, 1)
        np.testing.assert_array_equal(image, here)
    np.testing.assert_array_equal(tensors["indices"], indices_of(ensemble.numbers(4)))


def test_many_deaths_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(robot_ensemble, "POOLS", 2)
    with pytest.raises(SimulationError, match="1 files of scenes are missing after 2 pools"):
        painted(tmp_path, 3, draw=robots.die)
    assert files(tmp_path) == {}


@pytest.fixture
def here(monkeypatch):
    """Draw in this process, which is quicker; count the files that are drawn."""
    drawn = []

    def one_by_one(chunks, ensemble, workers, draw):
        for chunk in chunks:
            drawn.append(chunk.index)
            yield chunk, draw(chunk, ensemble.size, ensemble.arm)

    monkeypatch.setattr(robot_ensemble, "_drawn", one_by_one)
    return drawn


def test_only_what_is_missing_or_damaged_is_drawn(tmp_path, here):
    painted(tmp_path, 4 * CHUNK)
    (tmp_path / "scenes-00001.safetensors").unlink()
    path = tmp_path / "scenes-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    here.clear()
    painted(tmp_path, 4 * CHUNK)
    assert here == [1, 3]
    painted(tmp_path, 2 * CHUNK)
    assert here == [1, 3]
    assert files(tmp_path) == expected(4 * CHUNK)
    assert read_json(tmp_path / "settings.json") == {
        "arm": "primitive",
        "size": 8,
        "seed": 0,
        "fixed": {},
        "count": 4 * CHUNK,
    }


def test_more_scenes_are_added(tmp_path, here):
    painted(tmp_path, CHUNK + 5)
    painted(tmp_path, 2 * CHUNK + 5)
    assert here == [0, 1, 1, 2]
    assert files(tmp_path) == expected(2 * CHUNK + 5)
    assert read_json(tmp_path / "settings.json")["count"] == 2 * CHUNK + 5


def test_shards_make_the_whole(tmp_path, here):
    for index in (2, 1, 3):
        painted(tmp_path, 5 * CHUNK, part=(index, 3))
    assert here == [1, 4, 0, 3, 2]
    assert files(tmp_path) == expected(5 * CHUNK)


def test_other_settings_are_refused(tmp_path, here):
    painted(tmp_path, 3)
    for other in (Ensemble(size=16), Ensemble(size=8, seed=1), Ensemble("jaco", 8)):
        with pytest.raises(SimulationError, match="take another folder, or the same settings"):
            painted(tmp_path, 3, ensemble=other)
    assert files(tmp_path) == expected(3)


def test_folder_in_use_is_refused(tmp_path, here):
    with (
        filelock.FileLock(tmp_path / ".shard-1-of-1.lock"),
        pytest.raises(SimulationError, match="another process is drawing the same scenes"),
    ):
        painted(tmp_path, 3)
    painted(tmp_path, 3)


def test_complaints(tmp_path):
    chunk = Chunk(0, SMALL.numbers(3))
    images, _ = robots.paint(chunk, 8, "primitive")
    path = tmp_path / chunk.file
    assert complaint(path, chunk, 8) == "missing"
    path.write_bytes(packed(chunk, images, {}))
    assert complaint(path, chunk, 8) is None
    assert complaint(path, Chunk(0, SMALL.numbers(2)), 8) == "of other scenes"
    assert "images uint8 (3, 3, 8, 8)" in complaint(path, chunk, 16)
    path.write_bytes(path.read_bytes()[:100])
    assert complaint(path, chunk, 8).startswith("damaged")


def test_processes_start_without_torch():
    code = "import sys, zoo.simulations.robot_worker; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
