"""Weights from a Hub that fails in all the ways that Hubs, networks and disks do."""

from __future__ import annotations

import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

import zoo
from tests.hub_server import HubServer, Reply
from tests.pinned_card import FILE, blobs, once
from tests.tiny_card import facts, tiny_tensors
from zoo import _cache, _hub, weights
from zoo.errors import UnknownNameError, WeightsError


def test_first_fetch_is_one_request_and_the_next_is_none(hub, home, card, monkeypatch):
    path = weights.fetch(card.name)
    assert path.read_bytes() == card.content
    assert hub.log == [("GET", card.url)]
    assert weights.fetch(card.name) == path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert weights.fetch(card.name) == path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.close()
    assert weights.fetch(card.name) == path
    assert len(hub.log) == 1
    assert blobs(home) == {".safetensors"}


def test_model_from_the_hub_loads_in_a_fresh_cache(hub, card):
    model = zoo.create(card.hub_name, pretrained=True)
    assert model.linear.bias.tolist() == tiny_tensors(0)["linear.bias"][2]
    assert [path.rpartition("/")[2] for _, path in hub.log] == ["config.json", FILE]
    hub.close()
    zoo.create(card.hub_name, pretrained=True)
    assert len(hub.log) == 2


def test_pin_of_a_card_on_the_hub_is_where_it_was_found(hub, card):
    found, tag = weights.resolve(f"{card.hub_name}#one")
    assert tag == "one"
    assert found.weights["one"].hub == zoo.registry.HubPin(card.repo, card.revision)
    with pytest.raises(UnknownNameError, match="no weights tagged 'two'"):
        weights.resolve(f"{card.hub_name}#two")


def test_damaged_card_in_the_cache_is_fetched_again(hub, home, card):
    weights.resolve(card.hub_name)
    [path] = home.glob("cards/*/*/*.json")
    path.write_bytes(path.read_bytes().replace(b"MIT", b"mit"))
    assert weights.resolve(card.hub_name)[0].licence == "MIT"
    assert hub.count("GET", "config.json") == 2


def test_wrong_content_is_an_error_and_leaves_nothing(hub, home, card):
    hub.fault = once("corrupt")
    with pytest.raises(WeightsError) as caught:
        weights.fetch(card.name)
    wrong = bytes(byte ^ 0xFF for byte in card.content)
    text = str(caught.value)
    for part in [FILE, card.repo, card.revision, card.sha256, facts(wrong)["sha256"]]:
        assert part in text
    assert blobs(home) == set()
    assert weights.fetch(card.name).read_bytes() == card.content


@pytest.mark.parametrize("damage", ["flipped", "empty", "another"])
def test_damaged_copy_is_replaced_with_one_request(hub, home, card, damage):
    flipped = bytes(b ^ 1 for b in card.content[:64]) + card.content[64:]
    another = bytes(len(card.content))
    card.damage({"flipped": flipped, "empty": b"", "another": another}[damage])
    model = zoo.create(card.name, pretrained=True)
    assert model.linear.bias.tolist() == tiny_tensors(0)["linear.bias"][2]
    assert hub.log == [("GET", card.url)]
    assert card.blob.read_bytes() == card.content
    assert blobs(home) == {".safetensors"}


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_damaged_copy_is_kept_while_offline(hub, card, content, monkeypatch):
    card.damage(content)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="damaged in the cache") as caught:
        weights.fetch(card.name)
    assert str(card.blob) in str(caught.value)
    assert card.blob.read_bytes() == content
    assert hub.log == []


