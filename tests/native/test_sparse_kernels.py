"""Sparse rows: the dense labels and sums bit for bit, distances in their own fixed order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array

from harpy.kernels import kmeans
from harpy.kernels.kmeans import sparse
from tests.support.numerics.exact_reference import fused
from tests.support.rows.hostile import DTYPES, hostile_data
from tests.support.rows.sparse import hostile_sparse, rows_of

ISAS = kmeans.instruction_sets()
# Around vectors and panels of every instruction set, and more than one panel of the widest.
N_CLUSTERS = (1, 2, 4, 5, 8, 9, 16, 17, 31, 33, 64, 65, 127, 129, 260)


def dense_labels(X: csr_matrix, centers: np.ndarray) -> np.ndarray:
    labels = np.full(X.shape[0], -1, np.int32)
    kmeans.assign(X.toarray(), centers, np.zeros(X.shape[1], X.dtype), labels)
    return labels


def sparse_labels(X: csr_matrix, centers: np.ndarray, n_thread: int = 1) -> np.ndarray:
    labels = np.full(X.shape[0], -1, np.int32)
    sparse.assign(rows_of(X), centers, sparse.center_offset(centers), labels, n_thread)
    return labels


def some_centers(X: csr_matrix, k: int, seed: int = 0) -> np.ndarray:
    """Rows of X, means of a few, and copies: ties, holes and neighbours."""
    rng = np.random.default_rng(seed)
    dense = X.toarray()
    centers = dense[rng.integers(0, len(dense), k)]
    means = rng.random(k) < 0.5
    picks = rng.integers(0, len(dense), (k, 5))
    centers[means] = dense[picks].mean(axis=1, dtype=np.float64).astype(X.dtype)[means]
    centers[k // 2] = centers[0]
    return np.ascontiguousarray(centers)


def chained_squares(values: np.ndarray) -> np.float64:
    """Chain of squared float64 values in index order."""
    total = np.float64(0)
    for value in values:
        total = fused(value, value, total, np.float64)
    return total


def split(message: np.ndarray, k: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Changes, sums and counts of a step."""
    return int(message[0]), message[1 + k :].reshape(k, -1, kmeans.SUM_LIMBS), message[1 : 1 + k]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_clusters", N_CLUSTERS)
