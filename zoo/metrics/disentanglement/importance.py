"""Disentanglement, completeness and informativeness.

References:
    Eastwood, Williams, "A Framework for the Quantitative Evaluation of Disentangled
    Representations", ICLR 2018: the definitions, with lasso and random forests.
    Locatello et al., arXiv 1811.12359: with gradient boosted trees, 10,000 examples to fit them and
    5,000 to test them.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from zoo.metrics.disentanglement.arrays import Array, Floats, check_pair, floats
from zoo.metrics.disentanglement.learners import sklearn

__all__ = ["Dci", "Trees", "dci", "dci_of_importance"]

Trees = Literal["gradient-boosting", "random-forest"]
FOREST = 20
"""Trees of a forest; each split looks at all codes, each leaf holds at least `LEAF` examples."""
LEAF = 5


@dataclass(frozen=True, slots=True)
class Dci:
    """The three scores, 1 for a perfect code.

    Args:
        disentanglement: whether a code is about one factor.
        completeness: whether one code is all that a factor needs.
        informativeness: accuracy of the trees on examples that they have not seen.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(
    codes: Array,
    factors: Array,
    *,
    train: int | None = None,
    trees: Trees = "gradient-boosting",
    seed: int = 0,
) -> Dci:
    """The three scores of codes (N, K) and factors (N, F), by trees that predict the factors.

    `gradient-boosting`, with scikit-learn's defaults, is the protocol of disentanglement_lib; its
    time goes with the number of values of all factors, and is minutes for nine of them. A
    `random-forest` of 20 trees takes about a twentieth, and is as accurate. It spreads importance
    wider, so its disentanglement and completeness are lower: never compare the two.

    Args:
        codes: (N, K), K at least 2.
        factors: (N, F), whole numbers, F at least 2.
        train: how many of the examples, the first, the trees are fitted to; default two thirds.
        seed: of the trees.

    Raises:
        ValueError: the arrays are no such arrays.
        MissingExtraError: scikit-learn is not installed.
    """
    numbers, values = check_pair(codes, factors, least=2)
    count = 2 * len(numbers) // 3 if train is None else train
    if not 0 < count < len(numbers):
        raise ValueError(f"train: expected 1 ... {len(numbers) - 1}, found {count}")
    importance, right = [], []
    for column in values.T:
        learner = _learner(trees, seed).fit(numbers[:count], column[:count])
        importance.append(np.abs(learner.feature_importances_))
        right.append(float(learner.score(numbers[count:], column[count:])))
    disentanglement, completeness = dci_of_importance(np.stack(importance, 1))
    return Dci(disentanglement, completeness, float(np.mean(right)))


def dci_of_importance(importance: Array) -> tuple[float, float]:
    """Disentanglement and completeness of R (K, F), how much code k helps to predict factor f.

        D = Σ_k ρ_k (1 - H(R_k / ΣR_k) / log F)        ρ_k: share of row k in the sum of R
        C = Σ_f ρ_f (1 - H(R_f / ΣR_f) / log K)        the same with columns

    A row without any importance has no share. Without any importance at all both are 0.

    Raises:
        ValueError: R is no such matrix, or has negative entries.
    """
    matrix = floats(importance, "importance")
    if min(matrix.shape) < 2 or matrix.min() < 0:
        raise ValueError(
            "importance: expected non-negative numbers for at least two codes and two factors, "
            f"found {matrix.shape} with a minimum of {matrix.min():.3g}"
        )
    return _certainty(matrix), _certainty(matrix.T)


def _certainty(matrix: Floats) -> float:
    total = matrix.sum()
    if total == 0:
        return 0.0
    sums = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    certainty = 1 + (shares * logs).sum(1) / np.log(matrix.shape[1])
    return float((certainty * sums[:, 0]).sum() / total)


def _learner(trees: Trees, seed: int) -> Any:
    if trees not in get_args(Trees):
        raise ValueError(f"trees: expected one of {', '.join(get_args(Trees))}, found {trees!r}")
    ensemble = sklearn("ensemble")
    if trees == "gradient-boosting":
        return ensemble.GradientBoostingClassifier(random_state=seed)
    return ensemble.RandomForestClassifier(
        FOREST, max_features=None, min_samples_leaf=LEAF, random_state=seed
    )
