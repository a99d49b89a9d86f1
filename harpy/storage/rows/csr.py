"""Compressed sparse rows: the arrays of a csr_matrix, without importing scipy.

Drivers make them, workers get them from `ctx.data[name].load()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harpy.errors import DataError
from harpy.storage.rows.shares import EvenShares

MAX_COLUMNS = 2**31 - 1


@dataclass(frozen=True, eq=False)
class CsrRows(EvenShares):
    """Compressed sparse rows.

    Attributes
    ----------
    data : ndarray of shape (n_values,)
    indices : ndarray of shape (n_values,), int32
        The column of each value.
    indptr : ndarray of shape (n_rows + 1,), int64
        Row i holds the values indptr[i] to indptr[i + 1].
    n_columns : int
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n_columns: int

    @classmethod
    def of(cls, matrix: Any) -> CsrRows:
        """The rows of a scipy matrix or array; only indices of other widths are copied.

        Parameters
        ----------
        matrix : scipy.sparse matrix or array
            In CSR format.

        Returns
        -------
        CsrRows

        Raises
        ------
        DataError
            It is of another format, or its columns do not fit 32 bits.
        """
        if getattr(matrix, "format", None) != "csr" or len(matrix.shape) != 2:
            raise DataError(
                f"expected sparse rows in CSR format, got {type(matrix).__name__}: pass X.tocsr()"
            )
        n_columns = int(matrix.shape[1])
        indptr = np.ascontiguousarray(matrix.indptr, dtype=np.int64)
        n_values = int(indptr[-1])  # scipy allows for more
        given = matrix.indices[:n_values]
        indices = np.ascontiguousarray(given, dtype=np.int32)
        narrowed = indices.dtype != given.dtype
        if n_columns > MAX_COLUMNS or (narrowed and not np.array_equal(indices, given)):
            raise DataError(
                f"sparse rows may have at most {MAX_COLUMNS} columns, got {n_columns}: columns "
                "are numbered in 32 bits. Hash or select columns first."
            )
        return cls(np.ascontiguousarray(matrix.data[:n_values]), indices, indptr, n_columns)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_columns)."""
        return (len(self.indptr) - 1, self.n_columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.data.dtype

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """data, indices and indptr."""
        return (self.data, self.indices, self.indptr)

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return sum(array.nbytes for array in self.arrays)

    def __len__(self) -> int:
        return self.shape[0]

    def read_rows(self, start: int, stop: int) -> CsrRows:
        """Consecutive rows: views of the values, and an indptr of their own.

        Parameters
        ----------
        start, stop : int
            Numbers of the first row and of the one after the last.

        Returns
        -------
        CsrRows
        """
        first, last = self.indptr[start], self.indptr[stop]
        indptr = self.indptr[start : stop + 1] - first
        return CsrRows(self.data[first:last], self.indices[first:last], indptr, self.n_columns)

    def to_scipy(self) -> Any:
        """The same rows for scipy, sharing their memory.

        Returns
        -------
        scipy.sparse.csr_array
        """
        from scipy.sparse import csr_array

        return csr_array((self.data, self.indices, self.indptr), shape=self.shape)


# Rows in memory.
Rows = np.ndarray | CsrRows


def as_rows(given: Any) -> Rows:
    """Rows in memory as harpy handles them: arrays unchanged, a scipy matrix as CsrRows."""
    if hasattr(given, "tocsr"):
        return CsrRows.of(given)
    return given


def arrays_of(rows: Rows) -> tuple[np.ndarray, ...]:
    """The arrays that hold the rows: one, or the three of sparse ones."""
    return rows.arrays if isinstance(rows, CsrRows) else (rows,)
