"""From a name to a model: card -> architecture -> verified weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo._names import did_you_mean
from zoo.errors import UnknownNameError
from zoo.models import architecture
from zoo.registry import Card

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
    # Names are looked up above the import of torch, which takes seconds.
    from zoo.weights import resolve

    card, tag = resolve(name)

    import torch

    target = torch.get_default_device() if device is None else torch.device(device)
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype: expected a floating point type, found {dtype}")
    if weights is None and not pretrained:
        model = build(card, tag, config, device=target)
    elif target.type == "meta":
        raise ValueError("device: 'meta' holds no values, so no weights can be loaded there")
    else:
        model = _filled(card, tag, config, None if weights is None else Path(weights))
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

    from zoo._meta import NoDraws

    # Imported outside of the context below, which would move a module's constants as well.
    cls = architecture(card.architecture)
    overrides = {} if tag is None else card.weights[tag].config
    settings = {**card.config, **overrides, **(config or {})}
    _check_keywords(card.name, cls, settings)
    place = torch.device(device)
    with place, NoDraws() if place.type == "meta" else nullcontext():
        return cls(**settings)


def _filled(card: Card, tag: str | None, config: Mapping[str, Any], file: Path | None) -> nn.Module:
    """Build the model on the CPU and load `file`, or without one the weights `tag` of the card."""
    from zoo.weights import load_into, read, read_card_file

    # On meta nothing is drawn or stored that the weights would replace anyway.
    model = build(card, tag, config, device="meta")
    state = read_card_file(card, tag, model) if file is None else read(file, None, model)
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
