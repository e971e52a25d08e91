"""Randomness as a pure function of (seed, stream, step).

Nothing has to be remembered to resume a run: whatever step 1000 draws, it draws the same when the
process was killed at step 999. And every process of a distributed run can draw the noise of the
whole global batch and take its own slice, so that the number of processes does not matter.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "batch_indices",
    "derive",
    "deterministic",
    "generator",
    "seed_everything",
    "steps_per_epoch",
]


def derive(seed: int, *stream: int | str) -> int:
    """A seed in [0, 2^63) for one stream of random numbers, e.g. `derive(seed, "noise", step)`.

    Streams with different names are unrelated; the same name gives the same number for ever.
    """
    # JSON keeps (1, "2") and ("1", 2) apart, and so ("a", "b") and ("ab",).
    text = json.dumps([seed, *stream])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *stream: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one stream, e.g. `generator(seed, "noise", step)`.

    The numbers differ between a CPU and a GPU. A CPU generator uses the low 32 bits of its seed.
    """
    return torch.Generator(device).manual_seed(derive(seed, *stream))


def seed_everything(
    seed: int, *stream: int | str, device: torch.device | str | None = None
) -> None:
    """Seed the global generators of Python, NumPy and torch with one stream.

    Args:
        device: Seed torch for the CPU and this device alone, which is much cheaper than all.
    """
    number = derive(seed, *stream)
    random.seed(number)
    np.random.seed(number % 2**32)
    if device is None:
        torch.manual_seed(number)
        return
    torch.default_generator.manual_seed(number)
    if torch.device(device).type == "cuda":
        torch.cuda.manual_seed(number)


@contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic algorithms where torch has them, a warning where it has not.

    On a CPU the results are then a function of the seed, the machine and the number of threads.
    cuBLAS is deterministic with a fixed workspace, which is asked for by
    `CUBLAS_WORKSPACE_CONFIG=:4096:8` and must be set before the first CUDA call of the process.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    # Filling every new tensor only guards against reading memory that nobody wrote; it costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            # Torch warns because equal indices would race; those of a max pool are all different.
            warnings.filterwarnings("ignore", message="max_unpooling2d")
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def steps_per_epoch(n: int, batch_size: int, *, drop_last: bool = True) -> int:
    """How many batches of `batch_size` one pass over `n` examples has.

    Raises:
        ValueError: if there is not one batch.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, found {batch_size}")
    steps = n // batch_size if drop_last else -(-n // batch_size)
    if steps < 1:
        raise ValueError(f"{n} examples do not make one batch of {batch_size}")
    return steps


def batch_indices(
    n: int,
    batch_size: int,
    seed: int,
    step: int,
    *,
    drop_last: bool = True,
    stream: str = "batches",
) -> Tensor:
    """The examples of the global batch of one step; each epoch is a new permutation.

    Args:
        n: Number of examples in the data set.
        batch_size: Number of examples in the batch, over all processes.
        seed: Seed of the run.
        step: Index of the step from 0; epoch = step // steps per epoch.
        drop_last: Leave out the rest of an epoch that does not fill a batch; otherwise the last
            batch of an epoch is smaller.
        stream: Names the order; two data sets of one recipe need two names.

    Returns:
        Indices in [0, n), int64 of shape (batch_size,) or fewer, on the CPU.
    """
    epoch, position = divmod(step, steps_per_epoch(n, batch_size, drop_last=drop_last))
    order = _permutation(n, seed, stream, epoch)
    # A copy: the permutation is shared by the steps of its epoch.
    return order[position * batch_size : (position + 1) * batch_size].clone()


@functools.lru_cache(maxsize=8)
def _permutation(n: int, seed: int, stream: str, epoch: int) -> Tensor:
    return torch.randperm(n, generator=generator(seed, stream, epoch))
