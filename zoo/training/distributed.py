"""Several processes, started by `torchrun`, that compute what one process would.

Every process holds the whole model, takes its contiguous slice of the global batch (`shard`) and
averages the gradients (`average_gradients`) before the optimiser's step. The slices are equal, so
that the average of the processes' mean gradients is the mean gradient of the global batch. This
holds for losses that are means over examples and for layers that treat examples independently
(not for batch normalisation over a slice).

A single process never touches torch.distributed.
"""

from __future__ import annotations

import importlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from zoo.training.settings import SettingsError

__all__ = [
    "all_reduce_mean",
    "average_gradients",
    "barrier",
    "broadcast_bytes",
    "is_main",
    "processes",
    "rank",
    "resolve_device",
    "shard",
    "world_size",
]


def world_size() -> int:
    """Number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def local_rank() -> int:
    """Number of this process on its machine, from 0; also the GPU that it uses."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes the files and talks to the user."""
    return rank() == 0


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that `torchrun` started with this one; alone, do nothing.

    To be entered once: torch cannot join, leave and join again without races. Inside of another
    such block it does nothing.
    """
    if world_size() == 1 or dist.is_initialized():
        yield
        return
    # Imported with a group there, as the first optimiser does, it keeps the group: the threads then
    # outlive `destroy`, and the interpreter may abort at its end.
    importlib.import_module("torch._dynamo")
    gpu = torch.cuda.is_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def resolve_device(name: str) -> torch.device:
    """The device that a setting asks for: `auto` is this process's GPU, or the CPU without one.

    Raises:
        SettingsError: if there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"device: expected auto, cpu, cuda or cuda:N; found {name!r}") from None
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = local_rank() if device.index is None else device.index
    if index >= count:
        raise SettingsError(f"device: {name} asked for, {count} CUDA devices found")
    if device.index is not None and world_size() > 1:
        raise SettingsError(f"device: {name} is one GPU, {world_size()} processes need 'cuda'")
    return torch.device("cuda", index)


def shard(batch: Tensor) -> Tensor:
    """This process's contiguous slice of a global batch, along the first dimension.

    Raises:
        SettingsError: if the batch cannot be split into equal slices.
    """
    count = world_size()
    if len(batch) % count:
        raise SettingsError(f"a batch of {len(batch)} does not split over {count} processes")
    size = len(batch) // count
    return batch[rank() * size : (rank() + 1) * size]


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes, in one all-reduce per dtype.

    Every process must have gradients for the same parameters. Clip afterwards, not before: the
    norm of the global gradient is what a single process would clip.
    """
    if world_size() == 1:
        return
    groups: dict[torch.dtype, list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            groups[parameter.grad.dtype].append(parameter.grad)
    for gradients in groups.values():
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        all_reduce_mean(flat)
        pieces = flat.split_with_sizes([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))


@torch.no_grad()
def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Replace `tensor` by its mean over the processes, in place; return it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
        tensor /= world_size()
    return tensor


def broadcast_bytes(content: bytes | None) -> bytes | None:
    """The main process's bytes (or None), for every process; the others' argument is ignored."""
    if world_size() == 1:
        return content
    # The length tells None (-1) from empty. Tensors, because objects would travel as pickles.
    length = torch.tensor(-1 if content is None else len(content))
    dist.broadcast(length, src=0)
    if length < 0:
        return None
    data = torch.empty(int(length), dtype=torch.uint8)
    if is_main() and content:
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    if length > 0:
        dist.broadcast(data, src=0)
    return data.numpy().tobytes()


def barrier() -> None:
    """Wait until every process is here."""
    # Not dist.barrier(), which would want a GPU wherever NCCL is there.
    all_reduce_mean(torch.zeros(1))
