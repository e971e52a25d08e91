"""How long verified weights take: `zoo.create(pretrained=True)` against loading without a check.

    python tests/benchmarks/bench_create.py [NAME]

The comparison builds the same module and calls `safetensors.torch.load_file` and
`load_state_dict`. Both run in turns in one process, after the import of torch; shown are medians
over `RUNS`. Target: at most 1.3 times the time, hashing included.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from safetensors.torch import load_file

import zoo
from zoo import factory, weights

RUNS = 31


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(name: str = "cnnf-robust") -> None:
    """Print the medians and their ratio."""
    card, tag = weights.resolve(name)
    path = weights.locate(card, tag)

    def verified() -> torch.nn.Module:
        return zoo.create(name, pretrained=True)

    def build_and_read() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
        return factory.build(card, tag), load_file(path)

    def build_and_load() -> torch.nn.Module:
        model, state = build_and_read()
        model.load_state_dict(state)
        return model.eval()

    rows = {
        "zoo.create, verified": verified,
        "build + load_file": build_and_read,
        "build + load_file + load_state_dict": build_and_load,
    }
    times: dict[str, list[float]] = {row: [] for row in rows}
    for turn in range(RUNS + 3):
        for row, call in rows.items():
            took = seconds(call)
            # The first turns warm up the file cache and the allocator.
            if turn >= 3:
                times[row].append(took)
    base = statistics.median(times["build + load_file"])
    print(f"{name}: {path.stat().st_size / 1e6:.1f} MB, {torch.get_num_threads()} threads")
    for row, took_all in times.items():
        took = statistics.median(took_all)
        print(f"{row:<36} {1000 * took:7.1f} ms {took / base:6.2f} x")


if __name__ == "__main__":
    main(*sys.argv[1:])
