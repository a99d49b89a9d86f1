"""This worker's rows with what all workers know of all rows: ranges, means, scatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from harpy.errors import DataError
from harpy.kernels import kmeans as kernels


@dataclass
class Shard:
    """Rows `start`, `start + 1`, … of `n_rows`.

    Attributes
    ----------
    X : ndarray of shape (my rows, n_columns), float32 or float64, C-contiguous
    n_thread : int
        Threads worth using: fewer than the worker has where there is little to do.
    exponents : ndarray of shape (n_columns,), int32
        Of each column's largest magnitude over all rows: the quanta of the exact sums.
    means : ndarray of shape (n_columns,), float64
    scatter : float
        Sum of the squared distances of all rows to their mean. 0 until `measure_scatter`.
    """

    ctx: Any
    X: np.ndarray
    start: int
    n_rows: int
    n_thread: int
    exponents: np.ndarray
    means: np.ndarray | None = None
    scatter: float = 0.0

    def measure_scatter(self, sums: np.ndarray, counts: np.ndarray) -> None:
        """Learn `means` and `scatter`, once, from the sums of any clustering of all rows: their
        total is that of the rows."""
        if self.means is None:
            self.means = kernels.column_means(sums, counts, self.exponents)
            about = self.means[np.newaxis]
            limbs = kernels.squared_distance_sum(self.X, about, None, n_thread=self.n_thread)
            self.scatter = exact_total(self.ctx, limbs)

    @property
    def mean_variance(self) -> float:
        """Mean of the columns' variances, the unit of scikit-learn's `tol`."""
        return self.scatter / (self.n_rows * self.X.shape[1])

    def estimate_inertia(self, centers: np.ndarray, counts: np.ndarray) -> float:
        """Inertia about the clusters' means, for progress: no pass over the rows, but rounded.
        After `measure_scatter`."""
        between = counts @ np.square(centers - self.means).sum(axis=1)
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
    X = data.load()
    start = data.rows.start
    n_rows, n_columns = data.shape
    n_thread = kernels.worthwhile_threads(ctx.n_thread, len(X), n_columns, n_clusters)
    if absmax is None:
        absmax, bad = kernels.column_ranges(X, n_thread)
        if bad is not None:
            refuse_not_finite(X, bad, "X", start)
        absmax = ctx.comm.allreduce(absmax, op="max")
        refuse_overflow(absmax, X.dtype, "X")
    if init is not None:
        largest = np.abs(init.reshape(-1, n_columns)).max(axis=0).astype(np.float64)
        refuse_overflow(largest, X.dtype, "init")
    return Shard(ctx, X, start, n_rows, n_thread, kernels.column_exponents(absmax))


def refuse_not_finite(
    rows: np.ndarray, bad: tuple[int, int], what: str, start: int = 0
) -> NoReturn:
    """DataError naming the value at `bad` of `rows`, of which the first is row `start`."""
    row, column = bad
    raise DataError(
        f"{what} has {rows[bad]} at row {start + row}, column {column} (counted from 0): k-means "
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
