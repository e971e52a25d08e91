"""What the metrics of codes ask of their arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Floats", "Integers", "check_pair", "floats", "labels", "whole"]

Array = Any
"""A numpy array, a tensor on the CPU, or anything that `numpy.asarray` takes."""
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def floats(values: Array, what: str = "codes", dimensions: int = 2) -> Floats:
    """As float64.

    Raises:
        ValueError: another number of dimensions, nothing in it, or NaN or infinity.
    """
    found = np.asarray(values)
    if found.ndim != dimensions or found.size == 0:
        shape = {2: "(N, K)", 3: "(F, N, K)"}[dimensions]
        raise ValueError(f"{what}: expected numbers of shape {shape}, found {found.shape}")
    numbers = found.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what}: expected finite numbers, found NaN or infinity")
    return numbers


def whole(factors: Array) -> Integers:
    """Values of factors (N, F), as the numbers 0, 1, ... of the different values of each column.

    Raises:
        ValueError: another shape, no whole numbers, or a factor that has one value only.
    """
    found = np.asarray(factors)
    if found.ndim != 2 or found.size == 0:
        raise ValueError(f"factors: expected values of shape (N, F), found {found.shape}")
    if not np.issubdtype(found.dtype, np.integer):
        raise ValueError(f"factors: expected whole numbers, found {found.dtype}")
    columns = [np.unique(column, return_inverse=True) for column in found.T]
    for index, (values, _) in enumerate(columns):
        if len(values) < 2:
            raise ValueError(
                f"factors: column {index} has the value {values[0]} only; leave it out, or take "
                "examples in which it varies"
            )
    return np.stack([numbers for _, numbers in columns], 1).astype(np.int64)


def check_pair(codes: Array, factors: Array, least: int = 1) -> tuple[Floats, Integers]:
    """Codes (N, K) and factors (N, F) of the same examples, and at least so many codes.

    Raises:
        ValueError: as of `floats` and `whole`, or they do not fit.
    """
    numbers, values = floats(codes), whole(factors)
    if len(numbers) != len(values):
        raise ValueError(
            f"expected a row of factors for each row of codes, found {len(values)} and "
            f"{len(numbers)}"
        )
    if numbers.shape[1] < least:
        raise ValueError(f"codes: expected at least {least} columns, found {numbers.shape[1]}")
    return numbers, values


def labels(factors: Array, sizes: Sequence[int]) -> Floats:
    """Labels in [0, 1], k / (n - 1) for value k of n, of factors (N, F) with `sizes` values.

    Raises:
        ValueError: the number of sizes is another, or one is below 2.
    """
    found = floats(factors, "factors")
    if found.shape[1] != len(sizes) or min(sizes) < 2:
        raise ValueError(
            f"expected {found.shape[1]} sizes of at least 2, found {', '.join(map(str, sizes))}"
        )
    return found / (np.asarray(sizes, dtype=np.float64) - 1)
