"""Hostile data with holes: what every bit-for-bit test of sparse rows runs over."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from harpy.kernels.kmeans import sparse
from tests.support.rows.hostile import hostile_data


def hostile_sparse(dtype: type, n: int = 700, d: int = 7) -> dict[str, csr_matrix]:
    """Named matrices (n, d) that leave six of ten values out; each has rows and a column without
    any value, rows with nearly all of them, and stored zeros."""
    rng = np.random.default_rng(21)
    cases = {}
    for name, dense in hostile_data(dtype, n, d).items():
        stored = rng.random((n, d)) < 0.4
        stored[::37] = False
        stored[5::41] = True
        stored[:, d // 2] = False
        dense[3::29] = 0  # of these the stored ones stay stored
        rows, columns = np.nonzero(stored)
        starts = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
        cases[name] = csr_matrix((dense[rows, columns], columns, starts), shape=(n, d))
    return cases


def rows_of(X: csr_matrix) -> sparse.CsrMatrix:
    """A canonical scipy matrix as the kernels read it."""
    return sparse.CsrMatrix(
        X.data, X.indices.astype(np.int32), X.indptr.astype(np.int64), X.shape[1]
    )
