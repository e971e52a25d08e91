"""How fast CNN-F is: against the plain CNN's count of operations, and against itself by the book.

    python tests/benchmarks/bench_cnnf.py [--threads N] [--batch N]

Everything runs in turns in one process; the fastest of the runs counts, because what is slower was
waiting for somebody else. Three questions:

inference   K = 1 against K = 0. One feedback and one more pass take 2 x 14.10 M multiply-adds on
            top of the first pass's 17.83 M, a ratio of 2.58. Target: at most 1.15 times that.
training    one step of the reconstruction and classification loss, K = 1, against the same network
            written straight from its description (tests/models/by_the_book.py), and against K = 0,
            in float32 and, for ours, in bfloat16.
recipe      one whole step of the adversarial recipe, PGD-7 on the first pass included, K = 1
            against K = 0, over the ratio of their multiply-adds: forward and the gradient of the
            images seven times each, then forward and both gradients of clean and attacked images.
            Target: at most 1.15. The same for the project's own training to restore, K = 2 down to
            the pixels.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from sys import path as module_path

import torch
import torch.nn.functional as F
from torch import Tensor

module_path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.models.by_the_book import Book
from zoo.models.cnnf import CNNF
from zoo.training import restoring
from zoo.training.adversarial import AdversarialSettings, attack, objective

FIRST_PASS, LOOP = 17.83, 14.10
OPERATIONS = (FIRST_PASS + 2 * LOOP) / FIRST_PASS
"""Multiply-adds of K = 1 over those of K = 0."""


PIXELS = 17.83
"""Multiply-adds of one feedback to the pixels, and of one further pass from there."""


def recipe_operations(iterations: int) -> float:
    """Multiply-adds of one image's step of the adversarial recipe, in millions."""
    attack = 7 * 2 * FIRST_PASS
    return attack + 2 * 3 * (FIRST_PASS + 2 * LOOP * iterations)


def restoring_operations(iterations: int) -> float:
    """Multiply-adds of one image's step of the training to restore, in millions."""
    return 3 * (FIRST_PASS + 2 * PIXELS * iterations)


def interleaved(calls: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of every call, `runs` times in turns, after two turns that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(runs + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= 2:
                times[name].append(time.perf_counter() - start)
    return times


def show(times: Mapping[str, list[float]], base: str) -> None:
    print(f"{'':<34} {'fastest':>11} {'ratio':>8} {'median':>11}")
    for name, took in times.items():
        ratio = min(took) / min(times[base])
        print(
            f"{name:<34} {1e3 * min(took):8.1f} ms {ratio:6.2f} x "
            f"{1e3 * statistics.median(took):8.1f} ms"
        )


def step(model: CNNF, images: Tensor, labels: Tensor, iterations: int, precision: str) -> None:
    """Loss and gradients of one batch, as the recipe computes them, without the attack."""
    settings = AdversarialSettings(iterations=iterations)
    half = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
    with half:
        loss, _ = objective(model, images, images, labels, settings)
    model.zero_grad()
    loss.backward()


def book_step(model: CNNF, images: Tensor, labels: Tensor) -> None:
    """The same loss by the book, clean and attacked images side by side as in the description."""
    book = Book(model, model.damping, model.loop_from)
    n = len(images)
    logits, features, reconstructions = book.run(torch.cat([images, images]), 1)
    loss = sum(
        0.25 * (0.1 * F.cross_entropy(y[:n], labels) + F.cross_entropy(y[n:], labels))
        for y in logits
    )
    for rendered, target in zip(reconstructions[0], features[0], strict=True):
        loss = loss + 0.1 / 3 * F.mse_loss(rendered[n:], target[:n])
    model.zero_grad()
    loss.backward()


def recipe_step(model: CNNF, images: Tensor, labels: Tensor, iterations: int) -> None:
    """Loss and gradients of one batch as the adversarial recipe computes them, in bfloat16."""
    settings = AdversarialSettings(iterations=iterations, precision="bfloat16")
    hard = attack(model, images, images, labels, settings)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective(model, images, hard, labels, settings)
    model.zero_grad()
    loss.backward()


def restoring_step(model: CNNF, images: Tensor, labels: Tensor, iterations: int) -> None:
    """Loss and gradients of one batch as the training to restore computes them, in bfloat16."""
    settings = restoring.RestoringSettings(iterations=iterations)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = restoring.objective(model, images, images, labels, settings)
    model.zero_grad()
    loss.backward()


def show_over_operations(times: Mapping[str, list[float]], operations: float) -> None:
    looped, plain = (min(took) for took in times.values())
    ratio = looped / plain
    print(f"operations {operations:.2f} x; time over operations {ratio / operations:.2f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = CNNF().eval()
    images, labels = torch.rand(options.batch, 1, 28, 28), torch.randint(10, (options.batch,))
    print(f"torch {torch.__version__}, {options.threads} threads, batch {options.batch}\n")

    with torch.inference_mode():
        times = interleaved(
            {
                "inference, K = 0": lambda: model(images, 0),
                "inference, K = 1": lambda: model(images, 1),
            },
            options.runs,
        )
    show(times, "inference, K = 0")
    ratio = min(times["inference, K = 1"]) / min(times["inference, K = 0"])
    print(f"operations {OPERATIONS:.2f} x; time over operations {ratio / OPERATIONS:.2f}\n")

    times = interleaved(
        {
            "step by the book, float32": lambda: book_step(model, images, labels),
            "step, K = 1, float32": lambda: step(model, images, labels, 1, "float32"),
            "step, K = 1, bfloat16": lambda: step(model, images, labels, 1, "bfloat16"),
            "step, K = 0, float32": lambda: step(model, images, labels, 0, "float32"),
            "step, K = 0, bfloat16": lambda: step(model, images, labels, 0, "bfloat16"),
        },
        max(3, options.runs // 2),
    )
    show(times, "step by the book, float32")

    batch, target = images[:64], labels[:64]
    names = ["adversarial step, K = 1", "adversarial step, K = 0"]
    times = interleaved(
        {
            name: partial(recipe_step, model, batch, target, k)
            for name, k in zip(names, (1, 0), strict=True)
        },
        options.runs,
    )
    print()
    show(times, names[1])
    show_over_operations(times, recipe_operations(1) / recipe_operations(0))

    to_pixels = CNNF(feedback_to=0, damping=0.3)
    names = ["restoring step, K = 2", "restoring step, K = 0"]
    times = interleaved(
        {
            name: partial(restoring_step, to_pixels, batch, target, k)
            for name, k in zip(names, (2, 0), strict=True)
        },
        options.runs,
    )
    show(times, names[1])
    show_over_operations(times, restoring_operations(2) / restoring_operations(0))


if __name__ == "__main__":
    main()
