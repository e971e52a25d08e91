"""From a trained model to the bytes of a weights file."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from zoo import _quantised
from zoo.errors import ZooError

__all__ = ["ExportError", "fingerprint", "rounded", "serialise", "stored"]

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.float32,
}
"""How weights can be stored -> the dtype of floating tensors that are not quantised."""

M = TypeVar("M", bound=nn.Module)


class ExportError(ZooError, RuntimeError):
    """Weights that would not make a sound file."""


def rounded(model: M, dtype: str) -> M:
    """The model as its users will get it: a copy on the CPU, in eval mode, stored as `dtype` once.

    What is measured for a card has to be measured on this.

    Raises:
        ExportError: as `stored`.
    """
    twin = copy.deepcopy(model).cpu().eval()
    tensors = stored(model, dtype)
    if dtype == "int8":
        tensors = _quantised.restored(tensors, _names(model.state_dict()))
    twin.load_state_dict(tensors)
    return twin


@torch.no_grad()
def stored(model: nn.Module, dtype: str) -> dict[str, Tensor]:
    """The tensors of a weights file: on the CPU, floating ones as `dtype`, checked to be finite.

    With "int8", those with two or more dimensions become int8 and get a further tensor,
    `<name>.scale`; the other floating ones are float32.

    Raises:
        ExportError: if a weight is not finite, before or after the rounding, or has the name that
            the scale of another one needs.
    """
    if dtype not in DTYPES:
        raise ExportError(f"dtype: expected one of {', '.join(DTYPES)}; found {dtype!r}")
    tensors = {}
    for name, tensor in model.state_dict().items():
        # A copy: safetensors refuses tensors that share memory.
        kept = tensor.detach().to("cpu", copy=True).contiguous()
        if kept.is_floating_point():
            if not kept.isfinite().all():
                raise ExportError(f"{name}: holds NaN or infinity")
            kept = kept.to(DTYPES[dtype])
            if not kept.isfinite().all():
                raise ExportError(f"{name}: {tensor.abs().max():.3g} is too large for {dtype}")
        tensors[name] = kept
    return _quantise(tensors) if dtype == "int8" else tensors


def _quantise(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = _names(tensors)
    if clashes := _quantised.clashes(names, tensors):
        raise ExportError(f"{', '.join(clashes)}: the name of a scale; store another dtype")
    small = dict(tensors)
    for name in names:
        small[name], small[_quantised.scale_name(name)] = _quantised.quantise(tensors[name])
    return small


def _names(tensors: Mapping[str, Tensor]) -> list[str]:
    """The tensors of a model that are quantised."""
    return [
        name
        for name, tensor in tensors.items()
        if _quantised.chosen(tensor.is_floating_point(), tensor.shape)
    ]


def serialise(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file, a function of the tensors alone: no time, no host, a fixed order."""
    # The metadata is what other libraries look for.
    content: bytes = safetensors.torch.save(dict(sorted(tensors.items())), {"format": "pt"})
    return content


def fingerprint(content: bytes) -> dict[str, Any]:
    """sha256 and size of a file, as cards and records name them."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
