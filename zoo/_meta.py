"""Building modules on the device `meta`, where tensors have shapes but no values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["NoDraws"]


class NoDraws(TorchFunctionMode):
    """Inside, initial values are not drawn for tensors on `meta`.

    They would have no effect, but torch takes about a millisecond for each: more than for reading
    the weights that follow.

    Example:
        >>> with torch.device("meta"), NoDraws():
        ...     model = nn.Linear(3, 2)
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_) or _is_init(func):
            tensor = named["tensor"] if "tensor" in named else args[0]
            if tensor.is_meta:
                return tensor
        return func(*args, **named)


def _is_init(func: Callable[..., Any]) -> bool:
    return getattr(func, "__module__", None) == "torch.nn.init"