def test_offline_first_use_says_what_to_do(hub, home, card, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in [card.name, card.hub_name]:
        start = time.monotonic()
        with pytest.raises(WeightsError) as caught:
            weights.fetch(name)
        assert time.monotonic() - start < 1.5
        text = str(caught.value)
        parts = ["tiny", card.repo, card.revision[:7], str(home), "HF_HUB_OFFLINE", "zoo fetch "]
        assert [part for part in parts if part not in text] == []
    assert f"zoo fetch {card.hub_name}" in text
    assert hub.log == []
    assert not home.exists()


def test_server_that_is_down_is_an_error_within_seconds(hub, home, card):
    hub.close()
    for name in [card.name, card.hub_name]:
        start = time.monotonic()
        with pytest.raises(WeightsError, match="could not be downloaded") as caught:
            weights.fetch(name)
        assert time.monotonic() - start < 5
        for part in [hub.url, card.repo, card.revision[:7], "Connect", "connection"]:
            assert part in str(caught.value)
    assert blobs(home) == set()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_server_error_is_tried_three_times_within_seconds(hub, home, card, status):
    hub.fault = lambda method, path: status
    start = time.monotonic()
    with pytest.raises(WeightsError, match=f"answers {status}"):
        weights.fetch(card.name)
    assert time.monotonic() - start < 5
    assert hub.log == [("GET", card.url)] * 3
    assert blobs(home) == set()


def test_one_server_error_is_forgiven(hub, card):
    hub.fault = once(503)
    assert weights.fetch(card.name).read_bytes() == card.content
    assert len(hub.log) == 2


def test_silence_is_waited_for_once(hub, home, large, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    hub.fault = once("stall")
    with pytest.raises(WeightsError, match="ReadTimeout"):
        weights.fetch(large.name)
    assert blobs(home) == {".part"}
    assert weights.fetch(large.name).read_bytes() == large.content
    assert len(hub.log) == 2


def test_cut_connection_is_taken_up_where_it_was_cut(hub, home, large):
    hub.fault = once("truncate")
    assert weights.fetch(large.name).read_bytes() == large.content
    half = len(large.content) // 2
    assert [r.headers.get("range") for r in hub.requests] == [None, f"bytes={half}-"]
    assert blobs(home) == {".safetensors"}


def test_connection_that_is_always_cut_is_an_error_and_is_taken_up_next_time(hub, home, large):
    hub.fault = lambda method, path: "truncate"
    with pytest.raises(WeightsError, match="RemoteProtocolError"):
        weights.fetch(large.name)
    assert len(hub.log) == 3
    assert blobs(home) == {".part"}
    hub.fault = lambda method, path: None
    assert weights.fetch(large.name).read_bytes() == large.content
    assert blobs(home) == {".safetensors"}


@pytest.mark.parametrize("beginning", ["wrong", "too long", "whole"])
def test_beginning_that_another_left_is_not_believed(hub, home, card, beginning):
    part = card.blob.with_suffix(".part")
    part.parent.mkdir(parents=True)
    content = {"wrong": b"x" * 50, "too long": card.content + b"x", "whole": card.content}
    part.write_bytes(content[beginning])
    assert weights.fetch(card.name).read_bytes() == card.content
    # What is wrong shows at the end of the first try only.
    assert len(hub.log) == {"wrong": 2, "too long": 1, "whole": 0}[beginning]
    assert blobs(home) == {".safetensors"}


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, {}, b"beginning"),
        Reply(206, {"Content-Range": "bytes 0-8/9"}, b"beginning"),
        Reply(416, {}, b""),
    ],
)
def test_server_that_cannot_go_on_in_the_middle_is_asked_from_the_start(hub, card, answer):
    part = card.blob.with_suffix(".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(card.content[:100])
    whole = Reply(200, {}, card.content)
    hub.fault = once(whole if answer.status == 200 else answer)
    assert weights.fetch(card.name).read_bytes() == card.content
    assert len(hub.log) == (1 if answer.status == 200 else 2)


@pytest.mark.parametrize("how", ["endless", "announced"])
def test_not_one_byte_more_than_the_card_says_is_stored(hub, home, card, how, monkeypatch):
    written = []
    write = _cache._Part.write
    monkeypatch.setattr(_cache._Part, "write", lambda s, c: (written.append(len(c)), write(s, c)))
    body = card.content + b"x"
    hub.fault = lambda method, path: "oversize" if how == "endless" else Reply(200, {}, body)
    with pytest.raises(_hub.TooLongError, match=f"at most {len(card.content)} bytes"):
        weights.fetch(card.name)
    assert sum(written) <= (len(card.content) if how == "endless" else 0)
    assert blobs(home) == set()


def test_shorter_file_is_an_error_and_leaves_nothing(hub, home, card):
    hub.fault = lambda method, path: Reply(200, {}, card.content[:-1])
    with pytest.raises(WeightsError, match=f"{len(card.content) - 1} bytes"):
        weights.fetch(card.name)
    assert blobs(home) == set()


@pytest.mark.parametrize("status", [503, 404])
def test_no_other_format_is_asked_for(hub, card, status):
    hub.commit(card.repo, {"pytorch_model.bin": b"zeros", "model.bin": b"zeros"})
    hub.fault = lambda method, path: status if path.endswith(".safetensors") else None
    with pytest.raises(WeightsError):
        weights.fetch(card.hub_name)
    assert {path.rpartition("/")[2] for _, path in hub.log} == {"config.json", FILE}


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (404, "RevisionNotFound", "no such revision"),
        (404, "EntryNotFound", "no such file"),
        (404, "RepoNotFound", "does not exist, or is private"),
        (401, "", "does not exist, or is private"),
        (403, "GatedRepo", "does not let you in"),
        (418, "", "refuses the file"),
    ],
)
def test_refusal_is_explained_and_not_tried_again(hub, card, status, code, text):
    hub.fault = lambda method, path: Reply(status, {"X-Error-Code": code})
    with pytest.raises(WeightsError, match=text) as caught:
        weights.fetch(card.name)
    assert card.url in str(caught.value)
    assert len(hub.log) == 1


