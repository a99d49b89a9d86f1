"""Exact running sums of values that are not negative, to draw rows by: kernels.Potentials without
distances."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harpy.kernels.kmeans.exact import int_to_limbs, limbs_to_int

_HALF_BITS = 32
_BLOCK = 1 << 16  # rows of a block, whose sum is compared before its rows' sums


class RunningSums:
    """One worker's values as integers in units of 2^(exponent - 61), truncated.

    Attributes
    ----------
    units : ndarray of shape (n_rows,), int64
        Zeros until `quantise`.
    summary : ndarray of shape (4,), int64
        Limbs of the sum of all units; how many values are at least 2^exponent.
    """

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = values
        self.units = np.zeros(len(values), np.int64)
        self.summary = np.zeros(4, np.int64)

    def largest(self) -> float:
        """The largest value; 0 without rows."""
        return float(self._values.max(initial=0.0))

    def quantise(self, exponent: int) -> None:
        """Choose the units, by the largest value of all workers."""
        self.units = to_units(self._values, exponent)
        n_top = np.count_nonzero(self._values >= math.ldexp(1.0, exponent))
        self.summary = np.append(int_to_limbs([exact_total(self.units)])[0], n_top)

    def find(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each target (limbs) the first row whose running sum is not below it; the number of
        rows where there is none."""
        blocks = [self.units[i : i + _BLOCK] for i in range(0, len(self.units), _BLOCK)]
        ends = list(itertools.accumulate(map(exact_total, blocks)))
        found = []
        for target in map(limbs_to_int, targets):
            number = bisect_left(ends, target)
            if number == len(blocks):
                found.append(len(self.units))
                continue
            before = ends[number - 1] if number > 0 else 0
            found.append(number * _BLOCK + _first_reaching(blocks[number], target - before))
        return np.array(found, np.int64)


def _first_reaching(units: NDArray[np.int64], target: int) -> int:
    """The first position whose running sum is not below the target; there is one."""
    high = np.cumsum(units >> _HALF_BITS)
    low = np.cumsum(units & ((1 << _HALF_BITS) - 1))
    rows = range(len(units))
    return bisect_left(rows, target, key=lambda i: (int(high[i]) << _HALF_BITS) + int(low[i]))


def to_units(values: NDArray[np.float64], exponent: int) -> NDArray[np.int64]:
    """Truncated; below 2^62 when the exponent is that of the largest value."""
    return np.ldexp(values, 61 - max(exponent, -1022)).astype(np.int64)


def exact_total(units: NDArray[Any]) -> int:
    """The sum of integers that are not negative, whatever their number."""
    high = int((units >> _HALF_BITS).sum())
    return (high << _HALF_BITS) + int((units & ((1 << _HALF_BITS) - 1)).sum())
