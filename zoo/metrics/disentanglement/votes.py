"""The FactorVAE score.

References:
    Kim, Mnih, "Disentangling by Factorising", ICML 2018, arXiv 1802.05983, section 4 and
    appendix B.
    Locatello et al., arXiv 1811.12359: the numbers of votes, and the codes that are left out.
"""

import numpy as np

from zoo.metrics.disentanglement.arrays import Array, Floats, Integers, check_pair

__all__ = ["factor_vae_score"]

CHUNK = 1000
"""Votes that are counted at a time."""


def factor_vae_score(
    codes: Array,
    factors: Array,
    *,
    batch: int = 64,
    train: int = 10_000,
    test: int = 5_000,
    least_deviation: float = 0.05,
    seed: int = 0,
) -> float:
    """How often the code that moves least tells which factor is held; chance is about 1 / F.

    A vote holds one factor at one value, takes `batch` examples in which the others vary, and names
    the code with the smallest variance there, relative to its variance over all examples. `train`
    votes decide for every code which factor it stands for, the most frequent; the score is the
    accuracy of that on `test` further votes. Codes whose standard deviation is below
    `least_deviation` do not take part; if that is all of them, the score is 0.

    The defaults are those of disentanglement_lib (10,000 examples, 10,000 and 5,000 votes). It
    renders new examples for each vote; here they are drawn from the given ones with replacement.

    Args:
        codes: (N, K).
        factors: (N, F), whole numbers, of a sample in which the factors are independent.
        seed: of the votes.

    Raises:
        ValueError: the arrays are no such arrays, or there is no vote or no batch.
    """
    numbers, values = check_pair(codes, factors)
    if batch < 2 or train < 1 or test < 1:
        raise ValueError(
            f"expected batch >= 2 and train, test >= 1, found batch={batch}, train={train}, "
            f"test={test}"
        )
    variances = numbers.var(0, ddof=1)
    active = np.sqrt(variances) >= least_deviation
    if not active.any():
        return 0.0
    scaled = numbers[:, active] / np.sqrt(variances[active])
    held, winner = _votes(scaled, values, train + test, batch, np.random.default_rng(seed))
    shape = (scaled.shape[1], values.shape[1])
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, (winner[:train], held[:train]), 1)
    return float((counts.argmax(1)[winner[train:]] == held[train:]).mean())


def _votes(
    codes: Floats, factors: Integers, n: int, batch: int, random: np.random.Generator
) -> tuple[Integers, Integers]:
    """Which factor is held, and which code moves least: (n,) each."""
    order = np.argsort(factors, axis=0, kind="stable")
    held = random.integers(factors.shape[1], size=n)
    # The value is that of a random example, as frequent as it is in the data.
    value = factors[random.integers(len(factors), size=n), held]
    first, after = (_borders(factors, order, held, value, side) for side in ("left", "right"))
    winner = np.empty(n, dtype=np.int64)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        width = (after - first)[part, None]
        chosen = (random.random((len(width), batch)) * width).astype(np.int64)
        rows = order[first[part, None] + chosen, held[part, None]]
        winner[part] = codes[rows].var(1).argmin(1)
    return held, winner


def _borders(
    factors: Integers, order: Integers, held: Integers, value: Integers, side: str
) -> Integers:
    """Where in the sorted column `held` the examples with that value begin, or end."""
    found = np.empty(len(held), dtype=np.int64)
    for index in range(factors.shape[1]):
        mine = held == index
        column = factors[order[:, index], index]
        found[mine] = np.searchsorted(column, value[mine], side=side)  # type: ignore[call-overload]
    return found
