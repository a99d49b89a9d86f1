"""Sums are exact: equal to rational arithmetic, whatever is sharded, threaded or moved."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from harpy.kernels import kmeans
from tests.support.numerics.exact_reference import exact_mean
from tests.support.rows.hostile import DTYPES, hostile_data


def exponents_of(X: np.ndarray) -> np.ndarray:
    return kmeans.column_exponents(kmeans.column_ranges(X)[0])


def sum_as_fraction(limbs: np.ndarray, exponent: int) -> Fraction:
    return kmeans.limbs_to_int(limbs) * Fraction(2) ** (max(int(exponent), -1002) - 72)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_err_by_no_more_than_half_a_quantum_per_row(dtype: type) -> None:
    for name, X in hostile_data(dtype, n=300).items():
        exponents = exponents_of(X)
        labels = (np.arange(len(X)) % 4).astype(np.int32)
        limbs, counts = kmeans.accumulate(X, labels, 4, exponents)
        assert counts.tolist() == [75, 75, 75, 75]
        for cluster in range(4):
            for j in range(X.shape[1]):
                values = X[labels == cluster, j]
                exact = sum((Fraction(float(v)) for v in values), Fraction(0))
                quantum = Fraction(2) ** (max(int(exponents[j]), -1002) - 72)
                error = abs(sum_as_fraction(limbs[cluster, j], exponents[j]) - exact)
                inexact = sum(1 for v in values if Fraction(float(v)) % quantum)
                assert error <= inexact * quantum / 2, (name, cluster, j)


@pytest.mark.parametrize("dtype", DTYPES)
def test_means_are_as_good_as_fsum(dtype: type) -> None:
    for name, X in hostile_data(dtype).items():
        exponents = exponents_of(X)
        limbs, counts = kmeans.accumulate(X, None, 1, exponents)
        means = kmeans.centers_from_sums(limbs, counts, exponents, np.float64)[0]
        for j, column in enumerate(X.T.astype(np.float64)):
            by_fsum = math.fsum(column) / len(column)
            scale = max(abs(by_fsum), 2.0**-70 * np.abs(column).max())
            assert abs(means[j] - by_fsum) <= 2**-51 * scale + 2.0**-1073, (name, j)


@pytest.mark.parametrize("dtype", DTYPES)
def test_means_of_all_rows_come_from_the_sums_of_any_clusters(dtype: type) -> None:
    for name, X in hostile_data(dtype).items():
        exponents = exponents_of(X)
        together = kmeans.accumulate(X, None, 1, exponents)
        expected = kmeans.centers_from_sums(*together, exponents, np.float64)[0]
        for n_clusters in (1, 3, len(X)):
            labels = (np.arange(len(X)) % n_clusters).astype(np.int32)
            sums, counts = kmeans.accumulate(X, labels, n_clusters, exponents)
            # As of a gang of 2^15 workers: the limbs use all of int64, their total does not fit.
            means = kmeans.column_means(sums << 15, counts << 15, exponents)
            assert kmeans.column_means(sums, counts, exponents).tobytes() == expected.tobytes()
            assert means.tobytes() == expected.tobytes(), (name, n_clusters)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_sums_err_by_no_more_than_half_a_quantum_per_row(dtype: type) -> None:
    rng = np.random.default_rng(8)
    for name, X in hostile_data(dtype, n=200).items():
        weights = np.ldexp(rng.random(len(X)), rng.integers(-30, 30, len(X))).astype(dtype)
        weights[::9] = 0
        labels = (np.arange(len(X)) % 3).astype(np.int32)
        exponents = kmeans.column_exponents(kmeans.weighted_ranges(X, weights, 2))
        limbs, counts = kmeans.accumulate(X, labels, 3, exponents, 2, weights)
        assert counts.tolist() == [67, 67, 66]
        weighted = X.astype(np.float64) * weights[:, None].astype(np.float64)
        for cluster in range(3):
            for j, column in enumerate([*weighted.T, weights.astype(np.float64)]):
                values = column[labels == cluster]
                exact = sum((Fraction(float(v)) for v in values), Fraction(0))
                quantum = Fraction(2) ** (max(int(exponents[j]), -1002) - 72)
                error = abs(sum_as_fraction(limbs[cluster, j], exponents[j]) - exact)
                inexact = sum(1 for v in values if Fraction(float(v)) % quantum)
                assert error <= inexact * quantum / 2, (name, cluster, j)


def test_threads_change_no_center() -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(700, 301))
    exponents = exponents_of(X)
    labels = rng.integers(0, 240, len(X)).astype(np.int32)
    sums, counts = kmeans.accumulate(X, labels, 240, exponents)
    one, three = (kmeans.centers_from_sums(sums, counts, exponents, "f4", n) for n in (1, 3))
    assert one.tobytes() == three.tobytes()
    offset = kmeans.center_offset(one)
    assert kmeans.center_offset(one, 3).tobytes() == offset.tobytes()
    middle = np.sort(one, axis=0)[119:121]
    nearer = np.abs(middle).argmin(axis=0)[np.newaxis]
    assert offset.tolist() == np.take_along_axis(middle, nearer, axis=0)[0].tolist()


def test_centers_are_never_worse_than_scikit_learns() -> None:
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(5)
    n, k = 3000, 6
    labels = rng.integers(0, k, n).astype(np.int32)
    # The first column alone decides the labels; the others span 40 binades.
    X = rng.choice([-1.0, 1.0], (n, 5)) * np.exp2(rng.uniform(-20, 20, (n, 5)))
    X[:, 0] = labels * 2.0**30
    exact = np.array([[float(exact_mean(X[labels == c, j])) for j in range(5)] for c in range(k)])
    theirs = KMeans(n_clusters=k, init=exact, n_init=1, max_iter=1, tol=0).fit(X)
    assert np.array_equal(theirs.labels_, labels)
    exponents = exponents_of(X)
    limbs, counts = kmeans.accumulate(X, labels, k, exponents)
    ours = kmeans.centers_from_sums(limbs, counts, exponents, np.float64)
    ulp = np.spacing(np.abs(exact))
    error = np.abs(ours - exact)
    assert np.all(error <= np.maximum(np.abs(theirs.cluster_centers_ - exact), ulp))
    assert error.max() < np.abs(theirs.cluster_centers_ - exact).max()


def test_an_outlier_does_not_cost_the_small_values() -> None:
    X = np.full((1001, 1), 0.2)
    X[500] = 1e10
    labels = (np.arange(1001) == 500).astype(np.int32)
    exponents = exponents_of(X)
    centers = kmeans.centers_from_sums(
        *kmeans.accumulate(X, labels, 2, exponents), exponents, np.float64
    )
    assert centers[1, 0] == 1e10
    assert abs(centers[0, 0] - 0.2) < 1e-11


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_shards_are_the_sum_of_all(dtype: type) -> None:
    rng = np.random.default_rng(6)
    for name, X in hostile_data(dtype).items():
        exponents = exponents_of(X)
        labels = rng.integers(0, 9, len(X)).astype(np.int32)
        whole, counts = kmeans.accumulate(X, labels, 9, exponents, 3)
        for edges in ([0, 0, 1, 700], [0, 350, 699, 700], [0, 100, 101, 500, 700]):
            parts = [
                kmeans.accumulate(X[a:b], labels[a:b], 9, exponents, 2)
                for a, b in itertools.pairwise(edges)
            ]
            limbs = sum(part[0] for part in parts)
            assert np.array_equal(sum(part[1] for part in parts), counts)
            for dtype_out in DTYPES:
                assert (
                    kmeans.centers_from_sums(limbs, counts, exponents, dtype_out).tobytes()
                    == kmeans.centers_from_sums(whole, counts, exponents, dtype_out).tobytes()
                ), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_that_moves_leaves_no_trace(dtype: type) -> None:
    for name, X in hostile_data(dtype).items():
        exponents = exponents_of(X)
        before = np.zeros(len(X), np.int32)
        after = before.copy()
        after[::3] = 1
        sums, counts = kmeans.accumulate(X, before, 2, exponents)
        moved, n_moved = kmeans.accumulate(np.ascontiguousarray(X[::3]), None, 1, exponents)
        sums[0] -= moved[0]
        sums[1] += moved[0]
        counts += [-n_moved[0], n_moved[0]]
        expected = kmeans.accumulate(X, after, 2, exponents)
        got = kmeans.centers_from_sums(sums, counts, exponents, dtype)
        assert got.tobytes() == kmeans.centers_from_sums(*expected, exponents, dtype).tobytes(), (
            name
        )


def test_more_rows_than_one_block_of_words_holds() -> None:
    # The largest value of its binade fills a word's 2^37 quanta 150,000 times over.
    X = np.full((150_000, 2), np.nextafter(2.0, 1.0))
    X[:, 1] = -X[:, 1]
    exponents = exponents_of(X)
    assert exponents.tolist() == [0, 0]
    for n_thread in (1, 2):
        limbs, _ = kmeans.accumulate(X, None, 1, exponents, n_thread)
        exact = 150_000 * Fraction(float(X[0, 0]))
        assert sum_as_fraction(limbs[0, 0], 0) == exact
        assert sum_as_fraction(limbs[0, 1], 0) == -exact


def test_empty_cluster_stands_on_the_largest() -> None:
    X = np.array([[1.0], [2.0], [3.0], [10.0]])
    labels = np.array([2, 2, 2, 1], np.int32)
    exponents = exponents_of(X)
    centers = kmeans.centers_from_sums(
        *kmeans.accumulate(X, labels, 4, exponents), exponents, np.float64
    )
    assert centers.ravel().tolist() == [2.0, 10.0, 2.0, 2.0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_next_centers_are_the_means_of_weighted_rows(dtype: type, weighted: bool) -> None:
    rng = np.random.default_rng(11)
    for name, X in hostile_data(dtype).items():
        k, d = 5, X.shape[1]
        before = np.ascontiguousarray(X[:k])
        labels = rng.integers(0, k - 1, len(X)).astype(np.int32)  # the last has no rows
        weights = rng.exponential(size=len(X)).astype(dtype) if weighted else None
        absmax = kmeans.weighted_ranges(X, weights) if weighted else kmeans.column_ranges(X)[0]
        exponents = kmeans.column_exponents(absmax)
        limbs, counts = kmeans.accumulate(X, labels, k, exponents, 1, weights)
        message = np.concatenate([[7], counts, limbs.ravel()])
        divisors = counts
        if weighted:
            of_weights = np.ascontiguousarray(limbs[:, d:])
            ones = np.ones(k, np.int64)
            divisors = kmeans.centers_from_sums(of_weights, ones, exponents[d:], "f8")[:, 0]
        of_rows = np.ascontiguousarray(limbs[:, :d])
        expected = kmeans.centers_from_sums(of_rows, divisors, exponents[:d], dtype)
        for n_thread in (1, 3):
            after, shift, n_empty = kmeans.next_centers(message, before, exponents, n_thread)
            assert after.tobytes() == expected.tobytes(), name
            assert n_empty == 1
            moves = expected.astype(np.float64) - before.astype(np.float64)
            assert shift == pytest.approx(np.sum(moves**2), rel=1e-12, abs=1e-300), name


def test_shift_is_the_sum_of_squared_moves() -> None:
    before = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)
    X = np.array([[3.0, 4.0], [1.0, 2.0]], np.float32)
    exponents = exponents_of(X)
    limbs, counts = kmeans.accumulate(X, np.array([0, 1], np.int32), 2, exponents)
    message = np.concatenate([[2], counts, limbs.ravel()])
    after, shift, n_empty = kmeans.next_centers(message, before, exponents)
    assert (after.tolist(), shift, n_empty) == (X.tolist(), 26.0, 0)


def test_next_centers_refuse_what_does_not_fit() -> None:
    centers, exponents = np.ones((2, 3)), np.zeros(3, np.int32)
    with pytest.raises(ValueError, match="length of the message must be 21, got 20"):
        kmeans.next_centers(np.zeros(20, np.int64), centers, exponents)
    with pytest.raises(ValueError, match="number of exponents must be 3, got 2"):
        kmeans.next_centers(np.zeros(21, np.int64), centers, exponents[:2])


def test_no_rows_give_zeros() -> None:
    exponents = kmeans.column_exponents(np.zeros(3))
    limbs, counts = kmeans.accumulate(np.empty((0, 3)), None, 2, exponents)
    assert not kmeans.centers_from_sums(limbs, counts, exponents, np.float32).any()


def test_limbs_survive_the_way_through_integers() -> None:
    values = [0, 1, -1, 2**48, -(2**48), 2**126, -(2**126), 12345678901234567890123456789]
    limbs = kmeans.int_to_limbs(values)
    assert [kmeans.limbs_to_int(row) for row in limbs] == values
    assert np.all((limbs[:, :2] >= 0) & (limbs[:, :2] < 2**48))


@pytest.mark.parametrize(
    "limbs",
    [
        [1, 0, 0],
        [-1, 0, 0],
        [(1 << 48) - 1, (1 << 48) - 1, -1],
        [1, 1 << 5, 0],  # a tie but for the last bit
        [0, 0, 7],
        [1, (1 << 48) - 1, 7],
        [5, 3, 8],
        [5, 3, -(1 << 20)],
        [-(1 << 51) - 1, (1 << 51) + 1, -7],  # differences of several workers carry any sign
        [(1 << 52) + 1, -(1 << 55) - 1, 3],
    ],
)
def test_totals_are_rounded_once(limbs: list[int]) -> None:
    total = sum(limb << 48 * i for i, limb in enumerate(limbs))
    sums = np.array(limbs, np.int64).reshape(1, 1, 3)
    exponents = np.full(1, 72, np.int32)  # a unit is 1
    mean = kmeans.centers_from_sums(sums, np.ones(1, np.int64), exponents, np.float64)
    assert mean[0, 0] == float(total)