def test_labels_are_the_dense_ones_without_an_offset(
    dtype: type, n_clusters: int, isa: str, use_isa: Callable[[str], None]
) -> None:
    for name, X in hostile_sparse(dtype, n=150).items():
        centers = some_centers(X, n_clusters)
        use_isa("scalar")
        expected = dense_labels(X, centers)
        use_isa(isa)
        assert np.array_equal(sparse_labels(X, centers), expected), name


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_decides_as_in_the_dense_chain(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    # Far from the origin scores lose most of their digits: many labels are wrong, and the same.
    far = 3e3 if dtype is np.float32 else 3e8
    X = csr_matrix((np.random.default_rng(1).normal(size=(300, 9)) + far).astype(dtype))
    centers = X.toarray()[::10].copy()
    expected = dense_labels(X, centers)
    true = np.square(X.toarray()[:, None] - centers.astype(np.float64)).sum(axis=2).argmin(axis=1)
    assert not np.array_equal(expected, true)
    assert np.array_equal(sparse_labels(X, centers), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_are_the_dense_ones(dtype: type) -> None:
    rng = np.random.default_rng(2)
    for name, X in {
        **hostile_sparse(dtype),
        **{f"full {name}": csr_matrix(X) for name, X in hostile_data(dtype).items()},
    }.items():
        labels = rng.integers(0, 6, X.shape[0]).astype(np.int32)
        exponents = kmeans.column_exponents(kmeans.column_ranges(X.toarray())[0])
        expected, counts = kmeans.accumulate(X.toarray(), labels, 6, exponents)
        for n_thread in (1, 2, 3):
            got, got_counts = sparse.accumulate(rows_of(X), labels, 6, exponents, n_thread)
            assert got.tobytes() == expected.tobytes(), name
            assert np.array_equal(got_counts, counts)


@pytest.mark.parametrize("shift", range(-60, 22))
def test_values_are_rounded_to_the_second_quantum_as_in_the_dense_sums(shift: int) -> None:
    # Column exponent 0, quantum 2^-72: mantissas that end before, on, between and after it.
    rng = np.random.default_rng(shift + 100)
    mantissas = [1, 1 + 2**-52, 2 - 2**-52, 1.5, *(1 + rng.random(20))]
    values = np.array([m * 2.0 ** (shift - 21) for m in mantissas])
    X = np.concatenate([values, -values])[:, None]
    exponents = np.zeros(1, np.int32)
    labels = np.arange(len(X), dtype=np.int32)
    expected, _ = kmeans.accumulate(X, labels, len(X), exponents)
    got, _ = sparse.accumulate(rows_of(csr_matrix(X)), labels, len(X), exponents)
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_that_skip_work_find_what_a_search_of_all_finds(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(3)
    for name, X in hostile_sparse(dtype).items():
        rows = rows_of(X)
        exponents = kmeans.column_exponents(sparse.column_ranges(rows)[0])
        centers = some_centers(X, 20)
        lloyd = sparse.Lloyd(rows, 20, exponents, 2)
        before = np.full(len(rows), -1, np.int32)
        for step in range(12):
            n_changed, sums, counts = split(lloyd.step(centers), 20)
            expected = sparse_labels(X, centers)
            assert np.array_equal(lloyd.labels, expected), (name, step)
            assert n_changed == np.count_nonzero(expected != before)
            by_hand, counts_by_hand = sparse.accumulate(rows, expected, 20, exponents)
            assert sums.tobytes() == by_hand.tobytes(), (name, step)
            assert counts.tolist() == counts_by_hand.tolist()
            before = expected
            # Some centers move: onto another one (ties), to their mean, a little, and back.
            centers = centers.copy()
            means = kmeans.centers_from_sums(sums, counts, exponents, dtype)
            for c in rng.choice(20, rng.integers(0, 8), replace=False):
                kind = rng.integers(0, 4)
                centers[c] = [
                    centers[rng.integers(0, 20)],
                    means[c],
                    np.nextafter(centers[c], dtype(0)),
                    some_centers(X, 20)[c],
                ][kind]
        lloyd.label(centers)
        assert np.array_equal(lloyd.labels, sparse_labels(X, centers)), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_distances_follow_their_order_to_the_last_bit(dtype: type) -> None:
    for name, X in hostile_sparse(dtype, n=45).items():
        rows = rows_of(X)
        centers = X.toarray()[3:8].astype(np.float64) + 0.1
        labels = (np.arange(45) % 5).astype(np.int32)
        expected = np.empty((5, 45))
        for i, row in enumerate(X.toarray().astype(np.float64)):
            stored = X.indices[X.indptr[i] : X.indptr[i + 1]]
            for c, center in enumerate(centers):
                rest = chained_squares(center) - chained_squares(center[stored])
                expected[c, i] = chained_squares(row[stored] - center[stored]) + max(rest, 0.0)
        assert np.array_equal(sparse.closest_distances(rows, centers, None), expected), name
        own = expected[labels, np.arange(45)]
        assert np.array_equal(sparse.squared_distances(rows, centers, labels), own), name
        assert np.array_equal(sparse.squared_distances(rows, centers[:1], None), expected[0]), name
        assert np.array_equal(sparse.transform(rows, centers), np.sqrt(expected.T).astype(dtype))
        closest = np.random.default_rng(4).random(45) * expected.max()
        lesser = sparse.closest_distances(rows, centers, closest)
        assert np.array_equal(lesser, np.minimum(expected, closest)), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_is_at_no_distance_from_itself_and_near_the_dense_distance(dtype: type) -> None:
    for name, X in hostile_sparse(dtype).items():
        centers = X.toarray()
        picked = centers[::9].copy()
        distances = sparse.closest_distances(rows_of(X), picked, None)
        assert not distances[np.arange(len(picked)), np.arange(0, len(centers), 9)].any()
        assert distances.min() >= 0
        dense = np.array([kmeans.squared_distances(centers, c[None], None) for c in picked])
        scale = np.square(centers.astype(np.float64)).sum(axis=1)
        slack = 1e-14 * (scale + scale[::9, None])
        assert np.all(np.abs(distances - dense) <= slack), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_instruction_sets_give_the_same_bits(
    dtype: type, use_isa: Callable[[str], None]
) -> None:
    # Enough values for four threads, and columns as unequal as words.
    rng = np.random.default_rng(5)
    X = random_array((4000, 500), density=0.05, rng=rng, format="csr", dtype=dtype)
    X = csr_matrix((X.data, X.indices**2 // 500, X.indptr), X.shape)
    X.sum_duplicates()
    rows = rows_of(X)
    exponents = kmeans.column_exponents(sparse.column_ranges(rows)[0])
    centers = some_centers(X, 37)
    seen = set()
    for isa in ISAS:
        use_isa(isa)
        for n_thread in (1, 2, 3, 4):
            lloyd = sparse.Lloyd(rows, 37, exponents, n_thread)
            _, sums, counts = split(lloyd.step(centers), 37)
            means = kmeans.centers_from_sums(sums, counts, exponents, dtype)
            means[::2] = centers[::2]
            n_changed, sums, counts = split(lloyd.step(means), 37)
            results = (
                lloyd.labels,
                sums,
                counts,
                sparse.column_ranges(rows, n_thread)[0],
                sparse.squared_distances(rows, means, lloyd.labels, n_thread),
                sparse.closest_distances(rows, means[:5], None, n_thread),
                sparse.transform(rows, means, n_thread),
            )
            seen.add((n_changed, *(result.tobytes() for result in results)))
    assert len(seen) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_without_values_and_no_rows(dtype: type) -> None:
    centers = np.array([[3, 0], [0, 1]], dtype)
    for n in (0, 3):
        X = csr_matrix((n, 2), dtype=dtype)
        assert sparse_labels(X, centers).tolist() == [1] * n
        assert sparse.transform(rows_of(X), centers).tolist() == [[3, 1]] * n
        absmax, bad = sparse.column_ranges(rows_of(X))
        assert (absmax.tolist(), bad) == ([0, 0], None)
        limbs, counts = sparse.accumulate(rows_of(X), None, 1, np.zeros(2, np.int32))
        assert not limbs.any()
        assert counts.tolist() == [n]


@pytest.mark.parametrize("n_thread", [1, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(bad: float, n_thread: int) -> None:
    X = csr_matrix(np.ones((9000, 3)))
    X[4000, 0] = X[3001, 2] = bad
    X[3001, 1] = -7
    absmax, at = sparse.column_ranges(rows_of(X), n_thread)
    assert at == (3001, 2)
    assert absmax.tolist() == [1, 7, 1]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_potentials_are_the_sums_of_distances_in_their_units(dtype: type, weighted: bool) -> None:
    for name, X in hostile_sparse(dtype, n=200).items():
        rows = rows_of(X)
        weights = np.random.default_rng(8).random(200) if weighted else np.ones(200)
        centers = np.zeros((3, X.shape[1]), dtype)
        centers[0] = rows.dense_rows([7])[0]
        potentials = sparse.Potentials(rows, centers, weights if weighted else None)
        assert not potentials.summary.any()
        near = sparse.closest_distances(rows, centers[:1], None)[0]
        exact = weights * near
        assert potentials.largest() == exact.max()
        exponent = int(kmeans.column_exponents(np.array([exact.max()]))[0])
        potentials.quantise(exponent)
        candidates = rows.dense_rows([0, 20, 7])
        for step in range(2):
            units = [int(np.ldexp(v, 61 - max(exponent, -1022))) for v in exact]
            assert kmeans.limbs_to_int(potentials.summary[:3]) == sum(units), name
            assert potentials.summary[3] == np.count_nonzero(exact >= 2.0**exponent)
            running = np.cumsum(np.array(units, dtype=object))
            targets = [1, running[-1] // 2, running[-1], running[-1] + 1]
            expected = [sum(1 for r in running if r < target) for target in targets]
            assert potentials.find(kmeans.int_to_limbs(targets)).tolist() == expected, name
            trials = sparse.closest_distances(rows, candidates, near)
            gains = [kmeans.limbs_to_int(limbs) for limbs in potentials.gains(candidates)]
            for gain, trial in zip(gains, trials, strict=True):
                lowered = [int(np.ldexp(v, 61 - max(exponent, -1022))) for v in weights * trial]
                assert gain == sum(units) - sum(lowered), name
            assert gains[2] == 0, "that row is a center already"
            potentials.keep(candidates, 1)
            near, exact = trials[1], weights * trials[1]
            assert np.array_equal(centers[step + 1], candidates[1])


@pytest.mark.parametrize(
    ("indices", "indptr", "message"),
    [
        ([0, 1], [0, 2, 1], "indptr must rise from 0 to the number of values, 2; .* row 1"),
        ([0, 1], [1, 2, 2], "indptr must rise from 0 to the number of values, 2; .* row 0"),
        ([0, 1], [0, 1, 1], "indptr must rise from 0 to the number of values, 2"),
        ([0, 1], [0, 1, 3], "indptr must rise from 0 to the number of values, 2"),
        ([0, 3], [0, 1, 2], r"row 1 has a column outside \[0, 3\)"),
        ([-1, 2], [0, 1, 2], r"row 0 has a column outside \[0, 3\)"),
        ([1, 0], [0, 0, 2], "the columns of row 1 are not strictly ascending"),
        ([1, 1], [0, 2, 2], "the columns of row 0 are not strictly ascending"),
        ([], [], "need indptr of at least one value"),
    ],
)
def test_malformed_rows_are_refused_before_they_are_read(
    indices: list[int], indptr: list[int], message: str
) -> None:
    columns, starts = np.array(indices, np.int32), np.array(indptr, np.int64)
    with pytest.raises(ValueError, match=message):
        sparse.CsrMatrix(np.ones(len(columns)), columns, starts, 3)


def test_shapes_and_dtypes_are_checked_before_memory_is_touched() -> None:
    X = rows_of(csr_matrix(np.ones((4, 3))))
    centers, offset, labels = np.ones((2, 3)), np.zeros(3), np.zeros(4, np.int32)
    with pytest.raises(ValueError, match="number of columns of centers must be 3, got 2"):
        sparse.assign(X, np.ones((2, 2)), offset, labels)
    with pytest.raises(ValueError, match="number of labels must be 4, got 3"):
        sparse.assign(X, centers, offset, labels[:3])
    with pytest.raises((ValueError, TypeError)):
        sparse.assign(X, centers.astype(np.float32), offset, labels)
    with pytest.raises(ValueError, match="the offset of sparse rows must be 0"):
        sparse.assign(X, centers, offset + 1, labels)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got \[0, 2\]"):
        sparse.accumulate(X, np.array([0, 1, 2, 0], np.int32), 2, np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="number of exponents must be 3, got 2"):
        sparse.accumulate(X, labels, 2, np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="need at least one center"):
        sparse.transform(X, np.ones((0, 3)))
    with pytest.raises(ValueError, match="number of values must be 12, got 11"):
        sparse.CsrMatrix(np.ones(11), X.indices, X.indptr, 3)
    with pytest.raises(ValueError, match="n_thread must be at least 1, got 0"):
        sparse.assign(X, centers, offset, labels, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_taken_as_they_are_stored(dtype: type) -> None:
    X = hostile_sparse(dtype)["blobs"]
    for rows in ([], [0], [37, 5, 699, 5], range(700)):
        taken, expected = rows_of(X).take(np.array(rows, dtype=np.int64)), X[list(rows)]
        assert taken.shape == expected.shape
        for got, wanted in zip(
            (taken.data, taken.indices, taken.indptr),
            (expected.data, expected.indices, expected.indptr),
            strict=True,
        ):
            assert np.array_equal(got, wanted), rows
