"""The kernels for rows in compressed sparse row form, under the names of the dense ones.

Columns that a row does not store are zeros. Scores have no offset (it would fill the zeros), so
that labels are those of the dense kernels with an offset of 0, bit for bit. docs/numerics.md
defines the distances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harpy.kernels.kmeans import _kmeans
from harpy.kernels.kmeans._kmeans import SUM_LIMBS, CsrPattern


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

    def dense_rows(self, rows: NDArray[np.integer]) -> NDArray[Any]:
        """The given rows with their zeros: ndarray (len(rows), n_columns)."""
        dense = np.zeros((len(rows), self.shape[1]), self.dtype)
        for i, row in enumerate(rows):
            stored = slice(self.indptr[row], self.indptr[row + 1])
            dense[i, self.indices[stored]] = self.data[stored]
        return dense


def column_ranges(
    X: CsrMatrix, n_thread: int = 1
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    return _kmeans.sparse_column_ranges(X.data, X.pattern, n_thread)


def center_offset(centers: NDArray[Any]) -> NDArray[Any]:
    """Zeros: any other offset would fill the columns that are not stored."""
    return np.zeros(centers.shape[1], centers.dtype)


def assign(
    X: CsrMatrix,
    centers: NDArray[Any],
    offset: NDArray[Any],
    labels: NDArray[np.int32],
    n_thread: int = 1,
) -> int:
    if offset.any():
        raise ValueError("the offset of sparse rows must be 0")
    return _kmeans.sparse_assign(X.data, X.pattern, centers, labels, None, None, n_thread)


def accumulate(
    X: CsrMatrix,
    labels: NDArray[np.int32] | None,
    n_clusters: int,
    exponents: NDArray[np.int32],
    n_thread: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    limbs = np.zeros((n_clusters, X.shape[1], SUM_LIMBS), np.int64)
    counts = np.zeros(n_clusters, np.int64)
    nowhere = np.full(len(X), -1, np.int32)
    after = np.zeros(len(X), np.int32) if labels is None else labels
    _kmeans.sparse_move(X.data, X.pattern, nowhere, after, exponents, limbs, counts, n_thread)
    return limbs, counts


def squared_distances(
    X: CsrMatrix, centers: NDArray[Any], labels: NDArray[np.int32] | None, n_thread: int = 1
) -> NDArray[np.float64]:
    return _kmeans.sparse_squared_distances(X.data, X.pattern, centers, labels, n_thread)


def closest_distances(
    X: CsrMatrix,
    candidates: NDArray[Any],
    closest: NDArray[np.float64] | None,
    n_thread: int = 1,
) -> NDArray[np.float64]:
    return _kmeans.sparse_closest_distances(X.data, X.pattern, candidates, closest, n_thread)


def transform(X: CsrMatrix, centers: NDArray[Any], n_thread: int = 1) -> NDArray[Any]:
    return _kmeans.sparse_transform(X.data, X.pattern, centers, n_thread)


class Lloyd:
    """What one run of Lloyd's iteration keeps of its rows between two steps.

    Attributes
    ----------
    labels : ndarray (n_rows,), int32
        Of the last step; the same array all the time.
    """

    def __init__(
        self, X: CsrMatrix, n_clusters: int, exponents: NDArray[np.int32], n_thread: int = 1
    ) -> None:
        self._X, self._exponents, self._n_thread = X, exponents, n_thread
        self.labels = np.full(len(X), -1, np.int32)
        self._before = self.labels.copy()
        self._scores = np.zeros(len(X), X.dtype)  # of each row's own center at the last step
        self._centers: NDArray[Any] | None = None  # of the last step
        n_sums = n_clusters * X.shape[1] * SUM_LIMBS
        self._message = np.zeros(1 + n_clusters + n_sums, np.int64)
        self._counts = self._message[1 : 1 + n_clusters]
        self._sums = self._message[1 + n_clusters :].reshape(n_clusters, X.shape[1], SUM_LIMBS)

    def step(self, centers: NDArray[Any]) -> NDArray[np.int64]:
        """Assign the rows to their nearest centers and bring the exact sums up to date.

        Parameters
        ----------
        centers : ndarray (n_clusters, n_columns)
            Left as they are by the caller, too: the next step compares its own with them.

        Returns
        -------
        ndarray of int64
            Rows whose label changed, counts (n_clusters,) and limbs (n_clusters, n_columns, 3) in
            one array, which adds elementwise over workers. It is the state's own: to be read, until
            the next step.
        """
        self._before[:] = self.labels
        self._message[0] = self.label(centers)
        if self._message[0]:
            _kmeans.sparse_move(
                self._X.data,
                self._X.pattern,
                self._before,
                self.labels,
                self._exponents,
                self._sums,
                self._counts,
                self._n_thread,
            )
        return self._message

    def label(self, centers: NDArray[Any]) -> int:
        """Only assign: after the last step. Returns how many labels changed."""
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
