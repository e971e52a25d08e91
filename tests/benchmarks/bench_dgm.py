"""What rendering costs: a training step of the deconvolutional model, and its inference.

    python tests/benchmarks/bench_dgm.py [--threads N] [--batch N] [--rounds N] [--half-width]

CPU time, everything in turns in one process, medians over the rounds; a ratio is the median of the
ratios of each round. Two questions:

training    forward, all terms, backward of a batch of which half is labelled, over the supervised
            step of the same network with as many images, all labelled; and the same for the other
            methods with few labels, and for the objective with one term left out. The optimiser,
            which is the same for all, is not part of it. Target: at most 2.2 times; the ratio of
            the multiply-adds is printed beside it.
inference   `model(images)` over an `nn.Sequential` of the same layers with the same weights.
            Target: nothing extra. What latents and renderings cost on top.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from zoo.models.dgm import DGM, LAYERS
from zoo.models.units import AverageUnit, ConvUnit
from zoo.training.feedback import half_precision
from zoo.training.few_labels.methods import Batch, Method, make
from zoo.training.few_labels.settings import FewLabelsSettings

TARGET = 2.2
TERMS = ("reconstruction_weight", "entropy_weight", "moment_weight", "path_weight", "min_weight")


def model(half_width: bool) -> DGM:
    """The network of the card, or that of the study of few labels, which has half its channels."""
    layers = [
        {**layer, "channels": layer["channels"] // (2 if half_width else 1)} for layer in LAYERS
    ]
    return DGM(layers=layers)


class Normalise(nn.Module):
    """As the model does it, without its check of shape, dtype and range."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def plain(network: DGM) -> nn.Sequential:
    """The same network of PyTorch's own layers."""
    layers: list[nn.Module] = [Normalise(torch.tensor(network.mean), torch.tensor(network.std))]
    for unit in network.units:
        match unit:
            case ConvUnit():
                outputs, inputs, kernel, _ = unit.weight.shape
                conv = nn.Conv2d(inputs, outputs, kernel, padding=unit.padding, bias=False)
                norm = nn.BatchNorm2d(outputs)
                conv.weight, norm.weight, norm.bias = unit.weight, unit.norm_up.gain, unit.bias
                norm.running_mean = unit.norm_up.running_mean
                norm.running_var = unit.norm_up.running_variance
                layers += [conv, norm, nn.LeakyReLU(unit.leak, inplace=True)]
                layers += [nn.MaxPool2d(unit.pool)] if unit.pool else []
            case AverageUnit():
                linear = nn.Linear(unit.weight.shape[1], unit.weight.shape[0])
                linear.weight, linear.bias = unit.weight, unit.bias
                layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last).train(network.training)


def operations(network: DGM, lower: float) -> float:
    """Multiply-adds of the convolutions of a step, over those of the supervised step.

    A pass with its gradients takes three times those of a pass, except that nobody asks for the
    gradient of the images in the passes up.

    Args:
        lower: Share of the images for which the worst latents are computed.
    """
    below, each = network.image_shape, []
    for unit in network.units:
        shapes = unit.shapes(below)
        if isinstance(unit, ConvUnit):
            each.append(shapes.switches[1] * shapes.switches[2] * unit.weight.numel())
        below = shapes.above
    up, down = 3 * sum(each) - each[0], 3 * sum(each)
    return ((1 + lower) * up + down) / up


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every call, `rounds` times in turns, after one turn that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn:
                times[name].append(time.process_time() - start)
    return times


def show(title: str, times: Mapping[str, list[float]], count: int) -> None:
    """Medians of `count` calls in one, over the first row."""
    base = next(iter(times.values()))
    print(f"{title:<44} {'median':>10} {'ratio':>7} {'lowest, highest':>16}")
    for name, took in times.items():
        ratios = [one / other for one, other in zip(took, base, strict=True)]
        print(
            f"  {name:<42} {1e3 * statistics.median(took) / count:7.1f} ms "
            f"{statistics.median(ratios):6.2f}x {min(ratios):8.2f}, {max(ratios):5.2f}"
        )
    print()


def step(method: Method, network: nn.Module, batch: Batch, precision: str, index: int) -> None:
    """Loss and gradients of one step."""
    with half_precision(torch.device("cpu"), precision):
        loss, _ = method.loss(network, batch, index)
    network.zero_grad()
    loss.backward()


def steps(method: Method, network: nn.Module, batch: Batch, precision: str, count: int) -> None:
    """As many steps as it takes until all that happens at times has happened once."""
    for index in range(count):
        # In the middle of a training, where nothing is switched off.
        step(method, network, batch, precision, 1000 + index)


def training(options: argparse.Namespace, precision: str) -> None:
    """Print what a step of every method costs."""
    network = model(options.half_width).train()
    images = torch.rand(options.batch, 1, 28, 28)
    labels = torch.randint(10, (options.batch,))
    half = options.batch // 2
    few = Batch(images[:half], labels[:half], images[half:], lambda: images)
    alone = Batch(images, labels, images[:0], lambda: images)
    count = FewLabelsSettings().path_every
    calls = {}
    for name in ("supervised", "deconvolutional", "pseudo-labels", "mean-teacher"):
        # They begin at step 1000 of 2000.
        config = FewLabelsSettings(method=name, steps=2000, batch_size=2 * half)
        batch = alone if name == "supervised" else few
        calls[name] = partial(steps, make(config, network), network, batch, precision, count)
    for term in TERMS:
        config = dataclasses.replace(FewLabelsSettings(), **{term: 0.0})
        name = f"deconvolutional, {term.removesuffix('_weight')} left out"
        calls[name] = partial(steps, make(config, network), network, few, precision, count)
    times = interleaved(calls, options.rounds)
    show(f"training, {precision}", times, count)
    ratios = zip(times["deconvolutional"], times["supervised"], strict=True)
    ratio = statistics.median(one / other for one, other in ratios)
    print(
        f"deconvolutional over supervised, {precision}: {ratio:.2f} (target {TARGET}); "
        f"multiply-adds {operations(network, 0.5):.2f}, {operations(network, 0):.2f} without the "
        "worst latents\n"
    )


def inference(options: argparse.Namespace) -> None:
    """Print what a prediction costs, and what latents and renderings cost on top."""
    network = model(options.half_width).eval()
    book = plain(network)
    images = torch.rand(options.batch, 1, 28, 28)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), book(images), rtol=1e-4, atol=1e-5)
        calls = {
            "nn.Sequential of the same layers": lambda: book(images),
            "model(images)": lambda: network(images),
            "model.infer(images)": lambda: network.infer(images),
            "model.reconstruct(images)": lambda: network.reconstruct(images),
        }
        show("inference, float32", interleaved(calls, 3 * options.rounds), 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=64, help="images of a step")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--half-width", action="store_true", help="the network of the study")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    width = "half the" if options.half_width else "the released"
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    print(f"torch {torch.__version__}, {threads}, batch {options.batch}, {width} channels\n")
    inference(options)
    for precision in ("float32", "bfloat16"):
        training(options, precision)


if __name__ == "__main__":
    main()
