"""What a search in 16-bit integers calls certain is so, and on plain data that is nearly all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from harpy.kernels import kmeans
from tests.support.rows.hostile import DTYPES, hostile_data

ISAS = kmeans.instruction_sets()


def real_scores(X: np.ndarray, centers: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """½‖c'‖² − x'·c' of the rounded x' and c', nearly without further rounding (n, k)."""
    rows, shifted = (X - offset).astype(np.longdouble), (centers - offset).astype(np.longdouble)
    half_norms = (0.5 * np.square(shifted).sum(axis=1)).astype(X.dtype).astype(np.longdouble)
    return half_norms - rows @ shifted.T


def check(X: np.ndarray, centers: np.ndarray) -> float:
    """Compare what the prefilter says with the scan of all centers; return the share it decided."""
    offset = kmeans.center_offset(centers)
    nearest, most, least = kmeans.screen(X, centers, offset)
    settled = np.flatnonzero(nearest >= 0)
    labels = np.full(len(X), -1, dtype=np.int32)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HARPY_BOUNDS", "off")
        kmeans.assign(X, centers, offset, labels)
    assert np.array_equal(nearest[settled], labels[settled])
    scores = real_scores(X[settled], centers, offset)
    own = np.take_along_axis(scores, labels[settled, None], axis=1)[:, 0]
    np.put_along_axis(scores, labels[settled, None], np.inf, axis=1)
    # No slack but for these scores' own rounding, and for that to X's dtype.
    kind = np.finfo(X.dtype)
    slack = 2 * kind.eps * np.abs(own) + kind.smallest_subnormal
    assert np.all(most[settled] >= own - slack)
    assert np.all(least[settled] <= scores.min(axis=1) + slack)
    return len(settled) / max(len(X), 1)


def blobs(n: int, d: int, k: int, dtype: type, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping ones, and rows of them as centers."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(k, d))
    X = (middles[rng.integers(k, size=n)] + np.sqrt(2) * rng.normal(size=(n, d))).astype(dtype)
    return X, X[rng.choice(n, k, replace=False)]


def twins(centers: np.ndarray, exponents: range) -> Iterator[np.ndarray]:
    """Centers beside these, about 2^exponent from them in each column, for each exponent."""
    rng = np.random.default_rng(1)
    for exponent in exponents:
        moved = centers + rng.normal(size=centers.shape) * 2.0**exponent
        yield moved.astype(centers.dtype)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_most_rows_are_settled(dtype: type, isa: str, use_isa: Callable[[str], None]) -> None:
    use_isa(isa)
    # Columns odd and even, around blocks of them; rows and centers around blocks.
    for d, k in ((9, 33), (16, 64), (17, 97), (32, 257), (130, 40), (700, 50)):
        for n in (500, 457):
            X, centers = blobs(n, d, k, dtype)
            share = check(X, centers)
            if share == 0 and isa not in ("scalar", "avx2"):
                pytest.skip(f"{isa} on this processor has no products of 16-bit pairs")
            # One row in k is nobody's neighbour but its own; few of the others are in doubt.
            assert share > 0.85, (d, k, n)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_columns", [1, 6, 15, 40])
def test_hostile_data_is_settled_rightly(
    n_columns: int, dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    for name, X in hostile_data(dtype, 500, n_columns).items():
        for step in (3, 13):
            try:
                check(X, np.ascontiguousarray(X[::step]))
            except AssertionError as error:
                raise AssertionError(f"{name}, every {step}th row") from error


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nearly_equal_centers_leave_doubt(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    # Pairs of centers nearer to each other than integers can tell, and farther, by powers of two.
    # Side by side, they are in one group, where a third one might be hidden.
    X, centers = blobs(2000, 24, 20, dtype)
    shares = []
    for others in twins(centers, range(-24, 0)):
        pairs = np.stack([centers, others], axis=1)
        shares.append(check(X, pairs.reshape(-1, centers.shape[1])))
    assert shares[0] == 0
    if isa in ("scalar", "avx2"):
        assert shares[-1] > 0.9
        assert any(0.1 < share < 0.9 for share in shares)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_scores_decide_between_centers_of_two_groups(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    X, centers = blobs(2000, 48, 60, dtype)
    for others in twins(centers, range(-24, 0, 3)):
        share = check(X, np.concatenate([centers, others]))
        assert share > 0.9 or isa not in ("scalar", "avx2")
    # Of equal ones the first.
    assert check(X, np.concatenate([centers, centers])) > 0.9 or isa not in ("scalar", "avx2")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_not_finite_are_never_settled(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    X, centers = blobs(300, 20, 40, dtype)
    bad = np.arange(0, 300, 7)
    X[bad, 5] = np.resize([np.nan, np.inf, -np.inf], len(bad)).astype(dtype)
    nearest, _, _ = kmeans.screen(X, centers, kmeans.center_offset(centers))
    assert np.all(nearest[bad] == -1)
    assert np.all(nearest < len(centers))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_do_not_depend_on_the_prefilter(
    dtype: type, isa: str, use_isa: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(2)
    for scale in (1.0, 1e-37 if dtype is np.float32 else 1e-307, 1e-18, 1e15):
        X, centers = blobs(1000, 30, 70, dtype)
        X, centers = (X * dtype(scale), centers * dtype(scale))
        check(X, centers)
        X[::50] *= dtype(1e3)  # rows far from all others
        X[25::50] = centers[rng.integers(len(centers), size=20)]  # and on centers
        labels = []
        for bounds in ("off", "20"):
            monkeypatch.setenv("HARPY_BOUNDS", bounds)
            found = np.full(len(X), -1, dtype=np.int32)
            kmeans.assign(X, centers, kmeans.center_offset(centers), found, 2)
            labels.append(found)
        assert np.array_equal(*labels), scale
