"""Files that are there as a whole or not at all."""

import errno
import os

import pytest

from zoo.training.files import FileError, dump_json, read_json, write_atomically, write_json


def test_json_comes_back(tmp_path):
    value = {"name": "ä", "list": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="a: cannot be written: No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        write_atomically(tmp_path / "no" / "a", b"")


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    (tmp_path / "a.tmp").write_bytes(b"half")
    write_atomically(tmp_path / "a", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_json_has_no_nan():
    with pytest.raises(ValueError, match="Out of range"):
        dump_json({"loss": float("nan")})


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"{", "not JSON"), (b"\xff", "not JSON"), (b"[1]", "expected a JSON object, found list")],
)
def test_a_file_that_is_no_json_object_is_an_error(tmp_path, content, problem):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=problem):
        read_json(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_json(tmp_path / "a.json")
