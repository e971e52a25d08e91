"""State dicts to one safetensors file and back."""

import random
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.optim import lr_scheduler

from zoo.training import checkpoint
from zoo.training.checkpoint import CheckpointError, pack, unpack
from zoo.training.files import FileError


def same(a: Any, b: Any) -> bool:
    """Equality of states: types, order, bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_every_kind_of_value_comes_back():
    state = {
        "plain": [None, True, 3, 0.1, -0.0, float("inf"), 2**70, "text/with ü"],
        "tuple": (1, (2.5, [])),
        3: {"": Counter({5: 2}), None: OrderedDict(b=1, a=2)},
        "3": torch.arange(3),
        True: {},
    }
    assert same(unpack(pack(state)), state)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
        torch.complex64,
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_tensors_come_back_bit_for_bit(dtype, shape):
    tensor = (torch.randn(shape) * 3).to(dtype)
    assert same(unpack(pack({"t": tensor})), {"t": tensor})


def test_a_key_of_a_tensor_may_look_like_another():
    state = {1: torch.zeros(1), "1": torch.ones(1), "a/b": torch.ones(2), "a": {"b": torch.ones(3)}}
    assert same(unpack(pack(state)), state)


def test_tied_and_transposed_tensors_can_be_stored():
    tensor = torch.arange(6.0).view(2, 3)
    back = unpack(pack([tensor, tensor, tensor.T]))
    assert same(back, [tensor, tensor, tensor.T])


OPTIMIZERS: list[Callable[[Any], torch.optim.Optimizer]] = [
    lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    lambda parameters: torch.optim.Adam(parameters, 0.1, amsgrad=True),
    lambda parameters: torch.optim.AdamW(parameters, torch.tensor(0.1)),
    lambda parameters: torch.optim.LBFGS(parameters, 0.1),
]
SCHEDULES: list[Callable[[Any], Any]] = [
    lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
    lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 4]),
    lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 10),
    lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20, cycle_momentum=False),
]


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make_schedule", SCHEDULES)
def test_optimisers_and_schedules_go_on_bit_for_bit(make_optimizer, make_schedule):
    def start() -> tuple[nn.Module, torch.optim.Optimizer, Any]:
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = make_optimizer(model.parameters())
        return model, optimizer, make_schedule(optimizer)

    def advance(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any) -> None:
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = model(torch.ones(4, 3)).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        schedule.step()

    parts = start()
    for _ in range(3):
        advance(*parts)
    saved = unpack(pack([part.state_dict() for part in parts]))
    again = start()
    for part, state in zip(again, saved, strict=True):
        part.load_state_dict(state)
    assert same([part.state_dict() for part in again], [part.state_dict() for part in parts])
    for _ in range(3):
        advance(*parts)
        advance(*again)
    assert same([part.state_dict() for part in again], [part.state_dict() for part in parts])


@pytest.mark.parametrize("value", [object(), {1, 2}, torch.Size([1]), {(1, 2): 3}, lambda: 0])
def test_what_cannot_be_stored_is_named(value):
    with pytest.raises(CheckpointError, match="/model/x: cannot store"):
        pack({"model": {"x": value}})


def test_a_changed_byte_is_noticed_wherever_it_is():
    content = pack({"w": torch.randn(50), "step": 3, "list": [1.5, (2, "x")]})
    chance = random.Random(0)
    for _ in range(300):
        place = chance.randrange(len(content))
        damaged = bytearray(content)
        damaged[place] ^= chance.randrange(1, 256)
        with pytest.raises(CheckpointError, match="damaged"):
            unpack(bytes(damaged))


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_cut_file_is_damaged(keep):
    with pytest.raises(CheckpointError, match=r"run/c: damaged"):
        unpack(pack({"w": torch.randn(50)})[:keep], "run/c")


def test_the_file_is_plain_safetensors(tmp_path):
    checkpoint.write(tmp_path / "c.safetensors", {"w": torch.ones(2)})
    with safe_open(tmp_path / "c.safetensors", "pt") as file:
        assert [file.get_tensor(name).tolist() for name in file.keys()] == [[1, 1]]  # noqa: SIM118


def test_the_one_before_is_kept(tmp_path):
    path = tmp_path / "c.safetensors"
    assert checkpoint.read(path) is None
    for step in range(3):
        checkpoint.write(path, step)
    assert unpack(path.read_bytes()) == 2
    assert unpack(checkpoint.previous(path).read_bytes()) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_between_the_renames_leaves_the_one_before(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoint.write(path, 1)
    path.rename(checkpoint.previous(path))
    assert unpack(checkpoint.read(path) or b"") == 1
    checkpoint.write(path, 2)
    assert unpack(checkpoint.read(path) or b"") == 2


def test_a_write_that_fails_keeps_the_last_good_one(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    checkpoint.write(path, 1)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(FileError, match="No space left"):
        checkpoint.write(path, 2)
    assert unpack(checkpoint.read(path) or b"") == 1
    assert len(list(tmp_path.iterdir())) == 1
