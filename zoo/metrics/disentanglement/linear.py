"""Separated attribute predictability.

References:
    Kumar, Sattigeri, Balakrishnan, "Variational Inference of Disentangled Latent Concepts from
    Unlabeled Observations", ICLR 2018, arXiv 1711.00848, section 3.
    Locatello et al., arXiv 1811.12359: the support vector machine's constant, 10,000 examples to
    fit it and 5,000 to test it.
"""

import numpy as np

from zoo.metrics.disentanglement.arrays import Array, Floats, Integers, check_pair
from zoo.metrics.disentanglement.learners import sklearn

__all__ = ["sap"]

C = 0.01
LEAST_VARIANCE = 1e-12


def sap(
    codes: Array,
    factors: Array,
    *,
    train: int | None = None,
    continuous: bool = False,
    seed: int = 0,
) -> float:
    """Mean over the factors of the gap between the two codes that predict them best.

    How well one code predicts one factor is the accuracy of a linear support vector machine with
    C = 0.01 and balanced classes, on examples that it has not seen. With `continuous` it is the
    squared correlation, for which no example is held back.

    Even a perfect code is far from 1 in the first way: with more than two values, one line through
    one number cannot tell the middle ones from the others.

    Args:
        codes: (N, K), K at least 2.
        factors: (N, F), whole numbers.
        train: how many of the examples, the first, the machine is fitted to; default two thirds.
        continuous: by correlations.
        seed: of the machine's solver.

    Raises:
        ValueError: the arrays are no such arrays.
        MissingExtraError: scikit-learn is not installed; correlations do without.
    """
    numbers, values = check_pair(codes, factors, least=2)
    if continuous:
        scores = _correlations(numbers, np.asarray(factors, dtype=np.float64))
    else:
        count = 2 * len(numbers) // 3 if train is None else train
        if not 0 < count < len(numbers):
            raise ValueError(f"train: expected 1 ... {len(numbers) - 1}, found {count}")
        scores = _accuracies(numbers, values, count, seed)
    first, second = np.sort(scores, axis=0)[[-1, -2]]
    return float((first - second).mean())


def _correlations(codes: Floats, factors: Floats) -> Floats:
    """Squared correlations (K, F), 0 for a code that is constant."""
    a, b = codes - codes.mean(0), factors - factors.mean(0)
    covariance = a.T @ b / (len(a) - 1)
    variances = a.var(0, ddof=1)
    scale = variances[:, None] * b.var(0, ddof=1)
    found: Floats = np.zeros_like(covariance)
    varies = np.broadcast_to(variances[:, None] > LEAST_VARIANCE, found.shape)
    np.divide(covariance**2, scale, out=found, where=varies)
    return found


def _accuracies(codes: Floats, factors: Integers, train: int, seed: int) -> Floats:
    """Accuracies (K, F) of one machine for each pair."""
    machine = sklearn("svm").LinearSVC
    found = np.empty((codes.shape[1], factors.shape[1]))
    for k, code in enumerate(codes.T[:, :, None]):
        for f, values in enumerate(factors.T):
            fitted = machine(C=C, class_weight="balanced", random_state=seed)
            fitted.fit(code[:train], values[:train])
            found[k, f] = fitted.score(code[train:], values[train:])
    return found
