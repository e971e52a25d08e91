import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.data.cifar10 import cifar10
from zoo.errors import DataError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A file of the right shape whose pixels say which image they are."""
    images = np.zeros((60_000, 32, 32, 3), np.uint8)
    images[:, 0, 0, 2] = np.arange(60_000) % 251
    np.savez(tmp_path / "cifar10.npz", images=images, labels=np.arange(60_000) % 10)
    return tmp_path


def test_archive_gives_both_splits(archive: Path) -> None:
    train, test = cifar10(archive, "train"), cifar10(archive, "test")
    assert train.images.shape == (50_000, 3, 32, 32)
    assert test.images.shape == (10_000, 3, 32, 32)
    assert test.images[:, 2, 0, 0].tolist() == [i % 251 for i in range(50_000, 60_000)]
    assert test.labels[:3].tolist() == [0, 1, 2]
    assert test.labels.dtype == torch.int64


def test_missing_data_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"download=True[\s\S]*ZOO_DATA="):
        cifar10(tmp_path)


def test_a_batch_that_is_not_the_official_one_is_refused_unread(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="md5"):
        cifar10(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"not an archive", b""])
def test_damaged_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cifar10.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        cifar10(tmp_path)


def test_archive_of_another_shape(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "cifar10.npz", images=np.zeros((5, 32, 32, 3), np.uint8), labels=np.zeros(5)
    )
    with pytest.raises(DataError, match="expected images"):
        cifar10(tmp_path)
