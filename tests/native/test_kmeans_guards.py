"""What kernels refuse, and the floating-point environment they bring along and give back."""

from __future__ import annotations

import ctypes
import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from harpy.errors import ConfigError
from harpy.kernels import kmeans
from tests.support.rows.hostile import DTYPES, hostile_data

FLUSH_TO_ZERO, DENORMALS_ARE_ZERO, ROUND_DOWN = 1 << 15, 1 << 6, 1 << 13


@contextmanager
def control_word(bits: int) -> Iterator[ctypes.c_uint32]:
    """Set bits of MXCSR for this thread, through glibc's fenv_t (MXCSR is its last word)."""
    libm = ctypes.CDLL("libm.so.6")
    found, changed = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    libm.fegetenv(found)
    libm.fegetenv(changed)
    changed[7] |= bits
    libm.fesetenv(changed)
    now = (ctypes.c_uint32 * 8)()
    try:
        yield lambda: (libm.fegetenv(now), now[7] & 0xFFC0)[1]
    finally:
        libm.fesetenv(found)


def everything(X: np.ndarray, n_thread: int) -> list[bytes]:
    centers = np.ascontiguousarray(X[::60])
    offset = kmeans.center_offset(centers)
    exponents = np.full(X.shape[1], 3, np.int32)
    labels = np.full(len(X), -1, np.int32)
    kmeans.assign(X, centers, offset, labels, n_thread)
    limbs, counts = kmeans.accumulate(X, labels, len(centers), exponents, n_thread)
    means = kmeans.centers_from_sums(limbs, counts, exponents, X.dtype)
    distances = kmeans.squared_distances(X, centers, labels, n_thread)
    message = np.concatenate([[0], counts, limbs.ravel()])
    moved, shift, _ = kmeans.next_centers(message, centers, exponents, n_thread)
    transformed = kmeans.transform(X, centers)
    arrays = (labels, limbs, offset, means, distances, transformed, moved, np.float64(shift))
    return [np.asarray(a).tobytes() for a in arrays]


@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="sets MXCSR through glibc's fenv_t",
)
@pytest.mark.parametrize("bits", [FLUSH_TO_ZERO | DENORMALS_ARE_ZERO, ROUND_DOWN])
@pytest.mark.parametrize("dtype", DTYPES)
def test_environment_of_the_caller_changes_nothing_and_is_given_back(
    dtype: type, bits: int
) -> None:
    for name in ("subnormal", "offset 1e4"):
        X = hostile_data(dtype)[name]
        expected = everything(X, 2)
        with control_word(bits) as read:
            before = read()
            got = everything(X, 2)
            after = read()
        assert before & bits == bits
        assert got == expected, name
        assert after == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_thread", [1, 4])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_value_that_is_not_finite_is_named(
    dtype: type, n_thread: int, bad: float
) -> None:
    X = np.ones((5000, 3), dtype)
    X[4000, 0] = bad
    X[3001, 2] = bad
    X[3001, 1] = 7
    absmax, at = kmeans.column_ranges(X, n_thread)
    assert at == (3001, 2)
    assert absmax.tolist() == [1.0, 7.0, 1.0]


def test_ranges_are_the_largest_magnitudes() -> None:
    X = np.array([[1.0, -0.0, 5e-324], [-3.0, 0.0, 0.0]])
    absmax, at = kmeans.column_ranges(X)
    assert (absmax.tolist(), at) == ([3.0, 0.0, 5e-324], None)
    assert kmeans.column_exponents(absmax).tolist() == [1, 0, -1074]
    assert kmeans.column_ranges(np.empty((0, 2)))[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("dtype", "fits", "overflows"), [(np.float32, 4.6e18, 4.7e18), (np.float64, 2.0**479, 2.0**481)]
)
def test_squares_that_overflow_are_blamed_on_a_column(
    dtype: type, fits: float, overflows: float
) -> None:
    assert kmeans.overflowing_column(np.array([1.0, fits]), dtype) is None
    assert kmeans.overflowing_column(np.array([1.0, overflows]), dtype) == 1
    many = np.full(100, fits)
    assert kmeans.overflowing_column(many, dtype) == 0
    assert kmeans.overflowing_column(np.array([1e300, 1e308]), dtype) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_largest_accepted_magnitudes_stay_finite(dtype: type) -> None:
    largest = 4.6e18 if dtype is np.float32 else 2.0**479
    X = np.array([[largest], [-largest], [largest / 2]], dtype)
    labels = np.full(3, -1, np.int32)
    for offset in (X[0], -X[0], np.zeros(1, dtype)):
        kmeans.assign(X, np.ascontiguousarray(X[:2]), offset, labels)
        assert labels.tolist() == [0, 1, 0]
    distances = kmeans.squared_distances(X, X[:2].astype(np.float64), labels[::-1].copy())
    assert math.isfinite(kmeans.exact_value(kmeans.exact_sum(np.tile(distances, 1000))))


def test_unknown_instruction_set_lists_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARPY_ISA", "mmx")
    with pytest.raises(ConfigError, match=r"HARPY_ISA=mmx: this processor has .*scalar"):
        kmeans.transform(np.ones((1, 1)), np.ones((1, 1)))


def test_shapes_are_checked_before_memory_is_touched() -> None:
    X, centers = np.ones((4, 3)), np.ones((2, 3))
    offset, labels, exponents = np.zeros(3), np.zeros(4, np.int32), np.zeros(3, np.int32)
    with pytest.raises(ValueError, match="number of columns of centers must be 3, got 2"):
        kmeans.assign(X, np.ones((2, 2)), offset, labels)
    with pytest.raises(ValueError, match="length of offset must be 3, got 1"):
        kmeans.assign(X, centers, np.zeros(1), labels)
    with pytest.raises(ValueError, match="number of labels must be 4, got 3"):
        kmeans.assign(X, centers, offset, labels[:3])
    with pytest.raises(ValueError, match="number of exponents must be 3, got 2"):
        kmeans.Lloyd(X, 2, exponents[:2])
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got \[0, 2\]"):
        kmeans.accumulate(X, np.array([0, 1, 2, 0], np.int32), 2, exponents)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got \[-1, 0\]"):
        kmeans.squared_distances(X, centers, np.array([0, 0, 0, -1], np.int32))
    with pytest.raises(ValueError, match="n_thread must be at least 1, got 0"):
        kmeans.assign(X, centers, offset, labels, 0)
    with pytest.raises(ValueError, match="need at least one center"):
        kmeans.assign(X, np.ones((0, 3)), offset, labels)


def test_layouts_and_dtypes_that_would_be_misread_are_refused() -> None:
    centers = np.ones((2, 3))
    with pytest.raises(ValueError, match="contiguous"):
        kmeans.transform(np.ones((3, 4)).T, centers)
    with pytest.raises((ValueError, TypeError)):
        kmeans.transform(np.ones((4, 3), np.int64), centers)
    with pytest.raises((ValueError, TypeError)):
        kmeans.assign(
            np.ones((4, 3), np.float32), centers, np.zeros(3, np.float32), np.zeros(4, np.int32)
        )


def test_read_only_rows_are_accepted() -> None:
    X = np.ones((4, 3))
    X.flags.writeable = False
    assert kmeans.transform(X, X[:1]).tolist() == [[0.0]] * 4
