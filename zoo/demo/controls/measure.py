"""What a controllable model draws when it is told what to draw, and what it reads off scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from zoo.data import as_float, robot_scenes
from zoo.data.robot_scenes import Scenes
from zoo.demo.controls.sheet import Row
from zoo.errors import UnknownNameError, WeightsError
from zoo.metrics.oracle import Oracle, grey_levels
from zoo.models.controllable import Controllable
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.factors import Factor
from zoo.models.fine_style_gan import FineStyleGAN

__all__ = [
    "CARD",
    "EDITOR",
    "Known",
    "Reading",
    "beside_the_truth",
    "edits",
    "known",
    "pretrained_editor",
    "pretrained_model",
    "read",
    "traversals",
]

CARD = "stylegan-disentangled-robot64"
EDITOR = "stylegan-disentangled-fine-robot64"


@dataclass(frozen=True)
class Known:
    """Scenes as a model knows them.

    Args:
        images: (N, C, S, S) in [0, 1], of the model's size.
        indices: values of the model's factors, (N, F).
        codes: the same as codes, (N, K).
    """

    images: Tensor
    indices: Tensor
    codes: Tensor

    def head(self, n: int) -> "Known":
        """The first `n`."""
        return Known(self.images[:n], self.indices[:n], self.codes[:n])


@dataclass(frozen=True)
class Reading:
    """How well one factor is read off real scenes, and drawn.

    Args:
        right: share of scenes whose nearest value is the true one.
        error: mean absolute error of the code; None of a categorical factor.
        drawn: mean absolute difference between the code that was asked for and the code that a
            network trained with all labels reads off what was drawn; None without such a network.
        blind: the error of a code that is always ½.
    """

    factor: Factor
    right: float
    error: float | None
    drawn: float | None
    blind: float | None


def pretrained_model() -> DisentangledStyleGAN:
    """The model that draws, with its weights.

    Raises:
        WeightsError: they are missing or damaged.
    """
    from zoo.factory import create

    return cast(DisentangledStyleGAN, create(CARD, pretrained=True))


def pretrained_editor() -> FineStyleGAN:
    """The model that edits, with its weights.

    Raises:
        WeightsError: they are missing or damaged.
    """
    from zoo.factory import create

    return cast(FineStyleGAN, create(EDITOR, pretrained=True))


def known(model: Controllable, scenes: Scenes) -> Known:
    """Scenes in the model's size, with the model's factors.

    Raises:
        ValueError: the scenes do not have one of its factors, or with other values, or are of no
            multiple of its size.
    """
    images = as_float(robot_scenes.at_size(scenes, model.image_size).images)
    indices = scenes.values(model.factors)
    return Known(images, indices, model.layout.encode(indices))


@torch.no_grad()
def traversals(model: DisentangledStyleGAN, codes: Tensor, z: Tensor) -> list[Row]:
    """A row for each factor: it takes each of its values, all else stays.

    Args:
        codes: where they start from, (1, K).
        z: (1, latent).
    """
    return [
        Row(
            factor.name,
            f"{factor.values} values",
            model.traverse(codes, factor.name, z=z),
        )
        for factor in model.factors
    ]


@torch.no_grad()
def beside_the_truth(model: DisentangledStyleGAN, scenes: Known, z: Tensor) -> list[Row]:
    """Scenes as rendered, and as drawn: with their true codes, and with the codes read off them.

    Args:
        z: (1, latent), the same for all.
    """
    latent = z.expand(len(scenes.images), -1)
    return [
        Row("rendered", "not seen in training", scenes.images),
        Row("drawn", "told the true factors", model(latent, scenes.codes)),
        Row("drawn", "told what was read", model(latent, model.encode(scenes.images))),
    ]


@torch.no_grad()
def read(model: DisentangledStyleGAN, scenes: Known, z: Tensor) -> list[Reading]:
    """How well each factor is read off scenes, and drawn for their codes.

    Args:
        z: (1, latent), the same for all.
    """
    layout, codes = model.layout, model.encode(scenes.images)
    truth, said = layout.scalars(scenes.codes), layout.scalars(codes)
    right = (layout.decode(codes) == scenes.indices).float().mean(0).tolist()
    errors, blind = (_mean_difference(each, truth) for each in (said, torch.tensor(0.5)))
    shown = _shown(model, model(z.expand(len(truth), -1), scenes.codes))
    drawn = [None] * len(right) if shown is None else _mean_difference(shown, truth)
    return [
        Reading(factor, share, None, None, None)
        if factor.categorical
        else Reading(factor, share, *off)
        for factor, share, *off in zip(model.factors, right, errors, drawn, blind, strict=True)
    ]


def _shown(model: DisentangledStyleGAN, images: Tensor) -> Tensor | None:
    """What the oracle of the metrics reads off drawn images, (N, F)."""
    try:
        oracle = Oracle.of(model)
    except (UnknownNameError, WeightsError):
        return None
    return oracle.read(grey_levels(images))


def _mean_difference(codes: Tensor, truth: Tensor) -> list[float]:
    means: list[float] = (codes - truth).abs().mean(0).tolist()
    return means


@torch.no_grad()
def edits(model: FineStyleGAN, scenes: Known) -> tuple[Sequence[str], list[Row]]:
    """Every scene, and what becomes of it when a fine factor has its first value, then its last.

    Returns:
        What the columns are, and a row for each scene.
    """
    heads, columns = ["given"], [scenes.images]
    for factor in model.factors:
        last = factor.values - 1 if factor.categorical else 1
        for value in (0, last):
            heads.append(f"{factor.name} {value}")
            columns.append(model.edit(scenes.images, None, **{factor.name: value}))
    rows = torch.stack(columns, 1)
    return heads, [Row(f"scene {index + 1}", "", images) for index, images in enumerate(rows)]
