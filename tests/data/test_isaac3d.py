"""Isaac3D's own pictures, from folders that look like its archives."""

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data import isaac3d
from zoo.data.isaac3d import load
from zoo.errors import DataError
from zoo.simulations.robot_chunks import Ensemble
from zoo.simulations.robot_factors import COUNT, SIZES, indices_of

TOTAL = 20


def picture(number, side):
    """A picture that tells its number, in 32 x 32 squares."""
    squares = np.random.RandomState(number).randint(256, size=(32, 32, 3), dtype=np.uint8)
    return squares.repeat(side // 32, axis=0).repeat(side // 32, axis=1)


def write(root, side=128, total=TOTAL):
    folder = root / isaac3d.FOLDERS[side]
    (folder / "images").mkdir(parents=True)
    for number in Ensemble().numbers(total).tolist():
        Image.fromarray(picture(number, side)).save(folder / "images" / f"{number:06d}.png")
    return folder


def labels(order=tuple(range(9))):
    """All labels, with the factors in this order of columns."""
    return (indices_of(np.arange(COUNT)) / (np.array(SIZES) - 1))[:, order].astype(np.float32)


def test_pictures_and_their_factors(tmp_path):
    np.save(write(tmp_path) / "labels.npy", labels())
    numbers = Ensemble().numbers(TOTAL)
    scenes = load(tmp_path, size=32, split="all", total=TOTAL)
    expected = np.stack([picture(number, 32) for number in numbers]).transpose(0, 3, 1, 2)
    assert torch.equal(scenes.images, torch.from_numpy(expected))
    np.testing.assert_array_equal(scenes.indices.numpy(), indices_of(numbers))
    train, test = (load(tmp_path, size=32, split=s, total=TOTAL) for s in ("train", "test"))
    assert torch.equal(torch.cat([train.images, test.images]), scenes.images)
    assert len(test) == 2
    assert len(load(tmp_path, size=32, total=TOTAL, count=3)) == 3


def test_smaller_pictures_are_averages(tmp_path):
    write(tmp_path)
    scenes = load(tmp_path, size=16, split="all", total=TOTAL)
    number = int(Ensemble().numbers(TOTAL)[0])
    squares = picture(number, 32).astype(float).reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    found = scenes.images[0].permute(1, 2, 0).numpy()
    assert np.abs(found - squares).max() <= 0.5
    assert load(tmp_path, size=128, split="all", total=TOTAL).images.shape == (TOTAL, 3, 128, 128)


def test_large_pictures_do_for_small_ones(tmp_path):
    write(tmp_path, 512, total=2)
    assert load(tmp_path, size=256, split="all", total=2).images.shape == (2, 3, 256, 256)
    assert load(tmp_path, size=64, split="all", total=2).images.shape == (2, 3, 64, 64)


def test_labels_in_the_order_of_the_readme_are_refused(tmp_path):
    """Shape, scale, camera, robot x, robot y and the rest."""
    np.save(write(tmp_path) / "labels.npy", labels((0, 4, 3, 1, 2, 5, 6, 7, 8)))
    with pytest.raises(DataError, match="the factors are in another order"):
        load(tmp_path, size=32, total=TOTAL)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(DataError, match=r"Isaac3D is not here.*Isaac3D_down128/images.*NVlabs"):
        load(tmp_path)
    with pytest.raises(DataError, match="expected a size that divides 512, found 48"):
        load(tmp_path, size=48)
    folder = write(tmp_path, total=3)
    with pytest.raises(DataError, match="expected the split"):
        load(tmp_path, split="valid")
    with pytest.raises(DataError, match=r"looked for .*Isaac3D/images"):
        load(tmp_path, size=512)
    with pytest.raises(DataError, match=r"\.png cannot be read.*unpack the archive again"):
        load(tmp_path, split="all", total=4)
    np.save(folder / "labels.npy", np.zeros((3, 9)))
    with pytest.raises(DataError, match=r"expected \(737280, 9\), found \(3, 9\)"):
        load(tmp_path, split="all", total=3)
    (folder / "labels.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"labels\.npy cannot be read"):
        load(tmp_path, split="all", total=3)
