"""MNIST from torchvision's layout: what is read, and what is refused."""

import gzip
import hashlib
from pathlib import Path

import pytest
import torch

import zoo.data.mnist as module
from zoo.data.mnist import mnist
from zoo.errors import DataError


def idx_bytes(values: torch.Tensor) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.numpy().tobytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small data folder, with a table of hashes to match."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    contents = {
        "t10k-images-idx3-ubyte": torch.arange(3 * 28 * 28).view(3, 28, 28) % 251,
        "t10k-labels-idx1-ubyte": torch.tensor([7, 2, 1]),
    }
    hashes = {}
    for name, values in contents.items():
        content = idx_bytes(values.to(torch.uint8))
        hashes[name] = hashlib.sha256(content).hexdigest()
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(module, "SHA256", hashes)
    return tmp_path


def test_images_and_labels_in_their_order(folder: Path) -> None:
    found = mnist(folder, "test")
    assert (found.name, found.split, len(found)) == ("mnist", "test", 3)
    assert found.images.shape == (3, 1, 28, 28)
    assert found.images[1, 0, 0, :3].tolist() == [784 % 251, 785 % 251, 786 % 251]
    assert found.labels.tolist() == [7, 2, 1]


def test_other_bytes_are_refused(folder: Path) -> None:
    path = folder / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(torch.tensor([7, 2, 2], dtype=torch.uint8))))
    with pytest.raises(DataError, match="damaged"):
        mnist(folder)


def test_missing_files_are_named_with_the_way_to_get_them(folder: Path) -> None:
    with pytest.raises(DataError, match=r"train-images[\s\S]*download=True[\s\S]*ZOO_DATA="):
        mnist(folder, "train")
    with pytest.raises(DataError, match="train and test"):
        mnist(folder, "validation")
