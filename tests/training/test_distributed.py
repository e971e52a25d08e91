"""Several processes that compute what one would."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from tests.training.toy import launch_two, run_here, write_example
from zoo import training
from zoo.training import distributed

CHECKS = """
import runpy, sys, torch
from pathlib import Path
from zoo.training import distributed

with distributed.processes():
    rank = distributed.rank()
    assert distributed.world_size() == 2
    assert distributed.is_main() == (rank == 0)
    assert distributed.shard(torch.arange(6)).tolist() == [[0, 1, 2], [3, 4, 5]][rank]
    assert distributed.all_reduce_mean(torch.tensor([1.0, 5.0]) * rank).tolist() == [0.5, 2.5]
    for content in (b"settings", b"", None):
        sent = content if rank == 0 else b"ignored"
        assert distributed.broadcast_bytes(sent) == content
    parameters = [torch.zeros(2, 3), torch.zeros(1, dtype=torch.float64), torch.zeros(4)]
    parameters[0].grad = torch.full((2, 3), 1.0 + rank)
    parameters[1].grad = torch.full((1,), 3.0 * rank, dtype=torch.float64)
    distributed.average_gradients(parameters)
    assert parameters[0].grad.tolist() == [[1.5] * 3] * 2
    assert parameters[1].grad.tolist() == [1.5] and parameters[2].grad is None
    distributed.barrier()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
# A thread of the group that is left may abort the process when the interpreter ends.
left = [name.read_text() for name in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in left if "gloo" in name], left
"""


@pytest.mark.slow
def test_two_processes_make_the_weights_of_one(tmp_path):
    script, checks = write_example(tmp_path), tmp_path / "checks.py"
    checks.write_text(CHECKS)
    options = ["--smoke", "--threads", "1", "--device", "cpu", "--out"]
    two = launch_two(checks, script, *options, tmp_path / "two")
    assert two.returncode == 0, two.stderr
    assert two.stderr.count("60/60") == 1
    run_here(script, *options, str(tmp_path / "one"))
    first = load_file(tmp_path / "one" / "model.safetensors")
    second = load_file(tmp_path / "two" / "model.safetensors")
    assert max((first[name] - second[name]).abs().max().item() for name in first) < 1e-6
    rows = [Path(tmp_path, run, "metrics.jsonl").read_text().count("\n") for run in ("one", "two")]
    assert rows == [60, 60]


def test_one_process_does_without_torch_distributed():
    with distributed.processes():
        assert not dist.is_initialized()
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
        batch = torch.arange(5)
        assert training.shard(batch) is not None
        assert torch.equal(training.shard(batch), batch)
        assert distributed.broadcast_bytes(b"x") == b"x"
        weight = torch.ones(2, requires_grad=True)
        weight.sum().backward()
        training.average_gradients([weight])
        assert weight.grad.tolist() == [1, 1]


def pretend(monkeypatch, rank: int, world_size: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world_size))


def test_shards_are_slices_in_order(monkeypatch):
    shards = []
    for rank in range(3):
        pretend(monkeypatch, rank, 3)
        shards.append(training.shard(torch.arange(6)))
    assert torch.equal(torch.cat(shards), torch.arange(6))


def test_a_batch_that_does_not_split_is_refused(monkeypatch):
    pretend(monkeypatch, 0, 4)
    with pytest.raises(training.SettingsError, match="a batch of 6 does not split over 4"):
        training.shard(torch.arange(6))


def test_every_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    pretend(monkeypatch, 1, 2)
    assert distributed.resolve_device("auto") == torch.device("cuda", 1)
    with pytest.raises(training.SettingsError, match="cuda:0 is one GPU, 2 processes need 'cuda'"):
        distributed.resolve_device("cuda:0")
    pretend(monkeypatch, 2, 3)
    with pytest.raises(training.SettingsError, match="2 CUDA devices found"):
        distributed.resolve_device("auto")


def test_without_a_gpu_auto_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert distributed.resolve_device("auto") == torch.device("cpu")
    with pytest.raises(training.SettingsError, match="0 CUDA devices found"):
        distributed.resolve_device("cuda")
    with pytest.raises(training.SettingsError, match="found 'tpu-9000'"):
        distributed.resolve_device("tpu-9000")
