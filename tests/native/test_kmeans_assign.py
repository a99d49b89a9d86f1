"""Labels: the defined score bit for bit, ties, and no dependence on threads or instruction set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harpy.kernels import kmeans
from tests.support.numerics.exact_reference import labels as exact_labels
from tests.support.rows.hostile import DTYPES, hostile_data

ISAS = kmeans.instruction_sets()
# Around every panel width of every instruction set, and rows around tiles and blocks.
N_CLUSTERS = (1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 24, 25, 33, 48, 49, 97)
N_ROWS = (0, 1, 3, 4, 5, 8, 9, 63, 64, 65, 129)


def assign(X: np.ndarray, centers: np.ndarray, offset: np.ndarray | None = None, n_thread: int = 1):
    labels = np.full(len(X), -1, dtype=np.int32)
    offset = np.zeros(X.shape[1], X.dtype) if offset is None else offset
    kmeans.assign(X, centers, offset, labels, n_thread)
    return labels


def brute_force(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    differences = X[:, None, :].astype(np.float64) - centers[None].astype(np.float64)
    return np.square(differences).sum(axis=2).argmin(axis=1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_follow_the_score_to_the_last_bit(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(1)
    # Far from the origin and with no offset: rounding of the chain decides most labels.
    X = (rng.normal(size=(30, 5)) + 3e3).astype(dtype)
    if dtype is np.float64:
        X = X + 3e8
    centers = np.ascontiguousarray(X[::3])
    offset = np.zeros(5, dtype)
    assert assign(X, centers).tolist() == exact_labels(X, centers, offset)
    assert not np.array_equal(assign(X, centers), brute_force(X, centers))
    offset = X.mean(axis=0, dtype=np.float64).astype(dtype)
    assert assign(X, centers, offset).tolist() == exact_labels(X, centers, offset)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_clusters", N_CLUSTERS)
def test_every_shape_finds_the_nearest_center(
    dtype: type, n_clusters: int, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(n_clusters)
    for d in (1, 2, 5, 16):
        centers = rng.normal(size=(n_clusters, d)).astype(dtype)
        for n in N_ROWS:
            X = rng.normal(size=(n, d)).astype(dtype)
            assert np.array_equal(assign(X, centers), brute_force(X, centers)), (n, d)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_ties_go_to_the_lowest_index(dtype: type, isa: str, use_isa: Callable[[str], None]) -> None:
    use_isa(isa)
    # Row 0 is at distance 1 from every center but the first: sign and axis differ, squares do not.
    d = 60
    centers = np.concatenate([np.full((1, d), 9.0), np.eye(d), -np.eye(d)]).astype(dtype)
    X = np.zeros((1, d), dtype)
    assert assign(X, centers).tolist() == [1]
    assert assign(X, np.ascontiguousarray(centers[::-1])).tolist() == [0]
    repeated = np.repeat(centers, 3, axis=0)
    assert assign(repeated, repeated).tolist() == [i // 3 * 3 for i in range(len(repeated))]


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_instruction_sets_give_the_same_bits(
    dtype: type, use_isa: Callable[[str], None]
) -> None:
    for name, X in hostile_data(dtype).items():
        centers = np.ascontiguousarray(X[::23])
        exponents = kmeans.column_exponents(kmeans.column_ranges(X)[0])
        offset = X.mean(axis=0, dtype=np.float64).astype(dtype)
        seen = set()
        for isa in ISAS:
            use_isa(isa)
            for n_thread in (1, 2, 3, 4):
                labels = np.zeros(len(X), np.int32)
                changed = kmeans.assign(X, centers, offset, labels, n_thread)
                limbs, counts = kmeans.accumulate(X, labels, len(centers), exponents, n_thread)
                distances = kmeans.squared_distances(X, centers, labels, n_thread)
                seen.add(
                    (
                        changed,
                        labels.tobytes(),
                        limbs.tobytes(),
                        counts.tobytes(),
                        distances.tobytes(),
                        kmeans.transform(X, centers, n_thread).tobytes(),
                        kmeans.exact_sum(distances, n_thread).tobytes(),
                    )
                )
        assert len(seen) == 1, name


@pytest.mark.parametrize(
    ("column", "offset"),
    [
        ([3.0, 1.0, 2.0], 2.0),
        ([5.0], 5.0),
        ([1.0, 2.0, 9.0, 8.0], 2.0),
        ([-1.0, -2.0, -9.0, -8.0], -2.0),
        ([1e10, 0.5], 0.5),
        ([-1e10, 0.5], 0.5),
        ([4.0, -4.0], -4.0),
    ],
)
def test_offset_is_the_median_of_the_centers(column: list[float], offset: float) -> None:
    centers = np.array([column, column[::-1]]).T.copy()
    for dtype in DTYPES:
        assert kmeans.center_offset(centers.astype(dtype)).tolist() == [offset, offset]


@pytest.mark.parametrize("name", ["offset 1e4", "outlier"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_offset_keeps_labels_right_far_from_the_origin_and_beside_outliers(
    dtype: type, name: str
) -> None:
    X = hostile_data(dtype)[name]
    centers = np.ascontiguousarray(X[::70])
    offset = kmeans.center_offset(centers)
    labels = assign(X, centers, offset)
    squares = np.square(X[:, None].astype(np.float64) - centers[None]).sum(axis=2)
    best = squares.min(axis=1)
    chosen = squares[np.arange(len(X)), labels]
    # Near ties may go either way, within the rounding of the *centered* values.
    slack = 1e-5 if dtype is np.float32 else 1e-12
    assert np.all(chosen - best <= slack * np.square(X - offset, dtype=np.float64).sum(axis=1))


def test_changes_are_counted_against_the_labels_passed_in() -> None:
    X = np.arange(6.0).reshape(6, 1)
    centers = np.array([[0.0], [5.0]])
    labels = np.array([0, 0, 1, 1, 1, -1], np.int32)
    assert kmeans.assign(X, centers, np.zeros(1), labels) == 2
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert kmeans.assign(X, centers, np.zeros(1), labels) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_unreachable_centers_leave_the_first_label(dtype: type) -> None:
    # Norms overflow to infinity: no score is lower than any other.
    largest = np.finfo(dtype).max
    X = np.ones((3, 2), dtype)
    assert assign(X, np.full((2, 2), largest, dtype)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n_rows", "n_columns", "n_clusters"),
    [
        (3000, 7, 5),
        (3000, 3, 60),
        (5000, 5, 500),
        (900, 40, 70),
        # Of these, whose centers are few, columns are turned between multiply-adds, or not.
        (901, 40, 5),
        (700, 37, 9),
        (530, 300, 12),
    ],
)
def test_unseen_rows_are_measured_on_the_way(
    n_rows: int,
    n_columns: int,
    n_clusters: int,
    dtype: type,
    isa: str,
    use_isa: Callable[[str], None],
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(n_columns)
    X = rng.standard_normal((n_rows, n_columns)).astype(dtype)
    centers = X[:n_clusters].copy()
    offset = kmeans.center_offset(centers)
    expected, labels = (np.full(n_rows, -1, dtype=np.int32) for _ in range(2))
    kmeans.assign(X, centers, offset, expected)
    for n_thread in (1, 3):
        absmax, bad = kmeans.assign_unseen(X, centers, offset, labels, n_thread)
        assert np.array_equal(absmax, np.abs(X).max(axis=0)) and bad is None
        assert np.array_equal(labels, expected)
        labels[:] = -1
    for value, column in ((np.nan, n_columns - 1), (np.nan, 0), (np.inf, 1), (-np.inf, 2)):
        worse = X.copy()
        worse[n_rows // 2 :, column] = value
        _, bad = kmeans.assign_unseen(worse, centers, offset, labels, 2)
        assert bad == (n_rows // 2, column)
        assert np.array_equal(labels[: n_rows // 2], expected[: n_rows // 2])
        assert labels.min() >= 0 and labels.max() < n_clusters
        labels[:] = -1
