"""Publishing a card's folder, and what must not be published."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, constants

import zoo
from tests.hub_server import Reply
from tests.tiny_card import (
    contents,
    edit_card,
    facts,
    tensors_file,
    tiny_folder,
    tiny_tensors,
)
from tests.tiny_model import Tiny
from zoo import _cache, cards, models, registry
from zoo.errors import CardError, UnknownNameError, WeightsError, ZooError
from zoo.publish import publish
from zoo.registry import HubPin

# The client's own upload of large files, with the HTTP library that it came with.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

REPO = "acme/tiny"
FILES = ["README.md", "config.json", "golden.safetensors", "model.safetensors"]
NO_PIN = {"repo": None, "revision": None}


@pytest.fixture
def folder(hub, home, tmp_path, monkeypatch):
    """A card of the registry with weights `one` and `two`, ready to be published."""
    root = tmp_path / "model_cards"
    monkeypatch.setattr(registry, "cards_folder", lambda: root)
    folder = tiny_folder(root, tags=["one", "two"])
    cards.write_readme(folder)
    return folder


def pins(folder):
    entries = json.loads((folder / "config.json").read_text())["weights"].values()
    return [entry["hub"] for entry in entries]


def uploads(hub):
    return hub.count("PUT")


def refused(folder, hub, match, error=WeightsError):
    """Publishing is refused: before any request, without a trace in the folder."""
    before = contents(folder)
    with pytest.raises(error, match=match) as caught:
        publish("tiny", REPO)
    assert hub.log == []
    assert contents(folder) == before
    return str(caught.value)


def rewrite(folder, file, content):
    """Replace the weights file of `one`, and what the card says about it."""
    (folder / file).write_bytes(content)
    edit_card(folder, **facts(content))
    edit = json.loads((folder / "config.json").read_text())
    two = (folder / "model.two.safetensors").read_bytes()
    edit["weights"]["two"] |= facts(two)
    (folder / "config.json").write_text(json.dumps(edit))
    cards.write_readme(folder)


def test_published_model_loads_in_a_fresh_cache(hub, folder):
    pin = publish("tiny", REPO)
    assert pin == HubPin(REPO, hub.revisions(REPO)[-1])
    name = f"hf-hub:{pin.repo}@{pin.revision}"
    for tag, seed in [("one", 0), ("two", 1)]:
        model = zoo.create(f"{name}#{tag}", pretrained=True)
        assert model.linear.bias.tolist() == tiny_tensors(seed)["linear.bias"][2]


def test_repository_is_the_folder_without_pins(hub, folder):
    before = contents(folder)
    pin = publish("tiny", REPO)
    there = hub.files(REPO)
    assert sorted(there.keys() - {".gitattributes"}) == sorted(before)
    assert {**there, "config.json": b""} == {
        **before,
        ".gitattributes": there[".gitattributes"],
        "config.json": b"",
    }
    card = json.loads(there["config.json"])
    assert [entry["hub"] for entry in card["weights"].values()] == [NO_PIN, NO_PIN]
    assert pins(folder) == [{"repo": REPO, "revision": pin.revision}] * 2
    mine = json.loads((folder / "config.json").read_text())
    for entry in mine["weights"].values():
        entry["hub"] = NO_PIN
    assert mine == card


def test_model_card_is_one_that_the_hub_reads(hub, folder):
    publish("tiny", REPO)
    card = ModelCard.load(REPO)
    assert card.data.license == "mit"
    assert "tiny" in card.text


def test_publishing_twice_changes_nothing(hub, folder):
    pin = publish("tiny", REPO)
    before, sent = contents(folder), uploads(hub)
    assert publish("tiny", REPO) == pin
    assert contents(folder) == before
    assert uploads(hub) == sent
    # The commit that made the repository, and ours.
    assert len(hub.revisions(REPO)) == 2


def test_weights_that_are_only_on_the_hub_are_published_again(hub, folder):
    pin = publish("tiny", REPO)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert publish("tiny", REPO) == pin
    copy = publish("tiny", "acme/copy")
    assert hub.files("acme/copy", copy.revision) == hub.files(REPO, pin.revision)


def test_changed_card_is_a_new_commit_without_new_uploads(hub, folder):
    pin = publish("tiny", REPO)
    sent = uploads(hub)
    card = json.loads((folder / "config.json").read_text())
    card["summary"] = "Another sentence."
    (folder / "config.json").write_text(json.dumps(card))
    cards.write_readme(folder)
    changed = publish("tiny", REPO)
    assert changed.revision != pin.revision
    assert pins(folder) == [{"repo": REPO, "revision": changed.revision}] * 2
    assert uploads(hub) == sent
    # The old pin goes on meaning what it meant.
    old = zoo.weights.resolve(f"hf-hub:{REPO}@{pin.revision}")[0]
    assert old.summary == "A card to try things on."


@pytest.mark.parametrize("ending", ["/commit/main", "/objects/batch", "/preupload/main"])
def test_interrupted_publishing_is_completed_without_sending_twice(hub, folder, ending):
    broken = iter([Reply(400)])
    hub.fault = lambda method, path: next(broken, None) if path.endswith(ending) else None
    with pytest.raises(WeightsError, match="did not succeed") as caught:
        publish("tiny", REPO)
    assert "publish again" in str(caught.value)
    assert pins(folder) == [NO_PIN, NO_PIN]
    pin = publish("tiny", REPO)
    assert pins(folder) == [{"repo": REPO, "revision": pin.revision}] * 2
    objects = [path for method, path in hub.log if method == "PUT"]
    assert len(objects) == len(set(objects)) == 4


def test_server_error_on_the_commit_is_reported(hub, folder):
    hub.fault = lambda method, path: 500 if "/commit/" in path else None
    with pytest.raises(WeightsError, match="500"):
        publish("tiny", REPO)
    sent = uploads(hub)
    hub.fault = lambda method, path: None
    publish("tiny", REPO)
    assert uploads(hub) == sent == 4


def test_broken_upload_is_reported(hub, folder):
    hub.fault = lambda method, path: 403 if method == "PUT" else None
    with pytest.raises(WeightsError, match=r"Error while uploading '.*\.safetensors'.* 403 "):
        publish("tiny", REPO)
    assert pins(folder) == [NO_PIN, NO_PIN]


def test_commit_of_somebody_else_meanwhile_is_a_conflict(hub, folder):
    first = publish("tiny", REPO)
    edit_card(folder, trained={**_trained(folder), "seed": 7})
    cards.write_readme(folder)

    def interfere(method: str, path: str) -> None:
        if method == "POST" and "/commit/" in path:
            hub.commit(REPO, {"README.md": b"theirs"})

    hub.fault = interfere
    with pytest.raises(WeightsError, match="was changed while this was uploading"):
        publish("tiny", REPO)
    assert hub.files(REPO)["README.md"] == b"theirs"
    assert pins(folder) == [{"repo": REPO, "revision": first.revision}] * 2


def _trained(folder):
    return json.loads((folder / "config.json").read_text())["weights"]["one"]["trained"]


def test_dry_run_checks_all_and_sends_nothing(hub, folder):
    before = contents(folder)
    assert publish("tiny", REPO, dry_run=True) == HubPin(REPO, None)
    (folder / "model.two.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged"):
        publish("tiny", REPO, dry_run=True)
    assert hub.log == []
    assert contents(folder) == before | {"model.two.safetensors": b"damaged"}


def test_folder_with_a_card_can_be_published(hub, home, tmp_path):
    folder = tiny_folder(tmp_path / "run")
    cards.write_readme(folder)
    pin = publish(f"local-dir:{folder}", REPO)
    assert pins(folder) == [{"repo": REPO, "revision": pin.revision}]


def test_pages_and_pictures_beside_the_card_are_published(hub, folder):
    (folder / "samples.png").write_bytes(b"\x89PNG")
    (folder / "FINDINGS.md").write_bytes(b"# Findings\n")
    publish("tiny", REPO)
    assert hub.files(REPO)["samples.png"] == b"\x89PNG"
    assert hub.files(REPO)["FINDINGS.md"] == b"# Findings\n"


def test_endpoint_and_token_can_be_given(hub, folder, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delenv("HF_TOKEN")
    publish("tiny", REPO, private=True, endpoint=hub.url, token="mine")
    assert {r.headers.get("authorization") for r in hub.requests if r.method == "POST"} == {
        "Bearer mine"
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(hub, folder, value):
    tensors = tiny_tensors(0) | {"linear.bias": ("F32", (2,), [0.0, value])}
    rewrite(folder, "model.safetensors", tensors_file(tensors))
    text = refused(folder, hub, "not finite")
    assert "'linear.bias'" in text


def test_golden_tensors_that_are_not_finite_are_refused(hub, folder):
    golden = tensors_file({"output.x": ("F32", (1,), [float("nan")])})
    (folder / "golden.safetensors").write_bytes(golden)
    (folder / "golden.two.safetensors").write_bytes(golden)
    for infix in ["", ".two"]:
        assert (folder / f"golden{infix}.safetensors").exists()
    card = json.loads((folder / "config.json").read_text())
    for entry in card["weights"].values():
        entry["golden"] |= facts(golden)
    (folder / "config.json").write_text(json.dumps(card))
    refused(folder, hub, "golden file has impossible tensors")


@pytest.mark.parametrize("file", ["model.safetensors", "golden.safetensors"])
def test_pickle_in_the_name_of_safetensors_is_refused(hub, folder, file):
    content = pickle.dumps({"linear.bias": [0.0, 0.0]})
    (folder / file).write_bytes(content)
    refused(folder, hub, "damaged")
    card = json.loads((folder / "config.json").read_text())
    entry = card["weights"]["one"]
    (entry if file.startswith("model") else entry["golden"]).update(facts(content))
    (folder / "config.json").write_text(json.dumps(card))
    cards.write_readme(folder)
    refused(folder, hub, "pickles are never read")


@pytest.mark.parametrize(
    "file",
    ["pytorch_model.bin", "model.pt", "code.py", ".env", "model.old.safetensors", "a b.png", "x"],
)
def test_file_that_the_card_does_not_name_is_refused(hub, folder, file):
    (folder / file).write_bytes(b"content")
    text = refused(folder, hub, "something that is not published")
    assert repr(file) in text
    assert "pickles and code are never published" in text


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_links_and_folders_are_refused(hub, folder, tmp_path, kind):
    (tmp_path / "secret").write_text("secret")
    if kind == "link":
        (folder / "picture.png").symlink_to(tmp_path / "secret")
    else:
        (folder / "picture.png").mkdir()
    with pytest.raises(WeightsError, match="a link or a folder"):
        publish("tiny", REPO)
    assert hub.log == []


@pytest.mark.parametrize("readme", [None, "# By hand"])
def test_stale_readme_is_refused_with_the_command_that_renews_it(hub, folder, readme):
    (folder / "README.md").unlink()
    if readme is None:
        refused(folder, hub, r"README\.md: is not .* `python -m zoo\.cards`", CardError)
    cards.write_readme(folder)
    text = (folder / "README.md").read_text()
    (folder / "README.md").write_text(text.replace("MIT", "Apache"))
    refused(folder, hub, r"README\.md: is not .* `python -m zoo\.cards`", CardError)


def test_damaged_and_missing_files_are_refused(hub, folder):
    path = folder / "model.two.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert str(path) in refused(folder, hub, "damaged")
    path.unlink()
    assert str(path) in refused(folder, hub, "the file is missing")


def test_wrong_number_of_parameters_is_refused(hub, folder):
    edit_card(folder, parameters=3)
    cards.write_readme(folder)
    text = refused(folder, hub, r"weights\.one\.parameters", CardError)
    assert "expected 12" in text


class Tied(Tiny):
    """Two names for one tensor."""

    def __init__(self, *, width: int = 3) -> None:
        super().__init__(width=width)
        self.norm.weight = self.norm.bias


def test_shared_tensors_are_refused(hub, folder, monkeypatch):
    monkeypatch.setitem(models.ARCHITECTURES, "tiny", f"{__name__}:Tied")
    text = refused(folder, hub, "shared by two names")
    assert "'norm.weight' and 'norm.bias' are one" in text


def test_overlapping_tensors_are_refused(hub, folder):
    content = tensors_file(tiny_tensors(0))
    shift = content.replace(b"[0, 8]", b"[8,16]")
    assert shift != content
    rewrite(folder, "model.safetensors", shift)
    refused(folder, hub, "overlaps another")


def test_repository_with_other_things_is_refused(hub, folder):
    hub.commit(REPO, {"pytorch_model.bin": b"pickle"})
    with pytest.raises(WeightsError, match="files that are not of this card") as caught:
        publish("tiny", REPO)
    assert "'pytorch_model.bin'" in str(caught.value)
    assert uploads(hub) == 0
    assert pins(folder) == [NO_PIN, NO_PIN]


@pytest.mark.parametrize("repo", ["tiny", "a/b/c", "../x", "acme/..", "", "acme/x\n"])
def test_malformed_repository_is_refused(hub, folder, repo):
    with pytest.raises(UnknownNameError, match="write org/name"):
        publish("tiny", repo)
    assert hub.log == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tinny", "did you mean 'tiny'"),
        ("tiny.two", "with all its weights"),
        (f"hf-hub:acme/x@{'0' * 40}", "published already"),
    ],
)
def test_name_that_cannot_be_published_is_refused(hub, folder, name, text):
    with pytest.raises(UnknownNameError, match=text):
        publish(name, REPO)
    assert hub.log == []


def test_card_without_weights_is_refused_with_its_recipe(hub, home, tmp_path):
    folder = tiny_folder(tmp_path, tags=[])
    with pytest.raises(WeightsError, match=r"python recipes/tiny\.py"):
        publish(f"local-dir:{folder}", REPO)


@pytest.mark.parametrize("how", ["offline", "down", "forbidden"])
def test_hub_that_cannot_be_written_is_a_clear_error(hub, folder, monkeypatch, how):
    if how == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif how == "down":
        hub.close()
    else:
        hub.fault = lambda method, path: 403
    with pytest.raises(WeightsError, match="did not succeed") as caught:
        publish("tiny", REPO)
    assert f"{hub.url}/{REPO}" in str(caught.value)
    assert pins(folder) == [NO_PIN, NO_PIN]


def test_pin_that_cannot_be_written_is_told(hub, folder, monkeypatch):
    def refuse(path: Path, content: bytes) -> None:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(_cache, "write_whole", refuse)
    with pytest.raises(WeightsError, match="Published, but the pin could not") as caught:
        publish("tiny", REPO)
    assert hub.revisions(REPO)[-1] in str(caught.value)


def test_every_refusal_is_one_of_the_zoos_errors(hub, folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ZooError):
        publish("tiny", REPO)


def test_loaded_model_computes(hub, folder):
    pin = publish("tiny", REPO)
    model = zoo.create(f"hf-hub:{REPO}@{pin.revision}", pretrained=True)
    assert torch.isfinite(model(torch.rand(2, 3))).all()
