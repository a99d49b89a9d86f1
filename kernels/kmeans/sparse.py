"""The backend (backend.py) of rows in compressed sparse row form.

Columns that a row does not store are zeros. Scores have no offset (it would fill the zeros), so
that labels are those of the dense kernels with an offset of 0, bit for bit. docs/numerics.md
defines the distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harpy.kernels.kmeans import _kmeans
from harpy.kernels.kmeans._kmeans import SUM_LIMBS, CsrPattern
from harpy.kernels.kmeans.exact import int_to_limbs
from harpy.kernels.kmeans.row_potentials import RowPotentials
from harpy.kernels.kmeans.running_sums import exact_total
from harpy.kernels.kmeans.totals import Totals


class CsrMatrix:
    """Rows that the kernels read, checked once.

    Parameters
    ----------
    data : ndarray (n_values,), float32 or float64
    indices : ndarray (n_values,), int32
        Column of each value, strictly ascending within a row.
    indptr : ndarray (n_rows + 1,), int64
        Where each row begins among the values.
    n_columns : int
    """

    def __init__(
        self,
        data: NDArray[Any],
        indices: NDArray[np.int32],
        indptr: NDArray[np.int64],
        n_columns: int,
    ) -> None:
        self.data, self.indices, self.indptr = data, indices, indptr
        self.pattern = CsrPattern(indices, indptr, n_columns)
        if len(data) != len(indices):
            raise ValueError(f"number of values must be {len(indices)}, got {len(data)}")
        self.shape: tuple[int, int] = self.pattern.shape
        self.dtype = data.dtype
        self.size = len(data)  # stored values, as scipy counts

    def __len__(self) -> int:
        return self.shape[0]

    def weighted(self, weights: NDArray[Any]) -> CsrMatrix:
        """Each value times its row's weight, in float64, and the weights as one column more."""
        ends, n_columns = self.indptr[1:], self.shape[1]
        factors = weights.astype(np.float64)
        values = self.data * np.repeat(factors, np.diff(self.indptr))
        return CsrMatrix(
            np.insert(values, ends, factors),
            np.insert(self.indices, ends, n_columns),
            self.indptr + np.arange(len(self.indptr)),
            n_columns + 1,
        )

    def take(self, rows: NDArray[np.integer]) -> CsrMatrix:
        """The given rows, as they are stored."""
        n_stored = (self.indptr[1:] - self.indptr[:-1])[rows]
        indptr = np.concatenate([[0], np.cumsum(n_stored)])
        # Where each stored value was: its row's begin, and how far it is within its row.
        stored = np.repeat(self.indptr[rows] - indptr[:-1], n_stored) + np.arange(indptr[-1])
        return CsrMatrix(self.data[stored], self.indices[stored], indptr, self.shape[1])

    def dense_rows(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[Any]:
        """The given rows with their zeros: ndarray (len(rows), n_columns)."""
        dense = np.zeros((len(rows), self.shape[1]), self.dtype)
        for i, row in enumerate(rows):
            stored = slice(self.indptr[row], self.indptr[row + 1])
            dense[i, self.indices[stored]] = self.data[stored]
        return dense


def column_ranges(
    X: CsrMatrix, n_thread: int = 1
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    """As `Backend.column_ranges`."""
    return _kmeans.sparse_column_ranges(X.data, X.pattern, n_thread)


def weighted_ranges(X: CsrMatrix, weights: NDArray[Any], n_thread: int = 1) -> NDArray[np.float64]:
    """As `Backend.weighted_ranges`."""
    return column_ranges(X.weighted(weights), n_thread)[0]


def center_offset(centers: NDArray[Any], n_thread: int = 1) -> NDArray[Any]:
    """Zeros: any other offset would fill the columns that are not stored."""
    return np.zeros(centers.shape[1], centers.dtype)


def assign(
    X: CsrMatrix,
    centers: NDArray[Any],
    offset: NDArray[Any],
    labels: NDArray[np.int32],
    n_thread: int = 1,
) -> int:
    """As `Backend.assign`."""
    if offset.any():
        raise ValueError("the offset of sparse rows must be 0")
    return _kmeans.sparse_assign(X.data, X.pattern, centers, labels, None, None, n_thread)


def assign_unseen(
    X: CsrMatrix,
    centers: NDArray[Any],
    offset: NDArray[Any],
    labels: NDArray[np.int32],
    n_thread: int = 1,
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    """As `Backend.assign_unseen`."""
    absmax, bad = column_ranges(X, n_thread)
    if bad is None:
        assign(X, centers, offset, labels, n_thread)
    return absmax, bad


def accumulate(
    X: CsrMatrix,
    labels: NDArray[np.int32] | None,
    n_clusters: int,
    exponents: NDArray[np.int32],
    n_thread: int = 1,
    weights: NDArray[Any] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `Backend.accumulate`."""
    if weights is not None:
        X = X.weighted(weights)
    limbs = np.zeros((n_clusters, X.shape[1], SUM_LIMBS), np.int64)
    counts = np.zeros(n_clusters, np.int64)
    nowhere = np.full(len(X), -1, np.int32)
    after = np.zeros(len(X), np.int32) if labels is None else labels
    _kmeans.sparse_move(X.data, X.pattern, nowhere, after, exponents, limbs, counts, n_thread)
    return limbs, counts


def squared_distances(
    X: CsrMatrix, centers: NDArray[Any], labels: NDArray[np.int32] | None, n_thread: int = 1
) -> NDArray[np.float64]:
    """As `Backend.squared_distances`."""
    return _kmeans.sparse_squared_distances(X.data, X.pattern, centers, labels, n_thread)


def closest_distances(
    X: CsrMatrix,
    candidates: NDArray[Any],
    closest: NDArray[np.float64] | None,
    n_thread: int = 1,
) -> NDArray[np.float64]:
    """Squared distance of each row to its closest center if a candidate were added: (n_candidates,
    n_rows)."""
    return _kmeans.sparse_closest_distances(X.data, X.pattern, candidates, closest, n_thread)


def squared_distance_sum(
    X: CsrMatrix,
    centers: NDArray[Any],
    labels: NDArray[np.int32] | None,
    weights: NDArray[Any] | None = None,
    n_thread: int = 1,
) -> NDArray[np.int64]:
    """As `Backend.squared_distance_sum`."""
    distances = squared_distances(X, centers, labels, n_thread)
    if weights is not None:
        distances *= weights
    return _kmeans.exact_sum(distances, n_thread)


def transform(X: CsrMatrix, centers: NDArray[Any], n_thread: int = 1) -> NDArray[Any]:
    """As `InMemoryBackend.transform`."""
    return _kmeans.sparse_transform(X.data, X.pattern, centers, n_thread)


class Potentials(RowPotentials):
    """Greedy k-means++ over one worker's rows, with the numbers of kernels.Potentials.

    The distances to all candidates are kept until one is chosen: 8 bytes a row for each.
    """

    def __init__(
        self,
        X: CsrMatrix,
        centers: NDArray[Any],
        weights: NDArray[np.float64] | None = None,
        n_thread: int = 1,
    ) -> None:
        distances = closest_distances(X, centers[:1], None, n_thread)[0]
        super().__init__(X, centers, weights, distances, n_thread)
        self._trials = distances[np.newaxis]

    def gains(self, candidates: NDArray[Any]) -> NDArray[np.int64]:
        """As `PotentialsState.gains`."""
        self._trials = closest_distances(self._X, candidates, self._distances, self._n_thread)
        return int_to_limbs([exact_total(self._fallen(trial)) for trial in self._trials])

    def _distances_with(self, candidates: NDArray[Any], index: int) -> NDArray[np.float64]:
        return self._trials[index].copy()


class Lloyd:
    """What one run of Lloyd's iteration keeps of its rows between two steps.

    With weights all values are kept a second time, weighted.

    Attributes
    ----------
    labels : ndarray (n_rows,), int32
        Of the last step; the same array all the time.
    """

    def __init__(
        self,
        X: CsrMatrix,
        n_clusters: int,
        exponents: NDArray[np.int32],
        n_thread: int = 1,
        weights: NDArray[Any] | None = None,
    ) -> None:
        self._X, self._n_thread = X, n_thread
        self._summed = X if weights is None else X.weighted(weights)
        self.labels = np.full(len(X), -1, np.int32)
        self._before = self.labels.copy()
        self._scores = np.zeros(len(X), X.dtype)  # of each row's own center at the last step
        self._centers: NDArray[Any] | None = None  # of the last step
        self._totals = Totals.zeros(n_clusters, exponents, weights is not None)
        self._counts, self._sums = self._totals.counts, self._totals.limbs

    def step(self, centers: NDArray[Any]) -> NDArray[np.int64]:
        """As LloydState.step; the centers are kept, for the next step to compare its own with."""
        self._before[:] = self.labels
        n_changed = self._totals.n_changed = self.label(centers)
        if n_changed:
            _kmeans.sparse_move(
                self._summed.data,
                self._summed.pattern,
                self._before,
                self.labels,
                self._totals.exponents,
                self._sums,
                self._counts,
                self._n_thread,
            )
        return self._totals.message

    def label(self, centers: NDArray[Any]) -> int:
        """As LloydState.label."""
        moved = None if self._centers is None else _kmeans.moved_rows(self._centers, centers)
        self._centers = centers
        return _kmeans.sparse_assign(
            self._X.data,
            self._X.pattern,
            centers,
            self.labels,
            self._scores,
            moved,
            self._n_thread,
        )
