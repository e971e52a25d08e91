"""Finding, verifying and loading weights without a network."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo
from tests.tiny_card import edit_card, facts, tensors_file, tiny_folder, tiny_tensors
from tests.tiny_model import Tiny
from zoo import registry, weights
from zoo._meta import NoDraws
from zoo.errors import UnknownNameError, WeightsError

ROOT = Path(__file__).parents[1]
REVISION = "0123456789" * 4


@pytest.fixture
def folder(tmp_path, tiny_architecture):
    """A card with weights `one` and `two`, files beside it."""
    return tiny_folder(tmp_path, tags=["one", "two"])


def rewrite(folder, tensors, **changes):
    """Give a card other weights, and the card the facts about them."""
    content = tensors_file(tensors)
    (folder / "model.safetensors").write_bytes(content)
    edit_card(folder, **facts(content), **changes)


def read(folder, model=None):
    card = registry.read_card(folder)
    entry = card.weights["one"]
    return weights.read(folder / entry.file, entry, model or Tiny())


def test_weights_beside_the_card_are_loaded_exactly(folder):
    model = zoo.create(f"local-dir:{folder}", pretrained=True)
    for name, (_, shape, values) in tiny_tensors(0).items():
        tensor = model.state_dict()[name]
        assert tuple(tensor.shape) == shape
        assert tensor.flatten().tolist() == values
    assert model.linear.weight.requires_grad
    assert not model.norm.running_mean.requires_grad


def test_stored_precision_becomes_the_precision_of_the_model(folder):
    half = {
        name: ("F16" if dtype == "F32" else dtype, shape, values)
        for name, (dtype, shape, values) in tiny_tensors(0).items()
    }
    rewrite(folder, half, dtype="float16")
    assert read(folder)["linear.weight"].dtype == torch.float16
    model = zoo.create(f"local-dir:{folder}", pretrained=True)
    assert model.linear.weight.dtype == torch.float32
    assert model.linear.bias.tolist() == half["linear.bias"][2]
    assert model.norm.num_batches_tracked.dtype == torch.int64


def test_every_difference_is_in_one_error_and_the_model_is_unchanged(folder):
    tensors = tiny_tensors(5)
    del tensors["linear.bias"]
    tensors["extra"] = ("F32", (1,), [0.0])
    tensors["linear.weight"] = ("F32", (3, 2), [1.0] * 6)
    tensors["norm.num_batches_tracked"] = ("F32", (), [0.0])
    tensors["norm.weight"] = ("F32", (2,), [1.0, float("nan")])
    tensors["norm.bias"] = ("F32", (2,), [float("-inf"), 1.0])
    rewrite(folder, tensors)
    model = Tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        weights.load_into(model, read(folder, model))
    text = str(caught.value)
    assert "'linear.bias': missing, expected F32 (2)" in text
    assert "'extra': unexpected" in text
    assert "'linear.weight': shape (3, 2) instead of (2, 3)" in text
    assert "'norm.num_batches_tracked': dtype F32 instead of I64" in text
    assert "'norm.weight': has values that are not finite" in text
    assert "'norm.bias': has values that are not finite" in text
    assert "running" not in text
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_dtype_other_than_the_card_says_is_an_error(folder):
    rewrite(folder, tiny_tensors(0), dtype="bfloat16")
    with pytest.raises(WeightsError, match="dtype F32 instead of BF16"):
        read(folder)


def test_many_differences_are_shortened(folder):
    rewrite(folder, {f"t{index}": ("U8", (0,), []) for index in range(80)})
    with pytest.raises(WeightsError, match="and 37 more") as caught:
        read(folder)
    assert len(str(caught.value).splitlines()) < 60


def test_tensors_that_do_not_fit_leave_the_model_unchanged():
    model = Tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = Tiny(width=4).state_dict() | {"extra": torch.zeros(1)}
    del state["norm.bias"]
    with pytest.raises(WeightsError) as caught:
        weights.load_into(model, state)
    for line in ["missing: 'norm.bias'", "unexpected: 'extra'", "(2, 4) instead of (2, 3)"]:
        assert line in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_model_without_values_gets_all_of_them():
    with torch.device("meta"):
        model = Tiny()
    source = Tiny()
    weights.load_into(model, source.state_dict())
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    assert torch.equal(model.linear.weight, source.linear.weight)


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_file_of_the_users_may_have_any_floating_dtype(tmp_path, dtype):
    path = tmp_path / "mine.safetensors"
    tensors = {
        name: (dtype if kind == "F32" else kind, shape, values)
        for name, (kind, shape, values) in tiny_tensors(3).items()
    }
    path.write_bytes(tensors_file(tensors))
    state = weights.read(path, None, Tiny())
    assert state["linear.bias"].tolist() == tensors["linear.bias"][2]


def test_file_of_the_users_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(WeightsError, match="too large for this model"):
        weights.read(path, None, Tiny())


@pytest.mark.parametrize(("name", "text"), [("none", "No such file"), (".", "Is a directory")])
def test_file_that_cannot_be_read_is_a_clear_error(tmp_path, name, text):
    with pytest.raises(WeightsError, match=text) as caught:
        weights.read(tmp_path / name, None, Tiny())
    assert str(tmp_path / name) in str(caught.value)


def test_empty_tensor_is_loaded(tmp_path):
    path = tmp_path / "empty.safetensors"
    path.write_bytes(tensors_file({"table": ("F32", (2, 0), [])}))
    model = torch.nn.Module()
    model.register_buffer("table", torch.empty(2, 0))
    assert weights.read(path, None, model)["table"].shape == (2, 0)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "pointer"])
def test_damaged_file_beside_the_card_is_an_error_and_is_kept(folder, damage):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    flipped = whole[:-8] + bytes(b ^ 1 for b in whole[-8:])
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    content = {"flip": flipped, "cut": whole[:-1], "empty": b"", "pointer": pointer}[damage]
    path.write_bytes(content)
    for attempt in (weights.fetch, lambda name: zoo.create(name, pretrained=True)):
        with pytest.raises(WeightsError, match="damaged") as caught:
            attempt(f"local-dir:{folder}")
        text = str(caught.value)
        assert str(path) in text
        assert hashlib.sha256(whole).hexdigest() in text
        found = {"flip": facts(content)["sha256"], "pointer": "a Git LFS pointer"}
        assert found.get(damage, f"{len(content)} bytes") in text
    assert path.read_bytes() == content


def test_missing_file_without_a_pin_names_the_command_that_makes_it(folder, home):
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"python recipes/tiny\.py") as caught:
        weights.fetch(f"local-dir:{folder}")
    assert "names no Hub repository" in str(caught.value)


def test_model_without_weights_names_its_recipe(tmp_path, tiny_architecture):
    folder = tiny_folder(tmp_path, tags=[])
    with pytest.raises(WeightsError, match=r"python recipes/tiny\.py"):
        weights.fetch(f"local-dir:{folder}")


def test_tag_after_a_hash_selects_weights(folder):
    card, tag = weights.resolve(f"local-dir:{folder}#two")
    assert (card.name, tag) == ("tiny", "two")
    assert weights.locate(card, tag) == folder / "model.two.safetensors"
    assert weights.resolve(f"local-dir:{folder}")[1] == "one"
    assert weights.locate(card, None) == folder / "model.safetensors"


def test_folder_may_have_a_hash_in_its_name(tmp_path, tiny_architecture):
    folder = tiny_folder(tmp_path / "run#two", tags=["one", "two"])
    assert weights.resolve(f"local-dir:{folder}")[1] == "one"
    assert weights.resolve(f"local-dir:{folder}#two")[1] == "two"


def test_unknown_tag_names_the_nearest(folder):
    with pytest.raises(UnknownNameError, match=r"'tow' \(did you mean 'two'"):
        weights.resolve(f"local-dir:{folder}#tow")


@pytest.mark.parametrize(
    "name",
    [
        "hf-hub:",
        "hf-hub:acme/x",
        "hf-hub:acme/x@main",
        "hf-hub:acme/x@0123456",
        f"hf-hub:x@{REVISION}",
        f"hf-hub:acme/x/y@{REVISION}",
        f"hf-hub:acme/..@{REVISION}",
        f"hf-hub:../x@{REVISION}",
        f"hf-hub:acme/x\n@{REVISION}",
        f"hf-hub:acme/x\0@{REVISION}",
        f"hf-hub:acme/x@{REVISION}\n",
        f"hf-hub:acme/x@{REVISION.replace('0', 'A')}",
        f"hf-hub:acme/a--b@{REVISION}",
        f"hf-hub:acme/{'x' * 100}@{REVISION}",
    ],
)
def test_malformed_name_on_the_hub_is_refused_without_a_request(hub, home, name):
    with pytest.raises(UnknownNameError):
        weights.resolve(name)
    assert hub.log == []
    assert not home.exists()


@pytest.mark.parametrize("name", ["local-dir:", "local-dir:/no/such/folder", "local-dir:a\0b"])
def test_missing_folder_is_an_unknown_name(name):
    with pytest.raises(UnknownNameError, match="there is no folder"):
        weights.resolve(name)


def test_finding_bundled_weights_needs_neither_torch_nor_the_hub_client(folder):
    code = (
        "import sys; from zoo import models, weights;"
        f"models.ARCHITECTURES['tiny'] = 'x:y'; print(weights.fetch('local-dir:{folder}'));"
        "assert not {'torch', 'huggingface_hub', 'filelock', 'httpx', 'httpx2'} & {*sys.modules}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(folder / "model.safetensors")


def test_nothing_is_drawn_on_meta_and_everything_elsewhere():
    before = torch.get_rng_state()
    with torch.device("meta"), NoDraws():
        model = Tiny()
        torch.empty(3).normal_().uniform_()
    assert torch.equal(torch.get_rng_state(), before)
    assert model.linear.weight.is_meta
    with NoDraws():
        torch.manual_seed(1)
        drawn = Tiny().linear.weight
    torch.manual_seed(1)
    assert torch.equal(drawn, Tiny().linear.weight)
