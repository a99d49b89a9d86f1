"""The forms in which kernels read rows: dense, compressed sparse, dense block by block. Leaves to
each form's backend (backend.py) what is done with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from harpy.kernels.kmeans.blocked import BlockedRows
from harpy.kernels.kmeans.sparse import CsrMatrix

# In memory: an array (n_rows, n_columns), C-contiguous, or compressed sparse rows.
LoadedRows: TypeAlias = NDArray[Any] | CsrMatrix
NativeRows: TypeAlias = LoadedRows | BlockedRows


def native_rows(rows: Any) -> LoadedRows:
    """Rows in memory as kernels read them.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns), or harpy.storage.CsrRows
        Of float32 or float64. Nothing is copied.

    Raises
    ------
    ValueError
        The columns of a sparse row do not ascend strictly, or are out of range.
    """
    if isinstance(rows, np.ndarray):
        return rows
    return CsrMatrix(rows.data, rows.indices, rows.indptr, rows.shape[1])


def dense_rows(X: NativeRows, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[Any]:
    """Some rows with all their values.

    Parameters
    ----------
    X : rows in any form
    rows : sequence of int
        Which, counted from 0.

    Returns
    -------
    ndarray of shape (len(rows), n_columns), X's dtype
    """
    return X[rows] if isinstance(X, np.ndarray) else X.dense_rows(rows)


def take_rows(X: NativeRows, rows: NDArray[np.integer]) -> LoadedRows:
    """The same rows as `dense_rows`, but sparse ones stay sparse."""
    return X.take(rows) if isinstance(X, CsrMatrix) else dense_rows(X, rows)


def stack_rows(parts: Sequence[LoadedRows]) -> LoadedRows:
    """Rows of one form below each other; `parts` has at least one."""
    if not all_sparse(parts):
        return np.concatenate(parts)  # type: ignore[arg-type]  # no part of arrays is sparse
    data, indices, n_stored = (
        np.concatenate(arrays)
        for arrays in zip(*((p.data, p.indices, np.diff(p.indptr)) for p in parts), strict=True)
    )
    indptr = np.concatenate([[0], np.cumsum(n_stored)])
    return CsrMatrix(data, indices, indptr, parts[0].shape[1])


def all_sparse(parts: Sequence[LoadedRows]) -> TypeGuard[Sequence[CsrMatrix]]:
    """Whether rows of one form are sparse."""
    return isinstance(parts[0], CsrMatrix)
