"""Limbs of exact sums and the integers they stand for; how many threads are worth starting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Multiply-adds from which on a thread is worth its start and its wait at the barrier, which cost
# most on a busy node; half as many where the thread is awake already.
WORK_PER_THREAD = 1 << 20

SUM_LIMB_BITS = 48
SCALAR_LIMB_BITS = 32
# Exact scalars are integers in units of the smallest subnormal.
_SCALAR_UNIT = 1 << 1074


def limbs_to_int(limbs: NDArray[np.int64]) -> int:
    """The integer of a sum's limbs (48 bits each, any sign)."""
    return sum(int(limb) << (SUM_LIMB_BITS * i) for i, limb in enumerate(limbs))


def int_to_limbs(values: Sequence[int]) -> NDArray[np.int64]:
    """Limbs (n, 3) of integers below 2^127."""
    mask = (1 << SUM_LIMB_BITS) - 1
    digits = [(v & mask, v >> SUM_LIMB_BITS & mask, v >> 2 * SUM_LIMB_BITS) for v in values]
    return np.array(digits, dtype=np.int64).reshape(len(digits), 3)


def exact_value(limbs: NDArray[np.int64]) -> float:
    """Round an exact scalar sum once: the float64 that `math.fsum` gives; inf beyond the range.

    Parameters
    ----------
    limbs : ndarray of shape (68,), int64
        From `exact_sum`, or the elementwise sum of several.
    """
    digits = enumerate(limbs.tolist())  # most are 0
    total = sum(digit << (SCALAR_LIMB_BITS * i) for i, digit in digits if digit)
    try:
        return total / _SCALAR_UNIT  # Python divides integers with one correct rounding
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def worthwhile_threads(
    n_thread: int, n_rows: int, n_columns: int, n_clusters: int, repeated: bool = False
) -> int:
    """How many of n_thread threads to use for an E-step of this shape: at least one.

    repeated: such steps will follow each other, as this one may follow another.
    """
    work = n_rows * n_columns * n_clusters
    if repeated:
        work *= 2
    return max(1, min(n_thread, work // WORK_PER_THREAD))
