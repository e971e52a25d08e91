"""Metrics of codes: against closed forms, scikit-learn, and values known for the usual grids."""

import itertools
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from zoo.metrics import disentanglement as metrics
from zoo.metrics.disentanglement.learners import MissingExtraError
from zoo.simulations.robot_factors import SIZES as ISAAC3D

DSPRITES = (3, 6, 40, 32, 32)
FALCOR3D = (5, 6, 6, 6, 6, 6, 6)
N = 10_000

Array = np.ndarray


def draw(sizes: tuple[int, ...], n: int = N, seed: int = 0) -> tuple[Array, Array]:
    """Values of factors and their labels, (n, F)."""
    random = np.random.default_rng(seed)
    values = np.stack([random.integers(size, size=n) for size in sizes], 1)
    return values, metrics.labels(values, sizes)


def noise(shape: tuple[int, ...], seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture(scope="module")
def isaac3d() -> tuple[Array, Array]:
    return draw(ISAAC3D)


# The mutual information gap.


def test_a_perfect_code_has_a_gap_of_one_and_a_random_one_none(
    isaac3d: tuple[Array, Array],
) -> None:
    values, codes = isaac3d
    assert metrics.mig(codes, values) >= 0.998
    assert metrics.mig(np.random.default_rng(5).random(codes.shape), values) <= 0.001


@pytest.mark.parametrize(
    ("sizes", "bins", "expected"),
    [
        (ISAAC3D, 10, (0.999, 0.993, 0.947, 0.768, 0.585, 0.460, 0.293)),
        (ISAAC3D, 20, (0.999, 0.997, 0.965, 0.796, 0.614, 0.479, 0.304)),
        (FALCOR3D, 20, (0.999, 0.997, 0.930, 0.659, 0.486, 0.371, 0.229)),
        (DSPRITES, 10, (0.787, 0.732, 0.625, 0.482, 0.372, 0.290, 0.182)),
        (DSPRITES, 20, (0.896, 0.787, 0.657, 0.502, 0.388, 0.302, 0.191)),
    ],
)
def test_the_gap_of_noisy_codes_is_that_of_the_calibration(
    sizes: tuple[int, ...], bins: int, expected: tuple[float, ...]
) -> None:
    values, codes = draw(sizes)
    for sigma, known in zip((0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30), expected, strict=True):
        found = metrics.mig(codes + sigma * noise(codes.shape), values, bins)
        assert found == pytest.approx(known, abs=0.01), sigma


def test_order_and_sign_of_codes_do_not_matter_but_a_rotation_does(
    isaac3d: tuple[Array, Array],
) -> None:
    values, labels = isaac3d
    codes = labels + 0.1 * noise(labels.shape)
    before = metrics.mig(codes, values)
    mirrored = (-codes)[:, ::-1]
    assert metrics.mig(mirrored, values) == pytest.approx(before, abs=1e-9)
    rotation, _ = np.linalg.qr(noise((9, 9), seed=7))
    assert metrics.mig((labels - 0.5) @ rotation, values) <= 0.15


@pytest.mark.parametrize("bins", [2, 7, 20])
def test_information_is_that_of_scikit_learn_on_numpys_histograms(bins: int) -> None:
    values, labels = draw((3, 8, 2), n=700)
    codes = np.concatenate([labels @ noise((3, 3)), labels, np.full((700, 1), 0.3)], 1)
    found = metrics.mutual_information(codes, values, bins)
    assert found.shape == (7, 3)
    for k, f in itertools.product(range(7), range(3)):
        edges = np.histogram(codes[:, k], bins)[1][:-1]
        known = mutual_info_score(values[:, f], np.digitize(codes[:, k], edges))
        assert found[k, f] == pytest.approx(known, abs=1e-12)


def test_the_gap_is_the_textbooks_on_a_table_of_two_factors() -> None:
    # All four combinations; code 0 is factor 0, code 1 their exclusive or: it knows neither.
    values = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 25)
    codes = np.stack([values[:, 0], values[:, 0] ^ values[:, 1]], 1)
    # Factor 0: (log 2 - 0) / log 2 = 1. Factor 1: 0.
    assert metrics.mig(codes, values) == pytest.approx(0.5, abs=1e-12)
    # A second copy closes the gap.
    assert metrics.mig(codes[:, [0, 0]], values) == pytest.approx(0, abs=1e-12)


def test_tensors_and_values_with_gaps_are_as_good_as_arrays() -> None:
    values, labels = draw((3, 4), n=500)
    codes = (labels + 0.1 * noise(labels.shape)).astype(np.float32)
    expected = metrics.mig(codes, values)
    sparse = torch.from_numpy(values * 7 - 3)
    assert metrics.mig(torch.from_numpy(codes), sparse) == expected


