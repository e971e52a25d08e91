"""Lines of cards about models that edit the fine factors of an image.

The first `n` scenes of the split, usually of a robot that the model has not seen
(`robot-scenes-jaco`). For each of `wall_color` and `lighting_intensity` that the model knows, every
scene is asked for a random value of it; the other codes stay as the model reads them, the latent
vectors are random.

    edit-error       mean |value read by the oracle - value asked for|
    edit-leak        mean change of the oracle's coarse codes robot_x, robot_y and camera_height
    edit-identity    share of the edited images whose averages over 16 × 16 squares are nearer to
                     those of their own input than to those of at least 99 % of the other inputs

The oracle has seen the primitive arm only. Of another one it reads where the arm is with an error;
`edit-leak` compares what it reads before and after.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from zoo.data import as_float
from zoo.errors import UnknownNameError
from zoo.metrics import classification
from zoo.metrics.oracle import (
    SEED,
    Encoder,
    Oracle,
    encoder,
    grey_levels,
    remembered,
    scenes_of,
)
from zoo.models.factors import Factor
from zoo.training.randomness import generator

if TYPE_CHECKING:
    from zoo.registry import Metric

__all__ = ["ASKED", "FAMILIES", "Editor", "edits", "nearer_than"]

ASKED = ("wall_color", "lighting_intensity")
"""Factors that are edited."""
COARSE = ("robot_x", "robot_y", "camera_height")
"""Factors that have to stay."""
SIDE = 16
SHARE = 0.99
BATCH = 100

Measure = Callable[["Metric", nn.Module, Path | None], float]


class Editor(Encoder, Protocol):
    """A model that changes the fine factors of images."""

    def latent(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Latent vectors (n, Z), drawn on the CPU."""
        ...

    def __call__(self, images: Tensor, z: Tensor, codes: Tensor) -> Tensor:
        """Edited images (n, C, H, W) in [0, 1]; codes (n, K) of the fine factors."""
        ...


@torch.no_grad()
def edits(model: Editor, images: Tensor, factor: str, values: Tensor) -> Tensor:
    """Images (N, C, H, W), uint8, with one factor changed, as uint8.

    Args:
        factor: the name of a factor with an order.
        values: its new labels, (N,) in [0, 1].
    """
    device = next(cast(nn.Module, model).parameters()).device
    parts = []
    for batch, part in enumerate(torch.split(images, BATCH)):
        real = as_float(part.to(device))
        codes = model.encode(real)
        new = values[batch * BATCH :][: len(part)]
        codes[:, model.layout.columns(factor)] = new[:, None].to(codes)
        z = model.latent(BATCH, generator(SEED, "edit", factor, batch))[: len(part)]
        parts.append(grey_levels(model(real, z.to(device), codes)))
    return torch.cat(parts)


def nearer_than(edited: Tensor, images: Tensor, share: float = SHARE) -> float:
    """Share of edited images that are nearer to their own input than to `share` of the others.

    Args:
        edited, images: (N, D), N at least 2, row by row of the same scene.

    Raises:
        ValueError: there are no others.
    """
    if len(images) < 2 or edited.shape != images.shape:
        raise ValueError(
            f"expected two sets of at least 2 images, found {tuple(edited.shape)} and "
            f"{tuple(images.shape)}"
        )
    distance = torch.cdist(edited.double(), images.double())
    own = distance.diagonal()[:, None]
    farther = (distance > own).sum(1) / (len(images) - 1)
    return float((farther >= share).double().mean())


def _asked(model: Encoder) -> list[Factor]:
    return [each for each in model.factors if each.name in ASKED and not each.categorical]


def _editor(metric: "Metric", model: nn.Module) -> Editor:
    found = encoder(model, metric.metric)
    if getattr(model, "golden_row", None) != "image-editing" or not _asked(found):
        raise UnknownNameError(
            f"{metric.metric}: expected a model that edits {' or '.join(ASKED)}, found a "
            f"{type(model).__name__} with {', '.join(each.name for each in found.factors)}"
        )
    return cast(Editor, found)


def _edits(model: Editor, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """For each edit, by the name of its factor: the labels asked for, and the edited images."""
    found = {}
    for factor in _asked(model):
        stream = generator(SEED, "asked", factor.name)
        drawn = torch.randint(factor.values, (len(images),), generator=stream)
        values = drawn.float() / (factor.values - 1)
        key = ("edited", factor.name, len(images), int(images.sum()))
        module = cast(nn.Module, model)

        make = partial(edits, model, images, factor.name, values)
        found[factor.name] = (values, remembered(key, module, make))
    return found


def _error(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    editor = _editor(metric, model)
    scenes = scenes_of(metric, editor.image_shape[-1], root)
    oracle = Oracle.of(editor)
    names = [each.name for each in editor.factors]
    errors = [
        (oracle.read(images)[:, names.index(name)] - values).abs().mean()
        for name, (values, images) in _edits(editor, scenes.images).items()
    ]
    return float(torch.stack(errors).mean())


def _leak(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    editor = _editor(metric, model)
    scenes = scenes_of(metric, editor.image_shape[-1], root)
    fine = {each.name for each in editor.factors}
    network = Oracle.of(editor).network
    coarse = tuple(
        each for each in network.factors if each.name in COARSE and each.name not in fine
    )
    oracle = Oracle(network, coarse)
    before = oracle.read(scenes.images)
    changes = [
        (oracle.read(images) - before).abs().mean()
        for _, images in _edits(editor, scenes.images).values()
    ]
    return float(torch.stack(changes).mean())


def _identity(metric: "Metric", model: nn.Module, root: Path | None) -> float:
    editor = _editor(metric, model)
    scenes = scenes_of(metric, editor.image_shape[-1], root)
    before = _squares(scenes.images)
    shares = [
        nearer_than(_squares(images), before)
        for _, images in _edits(editor, scenes.images).values()
    ]
    return float(np.mean(shares))


def _squares(images: Tensor) -> Tensor:
    return adaptive_avg_pool2d(as_float(images), SIDE).flatten(1)


FAMILIES: tuple[tuple[Mapping[str, Measure], Callable[[float, int], float]], ...] = (
    ({"edit-error": _error, "edit-leak": _leak}, lambda value, n: 0.005),
    ({"edit-identity": _identity}, classification.tolerance),
)
"""Tables of lines, and how far a repeated measurement may be away: rounding, with room."""
