"""Distances of codes from labels, and what moves besides what should."""

import numpy as np

from zoo.metrics.disentanglement.arrays import Array, Floats, floats

__all__ = ["l2", "leak_matrix", "mean_absolute_error", "retrieval", "spread"]


def mean_absolute_error(codes: Array, labels: Array) -> Floats:
    """Mean of |code - label| over the examples, for each factor, (F,).

    The code that Nie et al. published before their paper reports the mean of these, over 640
    images, by the name of L2. A code of 0.5 everywhere has 0.3206 on the grid of Isaac3D.

    Args:
        codes: (N, F), one number for each factor.
        labels: (N, F), in [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    error: Floats = np.abs(_difference(codes, labels)).mean(0)
    return error


def l2(codes: Array, labels: Array) -> float:
    """Mean over the examples of the Euclidean distance ‖code - label‖₂ of all factors together.

    It grows with the square root of their number: a code of 0.5 everywhere has 1.09 on the grid of
    Isaac3D with its nine factors.

    Args:
        codes, labels: (N, F).

    Raises:
        ValueError: the shapes differ.
    """
    return float(np.linalg.norm(_difference(codes, labels), axis=1).mean())


def leak_matrix(start: Array, end: Array) -> Floats:
    """What is read off images when one code is moved from its first to its last value, (F, F).

    Row k is about images that differ in code k alone. On the diagonal is the mean change of the
    reading of factor k, with its sign: 1 where it follows the whole way. Beside it are the means of
    the absolute changes of the readings of the others: 0 where nothing leaks.

    Args:
        start: readings (F, N, F) before; [k, i, j] is that of factor j in the pair i of row k.
        end: the same after.

    Raises:
        ValueError: the shapes differ, or are no such shapes.
    """
    first, last = floats(start, "start", 3), floats(end, "end", 3)
    count = first.shape[0]
    if first.shape != last.shape or first.shape[2] != count:
        raise ValueError(
            f"expected readings of shape (F, N, F), found {first.shape} and {last.shape}"
        )
    change = last - first
    matrix: Floats = np.abs(change).mean(1)
    own = np.arange(count)
    matrix[own, own] = change[own, :, own].mean(1)
    return matrix


def spread(readings: Array) -> Floats:
    """How much is read differently when nothing should change, for each column, (K,).

    The standard deviation (with n - 1) over the M images of a group, meant over the groups.

    Args:
        readings: (groups, M, K), M at least 2.

    Raises:
        ValueError: another shape.
    """
    found = floats(readings, "readings", 3)
    if found.shape[1] < 2:
        raise ValueError(f"a spread needs at least 2 images, found {found.shape[1]}")
    deviation: Floats = found.std(1, ddof=1).mean(0)
    return deviation


def retrieval(generated: Array, real: Array) -> float:
    """Share of generated images whose nearest real one is their own; chance is 1 / N.

    Args:
        generated: (N, D), pixels or features.
        real: (N, D); row i shows what row i of `generated` should.

    Raises:
        ValueError: the shapes differ.
    """
    made, true = floats(generated, "generated"), floats(real, "real")
    _same_shape(made, true)
    # |a - b|² up to |a|², which is the same for all b.
    distance = (true**2).sum(1) - 2 * made @ true.T
    return float((distance.argmin(1) == np.arange(len(made))).mean())


def _difference(codes: Array, labels: Array) -> Floats:
    numbers, truth = floats(codes), floats(labels, "labels")
    _same_shape(numbers, truth)
    return numbers - truth


def _same_shape(a: Floats, b: Floats) -> None:
    if a.shape != b.shape:
        raise ValueError(f"expected two arrays of the same shape, found {a.shape} and {b.shape}")