# Distances.


@pytest.mark.parametrize(
    ("sizes", "known"), [(ISAAC3D, 0.3206), (FALCOR3D, 0.3000), (DSPRITES, 0.2812)]
)
def test_a_code_of_one_half_has_the_known_error(sizes: tuple[int, ...], known: float) -> None:
    # In a sample with every value equally often the error of each factor is exact.
    n = int(np.lcm.reduce(sizes))
    labels = metrics.labels(np.stack([np.arange(n) % size for size in sizes], 1), sizes)
    errors = metrics.mean_absolute_error(np.full_like(labels, 0.5), labels)
    np.testing.assert_allclose(
        errors, [np.abs(np.arange(size) / (size - 1) - 0.5).mean() for size in sizes], atol=1e-12
    )
    assert errors.mean() == pytest.approx(known, abs=1e-4)


def test_a_code_of_one_half_has_the_known_norm_on_the_whole_grid() -> None:
    grid = np.stack([each.ravel() for each in np.indices(ISAAC3D, dtype=np.int8)], 1)
    assert len(grid) == 737_280
    labels = metrics.labels(grid, ISAAC3D)
    assert metrics.l2(np.full_like(labels, 0.5), labels) == pytest.approx(1.089, abs=1e-3)


def test_errors_of_gaussian_noise_are_those_of_its_moments() -> None:
    _, labels = draw(ISAAC3D)
    codes = labels + 0.1 * noise(labels.shape)
    assert metrics.mean_absolute_error(codes, labels).mean() == pytest.approx(
        0.1 * np.sqrt(2 / np.pi), rel=0.01
    )
    # The mean of a chi distribution with nine degrees of freedom.
    assert metrics.l2(codes, labels) == pytest.approx(0.1 * 2.9180, rel=0.01)


def test_the_leak_matrix_says_what_moves_and_which_way() -> None:
    start = np.zeros((2, 3, 2))
    end = start.copy()
    end[0, :, 0] = (1.0, 0.8, 0.6)  # factor 0 follows
    end[0, :, 1] = (0.3, -0.3, 0.0)  # and takes factor 1 along
    end[1, :, 1] = (-0.5, -0.5, 0.1)  # factor 1 runs the other way
    np.testing.assert_allclose(metrics.leak_matrix(start, end), [[0.8, 0.2], [0.0, -0.3]])


def test_the_spread_is_within_groups_only() -> None:
    readings = np.array([[[0.0, 5.0], [2.0, 5.0]], [[10.0, 1.0], [10.0, 2.0]]])
    np.testing.assert_allclose(metrics.spread(readings), [np.sqrt(2) / 2, np.sqrt(0.5) / 2])


def test_retrieval_counts_nearest_images() -> None:
    real = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    generated = np.array([[0.4, 0.0], [0.4, 0.0], [0.0, 2.0]])
    assert metrics.retrieval(generated, real) == pytest.approx(2 / 3)
    assert metrics.retrieval(real, real) == 1


# Scores by learners.


