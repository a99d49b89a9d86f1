"""Lloyd's iteration from call to call: labels and sums are those of a search of all centers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harpy.kernels import kmeans
from tests.support.rows.hostile import DTYPES, hostile_data

ISAS = kmeans.instruction_sets()


def exhaustive(
    X: np.ndarray,
    centers: np.ndarray,
    exponents: np.ndarray,
    before: np.ndarray,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the message that `Lloyd.step` returns."""
    labels = before.copy()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HARPY_BOUNDS", "off")
        changed = kmeans.assign(X, centers, kmeans.center_offset(centers), labels)
    limbs, counts = kmeans.accumulate(X, labels, len(centers), exponents, 1, weights)
    return labels, np.concatenate([[changed], counts, limbs.ravel()])


def follow(
    X: np.ndarray,
    centers: np.ndarray,
    n_iter: int,
    n_thread: int,
    weights: np.ndarray | None = None,
) -> None:
    """Iterate, comparing every label and sum of every iteration."""
    weighed = weights is not None
    absmax = kmeans.weighted_ranges(X, weights) if weighed else kmeans.column_ranges(X)[0]
    exponents = kmeans.column_exponents(absmax)
    lloyd = kmeans.Lloyd(X, len(centers), exponents, n_thread, weights)
    before = lloyd.labels.copy()
    k, d = centers.shape
    n_sums = len(exponents)
    for iteration in range(n_iter):
        message = lloyd.step(centers)
        labels, expected = exhaustive(X, centers, exponents, before, weights)
        assert np.array_equal(lloyd.labels, labels), iteration
        # Each row that moved is taken from one sum and added to another: as integers, not limbs.
        assert message[: 1 + k].tolist() == expected[: 1 + k].tolist(), iteration
        got, wanted = (m[1 + k :].reshape(k * n_sums, 3) for m in (message, expected))
        assert [kmeans.limbs_to_int(v) for v in got] == [kmeans.limbs_to_int(v) for v in wanted]
        before = labels
        limbs = np.ascontiguousarray(message[1 + k :].reshape(k, n_sums, 3)[:, :d])
        centers = kmeans.centers_from_sums(limbs, message[1 : 1 + k], exponents[:d], X.dtype)
        if message[0] == 0:
            break
    changed = lloyd.label(centers)
    labels, expected = exhaustive(X, centers, exponents, before, weights)
    assert changed == expected[0]
    assert np.array_equal(lloyd.labels, labels)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_sums_follow_the_labels(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(4)
    for name, X in hostile_data(dtype).items():
        weights = rng.integers(0, 5, len(X)).astype(dtype) / 3
        for step in (5, 90):
            try:
                follow(X, np.array(X[::step]), 6, n_thread=3, weights=weights)
            except AssertionError as exc:
                raise AssertionError(f"{name}, every {step}th row") from exc


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_hostile_data(dtype: type, isa: str, use_isa: Callable[[str], None]) -> None:
    use_isa(isa)
    for name, X in hostile_data(dtype).items():
        for step in (5, 23, 90):
            try:
                follow(X, np.ascontiguousarray(X[::step]), 12, 2)
            except AssertionError as error:
                raise AssertionError(f"{name}, every {step}th row") from error


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n_rows", "n_columns", "n_clusters"),
    [(3000, 1, 9), (4000, 2, 120), (2500, 3, 40), (3000, 7, 65), (1500, 20, 200), (900, 130, 97),
     (700, 40, 2), (700, 40, 13), (400, 5, 399)],
)  # fmt: skip
def test_every_shape_follows_to_convergence(
    n_rows: int,
    n_columns: int,
    n_clusters: int,
    dtype: type,
    isa: str,
    use_isa: Callable[[str], None],
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(n_rows + n_columns + n_clusters)
    for spread in (0.3, 3.0):  # separated and overlapping
        middles = rng.normal(size=(n_clusters, n_columns))
        X = middles[rng.integers(n_clusters, size=n_rows)]
        X = (X + spread * rng.normal(size=X.shape) / np.sqrt(n_columns)).astype(dtype)
        centers = X[rng.choice(n_rows, n_clusters, replace=False)]
        follow(X, centers, 40, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_columns", range(1, 9))
def test_few_columns(n_columns: int, dtype: type, isa: str, use_isa: Callable[[str], None]) -> None:
    use_isa(isa)
    for name, X in hostile_data(dtype, 400, n_columns).items():
        for step in (1, 7, 150):
            try:
                follow(X, np.ascontiguousarray(X[::step]), 5, 2)
            except AssertionError as error:
                raise AssertionError(f"{name}, every {step}th row") from error


# So many rows a center that they walk along lists of neighbours.
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_columns", [1, 2, 3, 5])
def test_neighbours_of_hostile_data(
    n_columns: int, dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    for name, X in hostile_data(dtype, 13_000, n_columns).items():
        try:
            follow(X, np.ascontiguousarray(X[:12_000:30]), 6, 2)
        except AssertionError as error:
            raise AssertionError(name) from error


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_find_their_way_without_labels(dtype: type) -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_t(2, size=(52_000, 2)).astype(dtype)
    follow(X, X[:1600].copy(), 4, 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lists_of_neighbours_survive_centers_that_jump(dtype: type) -> None:
    rng = np.random.default_rng(6)
    X = rng.random((13_000, 2)).astype(dtype)
    X[-1000:] += 1000  # far away, and most of the time without a center
    exponents = kmeans.column_exponents(kmeans.column_ranges(X)[0])
    lloyd = kmeans.Lloyd(X, 400, exponents)
    before = lloyd.labels.copy()
    centers = X[:400].copy()
    for iteration in range(12):
        centers += (rng.normal(size=centers.shape) * 0.01 * 0.3**iteration).astype(dtype)
        if iteration % 4 == 3:
            centers[rng.integers(400, size=5)] = X[rng.integers(13_000, size=5)]
            centers[7] = centers[8]
        message = lloyd.step(centers)
        before, expected = exhaustive(X, centers, exponents, before)
        assert np.array_equal(lloyd.labels, before), iteration
        assert message[0] == expected[0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_columns", [1, 2, 15, 16, 17, 64, 100])
def test_few_centers(n_columns: int, dtype: type, isa: str, use_isa: Callable[[str], None]) -> None:
    use_isa(isa)
    rng = np.random.default_rng(n_columns)
    # Around tiles of rows, and around the numbers of centers that one search is made for.
    sizes = (1, 15, 16, 17, 31, 63, 64, 65, 130, 500)
    for n_clusters in range(1 + n_columns % 3, 31, 3):
        n_rows = sizes[(n_clusters - 1) // 3]
        middles = rng.normal(size=(n_clusters, n_columns))
        X = middles[rng.integers(n_clusters, size=n_rows)] + 4.0
        X = (X + rng.normal(size=X.shape) / np.sqrt(n_columns)).astype(dtype)
        follow(X, X[rng.choice(n_rows, n_clusters)], 6, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_few_centers_of_hostile_data(dtype: type, isa: str, use_isa: Callable[[str], None]) -> None:
    use_isa(isa)
    for name, X in hostile_data(dtype).items():
        for n_clusters in (2, 5, 12, 24):
            try:
                follow(X, np.ascontiguousarray(X[:: len(X) // n_clusters][:n_clusters]), 30, 2)
            except AssertionError as error:
                raise AssertionError(f"{name}, {n_clusters} centers") from error


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_clusters", [4, 24, 70])
@pytest.mark.parametrize("exponent", [-150, -130, -100, 50])
def test_bounds_of_any_magnitude(exponent: int, n_clusters: int, dtype: type) -> None:
    # Squares of moves underflow in float64 below 10^-154, of float32 values below 10^-19.
    if dtype is np.float32:
        exponent //= 5
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(1500, 3)) * 10.0**exponent).astype(dtype)
    follow(X, X[:n_clusters].copy(), 40, 2)


@pytest.mark.parametrize("n_clusters", [8, 70])
@pytest.mark.parametrize("dtype", DTYPES)
def test_centers_may_jump(dtype: type, n_clusters: int) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(2000, 6)).astype(dtype)
    exponents = kmeans.column_exponents(kmeans.column_ranges(X)[0])
    lloyd = kmeans.Lloyd(X, n_clusters, exponents)
    before = lloyd.labels.copy()
    centers = X[:n_clusters].copy()
    for iteration in range(15):
        centers[rng.integers(n_clusters, size=3)] = X[rng.integers(2000, size=3)]
        centers += (rng.normal(size=centers.shape) * 0.5**iteration).astype(dtype)
        message = lloyd.step(centers)
        before, expected = exhaustive(X, centers, exponents, before)
        assert np.array_equal(lloyd.labels, before)
        assert message[0] == expected[0]


@pytest.mark.parametrize("n_clusters", [7, 150])
@pytest.mark.parametrize("bounds", ["off", "6", "8", "20", "60", "500"])
def test_memory_for_bounds_changes_nothing(
    bounds: str, n_clusters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_BOUNDS", bounds)
    rng = np.random.default_rng(4)
    X = rng.normal(size=(2500, 9)).astype(np.float32)
    follow(X, X[:n_clusters].copy(), 25, 3)


def test_bounds_that_are_no_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARPY_BOUNDS", "many")
    with pytest.raises(Exception, match="HARPY_BOUNDS=many: expected off, or the bytes a row"):
        kmeans.Lloyd(np.ones((4, 2)), 2, np.zeros(2, np.int32))
