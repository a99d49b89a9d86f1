"""This worker's rows with what all workers know of all rows: ranges, means, scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from harpy.errors import DataError
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import sparse


@dataclass
class Shard:
    """Rows `start`, `start + 1`, … of `n_rows`.

    Attributes
    ----------
    X : ndarray of shape (my rows, n_columns), C-contiguous, or sparse.CsrMatrix; float32 or float64
    n_thread : int
        Threads worth using: fewer than the worker has where there is little to do.
    exponents : ndarray of shape (n_columns,), int32
        Of each column's largest magnitude over all rows: the quanta of the exact sums.
    means : ndarray of shape (n_columns,), float64
    scatter : float
        Sum of the squared distances of all rows to their mean. 0 until `measure_scatter`.
    """

    ctx: Any
    X: Any
    start: int
    n_rows: int
    n_thread: int
    exponents: np.ndarray
    means: np.ndarray | None = None
    scatter: float = 0.0

    @property
    def kernels(self) -> Any:
        """The kernels that read X."""
        return kernels_for(self.X)

    def dense_rows(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows of mine, counted from 0, as ndarray (len(rows), n_columns)."""
        return dense_rows(self.X, rows)

    def total(self, mine: np.ndarray) -> np.ndarray:
        """Sum over all workers; a worker that is alone gets its own array back."""
        return mine if self.ctx.comm.size == 1 else self.ctx.comm.allreduce(mine)

    def measure_scatter(self, sums: np.ndarray, counts: np.ndarray) -> None:
        """Learn `means` and `scatter`, once, from the sums of any clustering of all rows: their
        total is that of the rows."""
        if self.means is None:
            self.means = kernels.column_means(sums, counts, self.exponents)
            about = self.means[np.newaxis]
            limbs = self.kernels.squared_distance_sum(self.X, about, None, n_thread=self.n_thread)
            self.scatter = exact_total(self.ctx, limbs)

    @property
    def mean_variance(self) -> float:
        """Mean of the columns' variances, the unit of scikit-learn's `tol`."""
        return self.scatter / (self.n_rows * self.X.shape[1])

    def estimate_inertia(self, centers: np.ndarray, counts: np.ndarray) -> float:
        """Inertia about the clusters' means, for progress: no pass over the rows, but rounded.
        After `measure_scatter`."""
        assert self.means is not None
        between = counts @ kernels.squared_distances(centers, self.means[np.newaxis], None)
        return max(self.scatter - float(between), 0.0)


def load_shard(
    ctx: Any, n_clusters: int, init: np.ndarray | None, absmax: np.ndarray | None
) -> Shard:
    """Load my rows and agree with the other workers on ranges, if nobody has measured them yet.

    Raises
    ------
    DataError
        A value of mine is not finite, or squares of all rows (and of `init`) could overflow.
    """
    data = ctx.data["X"]
    X = native_rows(data.load())
    start = data.rows.start
    n_rows, n_columns = data.shape
    n_thread = kernels.worthwhile_threads(ctx.n_thread, X.size, 1, n_clusters)
    if absmax is None:
        absmax, bad = kernels_for(X).column_ranges(X, n_thread)
        if bad is not None:
            refuse_not_finite(X, bad, "X", start)
        absmax = ctx.comm.allreduce(absmax, op="max")
        refuse_overflow(absmax, X.dtype, "X")
    if init is not None:
        largest = np.abs(init.reshape(-1, n_columns)).max(axis=0).astype(np.float64)
        refuse_overflow(largest, X.dtype, "init")
    return Shard(ctx, X, start, n_rows, n_thread, kernels.column_exponents(absmax))


def native_rows(rows: Any) -> Any:
    """Rows as the kernels read them: an ndarray as it is, sparse ones checked."""
    if isinstance(rows, np.ndarray):
        return rows
    return sparse.CsrMatrix(rows.data, rows.indices, rows.indptr, rows.shape[1])


def kernels_for(X: Any) -> Any:
    """The kernels that read such rows, under the same names."""
    return sparse if isinstance(X, sparse.CsrMatrix) else kernels


def dense_rows(X: Any, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """The given rows of X with all their values: ndarray (len(rows), n_columns)."""
    return X.dense_rows(rows) if isinstance(X, sparse.CsrMatrix) else X[rows]


def refuse_not_finite(rows: Any, bad: tuple[int, int], what: str, start: int = 0) -> NoReturn:
    """DataError naming the value at `bad` of `rows`, of which the first is row `start`."""
    row, column = bad
    value = dense_rows(rows, [row])[0, column]
    raise DataError(
        f"{what} has {value} at row {start + row}, column {column} (counted from 0): k-means "
        "needs finite values. Drop such rows or fill them, e.g. with sklearn.impute.SimpleImputer."
    )


def refuse_overflow(
    absmax: np.ndarray, dtype: np.dtype, what: str, names: np.ndarray | None = None
) -> None:
    """DataError naming the column whose squared values `dtype` cannot hold."""
    column = kernels.overflowing_column(absmax, dtype)
    if column is None:
        return
    named = f" ({names[column]!r})" if names is not None else ""
    wider = ", or pass float64." if np.dtype(dtype) == np.float32 else "."
    raise DataError(
        f"column {column}{named} of {what} holds a value of magnitude {absmax[column]:.3g}: "
        f"squared distances would overflow {np.dtype(dtype).name}. Scale the columns, e.g. with "
        f"sklearn.preprocessing.StandardScaler{wider}"
    )


def exact_total(ctx: Any, limbs: np.ndarray) -> float:
    """Sum of all workers' exact scalars, rounded once."""
    return kernels.exact_value(ctx.comm.allreduce(limbs))