def test_pinned_bytes_or_an_error_whatever_happens_to_the_repository(hub, card, tmp_path):
    moved = hub.commit(card.repo, {FILE: b"another"})
    assert moved != card.revision
    assert weights.fetch(card.name).read_bytes() == card.content
    hub.delete(card.repo)
    hub.commit(card.repo, {FILE: b"of another owner", "config.json": b"{}"})
    asked = len(hub.log)
    assert weights.fetch(card.name).read_bytes() == card.content
    assert len(hub.log) == asked
    card.blob.unlink()
    with pytest.raises(WeightsError, match="no such revision"):
        weights.fetch(card.name)
    with pytest.raises(WeightsError, match="no such revision"):
        weights.fetch(card.hub_name)


def test_answer_from_another_commit_is_refused(hub, card):
    other = hub.commit(card.repo, {"config.json": b"{}"})
    headers = {"X-Repo-Commit": other}
    hub.fault = lambda method, path: Reply(200, headers, card.files[path.rpartition("/")[2]])
    for name in [card.name, card.hub_name]:
        with pytest.raises(WeightsError, match="another commit") as caught:
            weights.fetch(name)
        assert other in str(caught.value)


def test_copy_that_another_tool_has_fetched_is_used(hub, home, card):
    path = huggingface_hub.hf_hub_download(card.repo, FILE, revision=card.revision)
    asked = len(hub.log)
    assert weights.fetch(card.name) == Path(path)
    assert len(hub.log) == asked
    assert not home.exists()


def test_damaged_copy_of_another_tool_is_left_alone(hub, home, card):
    path = Path(huggingface_hub.hf_hub_download(card.repo, FILE, revision=card.revision))
    path.write_bytes(b"damaged")
    assert weights.fetch(card.name) == card.blob
    assert card.blob.read_bytes() == card.content
    assert path.read_bytes() == b"damaged"


def test_token_goes_to_the_hub_and_no_further(hub, card):
    with HubServer() as storage:
        storage.fault = lambda method, path: Reply(200, {}, card.content)
        address = f"{storage.url}/some/where"
        hub.fault = lambda method, path: Reply(302, {"Location": address})
        assert weights.fetch(card.name).read_bytes() == card.content
        assert [r.headers.get("authorization") for r in hub.requests] == ["Bearer secret"]
        assert [r.headers.get("authorization") for r in storage.requests] == [None]


@pytest.mark.parametrize("target", ["/acme/loop", "file:///etc/hostname", "http://[", "ftp://x/y"])
def test_redirection_to_nowhere_is_an_error(hub, home, card, target):
    hub.fault = lambda method, path: Reply(302, {"Location": target})
    with pytest.raises(WeightsError, match="could not be downloaded"):
        weights.fetch(card.name)
    assert blobs(home) == set()


def test_implicit_token_can_be_turned_off(hub, card, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    weights.fetch(card.name)
    assert "authorization" not in hub.requests[0].headers
