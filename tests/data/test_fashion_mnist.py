import gzip
import hashlib
import lzma
from pathlib import Path

import pytest
import torch

import zoo.data.fashion_mnist as module
from zoo import data
from zoo.data.fashion_mnist import fashion_mnist, fashion_mnist_sample, make_sample
from zoo.data.idx import read_idx
from zoo.errors import DataError, UnknownNameError


def idx_bytes(values: torch.Tensor) -> bytes:
    header = bytes([0, 0, 8, values.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + sizes + values.numpy().tobytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A small data folder in torchvision's layout, with a table of hashes to match."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    contents = {
        "t10k-images-idx3-ubyte": torch.randint(256, (12, 28, 28), generator=generator),
        "t10k-labels-idx1-ubyte": torch.arange(12) % 10,
    }
    hashes = {}
    for name, values in contents.items():
        content = idx_bytes(values.to(torch.uint8))
        hashes[name] = hashlib.sha256(content).hexdigest()
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(module, "SHA256", hashes)
    monkeypatch.delenv("ZOO_DATA", raising=False)
    return tmp_path


def test_packed_and_unpacked_files_give_the_same_images(folder):
    packed = fashion_mnist(folder, "test")
    for path in (folder / "FashionMNIST" / "raw").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    unpacked = fashion_mnist(folder, "test")
    assert packed.images.shape == (12, 1, 28, 28) and packed.images.dtype == torch.uint8
    assert packed.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert torch.equal(packed.images, unpacked.images)
    assert torch.equal(packed.labels, unpacked.labels)


def test_the_folder_comes_from_the_argument_or_the_environment(folder, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(folder))
    assert len(fashion_mnist()) == len(data.load("fashion-mnist")) == 12
    monkeypatch.setenv("ZOO_DATA", str(folder / "elsewhere"))
    assert len(fashion_mnist(folder)) == 12


def test_without_a_folder_the_error_names_both_ways_to_give_one(monkeypatch):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    with pytest.raises(DataError, match=r"--data FOLDER.*ZOO_DATA"):
        fashion_mnist()


def test_a_missing_file_is_named_with_the_place_and_the_ways_to_get_it(folder):
    raw = folder / "FashionMNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError) as caught:
        fashion_mnist(folder)
    text = str(caught.value)
    for part in (
        "t10k-labels-idx1-ubyte",
        str(raw),
        "torchvision.datasets",
        "download=True",
        "dataset-fashion-mnist",
        "ZOO_DATA",
    ):
        assert part in text
    assert "t10k-images" not in text


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "html"])
def test_a_damaged_file_is_refused_by_name(folder, damage):
    path = folder / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(
        {
            "flip": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
            "truncate": content[:-100],
            "empty": b"",
            "html": b"<html>503</html>",
        }[damage]
    )
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz.*get it again"):
        fashion_mnist(folder)


def test_a_different_but_valid_file_is_refused_with_both_hashes(folder):
    path = folder / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    other = idx_bytes(torch.zeros(12, dtype=torch.uint8))
    path.write_bytes(gzip.compress(other))
    with pytest.raises(DataError) as caught:
        fashion_mnist(folder)
    assert hashlib.sha256(other).hexdigest() in str(caught.value)
    assert module.SHA256["t10k-labels-idx1-ubyte"] in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\0\0\x0d\x01" + bytes(8), b"\0\0\x08\x01\0\0\0\x05ab"])
def test_content_that_is_not_idx_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_idx(path, hashlib.sha256(content).hexdigest())


def test_the_sample_is_the_head_of_the_official_test_set():
    sample = fashion_mnist_sample()
    assert sample.images.shape == (1000, 1, 28, 28)
    # Counts of the labels 0..9 among the first 1,000 test labels, and the first ten of them.
    assert sample.labels.bincount().tolist() == [107, 105, 111, 93, 115, 87, 97, 95, 95, 95]
    assert sample.labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert module.SAMPLE.stat().st_size < 500_000


def test_the_sample_is_made_again_from_its_images():
    again = make_sample(fashion_mnist_sample())
    assert lzma.decompress(again) == lzma.decompress(module.SAMPLE.read_bytes())


@pytest.mark.parametrize("damage", [b"", b"not xz", lzma.compress(bytes(785_000))])
def test_a_damaged_sample_is_refused(tmp_path, monkeypatch, damage):
    path = tmp_path / "sample.xz"
    path.write_bytes(damage)
    monkeypatch.setattr(module, "SAMPLE", path)
    with pytest.raises(DataError, match="install the package again"):
        fashion_mnist_sample()


def test_a_dataset_gives_single_images_in_zero_to_one():
    sample = fashion_mnist_sample()
    image, label = sample[0]
    assert image.shape == (1, 28, 28) and image.dtype == torch.float32
    assert image.min() >= 0 and 0.5 < image.max() <= 1
    assert sample.classes[label] == "Ankle boot"
    torch.testing.assert_close(image * 255, sample.images[0].float())


def test_a_dataset_feeds_a_loader():
    loader = torch.utils.data.DataLoader(fashion_mnist_sample().head(5), batch_size=2)
    shapes = [tuple(images.shape) for images, _ in loader]
    assert shapes == [(2, 1, 28, 28), (2, 1, 28, 28), (1, 1, 28, 28)]


@pytest.mark.parametrize("n", [0, 1001])
def test_a_head_longer_than_the_data_set_is_refused(n):
    with pytest.raises(ValueError, match=f"not {n}"):
        fashion_mnist_sample().head(n)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2)),
    ],
)
def test_images_and_labels_of_the_wrong_kind_are_refused(images, labels):
    with pytest.raises(ValueError, match="must be"):
        data.ImageDataset("x", "test", images, labels, ["a"])


def test_an_unknown_data_set_or_split_is_refused():
    with pytest.raises(UnknownNameError, match="fashion-mnist-sample"):
        data.load("fashion-mnits")
    with pytest.raises(DataError, match="train and test"):
        fashion_mnist(split="validation")
    with pytest.raises(DataError, match="test images only"):
        data.load("fashion-mnist-sample", split="train")
