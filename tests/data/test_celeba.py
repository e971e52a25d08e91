from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data import celeba_files
from zoo.data import celeba
from zoo.errors import DataError

SPLITS = (0, 0, 2, 0, 1, 2, 1)  # torchvision wants two of each
CHOSEN = ("Young", "5_o_Clock_Shadow", "Smiling")


@pytest.fixture
def attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    return celeba_files.write(tmp_path, SPLITS, monkeypatch)


def test_attributes_are_factors_of_two_values_whose_names_are_arguments() -> None:
    known = celeba.factors(CHOSEN)
    assert [each.name for each in known] == ["young", "five_o_clock_shadow", "smiling"]
    assert [each.meaning for each in known] == ["young", "5 o clock shadow", "smiling"]
    assert {each.values for each in known} == {2}
    every = celeba.factors(celeba.ATTRIBUTES)
    assert len({each.name for each in every}) == 40 and set(celeba.DEFAULT) < {*celeba.ATTRIBUTES}


def test_each_split_has_its_images_and_the_chosen_attributes(
    tmp_path: Path, attributes: np.ndarray
) -> None:
    columns = [celeba.ATTRIBUTES.index(name) for name in CHOSEN]
    for number, split in enumerate(celeba.SPLITS):
        own = [index for index, each in enumerate(SPLITS) if each == number]
        faces = celeba.load(tmp_path, split=split, size=16, attributes=CHOSEN)
        assert faces.images.dtype == torch.uint8 and faces.images.shape == (len(own), 3, 16, 16)
        expected = (attributes[own][:, columns] == 1).astype(np.int64)
        assert faces.indices.dtype == torch.int64
        assert faces.indices.tolist() == expected.tolist()
        assert faces.factors == celeba.factors(CHOSEN) and len(faces) == len(own)
        # The rows above and below the square are white, the square has the image's own grey.
        grey = torch.tensor([30 * index for index in own])[:, None, None, None]
        assert (faces.images.int() - grey).abs().max() <= 3


def test_the_square_is_resized_with_antialiasing(tmp_path: Path, attributes: np.ndarray) -> None:
    stripes = np.zeros((218, 178, 3), np.uint8)
    stripes[:, ::2] = 255
    path = tmp_path / "celeba" / "img_align_celeba" / "000001.jpg"
    Image.fromarray(stripes).save(path, "PNG")
    small, own = (celeba.load(tmp_path, size=size, count=1).images[0] for size in (16, celeba.SIDE))
    # Stripes of one pixel are grey, but for the border; no pixel is changed at the same size.
    assert (small[:, :, 1:-1].int() - 127).abs().max() < 8
    assert torch.equal(own, torch.from_numpy(stripes[20:198]).permute(2, 0, 1))


def test_decoded_images_are_kept_in_a_file(tmp_path: Path, attributes: np.ndarray) -> None:
    cache = tmp_path / "cache"
    plain = celeba.load(tmp_path, size=8).images
    assert torch.equal(celeba.load(tmp_path, size=8, cache=cache).images, plain)
    (file,) = cache.iterdir()
    assert file.read_bytes() == plain.numpy().tobytes()
    (tmp_path / "celeba" / "img_align_celeba" / "000001.jpg").unlink()
    again = celeba.load(tmp_path, size=8, cache=cache).images
    assert torch.equal(again, plain)
    # What is done with the images is not done to the file.
    again.zero_()
    assert file.read_bytes() == plain.numpy().tobytes()
    file.write_bytes(b"short")
    with pytest.raises(DataError, match=r"expected 576 bytes, found 5; delete"):
        celeba.load(tmp_path, size=8, cache=cache)


def test_a_failed_decoding_leaves_no_file(tmp_path: Path, attributes: np.ndarray) -> None:
    (tmp_path / "celeba" / "img_align_celeba" / "000004.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"000004\.jpg cannot be read"):
        celeba.load(tmp_path, size=8, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_data_say_what_is_missing_and_how_to_get_it(
    tmp_path: Path, attributes: np.ndarray
) -> None:
    path = tmp_path / "celeba" / "list_attr_celeba.txt"
    text = path.read_text()
    path.write_text(text.replace("-1", " 1", 1))
    with pytest.raises(DataError, match=r"found a list with another md5[\s\S]*download=True"):
        celeba.load(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"found list_attr_celeba\.txt missing[\s\S]*ZOO_DATA="):
        celeba.load(tmp_path)


def test_a_small_image_is_refused(tmp_path: Path, attributes: np.ndarray) -> None:
    path = tmp_path / "celeba" / "img_align_celeba" / "000001.jpg"
    Image.new("RGB", (64, 64)).save(path)
    with pytest.raises(DataError, match="expected at least 178 pixels a side, found 64 x 64"):
        celeba.load(tmp_path, count=1)


def test_no_more_images_are_read_than_asked_for(tmp_path: Path, attributes: np.ndarray) -> None:
    few, every = (celeba.load(tmp_path, size=4, count=count) for count in (2, 4))
    assert (len(few), len(every)) == (2, 3)
    assert torch.equal(few.indices, every.indices[:2])
    assert torch.equal(few.images, every.images[:2])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"attributes": ("Smilling",)}, r"no attribute 'Smilling' \(did you mean 'Smiling'"),
        ({"attributes": ("Male", "Male")}, "expected different attributes, found Male, Male"),
        ({"split": "validation"}, "expected one of the splits train, valid, test"),
        ({"size": 0}, "size: expected at least 1"),
        ({"count": 0}, "count: expected at least 1"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_read(
    arguments: dict, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        celeba.load(tmp_path, **arguments)
