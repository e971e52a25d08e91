"""How long verified weights take: `zoo.create(pretrained=True)` against loading without a check.

    python tests/benchmarks/bench_create.py [NAME]

The comparison builds the same module and calls `safetensors.torch.load_file` and
`load_state_dict`. All run in turns in one process, after the import of torch. The fastest of `RUNS`
counts (what is slower was waiting for somebody else); the median is shown beside it. Target: at
most 1.3 times the time of building and `load_file`, hashing included.
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
    """Print a line for each way: its time, and the ratio to building and reading."""
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
    base = min(times["build + load_file"])
    print(f"{name}: {path.stat().st_size / 1e6:.1f} MB, {torch.get_num_threads()} threads")
    print(f"{'':<36} {'fastest':>10} {'ratio':>8} {'median':>10}")
    for row, took in times.items():
        fastest, median = 1000 * min(took), 1000 * statistics.median(took)
        print(f"{row:<36} {fastest:7.1f} ms {fastest / base / 1000:6.2f} x {median:7.1f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
