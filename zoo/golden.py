"""Golden tensors: inputs and the outputs that the published weights must give for them anywhere.

A golden file holds `input.*` and `output.*`. The outputs are computed in float64, so that they say
what the weights mean and not what one machine's rounding made of them. The inputs are the steadiest
of a few: a network with hard decisions, such as the masks of a feedback network, may for a rare
input sit so close to a threshold that rounding takes it across, which is no fault of the weights.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import UnknownNameError, WeightsError

__all__ = ["compare", "make", "outputs", "tolerance"]

CANDIDATES = 8
KEPT = 4
GRID = 16
"""Squares, a side, that stand for an image of more pixels: a file of all would be large."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Task:
    """What golden tensors are for one task. The first dimension of every tensor is the example.

    Args:
        draw: Function of the model, a number of examples and a generator; gives `input.*`.
        outputs: Function of the model and the inputs; gives `output.*`.
        tolerance: Largest acceptable difference of the outputs, see `compare`.
    """

    draw: Callable[[nn.Module, int, torch.Generator], Tensors]
    outputs: Callable[[nn.Module, Mapping[str, Tensor]], Tensors]
    tolerance: float


def _draw_images(model: nn.Module, n: int, generator: torch.Generator) -> Tensors:
    """Smooth random images with some noise, in [0, 1]: nearer to pictures than noise alone."""
    channels, height, width = cast(tuple[int, int, int], model.image_shape)
    coarse = torch.rand(n, channels, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    noise = torch.randn(n, channels, height, width, generator=generator)
    return {"input.images": (smooth + 0.1 * noise).clamp(0, 1)}


def _logits(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensors:
    return {"output.logits": model(inputs["input.images"])}


def _draw_latent(model: nn.Module, n: int, generator: torch.Generator) -> Tensors:
    return {"input.z": torch.randn(n, cast(int, model.latent), generator=generator)}


def _images_and_scores(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensors:
    """Generated images, and what the critic says of them."""
    images = model(inputs["input.z"])
    return {"output.images": images, "output.scores": cast(nn.Module, model.discriminator)(images)}


def _draw_noise(model: nn.Module, n: int, generator: torch.Generator) -> Tensors:
    shape = cast(tuple[int, ...], model.event_shape)
    return {"input.z": torch.randn(n, *shape, generator=generator)}


def _points(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensors:
    """What noise becomes, and the exact log-density there where the dimension allows it.

    Equal steps, because those of an adaptive solver depend on the other examples of the batch.
    """
    flow = cast(Any, model)
    points = flow.decode(inputs["input.z"], method="rk4", steps=8)
    if len(flow.event_shape) > 1:
        return {"output.x": points}
    return {"output.x": points, "output.log_prob": flow.log_prob(points, method="rk4", steps=8)}


def _draw_series(model: nn.Module, n: int, generator: torch.Generator) -> Tensors:
    """Random walks at irregular times, some points of which are not observed."""
    times = torch.rand(n, 16, generator=generator).cumsum(1) / 8
    steps = torch.randn(n, 12, cast(int, model.dim), generator=generator)
    mask = torch.rand(n, 12, generator=generator) < 0.75
    mask[:, 0] = True
    return {
        "input.times": times[:, :12].contiguous(),
        "input.values": steps.cumsum(1) / 2,
        "input.mask": mask.float(),
        "input.times_query": times[:, 8:].contiguous(),
    }


def _forecast(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensors:
    names = ("times", "values", "mask", "times_query")
    series = (inputs[f"input.{name}"] for name in names)
    return {"output.mean": cast(Any, model).forecast(*series, samples=0).mean}


def _draw_states(model: nn.Module, n: int, generator: torch.Generator) -> Tensors:
    drawn: Tensors = cast(Any, model).golden_states(n, generator)
    return {f"input.{name}": value for name, value in drawn.items()}


def _forecast_from(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensors:
    state = {name.removeprefix("input."): value for name, value in inputs.items()}
    times = state.pop("times")
    found: Tensors = cast(Any, model).forecast(state, times)
    return {f"output.{name}": value for name, value in found.items()}


def _draw_squares(model: nn.Module, n: int, generator: torch.Generator) -> Tensors:
    """Small random images: those that the model sees have every pixel of them as a square."""
    channels, *_ = cast(tuple[int, int, int], model.image_shape)
    coarse = torch.rand(n, channels, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, GRID, mode="bilinear", align_corners=True)
    noise = torch.randn(n, channels, GRID, GRID, generator=generator)
    return {"input.images": (smooth + 0.1 * noise).clamp(0, 1)}


def _magnified(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    _, *size = cast(tuple[int, int, int], model.image_shape)
    return F.interpolate(inputs["input.images"], size, mode="nearest")


def _codes(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensors:
    return {"output.codes": cast(Any, model).encode(_magnified(model, inputs))}


def _draw_codes(model: nn.Module, n: int, generator: torch.Generator) -> Tensors:
    controllable = cast(Any, model)
    z = controllable.latent(n, generator)
    return {"input.z": z, "input.codes": controllable.layout.sample(n, generator)}


def _drawn_and_read(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensors:
    """Averages of generated images over a grid of squares, and what the encoder reads off them."""
    return _seen(model, model(inputs["input.z"], inputs["input.codes"]))


def _draw_edits(model: nn.Module, n: int, generator: torch.Generator) -> Tensors:
    return _draw_squares(model, n, generator) | _draw_codes(model, n, generator)


def _edited_and_read(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensors:
    return _seen(model, model(_magnified(model, inputs), inputs["input.z"], inputs["input.codes"]))


def _seen(model: nn.Module, images: Tensor) -> Tensors:
    pooled = {"output.pooled": F.adaptive_avg_pool2d(images, GRID)}
    controllable = cast(Any, model)
    return (
        {**pooled, "output.codes": controllable.encode(images)} if controllable.factors else pooled
    )


TASKS: Mapping[str, Task] = {
    # Nothing bounds the slope of a discriminator, which the encoder is a part of; and the generator
    # begins with a map that it divides by its deviation, which is next to nothing before training.
    # After a few steps rounding has been seen at 1.5e-4, after all of them at 1e-6.
    "controllable-generation": Task(_draw_codes, _drawn_and_read, tolerance=5e-4),
    # A flow may carry neighbours far apart, and rounding with them.
    "density-estimation": Task(_draw_noise, _points, tolerance=1e-4),
    "factor-prediction": Task(_draw_squares, _codes, tolerance=1e-5),
    "forecasting": Task(_draw_series, _forecast, tolerance=1e-4),
    "forecasting-from-a-state": Task(_draw_states, _forecast_from, tolerance=1e-4),
    "image-classification": Task(_draw_images, _logits, tolerance=1e-5),
    "image-editing": Task(_draw_edits, _edited_and_read, tolerance=1e-4),
    # Nothing bounds the slope of a critic, which sees the rounding of the images that it is given.
    "image-generation": Task(_draw_latent, _images_and_scores, tolerance=1e-4),
}
"""A further task is a further row.

A task may have a second surface: a model whose `golden_row` names a row is held to that one.
"""


def tolerance(model: nn.Module, task: str) -> float:
    """Largest acceptable difference of the outputs, see `compare`: the task's, or the model's own.

    A model with decisions that rounding can turn, such as the masks of a feedback network, says how
    far that may carry its outputs in `output_tolerance`.

    Raises:
        UnknownNameError: there are no golden tensors for this task.
    """
    return float(getattr(model, "output_tolerance", _row(model, task).tolerance))


def make(model: nn.Module, task: str) -> Tensors:
    """Golden tensors of a model with exactly the weights that will be published.

    Returns:
        `input.*` and `output.*`, float32, on the CPU, KEPT examples each.

    Raises:
        UnknownNameError: there are no golden tensors for this task.
        WeightsError: the model's float32 outputs are beyond the tolerance for every input.
    """
    row = _row(model, task)
    single = copy.deepcopy(model).cpu().float().eval()
    double = copy.deepcopy(single).double()
    inputs = row.draw(single, CANDIDATES, torch.Generator().manual_seed(0))
    exact = outputs(double, task, inputs)
    rough = outputs(single, task, inputs)
    distance = torch.stack([_distances(rough[name], exact[name]) for name in exact]).amax(0)
    kept = distance.argsort(stable=True)[:KEPT].sort().values
    tensors = {name: value[kept].float().contiguous() for name, value in (inputs | exact).items()}
    difference = max(compare(single, task, tensors).values())
    if not difference <= tolerance(single, task):
        raise WeightsError(
            "the model's float32 outputs differ too much from its float64 outputs",
            expected=f"at most {tolerance(single, task):.0e}",
            found=f"{difference:.1e}",
            next_step="look for values that are not finite or for badly scaled weights",
        )
    return tensors


def outputs(model: nn.Module, task: str, inputs: Mapping[str, Tensor]) -> Tensors:
    """What `model` gives for the golden inputs: `output.*`, without gradients.

    Raises:
        UnknownNameError: there are no golden tensors for this task.
    """
    with torch.no_grad():
        return _row(model, task).outputs(model, inputs)


def compare(model: nn.Module, task: str, golden: Mapping[str, Tensor]) -> dict[str, float]:
    """For each golden output the largest difference from what `model` gives now.

        max |now - golden| / max(1, max |golden|)

    Absolute for outputs up to 1, relative to the largest one above that. Infinite where shapes
    differ, NaN where the model gives NaN.

    Raises:
        UnknownNameError: there are no golden tensors for this task.
        WeightsError: the golden tensors are not those of this task.
    """
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in golden.items() if name[:6] == "input."}
    expected = {name: value for name, value in golden.items() if name[:7] == "output."}
    try:
        now = outputs(model, task, inputs)
    except KeyError as error:
        raise WeightsError(f"the golden file has no tensor {error} for the task {task}") from error
    if now.keys() != expected.keys():
        raise WeightsError(
            f"the golden file does not fit the task {task}",
            expected=", ".join(now),
            found=", ".join(expected) or "no outputs",
        )
    return {name: _difference(now[name].cpu(), expected[name]) for name in expected}


def _difference(now: Tensor, golden: Tensor) -> float:
    if now.shape != golden.shape:
        return float("inf")
    return float((now - golden).abs().max() / _scale(golden))


def _distances(rough: Tensor, exact: Tensor) -> Tensor:
    """The difference of every example, in the units of `compare`."""
    return (rough - exact).abs().reshape(len(exact), -1).amax(1) / _scale(exact)


def _scale(golden: Tensor) -> Tensor:
    """What a difference from these outputs is relative to."""
    return golden.abs().max().clamp(min=1)


def _row(model: nn.Module, task: str) -> Task:
    task = getattr(model, "golden_row", task)
    if task not in TASKS:
        raise UnknownNameError(f"no golden tensors for the task {task!r}; see {', '.join(TASKS)}")
    return TASKS[task]
