"""Weights in eight bits: how a tensor becomes whole numbers and scales, and a tensor again.

Every floating tensor w with two or more dimensions is stored as int8 q with one float32 scale s for
each row r of the first dimension, symmetric around zero:

    s_r = max |w_r| / 127        q = round(w / s), ties to even        w' = s q

so that |w - w'| <= s / 2. A file holds q under the tensor's own name, and s, of shape (rows,),
under `<name>.scale`. Floating tensors with fewer dimensions or without elements stay float32.

To quantise w' gives the same s and q: round(round(127 s) / 127) = s for every s that is a quotient
by 127 (of float32 there are few enough significands to try them all). Below the normal numbers
that would not hold, so no scale lies there; a row of zeros has the least one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from zoo._header import FLOATING, Spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "check_numbers",
    "check_scale",
    "checks",
    "chosen",
    "clashes",
    "dequantise",
    "layout",
    "names",
    "quantise",
    "restored",
    "scale_name",
]

LARGEST = 127
LEAST_SCALE = 2.0**-126
"""The least normal float32."""
GREATEST_SCALE = float.fromhex("0x1.020406p+121")
"""The greatest float32 with a finite product with LARGEST."""


def scale_name(name: str) -> str:
    """The name under which a file holds the scales of the tensor `name`.

    No parameter or buffer of a module can have it, as a tensor has nothing below itself.
    """
    return f"{name}.scale"


def chosen(floating: bool, shape: Sequence[int]) -> bool:
    """Whether a tensor of a model is quantised."""
    return floating and len(shape) >= 2 and math.prod(shape) > 0


def clashes(quantised: Collection[str], own: Collection[str]) -> list[str]:
    """Tensors of a model, among its `own`, that have the name of a scale: the work of a hook."""
    return sorted({scale_name(name) for name in quantised} & set(own))


def names(specs: Mapping[str, Spec]) -> list[str]:
    """Which tensors of a model with the tensors `specs` are quantised."""
    return [name for name, (dtype, shape) in specs.items() if chosen(dtype in FLOATING, shape)]


def layout(specs: Mapping[str, Spec]) -> dict[str, Spec]:
    """The tensors of a quantised file for a model with the tensors `specs`."""
    tensors = dict(specs)
    for name in names(specs):
        shape = specs[name].shape
        tensors[name] = Spec("I8", shape)
        tensors[scale_name(name)] = Spec("F32", shape[:1])
    return tensors


def quantise(w: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers q, int8 in -127 … 127 of the shape of w, and scales s, float32 (rows,).

    w is a finite float32 tensor with two or more dimensions. The work is done in float64, where
    the quotients of float32 round to the right side.
    """
    rows = w.flatten(1).double()
    s = (rows.abs().amax(1) / LARGEST).float().clamp(LEAST_SCALE, GREATEST_SCALE)
    return (rows / s[:, None]).round().char().reshape(w.shape), s


def dequantise(q: Tensor, s: Tensor) -> Tensor:
    """w' = s q in float32."""
    # In place on the widened copy: a third of the time of a product of mixed dtypes.
    return q.float().mul_(s.view(-1, *[1] * (q.dim() - 1)))


def restored(tensors: Mapping[str, Tensor], quantised: Collection[str]) -> dict[str, Tensor]:
    """The tensors of a model, from those of a quantised file."""
    state = dict(tensors)
    for name in quantised:
        state[name] = dequantise(state[name], state.pop(scale_name(name)))
    return state


def checks(quantised: Collection[str]) -> dict[str, Callable[[Tensor], str | None]]:
    """What has to hold for the values in a file, by the name of the tensor there.

    Each check returns what is wrong, or None.
    """
    numbers = dict.fromkeys(quantised, check_numbers)
    return numbers | dict.fromkeys(map(scale_name, quantised), check_scale)


def check_numbers(q: Tensor) -> str | None:
    """The numbers are symmetric: int8 has one more, which `quantise` never gives."""
    return f"has a value below {-LARGEST}" if int(q.amin()) < -LARGEST else None


def check_scale(s: Tensor) -> str | None:
    """Scales are not negative, not NaN, and small enough for the products to be finite."""
    least, greatest = map(float, s.aminmax())
    if least >= 0.0 and greatest <= GREATEST_SCALE:
        return None
    return f"has scales outside of 0 to {GREATEST_SCALE:.3g}, or NaN"
