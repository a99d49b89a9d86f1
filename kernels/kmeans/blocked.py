"""The backend (backend.py) of dense rows that come block by block: harpy.storage's SpilledRows.

All numbers are those of the kernels for rows in memory, bit for bit: a label depends on its own row
alone, and sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harpy.kernels.kmeans import _kmeans
from harpy.kernels.kmeans._kmeans import SCALAR_LIMBS, SUM_LIMBS, center_offset
from harpy.kernels.kmeans.exact import SUM_LIMB_BITS, int_to_limbs
from harpy.kernels.kmeans.row_potentials import RowPotentials
from harpy.kernels.kmeans.running_sums import exact_total
from harpy.kernels.kmeans.totals import Totals

__all__ = [
    "Lloyd",
    "Potentials",
    "accumulate",
    "assign",
    "assign_unseen",
    "center_offset",
    "column_ranges",
    "squared_distance_sum",
    "squared_distances",
    "weighted_ranges",
]


class BlockedRows(Protocol):
    """Dense rows (n_rows, n_columns) of which only some are in memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_columns)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""

    @property
    def size(self) -> int:
        """Values."""

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """All rows in order: number of the block's first row and the block, (some rows, n_columns),
        which is good until the next one is asked for."""

    def dense_rows(self, numbers: Sequence[int] | NDArray[np.integer], /) -> NDArray[Any]:
        """Some rows, counted from 0: (len(numbers), n_columns)."""


