"""What a deconvolutional generative model infers from images, and what it renders of that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import data
from zoo.data.images import ImageDataset
from zoo.demo.controls.sheet import Row
from zoo.models.dgm import DGM
from zoo.models.units import Latents

__all__ = [
    "CARD",
    "Outcome",
    "pretrained_model",
    "score",
    "show_labels",
    "show_latents",
    "tint",
]

CARD = "dgm-fashion-mnist"

SIDE = 56
"""Pixels to which all maps are enlarged, so that they stand beside each other."""
POSITIVE, NEGATIVE = (0.835, 0.369, 0.0), (0.0, 0.447, 0.698)
"""Colours of rendered maps, red, green, blue; 0 is white (Okabe and Ito's vermilion and blue)."""


@dataclass(frozen=True)
class Outcome:
    """Renderings of one kind, against the images whose latents they have or replace.

    Args:
        what: In words, which label with which latents.
        error: Mean squared error, over pixels and images in [0, 1].
        consistent: Share of renderings that the network itself sees as the label that was
            rendered; None where none was.
    """

    what: str
    error: float
    consistent: float | None


def pretrained_model() -> DGM:
    """The model of the card.

    Raises:
        WeightsError: its weights are missing or damaged.
    """
    from zoo.factory import create

    return cast(DGM, create(CARD, pretrained=True))


@torch.no_grad()
def show_latents(model: DGM, sample: ImageDataset) -> tuple[list[str], list[Row]]:
    """A row for each image: the image, its latents from fine to coarse, what they render.

    Of layers whose maps have the same size the upper one of the latents and the finest one of the
    renderings stand for all. Switches are shown as the share of channels that are on, positions as
    the share of channels that chose a pixel in its cell, rendered maps by the mean over channels,
    each in its own scale.

    Returns:
        What the columns are, with `_` where a line ends, and the rows.
    """
    images = data.as_float(sample.images)
    logits, latents = model.infer(images)
    labels = logits.argmax(1)
    columns = [("image", images), *_latent_columns(latents)]
    # The first map is the template of the class, the same at every pixel.
    _, *maps, rendered = model.render_layers(labels, latents)
    sizes = {tuple(each.shape[2:]): each for each in maps}
    for (height, width), each in sizes.items():
        columns.append((f"rendered_{height} x {width}", tint(each.mean(1))))
    columns.append(("rendered_image", rendered))
    return _rows(columns, sample, labels)


@torch.no_grad()
def show_labels(model: DGM, sample: ImageDataset) -> tuple[list[str], list[Row]]:
    """A row for each image: the image, and its latents rendered under every label.

    Returns:
        As of `show_latents`.
    """
    images = data.as_float(sample.images)
    logits, latents = model.infer(images)
    columns = [("image", images)]
    for label, name in enumerate(sample.classes):
        asked = torch.full((len(images),), label)
        columns.append((name, model.render(asked, latents)))
    return _rows(columns, sample, logits.argmax(1))


@torch.no_grad()
def score(model: DGM, sample: ImageDataset, seed: int) -> tuple[float, list[Outcome]]:
    """Accuracy on a sample, and how far renderings are from its images.

    Other labels and other images are drawn by `seed`; no image keeps its own.
    """
    images = data.as_float(sample.images)
    n, classes = len(images), len(sample.classes)
    logits, latents = model.infer(images)
    labels = logits.argmax(1)
    generator = torch.Generator().manual_seed(seed)
    others = (labels + torch.randint(1, classes, (n,), generator=generator)) % classes
    order = torch.randperm(n, generator=generator)
    swapped = torch.empty_like(order)
    swapped[order] = order.roll(1)
    kinds = (
        ("its own latents, the predicted label", labels, latents),
        ("its own latents, another label", others, latents),
        ("latents of another image, the predicted label", labels, _taken(latents, swapped)),
    )
    outcomes = []
    for what, asked, given in kinds:
        rendered = model.render(asked, given)
        seen = model(rendered).argmax(1)
        outcomes.append(Outcome(what, _error(rendered, images), _share(seen == asked)))
    mean = images.mean(0, keepdim=True).expand_as(images)
    outcomes.append(Outcome("the mean of all images", _error(mean, images), None))
    return _share(labels == sample.labels), outcomes


def tint(maps: Tensor) -> Tensor:
    """Maps (N, H, W) as colours (N, 3, H, W) in [0, 1]: white at 0, each in its own scale."""
    largest = maps.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
    strength = (maps / largest)[:, None]
    ends = (maps.new_tensor(colour).view(1, 3, 1, 1) for colour in (POSITIVE, NEGATIVE))
    positive, negative = ends
    return 1 - strength.clamp(min=0) * (1 - positive) + strength.clamp(max=0) * (1 - negative)


def _latent_columns(latents: Sequence[Latents]) -> list[tuple[str, Tensor]]:
    """Heads and grey maps (N, 1, H, W) in [0, 1]: first all switches, then all positions."""
    chosen = {tuple(each.switches.shape[2:]): each for each in latents}
    switches, positions = [], []
    for (height, width), each in chosen.items():
        size = f"{height} x {width}"
        on = (each.switches == 1).to(each.switches.dtype).mean(1, keepdim=True)
        switches.append((f"switches_{size}", on))
        if each.positions is not None:
            places = torch.zeros_like(each.switches).flatten(2)
            places.scatter_(2, each.positions.flatten(2), 1)
            share = places.view_as(each.switches).mean(1, keepdim=True)
            positions.append((f"positions_{size}", share))
    return switches + positions


def _rows(
    columns: Sequence[tuple[str, Tensor]], sample: ImageDataset, labels: Tensor
) -> tuple[list[str], list[Row]]:
    heads = [head for head, _ in columns]
    tiles = torch.stack([_enlarged(maps) for _, maps in columns], 1)
    names = zip(sample.labels.tolist(), labels.tolist(), strict=True)
    rows = [
        Row(sample.classes[true], f"seen as {sample.classes[seen]}", images)
        for (true, seen), images in zip(names, tiles, strict=True)
    ]
    return heads, rows


def _enlarged(maps: Tensor) -> Tensor:
    """Maps (N, 1 or 3, H, W) as colours (N, 3, SIDE, SIDE), without smoothing."""
    return F.interpolate(maps.expand(-1, 3, -1, -1), (SIDE, SIDE), mode="nearest-exact")


def _taken(latents: Sequence[Latents], rows: Tensor) -> list[Latents]:
    return [
        Latents(each.switches[rows], None if each.positions is None else each.positions[rows])
        for each in latents
    ]


def _error(images: Tensor, given: Tensor) -> float:
    return float((images.double() - given.double()).square().mean())


def _share(right: Tensor) -> float:
    return float(right.double().mean())
