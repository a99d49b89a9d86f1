"""Lloyd's iteration from call to call: labels and sums are those of a search of all centers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hostile_data import DTYPES, hostile_data

from harpy.kernels import kmeans

ISAS = kmeans.instruction_sets()


def exhaustive(
    X: np.ndarray, centers: np.ndarray, exponents: np.ndarray, before: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the message that `Lloyd.step` returns."""
    labels = before.copy()
    changed = kmeans.assign(X, centers, kmeans.center_offset(centers), labels)
    limbs, counts = kmeans.accumulate(X, labels, len(centers), exponents)
    return labels, np.concatenate([[changed], counts, limbs.ravel()])


def follow(X: np.ndarray, centers: np.ndarray, n_iter: int, n_thread: int) -> None:
    """Iterate, comparing every label and sum of every iteration."""
    exponents = kmeans.column_exponents(kmeans.column_ranges(X)[0])
    lloyd = kmeans.Lloyd(X, len(centers), exponents, n_thread)
    before = lloyd.labels.copy()
    k, d = centers.shape
    for iteration in range(n_iter):
        message = lloyd.step(centers)
        labels, expected = exhaustive(X, centers, exponents, before)
        assert np.array_equal(lloyd.labels, labels), iteration
        # Each row that moved is taken from one sum and added to another: as integers, not limbs.
        assert message[: 1 + k].tolist() == expected[: 1 + k].tolist(), iteration
        got, wanted = (m[1 + k :].reshape(k * d, 3) for m in (message, expected))
        assert [kmeans.limbs_to_int(v) for v in got] == [kmeans.limbs_to_int(v) for v in wanted]
        before = labels
        centers = kmeans.centers_from_sums(
            message[1 + k :].reshape(k, d, 3), message[1 : 1 + k], exponents, X.dtype
        )
        if message[0] == 0:
            break
    changed = lloyd.label(centers)
    labels, expected = exhaustive(X, centers, exponents, before)
    assert changed == expected[0]
    assert np.array_equal(lloyd.labels, labels)


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_centers_may_jump(dtype: type) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(2000, 6)).astype(dtype)
    exponents = kmeans.column_exponents(kmeans.column_ranges(X)[0])
    lloyd = kmeans.Lloyd(X, 70, exponents)
    before = lloyd.labels.copy()
    centers = X[:70].copy()
    for iteration in range(15):
        centers[rng.integers(70, size=3)] = X[rng.integers(2000, size=3)]
        centers += (rng.normal(size=centers.shape) * 0.5**iteration).astype(dtype)
        message = lloyd.step(centers)
        before, expected = exhaustive(X, centers, exponents, before)
        assert np.array_equal(lloyd.labels, before)
        assert message[0] == expected[0]


@pytest.mark.parametrize("bounds", ["off", "6", "8", "20", "60", "500"])
def test_memory_for_bounds_changes_nothing(bounds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARPY_BOUNDS", bounds)
    rng = np.random.default_rng(4)
    X = rng.normal(size=(2500, 9)).astype(np.float32)
    follow(X, X[:150].copy(), 25, 3)


def test_bounds_that_are_no_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARPY_BOUNDS", "many")
    with pytest.raises(Exception, match="HARPY_BOUNDS=many: expected off, or the bytes a row"):
        kmeans.Lloyd(np.ones((4, 2)), 2, np.zeros(2, np.int32))
