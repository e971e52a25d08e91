"""Weights in eight bits: the arithmetic, the files, and the files that mean harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

import zoo
from tests.hub_server import HubServer
from tests.tiny_card import contents, edit_card, facts, tiny_folder
from tests.tiny_model import Tiny
from zoo import _header, _quantised, _reader, training, weights
from zoo.errors import WeightsError
from zoo.models.cnnf import CNNF
from zoo.training.tensors import serialise, stored

FILE = "model.safetensors"
FLOAT32 = torch.finfo(torch.float32)


def rows_of_all_sizes() -> Tensor:
    """(2000, 3, 3, 3) with rows from below the least normal float32 to near the greatest."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2000, 3, 3, 3, generator=generator)
    sizes = torch.logspace(-44, 36, 2000, dtype=torch.float64)
    return (rows * sizes.float()[:, None, None, None]).contiguous()


def significands() -> Tensor:
    """(n, 2): the greatest of a row is every 17th float32 from 1 to 2; all of them pass as well."""
    bits = torch.arange(0, 1 << 23, 17, dtype=torch.int32) + (127 << 23)
    return bits.view(torch.float32)[:, None] * torch.tensor([1.0, -0.3])


def nearly_ties() -> Tensor:
    """(200, 255): (k + 1/2) s for all k, rounded to either side, beside the greatest, 127 s."""
    scales = torch.rand(200, 1, generator=torch.Generator().manual_seed(1)) + 1
    scales = scales * 127 / 127
    return torch.cat([scales * 127, scales * (torch.arange(-127, 127) + 0.5)], 1)


@pytest.fixture
def model() -> Tiny:
    torch.manual_seed(3)
    return Tiny()


@pytest.fixture
def folder(tmp_path: Path, tiny_architecture: None, model: Tiny) -> Path:
    """A card with quantised weights of `model`."""
    folder = tiny_folder(tmp_path)
    rewrite(folder, stored(model, "int8"))
    return folder


def rewrite(folder: Path, tensors: dict[str, Tensor], dtype: str = "int8") -> None:
    """Give a card other weights, and the facts about them."""
    content = save(tensors)
    (folder / FILE).write_bytes(content)
    edit_card(folder, **facts(content), dtype=dtype)


def assert_same(model: nn.Module, twin: nn.Module) -> None:
    """The same names, dtypes and values."""
    ours, theirs = model.state_dict(), twin.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name])


def test_whole_numbers_by_hand():
    w = torch.tensor([[127.0, -127.0, 0.5, 1.5, -2.5, 3.4], [0.0, 0.25, -0.5, 0.0, 0.0, 0.0]])
    q, s = _quantised.quantise(w)
    assert q.dtype == torch.int8
    assert q.tolist() == [[127, -127, 0, 2, -2, 3], [0, 64, -127, 0, 0, 0]]
    assert s.dtype == torch.float32
    assert s.tolist() == pytest.approx([1.0, 0.5 / 127], rel=2**-24)
    assert _quantised.dequantise(q, s)[0].tolist() == [127, -127, 0, 2, -2, 3]


@pytest.mark.parametrize("rows", [rows_of_all_sizes, nearly_ties])
def test_no_weight_moves_by_more_than_half_a_scale(rows):
    w = rows()
    q, s = _quantised.quantise(w)
    exact, scales = w.double().flatten(1).numpy(), s.double().numpy()[:, None]
    numbers = q.double().flatten(1).numpy()
    assert np.array_equal(numbers, np.rint(exact / scales))
    assert np.abs(numbers).max() == 127
    assert (np.abs(exact - scales * numbers) <= scales / 2).all()
    normal = scales[:, 0] > FLOAT32.tiny
    assert normal.mean() > 0.9
    assert np.allclose(127 * scales[normal, 0], np.abs(exact)[normal].max(1), rtol=2**-24)
    assert _quantised.check_numbers(q) is None
    assert _quantised.check_scale(s) is None


