"""The mutual information gap.

References:
    Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders", NeurIPS 2018,
    arXiv 1802.04942, section 4: the gap, from samples of q(z|x).
    Locatello et al., "Challenging Common Assumptions ...", ICML 2019, arXiv 1811.12359: its form on
    histograms of deterministic codes, in disentanglement_lib, 20 bins, 10,000 examples.
"""

import numpy as np

from zoo.metrics.disentanglement.arrays import Array, Floats, Integers, check_pair

__all__ = ["mig", "mutual_information"]


def mig(codes: Array, factors: Array, bins: int = 20) -> float:
    """Mutual information gap, at most 1; 0 for codes that say nothing.

        MIG = 1/F Σ_f (I(c₁; v_f) - I(c₂; v_f)) / H(v_f)

    where c₁ and c₂ are the two codes that know most about factor f, in equal bins between the
    smallest and the largest value of each code. The default of 20 bins is the protocol of
    disentanglement_lib; the code that Nie et al. published before their paper takes 10, and other
    numbers come out. Both take 10,000 examples, and neither corrects the bias of few ones.

    A factor with more values than bins cannot reach 1: on the grid of dSprites with its 40
    orientations a perfect code has 0.896 with 20 bins and 0.787 with 10.

    Args:
        codes: (N, K), K at least 2.
        factors: (N, F), whole numbers, each with at least two values among the examples.

    Raises:
        ValueError: the arrays are no such arrays.
    """
    numbers, values = check_pair(codes, factors, least=2)
    information = mutual_information(numbers, values, bins)
    first, second = np.sort(information, axis=0)[[-1, -2]]
    entropies = np.array([_entropy(np.bincount(column)) for column in values.T])
    return float(np.mean((first - second) / entropies))


def mutual_information(codes: Array, factors: Array, bins: int = 20) -> Floats:
    """I(code; factor) in nats for each pair, (K, F), with codes in equal bins.

    Raises:
        ValueError: the arrays are not as for `mig`, or there are fewer than two bins.
    """
    if bins < 2:
        raise ValueError(f"bins: expected at least 2, found {bins}")
    numbers, values = check_pair(codes, factors)
    n, count = numbers.shape
    binned = np.stack([_bin(column, bins) for column in numbers.T], 1)
    found = np.empty((count, values.shape[1]))
    for index, column in enumerate(values.T):
        size = int(column.max()) + 1
        # One count for all codes: a cell of the table is (code, bin, value).
        cells = ((np.arange(count) * bins + binned) * size + column[:, None]).ravel()
        table = np.bincount(cells, minlength=count * bins * size).reshape(count, bins, size)
        found[:, index] = _information(table / n)
    return found


def _bin(column: Floats, bins: int) -> Integers:
    """The bin of each number, 0 ... bins - 1, as np.histogram draws the edges."""
    edges = np.histogram_bin_edges(column, bins)
    return np.searchsorted(edges[1:-1], column, side="right").astype(np.int64)


def _information(joint: Floats) -> Floats:
    """Σ p log(p / (q r)) of joint probabilities (..., bins, values) with margins q and r."""
    product = joint.sum(-1, keepdims=True) * joint.sum(-2, keepdims=True)
    ratio = np.divide(joint, product, out=np.ones_like(joint), where=joint > 0)
    total: Floats = (joint * np.log(ratio)).sum((-2, -1))
    return np.maximum(total, 0.0)


def _entropy(counts: Integers) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