def test_importance_of_one_factor_by_each_code_is_perfect() -> None:
    assert metrics.dci_of_importance(np.diag([1.0, 2.0, 3.0])) == pytest.approx((1, 1))
    assert metrics.dci_of_importance(np.ones((3, 4))) == pytest.approx((0, 0), abs=1e-12)
    assert metrics.dci_of_importance(np.zeros((2, 2))) == (0, 0)
    # Both codes serve factor 0 alone: each is about one factor, but neither is enough.
    disentanglement, completeness = metrics.dci_of_importance([[1.0, 0.0], [1.0, 0.0]])
    assert (disentanglement, completeness) == pytest.approx((1, 0), abs=1e-12)
    # By hand: rows (3/4, 1/4) with share 4/5, and (0, 1) with share 1/5.
    certainty = 1 + (0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(2)
    found = metrics.dci_of_importance([[3.0, 1.0], [0.0, 1.0]])
    assert found[0] == pytest.approx(0.8 * certainty + 0.2)
    assert found[1] == pytest.approx(0.6 * 1 + 0.4 * 0, abs=1e-12)


@pytest.mark.parametrize("trees", ["gradient-boosting", "random-forest"])
def test_dci_tells_a_code_from_its_rotation(trees: str) -> None:
    values, labels = draw((3, 2, 2), n=150)
    good = metrics.dci(labels + 0.05 * noise(labels.shape), values, trees=trees)
    assert min(good.disentanglement, good.completeness) > 0.8
    assert good.informativeness > 0.95
    rotation, _ = np.linalg.qr(noise((3, 3), seed=5))
    mixed = metrics.dci(labels @ rotation, values, trees=trees)
    assert max(mixed.disentanglement, mixed.completeness) < 0.7


def test_sap_is_the_gap_of_the_two_best_codes() -> None:
    values, _ = draw((2, 2), n=600)
    # Factor 0 is read by code 0 alone; factor 1 by code 1 and, in every other example, by code 2.
    half = np.where(np.arange(600) % 2, values[:, 1], 0.5 + 0.01 * noise((600,)))
    codes = np.stack([values[:, 0], values[:, 1], half], 1)
    found = metrics.sap(codes, values)
    gaps = (1 - 0.5, 1 - 0.75)
    assert found == pytest.approx(np.mean(gaps), abs=0.06)
    assert metrics.sap(codes[:, [0, 1, 1]], values) == pytest.approx(0.25, abs=0.04)


def test_sap_by_correlation_is_numpys() -> None:
    values, labels = draw((3, 5), n=400)
    codes = np.concatenate([labels @ noise((2, 3)), np.full((400, 1), 2.0)], 1)
    table = np.corrcoef(codes[:, :3].T, values.T)[:3, 3:] ** 2
    ranked = np.sort(table, axis=0)
    expected = (ranked[-1] - ranked[-2]).mean()
    assert metrics.sap(codes, values, continuous=True) == pytest.approx(expected, abs=1e-12)


def test_factor_vae_score_of_perfect_random_and_constant_codes() -> None:
    values, codes = draw((3, 4, 5), n=2000)
    small = {"train": 500, "test": 500}
    assert metrics.factor_vae_score(codes, values, **small) == 1
    assert metrics.factor_vae_score(-codes[:, ::-1], values, **small) == 1
    chance = metrics.factor_vae_score(noise(codes.shape), values, **small)
    assert chance == pytest.approx(1 / 3, abs=0.08)
    assert metrics.factor_vae_score(np.full_like(codes, 0.5), values, **small) == 0
    # A code that hardly moves takes no part, though it would be the steadiest of all.
    still = np.concatenate([codes, 1e-3 * noise((2000, 1))], 1)
    assert metrics.factor_vae_score(still, values, **small) == 1
    two = metrics.factor_vae_score(codes[:, :2], values, **small)
    # The third factor is never named: two thirds of the votes are right.
    assert two == pytest.approx(2 / 3, abs=0.06)


# What is refused.


@pytest.mark.parametrize(
    ("codes", "values", "message"),
    [
        (np.zeros((4, 1)), np.array([[0], [1], [0], [1]]), "at least 2 columns, found 1"),
        (np.zeros(4), np.zeros((4, 1), int), r"shape \(N, K\), found \(4,\)"),
        (np.full((2, 2), np.nan), np.array([[0], [1]]), "found NaN"),
        (np.zeros((3, 2)), np.array([[0], [1]]), "found 2 and 3"),
        (np.zeros((2, 2)), np.array([[1], [1]]), "column 0 has the value 1 only"),
        (np.zeros((2, 2)), np.array([[0.0], [1.0]]), "whole numbers, found float64"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(codes: Array, values: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.mig(codes, values)


def test_arguments_out_of_range_are_refused() -> None:
    values, codes = draw((2, 3), n=20)
    with pytest.raises(ValueError, match="bins: expected at least 2, found 1"):
        metrics.mig(codes, values, bins=1)
    with pytest.raises(ValueError, match=r"train: expected 1 \.\.\. 19, found 20"):
        metrics.sap(codes, values, train=20)
    with pytest.raises(ValueError, match="trees: expected one of gradient-boosting"):
        metrics.dci(codes, values, trees="oak")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same shape, found"):
        metrics.retrieval(codes, codes[:5])
    with pytest.raises(ValueError, match="batch=1"):
        metrics.factor_vae_score(codes, values, batch=1)
    with pytest.raises(ValueError, match=r"shape \(F, N, F\)"):
        metrics.leak_matrix(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="at least 2 images, found 1"):
        metrics.spread(np.zeros((2, 1, 3)))
    with pytest.raises(ValueError, match="expected 2 sizes of at least 2"):
        metrics.labels(values, (2,))


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    values, codes = draw((2, 3), n=30)
    for name in ("sklearn.svm", "sklearn.ensemble"):
        monkeypatch.setitem(sys.modules, name, None)
    for score in (metrics.sap, metrics.dci):
        with pytest.raises(MissingExtraError, match=r"pip install 'structured-zoo\[metrics\]'"):
            score(codes, values)
    assert metrics.sap(codes, values, continuous=True) > 0.9