def test_product_is_float32():
    q, s = _quantised.quantise(rows_of_all_sizes())
    w = _quantised.dequantise(q, s)
    exact = q.double() * s.double()[:, None, None, None]
    assert w.dtype == torch.float32
    assert torch.equal(w, exact.float())


@pytest.mark.parametrize("rows", [rows_of_all_sizes, significands])
def test_second_quantisation_changes_nothing(rows):
    q, s = _quantised.quantise(rows())
    again_q, again_s = _quantised.quantise(_quantised.dequantise(q, s))
    assert torch.equal(again_q, q)
    assert torch.equal(again_s, s)


def test_greatest_scale_is_the_last_with_a_finite_product():
    last = np.float32(_quantised.GREATEST_SCALE)
    with np.errstate(over="ignore"):
        products = np.float32(127) * np.array([last, np.nextafter(last, np.float32(np.inf))])
    assert last == _quantised.GREATEST_SCALE
    assert np.isfinite(products).tolist() == [True, False]


def test_row_of_zeros_has_the_least_scale():
    q, s = _quantised.quantise(torch.tensor([[0.0, -0.0], [1e-45, 0.0]]))
    assert q.tolist() == [[0, 0], [0, 0]]
    assert s.tolist() == [FLOAT32.tiny, FLOAT32.tiny]


@pytest.mark.parametrize(
    ("floating", "shape", "chosen"),
    [
        (True, (2, 3), True),
        (True, (1, 1, 1, 1), True),
        (True, (6,), False),
        (True, (), False),
        (True, (2, 0), False),
        (True, (0, 2), False),
        (False, (2, 3), False),
    ],
)
def test_only_tables_of_floats_are_quantised(floating, shape, chosen):
    module = nn.Module()
    module.register_buffer("x", torch.ones(shape, dtype=torch.float64 if floating else torch.int8))
    tensors = stored(module, "int8")
    assert tensors.keys() == ({"x", "x.scale"} if chosen else {"x"})
    other = torch.float32 if floating else torch.int8
    assert tensors["x"].dtype == (torch.int8 if chosen else other)
    # What is written is what is expected.
    layout = _quantised.layout(_reader.specs(module))
    assert layout.keys() == tensors.keys()
    assert {name: spec.shape for name, spec in layout.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }


def test_file_takes_a_quarter_of_the_space():
    model = CNNF(iterations=0)
    small, large = (len(serialise(stored(model, dtype))) for dtype in ("int8", "float32"))
    assert 0.25 < small / large < 0.255


def test_bytes_of_the_rounded_model_are_the_same(model):
    content = serialise(stored(model, "int8"))
    twin = training.rounded(model, "int8")
    assert serialise(stored(twin, "int8")) == content
    assert not torch.equal(twin.linear.weight, model.linear.weight)
    assert torch.equal(twin.linear.bias, model.linear.bias)
    assert not twin.training
    assert twin.linear.weight.requires_grad


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "holds NaN or infinity"),
        (float("-inf"), "holds NaN or infinity"),
        (1e39, r"1e\+39 is too large for int8"),
    ],
)
def test_weights_that_have_no_scale_are_refused(model, value, problem):
    model.double()
    with torch.no_grad():
        model.linear.weight[1, 2] = value
    with pytest.raises(training.ExportError, match=rf"linear\.weight: {problem}"):
        stored(model, "int8")


def test_greatest_float_has_a_sound_scale():
    w = torch.tensor([[FLOAT32.max, -FLOAT32.max]])
    q, s = _quantised.quantise(w)
    assert _quantised.check_scale(s) is None
    assert _quantised.dequantise(q, s).double().tolist()[0] == pytest.approx(
        [FLOAT32.max, -FLOAT32.max], rel=2**-22
    )


