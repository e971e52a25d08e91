"""From a name to a model: card -> architecture -> verified weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo._names import did_you_mean
from zoo.errors import UnknownNameError, WeightsError
from zoo.models import architecture
from zoo.registry import Card, Weights

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["build", "create", "load"]


def create(
    name: str,
    pretrained: bool = False,
    *,
    weights: str | PathLike[str] | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **config: Any,
) -> nn.Module:
    """Build a model, with weights or without, in eval mode.

    Every weights file is verified on every load: size and sha256 against the card, names, shapes
    and dtypes against the model, all values finite. Only safetensors files are read.

    Args:
        name: `name` or `name.tag` of the registry, `hf-hub:org/repo@<40-hex revision>` or
            `local-dir:/path` (a folder with a card). Both take `#tag` at the end.
        pretrained: Whether to load the weights of the card; otherwise they are random, drawn from
            torch's global generator.
        weights: A safetensors file of your own to load instead of the card's.
        device: Where the model shall be; torch's default device if None. On `"meta"` it takes no
            memory and has no values.
        dtype: The floating point type of its parameters; the architecture's own if None.
        **config: Keyword arguments of the architecture that override the card's.

    Raises:
        UnknownNameError: if there is no such model, tag or keyword; the text names the nearest.
        WeightsError: if weights are asked for and there are none, or they cannot be found or
            verified.
        ValueError: if an argument has a value that does not make sense.

    Example:
        >>> model = create("cnnf-robust", pretrained=True)
        >>> logits = model(images)
    """
    # All names are looked up above the import of torch, which takes seconds.
    from zoo.weights import resolve

    card, tag = resolve(name)
    source = Path(weights) if weights is not None else _entry(card, tag) if pretrained else None

    import torch

    target = torch.get_default_device() if device is None else torch.device(device)
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype: expected a floating point type, found {dtype}")
    if source is not None and target.type == "meta":
        raise ValueError("device: 'meta' holds no values, so no weights can be loaded there")
    if source is None:
        model = build(card, tag, config, device=target)
    else:
        model = _filled(card, tag, config, source)
    return model.to(device=target, dtype=dtype).eval()


def load(name: str, **options: Any) -> nn.Module:
    """The model `name` with its weights; short for `create(name, pretrained=True, ...)`."""
    return create(name, pretrained=True, **options)


def build(
    card: Card,
    tag: str | None,
    config: Mapping[str, Any] | None = None,
    *,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build the architecture of a card as weights `tag` need it, with random values.

    `config` overrides the settings of the weights, which override those of the card. On
    `device="meta"` a model tells names, shapes and dtypes without using memory.

    Raises:
        UnknownNameError: if `config` has a keyword that the architecture does not take.
    """
    import torch

    # Imported outside of the context below, which would move a module's constants as well.
    cls = architecture(card.architecture)
    overrides = {} if tag is None else card.weights[tag].config
    settings = {**card.config, **overrides, **(config or {})}
    _check_keywords(card.name, cls, settings)
    with torch.device(device):
        return cls(**settings)


def _entry(card: Card, tag: str | None) -> Weights:
    if tag is None:
        raise WeightsError(
            f"There are no pretrained weights of {card.name!r} yet",
            next_step=f"train them with `python {card.recipe}`, or build it without weights",
        )
    return card.weights[tag]


def _filled(
    card: Card, tag: str | None, config: Mapping[str, Any], source: Path | Weights
) -> nn.Module:
    """Build the model on the CPU and load a file of the user's, or weights of the card."""
    from zoo.weights import load_into, locate, read

    # On meta nothing is drawn or stored that the weights would replace anyway.
    model = build(card, tag, config, device="meta")
    if isinstance(source, Path):
        state = read(source, None, model)
    else:
        state = read(locate(card, source.tag), source, model)
    load_into(model, state)
    return model


def _check_keywords(name: str, cls: type[nn.Module], settings: Mapping[str, Any]) -> None:
    known = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for keyword in settings:
        if keyword not in known:
            hint = did_you_mean(keyword, known)
            raise UnknownNameError(f"{name!r} has no setting {keyword!r}{hint}")