def column_ranges(
    X: BlockedRows, n_thread: int = 1
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    """As `Backend.column_ranges`."""
    absmax, first_bad = np.zeros(X.shape[1]), None
    for start, block in X.blocks():
        largest, bad = _kmeans.column_ranges(block, n_thread)
        np.maximum(absmax, largest, out=absmax)
        if bad is not None and first_bad is None:
            first_bad = (start + bad[0], bad[1])
    return absmax, first_bad


def weighted_ranges(
    X: BlockedRows, weights: NDArray[Any], n_thread: int = 1
) -> NDArray[np.float64]:
    """As `Backend.weighted_ranges`."""
    absmax = np.zeros(X.shape[1] + 1)
    for start, block in X.blocks():
        mine = weights[start : start + len(block)]
        np.maximum(absmax, _kmeans.weighted_ranges(block, mine, n_thread), out=absmax)
    return absmax


def assign(
    X: BlockedRows,
    centers: NDArray[Any],
    offset: NDArray[Any],
    labels: NDArray[np.int32],
    n_thread: int = 1,
) -> int:
    """As `Backend.assign`."""
    return sum(
        _kmeans.assign(block, centers, offset, labels[start : start + len(block)], n_thread)
        for start, block in X.blocks()
    )


def assign_unseen(
    X: BlockedRows,
    centers: NDArray[Any],
    offset: NDArray[Any],
    labels: NDArray[np.int32],
    n_thread: int = 1,
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    """As `Backend.assign_unseen`."""
    absmax, first_bad = np.zeros(X.shape[1]), None
    for start, block in X.blocks():
        mine = labels[start : start + len(block)]
        largest, bad = _kmeans.assign_unseen(block, centers, offset, mine, n_thread)
        np.maximum(absmax, largest, out=absmax)
        if bad is not None and first_bad is None:
            first_bad = (start + bad[0], bad[1])
    return absmax, first_bad


def accumulate(
    X: BlockedRows,
    labels: NDArray[np.int32] | None,
    n_clusters: int,
    exponents: NDArray[np.int32],
    n_thread: int = 1,
    weights: NDArray[Any] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `Backend.accumulate`."""
    totals = Totals.zeros(n_clusters, exponents, weights is not None)
    for start, block in X.blocks():
        mine = slice(start, start + len(block))
        to = np.zeros(len(block), np.int32) if labels is None else labels[mine]
        _add(totals, block, to, None if weights is None else weights[mine], n_thread)
    return totals.limbs, totals.counts


def squared_distances(
    X: BlockedRows, centers: NDArray[Any], labels: NDArray[np.int32] | None, n_thread: int = 1
) -> NDArray[np.float64]:
    """As `Backend.squared_distances`."""
    distances = np.empty(len(X))
    for start, block in X.blocks():
        mine = slice(start, start + len(block))
        own = None if labels is None else labels[mine]
        distances[mine] = _kmeans.squared_distances(block, centers, own, n_thread)
    return distances


def squared_distance_sum(
    X: BlockedRows,
    centers: NDArray[Any],
    labels: NDArray[np.int32] | None,
    weights: NDArray[Any] | None = None,
    n_thread: int = 1,
) -> NDArray[np.int64]:
    """As `Backend.squared_distance_sum`."""
    total = np.zeros(SCALAR_LIMBS, np.int64)
    for start, block in X.blocks():
        mine = slice(start, start + len(block))
        total += _kmeans.squared_distance_sum(
            block,
            centers,
            None if labels is None else labels[mine],
            None if weights is None else weights[mine],
            n_thread,
        )
    return total


def _add(
    totals: Totals,
    rows: NDArray[Any],
    labels: NDArray[np.int32],
    weights: NDArray[Any] | None,
    n_thread: int,
    sign: int = 1,
) -> None:
    """Add the rows to the sums of their labels; with sign = -1 take them out."""
    limbs, counts = _kmeans.accumulate(
        rows, labels, totals.n_clusters, totals.exponents, n_thread, weights
    )
    sums = totals.limbs
    sums += sign * limbs
    totals.counts[:] += sign * counts
    # Digits of 48 bits again, the sign in the last: any number of blocks may follow.
    for digit in range(SUM_LIMBS - 1):
        carry = sums[..., digit] >> SUM_LIMB_BITS
        sums[..., digit] -= carry << SUM_LIMB_BITS
        sums[..., digit + 1] += carry


class Lloyd:
    """What one run of Lloyd's iteration keeps of its rows between two steps: labels and sums.

    Attributes
    ----------
    labels : ndarray (n_rows,), int32
        Of the last step; the same array all the time.
    """

    def __init__(
        self,
        X: BlockedRows,
        n_clusters: int,
        exponents: NDArray[np.int32],
        n_thread: int = 1,
        weights: NDArray[Any] | None = None,
    ) -> None:
        self._X, self._weights, self._n_thread = X, weights, n_thread
        self._totals = Totals.zeros(n_clusters, exponents, weights is not None)
        self.labels = np.full(len(X), -1, np.int32)

    def step(self, centers: NDArray[Any]) -> NDArray[np.int64]:
        """As LloydState.step."""
        offset = center_offset(centers, self._n_thread)
        n_changed = 0
        for start, block in self._X.blocks():
            mine = slice(start, start + len(block))
            before = self.labels[mine].copy()
            n_changed += _kmeans.assign(block, centers, offset, self.labels[mine], self._n_thread)
            self._move(block, before, mine)
        self._totals.n_changed = n_changed
        return self._totals.message

    def _move(self, block: NDArray[Any], before: NDArray[np.int32], mine: slice) -> None:
        """Let the sums follow the rows of a block whose label changed."""
        (changed,) = np.nonzero(before != self.labels[mine])
        if len(changed) == 0:
            return
        rows = block if len(changed) == len(block) else block[changed]
        weights = None if self._weights is None else self._weights[mine][changed]
        _add(self._totals, rows, self.labels[mine][changed], weights, self._n_thread)
        if before[0] >= 0:  # not the first step
            _add(self._totals, rows, before[changed], weights, self._n_thread, sign=-1)

    def label(self, centers: NDArray[Any]) -> int:
        """As LloydState.label."""
        offset = center_offset(centers, self._n_thread)
        return assign(self._X, centers, offset, self.labels, self._n_thread)


class Potentials(RowPotentials):
    """Greedy k-means++ over one worker's rows, with the numbers of kernels.Potentials.

    24 bytes a row; two passes over the rows for each center.
    """

    def __init__(
        self,
        X: BlockedRows,
        centers: NDArray[Any],
        weights: NDArray[np.float64] | None = None,
        n_thread: int = 1,
    ) -> None:
        distances = squared_distances(X, centers[:1], None, n_thread)
        super().__init__(X, centers, weights, distances, n_thread)

    def gains(self, candidates: NDArray[Any]) -> NDArray[np.int64]:
        """As `PotentialsState.gains`."""
        gains = [0] * len(candidates)
        for start, block in self._X.blocks():
            mine = slice(start, start + len(block))
            for c in range(len(candidates)):
                gains[c] += exact_total(
                    self._fallen(self._closest(block, candidates[c], mine), mine)
                )
        return int_to_limbs(gains)

    def _closest(
        self, block: NDArray[Any], candidate: NDArray[Any], mine: slice
    ) -> NDArray[np.float64]:
        center = candidate[np.newaxis]
        distances = _kmeans.squared_distances(block, center, None, self._n_thread)
        return np.minimum(distances, self._distances[mine], out=distances)

    def _distances_with(self, candidates: NDArray[Any], index: int) -> NDArray[np.float64]:
        for start, block in self._X.blocks():
            mine = slice(start, start + len(block))
            self._distances[mine] = self._closest(block, candidates[index], mine)
        return self._distances