def test_card_loads_what_rounded_gives(folder, model):
    loaded = zoo.create(f"local-dir:{folder}", pretrained=True)
    assert_same(loaded, training.rounded(model, "int8"))
    assert loaded.linear.weight.requires_grad
    assert loaded.norm.num_batches_tracked.dtype == torch.int64


def test_other_dtype_of_the_model_comes_after_the_product(folder, model):
    half = zoo.create(f"local-dir:{folder}", pretrained=True, dtype=torch.float16)
    assert torch.equal(
        half.linear.weight, training.rounded(model, "int8").linear.weight.to(torch.float16)
    )


def test_quantised_file_of_the_users_is_recognised(folder, model, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(save(stored(model, "int8")))
    loaded = zoo.create(f"local-dir:{folder}", weights=path)
    assert_same(loaded, training.rounded(model, "int8"))


def test_users_and_hub_get_the_same_model(hub: HubServer, folder, model):
    revision = hub.commit("acme/tiny", contents(folder))
    loaded = zoo.create(f"hf-hub:acme/tiny@{revision}", pretrained=True)
    assert_same(loaded, training.rounded(model, "int8"))


def change(**tensors: Tensor | None) -> dict[str, Tensor | None]:
    """Tensors to replace, or to leave out; two underscores stand for a dot."""
    return {name.replace("__", "."): tensor for name, tensor in tensors.items()}


NUMBERS = torch.ones(2, 3, dtype=torch.int8)
HOSTILE = {
    "no scale": (
        change(linear__weight__scale=None),
        r"'linear.weight.scale': missing, expected F32 \(2\)",
    ),
    "unknown scale": (
        change(norm__weight__scale=torch.ones(2)),
        "'norm.weight.scale': unexpected",
    ),
    "too many scales": (
        change(linear__weight__scale=torch.ones(3)),
        r"'linear.weight.scale': shape \(3\) instead of \(2\)",
    ),
    "one scale": (
        change(linear__weight__scale=torch.tensor(1.0)),
        r"'linear.weight.scale': shape \(\) instead of \(2\)",
    ),
    "scales of half precision": (
        change(linear__weight__scale=torch.ones(2).half()),
        "'linear.weight.scale': dtype F16 instead of F32",
    ),
    "scale that is not a number": (
        change(linear__weight__scale=torch.tensor([1.0, float("nan")])),
        "'linear.weight.scale': has scales outside",
    ),
    "infinite scale": (
        change(linear__weight__scale=torch.tensor([1.0, float("inf")])),
        "'linear.weight.scale': has scales outside",
    ),
    "negative scale": (
        change(linear__weight__scale=torch.tensor([-1.0, 1.0])),
        "'linear.weight.scale': has scales outside",
    ),
    "scale with infinite products": (
        change(linear__weight__scale=torch.tensor([1.0, 2.7e36])),
        "'linear.weight.scale': has scales outside",
    ),
    "-128": (
        change(linear__weight=NUMBERS * -128),
        "'linear.weight': has a value below -127",
    ),
    "other shape": (
        change(linear__weight=NUMBERS.T.contiguous()),
        r"'linear.weight': shape \(3, 2\) instead of \(2, 3\)",
    ),
    "quantised vector": (
        change(linear__bias=NUMBERS[0, :2]),
        "'linear.bias': dtype I8 instead of F32",
    ),
    "vector of half precision": (
        change(linear__bias=torch.ones(2).half()),
        "'linear.bias': dtype F16 instead of F32",
    ),
    "vector that is not finite": (
        change(linear__bias=torch.tensor([float("inf"), 0.0])),
        "'linear.bias': has values that are not finite",
    ),
}


@pytest.mark.parametrize(("changes", "problem"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("where", ["card", "file"])
def test_hostile_file_is_refused(folder, model, changes, problem, where):
    tensors = stored(model, "int8") | changes
    rewrite(folder, {name: tensor for name, tensor in tensors.items() if tensor is not None})
    options = {"pretrained": True} if where == "card" else {"weights": folder / FILE}
    with pytest.raises(WeightsError, match="does not fit the model") as caught:
        zoo.create(f"local-dir:{folder}", **options)
    assert caught.match(problem)
    # Nothing else is wrong: the message, the line, the file and the next step.
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("said", "found", "problem"),
    [
        ("int8", "float32", "'linear.weight': dtype F32 instead of I8"),
        ("float32", "int8", "'linear.weight': dtype I8 instead of F32"),
        ("float16", "int8", "'linear.weight.scale': unexpected"),
    ],
)
def test_card_decides_how_its_file_is_stored(folder, model, said, found, problem):
    rewrite(folder, stored(model, found), dtype=said)
    with pytest.raises(WeightsError, match=problem):
        zoo.create(f"local-dir:{folder}", pretrained=True)


def test_other_whole_numbers_are_refused(folder, model):
    tensors = stored(model, "int8") | {"linear.weight": NUMBERS.to(torch.uint8)}
    rewrite(folder, tensors)
    with pytest.raises(WeightsError, match=r"'linear\.weight': dtype U8 instead of I8"):
        zoo.create(f"local-dir:{folder}", pretrained=True)
    with pytest.raises(WeightsError, match=r"'linear\.weight': dtype U8 instead of BF16 or"):
        zoo.create(f"local-dir:{folder}", weights=folder / FILE)


@pytest.mark.parametrize("scale", [0.0, _quantised.GREATEST_SCALE])
def test_scales_at_their_ends_are_loaded(folder, model, scale):
    tensors = stored(model, "int8") | {"linear.weight.scale": torch.tensor([scale, 1.0])}
    rewrite(folder, tensors)
    loaded = zoo.create(f"local-dir:{folder}", pretrained=True)
    expected = tensors["linear.weight"].double() * torch.tensor([[scale], [1.0]])
    assert torch.equal(loaded.linear.weight, expected.float())
    assert loaded.linear.weight.isfinite().all()


def test_header_may_be_as_long_as_the_scales_explain(folder, model):
    room = _header.room_for(_quantised.layout(_reader.specs(model)))
    content = (folder / FILE).read_bytes()
    start = int.from_bytes(content[:8], "little") + 8
    for spare, right in [(0, True), (8, False)]:
        text = content[8:start].ljust(room + spare)
        (folder / FILE).write_bytes(len(text).to_bytes(8, "little") + text + content[start:])
        edit_card(folder, **facts((folder / FILE).read_bytes()))
        if right:
            zoo.create(f"local-dir:{folder}", pretrained=True)
        else:
            with pytest.raises(WeightsError, match="where at most"):
                zoo.create(f"local-dir:{folder}", pretrained=True)


class Crowded(nn.Linear):
    """A hook gives it a tensor with the name of a scale; no parameter or buffer could have it."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.register_state_dict_post_hook(self._add)

    @staticmethod
    def _add(module, state, prefix, metadata):
        state[f"{prefix}weight.scale"] = torch.ones(2)


def test_tensor_with_the_name_of_a_scale_is_refused(tmp_path):
    with pytest.raises(training.ExportError, match=r"weight\.scale: the name of a scale"):
        stored(Crowded(), "int8")
    path = tmp_path / FILE
    path.write_bytes(save(stored(nn.Linear(3, 2), "int8")))
    with pytest.raises(WeightsError, match=r"the names of the scales.*(?s:.*)'weight\.scale'"):
        weights.read(path, None, Crowded())
    path.write_bytes(save(stored(Crowded(), "float32")))
    assert weights.read(path, None, Crowded()).keys() == {"weight", "bias", "weight.scale"}


def test_module_cannot_name_a_tensor_like_a_scale():
    module = nn.Linear(3, 2)
    with pytest.raises(KeyError, match="buffer name can"):
        module.register_buffer("weight.scale", torch.ones(2))
    with pytest.raises(KeyError, match="already exists"):
        module.add_module("weight", nn.Module())
