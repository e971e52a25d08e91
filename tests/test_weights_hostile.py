"""Files, repositories and servers that mean harm, and disks that take nothing."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
import torch

import zoo
from tests.hub_server import Reply
from tests.tiny_card import (
    contents,
    edit_card,
    facts,
    raw_file,
    tiny_folder,
)
from tests.tiny_model import Tiny
from zoo import _cache, _header, _reader, registry, weights
from zoo.errors import CardError, WeightsError, ZooError

ROOT = Path(__file__).parents[1]
FILE = "model.safetensors"


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "code ran"


@pytest.fixture
def bomb(marker):
    return pickle.dumps({"linear.weight": Bomb(marker)})


def listing(root: Path) -> set[Path]:
    return set(root.rglob("*"))


def entry(dtype: object = "F32", shape: object = (2,), start: int = 0, stop: int = 8) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def header(**entries: object) -> bytes:
    return json.dumps(entries).encode()


def many_tensors() -> bytes:
    one = '"{:012}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    return b"{" + ",".join(map(one.format, range(400_000))).encode() + b"}"


HOSTILE = {
    "empty file": b"",
    "seven bytes": b"1234567",
    "html": b"<!DOCTYPE html><html><body>Quota exceeded</body></html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "zip": b"PK\x03\x04" + bytes(100),
    "pickle": pickle.dumps({"linear.weight": [0.0] * 6}),
    "length of 2^40": raw_file(b"{}", claimed=1 << 40),
    "length of 2^63": raw_file(b"{}", claimed=1 << 63),
    "length over the end": raw_file(b"{}", claimed=3),
    "no JSON": raw_file(b"{nothing}"),
    "no UTF-8": raw_file(b'{"\xff": 1}'),
    "nested": raw_file(b"[" * 60_000),
    "huge number": raw_file(b'{"x": %s}' % (b"9" * 5000)),
    "a list": raw_file(b"[]"),
    "metadata": raw_file(b'{"__metadata__": {"a": 1}}'),
    "key twice": raw_file(b'{"a": 1, "a": 1}'),
    "no fields": raw_file(header(a={})),
    "unknown field": raw_file(header(a={**entry(), "code": "x"}), bytes(8)),
    "unknown dtype": raw_file(header(a=entry("F31")), bytes(8)),
    "dtype list": raw_file(header(a=entry(["F32"])), bytes(8)),
    "negative size": raw_file(header(a=entry(shape=[-2])), bytes(8)),
    "size true": raw_file(header(a=entry("U8", [True], 0, 1)), bytes(1)),
    "size float": raw_file(header(a=entry(shape=[2.0])), bytes(8)),
    "product over 64 bits": raw_file(header(a=entry(shape=[1 << 32, 1 << 32])), bytes(8)),
    "gap": raw_file(header(a=entry(start=4, stop=12)), bytes(12)),
    "overlap": raw_file(header(a=entry(), b=entry(start=4, stop=12)), bytes(12)),
    "trailing bytes": raw_file(header(a=entry()), bytes(9)),
    "body missing": raw_file(header(a=entry()), bytes(4)),
    "wrong length": raw_file(header(a=entry(stop=4)), bytes(4)),
}


@pytest.fixture(scope="module")
def many():
    """A header of 25 MB."""
    content = raw_file(many_tensors())
    assert len(content) > 25_000_000
    return content


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_file_is_refused_with_its_name(tmp_path, content):
    # By our own check already, before the parser of safetensors has a say.
    with pytest.raises(_header.HeaderError):
        _header.parse(content, 1 << 17)
    path = tmp_path / FILE
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not one that can be loaded") as caught:
        weights.read(path, None, Tiny())
    assert str(path) in str(caught.value)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_shape_without_elements_is_refused_before_a_tensor_is_made(tmp_path):
    path = tmp_path / FILE
    path.write_bytes(raw_file(header(**{"linear.weight": entry(shape=[0, 1 << 40], stop=0)})))
    with pytest.raises(WeightsError, match=r"shape \(0, 1099511627776\) instead of \(2, 3\)"):
        weights.read(path, None, Tiny())


def test_hostile_name_of_a_tensor_is_shown_harmlessly(tmp_path):
    path = tmp_path / FILE
    path.write_bytes(raw_file(header(**{"\x1b[2J\n../x": entry("U8", [0], 0, 0)})))
    with pytest.raises(WeightsError, match="unexpected") as caught:
        weights.read(path, None, Tiny())
    assert "\x1b" not in str(caught.value)


def test_header_of_25_megabytes_costs_nothing(many):
    room = _header.room_for(_reader.specs(Tiny()))
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(_header.HeaderError, match="where at most"):
        _header.parse(many, room)
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.1
    assert peak < 1_000_000


@pytest.mark.parametrize("where", ["local", "hub"])
def test_header_of_25_megabytes_is_refused_even_with_the_right_hash(
    hub, tmp_path, tiny_architecture, many, where
):
    folder = tiny_folder(tmp_path)
    (folder / FILE).write_bytes(many)
    edit_card(folder, **facts(many))
    name = f"local-dir:{folder}"
    if where == "hub":
        name = f"hf-hub:acme/x@{hub.commit('acme/x', contents(folder))}"
    start = time.process_time()
    with pytest.raises(WeightsError, match="where at most"):
        zoo.create(name, pretrained=True)
    assert time.process_time() - start < 2


def test_longest_header_that_makes_sense_is_cheap(tmp_path):
    room = _header.room_for(_reader.specs(Tiny()))
    empty = ',"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
    body = '{"__metadata__":{}' + "".join(empty.format(n) for n in range(room // 60)) + "}"
    path = tmp_path / FILE
    path.write_bytes(raw_file(body.encode()))
    start = time.process_time()
    with pytest.raises(WeightsError, match="unexpected") as caught:
        weights.read(path, None, Tiny())
    assert time.process_time() - start < 0.5
    assert len(str(caught.value)) < 10_000


def test_repository_with_a_pickle_only_is_refused_unread(hub, bomb, marker):
    revision = hub.commit("evil/x", {"pytorch_model.bin": bomb, "model.pkl": bomb})
    with pytest.raises(WeightsError, match="only these are read") as caught:
        zoo.create(f"hf-hub:evil/x@{revision}", pretrained=True)
    assert "model.safetensors" in str(caught.value)
    assert [path.rpartition("/")[2] for _, path in hub.log] == ["config.json"]
    assert not marker.exists()


def test_folder_with_a_pickle_only_is_refused_unread(tmp_path, bomb, marker):
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(bomb)
    with pytest.raises(WeightsError, match="only safetensors files are read") as caught:
        zoo.create(f"local-dir:{folder}", pretrained=True)
    assert "'pytorch_model.bin'" in str(caught.value)
    assert not marker.exists()


def test_card_with_pickles_beside_it_loads_none_of_them(
    hub, tmp_path, tiny_architecture, bomb, marker
):
    folder = tiny_folder(tmp_path)
    (folder / FILE).rename(folder / "model.bin")
    files = contents(folder) | {"model.pt": bomb, "model.pkl": bomb, "config.py": b"1 / 0"}
    revision = hub.commit("evil/x", files)
    with pytest.raises(WeightsError, match="no such file at this revision"):
        zoo.create(f"hf-hub:evil/x@{revision}", pretrained=True)
    assert {path.rpartition("/")[2] for _, path in hub.log} == {"config.json", FILE}
    assert not marker.exists()


@pytest.mark.parametrize("where", ["local", "hub", "file"])
def test_pickle_called_safetensors_is_refused(
    hub, tmp_path, tiny_architecture, bomb, marker, where
):
    folder = tiny_folder(tmp_path)
    (folder / FILE).write_bytes(bomb)
    edit_card(folder, **facts(bomb))
    if where == "file":
        name, options = f"local-dir:{folder}", {"weights": folder / FILE}
    elif where == "local":
        name, options = f"local-dir:{folder}", {"pretrained": True}
    else:
        revision = hub.commit("evil/x", contents(folder))
        name, options = f"hf-hub:evil/x@{revision}", {"pretrained": True}
    with pytest.raises(WeightsError, match="pickles are never read"):
        zoo.create(name, **options)
    assert not marker.exists()


def test_pickle_is_refused_through_torch_hub(
    tmp_path, tiny_architecture, monkeypatch, bomb, marker
):
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    folder = tiny_folder(tmp_path)
    (folder / FILE).write_bytes(bomb)
    edit_card(folder, **facts(bomb))
    for options in [{"pretrained": True}, {"weights": folder / FILE}]:
        with pytest.raises(WeightsError, match="pickles are never read"):
            torch.hub.load(str(ROOT), "tiny", source="local", **options)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "a\\b", "model.bin", "x\n", "x\0", ""]
)
@pytest.mark.parametrize("field", ["file", "golden"])
def test_hostile_file_name_in_a_card_is_refused(hub, home, tmp_path, field, name):
    folder = tiny_folder(tmp_path)
    card = json.loads((folder / "config.json").read_text())
    where = card["weights"]["one"] if field == "file" else card["weights"]["one"]["golden"]
    where["file"] = name
    files = contents(folder) | {"config.json": json.dumps(card).encode()}
    revision = hub.commit("evil/x", files)
    with pytest.raises(CardError, match=r"weights\.one"):
        weights.fetch(f"hf-hub:evil/x@{revision}")
    assert {path.name for path in home.iterdir()} == {"cards"}


@pytest.mark.parametrize("card", [b"", b"[]", b"{}", b"\xff", b"<html>", b"[" * 100_000])
def test_card_that_is_none_is_refused(hub, tiny_architecture, card):
    revision = hub.commit("evil/x", {"config.json": card})
    with pytest.raises(CardError):
        weights.resolve(f"hf-hub:evil/x@{revision}")


def test_card_of_more_than_a_mebibyte_is_refused(hub, home):
    revision = hub.commit("evil/x", {"config.json": b" " * ((1 << 20) + 1)})
    with pytest.raises(WeightsError, match="at most 1048576 bytes"):
        weights.resolve(f"hf-hub:evil/x@{revision}")
    hub.fault = lambda method, path: "oversize"
    with pytest.raises(WeightsError, match="at most 1048576 bytes"):
        weights.resolve(f"hf-hub:evil/x@{revision}")
    assert not home.exists()


@pytest.mark.parametrize("escape", ["../../../escaped", "/tmp/escaped", "..\\escaped", "a" * 5000])
def test_no_word_of_the_server_is_part_of_a_path(hub, home, tmp_path, escape):
    files = contents(tiny_folder(tmp_path / "published"))
    revision = hub.commit("evil/x", files)
    names = ["ETag", "X-Linked-Etag", "X-Repo-Name", "X-Xet-Hash"]
    headers = dict.fromkeys(names, f'"{escape}"')
    headers["Content-Disposition"] = f'attachment; filename="{escape}"'
    hub.fault = lambda method, path: Reply(200, headers, files[path.rpartition("/")[2]])
    before = listing(tmp_path)
    path = weights.fetch(f"hf-hub:evil/x@{revision}")
    assert path.read_bytes() == files[FILE]
    added = {
        str(path.relative_to(home.parent)) for path in listing(tmp_path) - before - {home.parent}
    }
    sha256, card = facts(files[FILE])["sha256"], facts(files["config.json"])["sha256"]
    assert added == {
        "zoo",
        "zoo/blobs",
        f"zoo/blobs/{sha256}.lock",
        f"zoo/blobs/{sha256}.safetensors",
        "zoo/cards",
        "zoo/cards/evil--x",
        f"zoo/cards/evil--x/{revision}",
        f"zoo/cards/evil--x/{revision}/{card}.json",
    }


@pytest.fixture
def pinned(hub, tmp_path):
    """The name of a card on the Hub."""
    return f"hf-hub:acme/x@{hub.commit('acme/x', contents(tiny_folder(tmp_path / 'published')))}"


@pytest.mark.parametrize("folder", ["with space", "Grüße 模型", "a'b\"c"])
def test_cache_may_have_any_name(pinned, tmp_path, monkeypatch, folder):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / folder))
    assert weights.fetch(pinned).parent == tmp_path / folder / "blobs"


def test_cache_is_beside_that_of_the_hub_by_default(pinned, home, monkeypatch):
    monkeypatch.delenv("ZOO_CACHE")
    assert weights.fetch(pinned).parent == home / "blobs"


def test_cache_that_cannot_be_made_is_a_clear_error(pinned, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match="cache cannot be written: Not a directory") as caught:
        weights.fetch(pinned)
    assert "set ZOO_CACHE to another folder" in str(caught.value)


def test_whole_file_in_a_read_only_cache_is_used(pinned, hub, monkeypatch):
    path = weights.fetch(pinned)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.setattr(_cache, "download", refuse)
    assert weights.fetch(pinned) == path


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_disk_that_takes_nothing_more_is_a_clear_error(pinned, home, monkeypatch, number):
    def refuse(part: _cache._Part, chunk: bytes) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_cache._Part, "write", refuse)
    with pytest.raises(WeightsError, match=f"cannot be written: {os.strerror(number)}") as caught:
        weights.fetch(pinned)
    assert str(home) in str(caught.value)
    assert {path.suffix for path in (home / "blobs").iterdir()} == {".lock"}


def test_disk_that_is_really_full_is_a_clear_error_and_gets_its_space_back(hub, home, tmp_path):
    """The kernel refuses to make a file longer than 100 kB."""
    folder = tiny_folder(tmp_path / "published", width=50_000)
    name = f"hf-hub:acme/x@{hub.commit('acme/x', contents(folder))}"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from zoo import models, weights; models.ARCHITECTURES['tiny'] = 'x:y'\n"
        "try: weights.fetch(sys.argv[1])\n"
        "except weights.WeightsError as error: print(error)"
    )
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        cwd=ROOT,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the cache cannot be written: File too large" in done.stdout
    assert {path.suffix for path in (home / "blobs").iterdir()} == {".lock"}


def test_error_is_one_of_the_zoos_own(pinned, hub):
    """Whatever a server answers, the user sees no other kind of error."""
    oddities = [
        Reply(200, {"Content-Length": "0"}),
        Reply(200, {"Content-Encoding": "gzip"}, b"not gzip"),
        Reply(204),
        Reply(206, {"Content-Range": "nonsense"}, b"x"),
        Reply(301),
        Reply(302, {"Location": ""}),
        Reply(599),
    ]
    for oddity in oddities:
        hub.fault = lambda method, path, oddity=oddity: oddity
        with pytest.raises(ZooError):
            weights.fetch(pinned)
