"""Codes: the numbers in [0, 1] by which a controllable model is told the values of its factors.

An ordinal factor with n values has one number, k / (n - 1) for value k. A categorical one has n
numbers, one-hot: on one ordered number a model that is unsure between the first and the last value
would be drawn to the one between them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from zoo.models.factors import Factor, find

__all__ = ["Layout"]


class Layout:
    """Where the factors lie in a code.

    Args:
        factors: in their order, as `Factor` or as the JSON objects of a card.

    Attributes:
        factors: the factors.
        width: K, numbers of a code.

    Raises:
        ValueError: if a factor is not one, or two have the same name.
    """

    def __init__(self, factors: Iterable[Factor | Mapping[str, Any]] = ()) -> None:
        self.factors = tuple(_factor(each) for each in factors)
        names = [factor.name for factor in self.factors]
        if len(set(names)) < len(names):
            raise ValueError(f"factors: expected different names, found {', '.join(names)}")
        self._columns: list[slice] = []
        self.width = 0
        for factor in self.factors:
            self._columns.append(slice(self.width, self.width + factor.width))
            self.width += factor.width

    def columns(self, name: str) -> slice:
        """The numbers of the factor called `name`.

        Raises:
            ValueError: if there is no such factor.
        """
        return self._columns[find(self.factors, name)]

    def encode(self, indices: Tensor) -> Tensor:
        """Codes (N, K), float32, of values (N, F), integers.

        Raises:
            ValueError: if the shape is wrong or a value out of range.
        """
        self._check_indices(indices)
        parts = [
            one_hot(column.long(), factor.values).float()
            if factor.categorical
            else (column.float() / (factor.values - 1))[:, None]
            for factor, column in zip(self.factors, indices.unbind(1), strict=True)
        ]
        return torch.cat(parts, 1) if parts else indices.new_zeros(len(indices), 0).float()

    def decode(self, codes: Tensor) -> Tensor:
        """The nearest values (N, F), int64, of codes (N, K)."""
        parts = [
            part.argmax(1)
            if factor.categorical
            else (part[:, 0].clamp(0, 1) * (factor.values - 1)).round().long()
            for factor, part in self._parts(codes)
        ]
        return torch.stack(parts, 1) if parts else codes.new_zeros(len(codes), 0).long()

    def scalars(self, codes: Tensor) -> Tensor:
        """One number in [0, 1] for each factor, (N, F): the code itself, or k / (n - 1) of the
        most probable value k of a categorical factor."""
        parts = [
            part.argmax(1).to(codes.dtype) / (factor.values - 1)
            if factor.categorical
            else part[:, 0].clamp(0, 1)
            for factor, part in self._parts(codes)
        ]
        return torch.stack(parts, 1) if parts else codes.new_zeros(len(codes), 0)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Codes (n, K) of values drawn uniformly and independently, on the CPU."""
        drawn = [torch.randint(each.values, (n,), generator=generator) for each in self.factors]
        return self.encode(torch.stack(drawn, 1) if drawn else torch.zeros(n, 0, dtype=torch.int64))

    def check(self, codes: Tensor) -> None:
        """Refuse what are not codes (B, K) with numbers in [0, 1].

        Raises:
            ValueError: says what was expected and found.
        """
        if codes.dim() != 2 or codes.shape[1] != self.width or not codes.is_floating_point():
            found = f"{codes.dtype} {tuple(codes.shape)}"
            names = ", ".join(f"{each.name} ({each.width})" for each in self.factors)
            raise ValueError(
                f"expected codes of shape (B, {self.width}), for {names or 'no factor'}; "
                f"found {found}"
            )
        if codes.numel() and not (codes.amin() >= 0 and codes.amax() <= 1):
            raise ValueError(
                "expected codes in [0, 1], found values from "
                f"{codes.amin().item():.3g} to {codes.amax().item():.3g}"
            )

    def _parts(self, codes: Tensor) -> list[tuple[Factor, Tensor]]:
        if codes.dim() != 2 or codes.shape[1] != self.width:
            raise ValueError(
                f"expected codes of shape (N, {self.width}), found {tuple(codes.shape)}"
            )
        pairs = zip(self.factors, self._columns, strict=True)
        return [(factor, codes[:, columns]) for factor, columns in pairs]

    def _check_indices(self, indices: Tensor) -> None:
        count = len(self.factors)
        if indices.dim() != 2 or indices.shape[1] != count or indices.is_floating_point():
            found = f"{indices.dtype} {tuple(indices.shape)}"
            raise ValueError(f"expected integers of shape (N, {count}), found {found}")
        for factor, column in zip(self.factors, indices.unbind(1), strict=True):
            if len(column) and not (column.amin() >= 0 and column.amax() < factor.values):
                raise ValueError(
                    f"{factor.name}: expected values 0 ... {factor.values - 1}, "
                    f"found {column.amin().item()} ... {column.amax().item()}"
                )


def _factor(value: Factor | Mapping[str, Any]) -> Factor:
    if isinstance(value, Factor):
        return value
    try:
        return Factor(**value)
    except TypeError as error:
        raise ValueError(
            f"expected a factor with name, values, meaning and categorical, found {value!r}"
        ) from error
