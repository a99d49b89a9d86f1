"""This worker's rows with what all workers know of all rows: ranges, means, scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from harpy.errors import DataError
from harpy.jobs.kmeans_sums import ClusterSums, sums_of
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import blocked, sparse

# What a fit keeps of a row besides its values: labels, bounds, potentials.
_STATE_BYTES = 48
# The interpreter with its libraries, buffers, centers of ordinary size.
_PROCESS_BYTES = 200 << 20
WEIGHTS = "sample_weight"  # the input that holds rows' weights


@dataclass
class Shard:
    """Rows `start`, `start + 1`, … of `n_rows`.

    Attributes
    ----------
    X : ndarray of shape (my rows, n_columns), C-contiguous, sparse.CsrMatrix or SpilledRows
        Of float32 or float64.
    n_thread : int
        Threads worth using: fewer than the worker has where there is little to do.
    exponents : ndarray of shape (n_columns,), int32
        Of each column's largest magnitude over all rows: the quanta of the exact sums.
    weights : ndarray of shape (my rows,), X's dtype, or None
    sum_exponents : ndarray, int32
        The same for what is summed in an iteration: weighted rows and weights, if there are any.
    mean : ndarray of shape (n_columns,), float64
        Of all rows, weighted. None until `measure_scatter`.
    scatter : float
        Sum of the squared distances of all rows to their mean, weighted.
    mean_variance : float
        Mean of the columns' variances, not weighted: the unit of scikit-learn's `tol`.
    """

    ctx: Any
    X: Any
    start: int
    n_rows: int
    n_thread: int
    exponents: np.ndarray
    weights: np.ndarray | None
    sum_exponents: np.ndarray
    mean: np.ndarray | None = None
    scatter: float = 0.0
    mean_variance: float = 0.0

    @property
    def kernels(self) -> Any:
        """The kernels that read X."""
        return kernels_for(self.X)

    def dense_rows(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows of mine, counted from 0, as ndarray (len(rows), n_columns)."""
        return dense_rows(self.X, rows)

    def total(self, mine: np.ndarray) -> np.ndarray:
        """As the function `total`, among this shard's workers."""
        return total(self.ctx, mine)

    def sums(self, total: np.ndarray) -> ClusterSums:
        """Views of a total of what `Lloyd.step` returns."""
        return ClusterSums.from_message(total, self.sum_exponents, self.weights is not None)

    def next_centers(self, total: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, float, int]:
        """As kernels.next_centers: where they go, how far in all, how many have no weight."""
        return kernels.next_centers(total, centers, self.sum_exponents, self.n_thread)

    @property
    def most_variance(self) -> float:
        """What `mean_variance` is less than, by the columns' magnitudes alone: no pass over the
        rows while the centers move farther than that allows to stop."""
        squares = np.ldexp(8.0, 2 * self.exponents)
        return float(np.add.reduce(squares)) / len(squares)  # sooner than its method `sum`

    def measure_scatter(self, sums: ClusterSums) -> None:
        """Learn `mean`, `scatter` and `mean_variance`, once, from the sums of any clustering of all
        rows: their total is that of the rows."""
        if self.mean is not None:
            return
        self.mean = sums.mean()
        self.scatter = unweighted = self._scatter_about(self.mean, self.weights)
        if self.weights is not None:
            rows = sums_of(self.kernels, self.X, None, 1, self.exponents, n_thread=self.n_thread)
            rows.limbs, rows.counts = self.total(rows.limbs), self.total(rows.counts)
            unweighted = self._scatter_about(rows.mean(), None)
        self.mean_variance = unweighted / (self.n_rows * self.X.shape[1])

    def _scatter_about(self, mean: np.ndarray, weights: np.ndarray | None) -> float:
        about = mean[np.newaxis]
        limbs = self.kernels.squared_distance_sum(self.X, about, None, weights, self.n_thread)
        return exact_total(self.ctx, limbs)

    def inertia(self, centers: np.ndarray, labels: np.ndarray) -> float:
        """Weighted sum of the squared distances of all rows to the centers of their labels (those
        of my rows), rounded once."""
        limbs = self.kernels.squared_distance_sum(
            self.X, centers, labels, self.weights, self.n_thread
        )
        return exact_total(self.ctx, limbs)

    def estimate_inertia(self, centers: np.ndarray, weights: np.ndarray) -> float:
        """Inertia about the means of clusters of such weights, for progress: no pass over the rows,
        but rounded. After `measure_scatter`."""
        assert self.mean is not None
        between = weights @ kernels.squared_distances(centers, self.mean[np.newaxis], None)
        return max(self.scatter - float(between), 0.0)


def load_shard(
    ctx: Any, n_clusters: int, init: np.ndarray | None, absmax: np.ndarray | None
) -> Shard:
    """Load my rows and agree with the other workers on ranges, unless the driver has measured the
    columns' magnitudes `absmax`, and accepted them and `init`.

    Raises
    ------
    DataError
        A value of mine is not finite, or squares of all rows (and of `init`) could overflow; a
        weight of mine is negative, or not finite.
    """
    data = ctx.data["X"]
    X = load_rows(ctx, data)
    start = data.rows.start
    n_rows, n_columns = data.shape
    n_thread = kernels.worthwhile_threads(ctx.n_thread, X.size, 1, n_clusters, repeated=True)
    if absmax is None:
        absmax, bad = kernels_for(X).column_ranges(X, n_thread)
        if bad is not None:
            refuse_not_finite(X, bad, "X", data.place(start + bad[0]))
        absmax = ctx.comm.allreduce(absmax, op="max")
        refuse_overflow(absmax, X.dtype, "X")
        if init is not None:
            largest = np.abs(init.reshape(-1, n_columns)).max(axis=0).astype(np.float64)
            refuse_overflow(largest, X.dtype, "init")
    exponents = sum_exponents = kernels.column_exponents(absmax)
    weights = load_weights(ctx, X, start)
    if weights is not None:
        largest = kernels_for(X).weighted_ranges(X, weights, n_thread)
        largest = ctx.comm.allreduce(largest, op="max")
        refuse_weights(absmax, largest[-1])
        sum_exponents = kernels.column_exponents(largest)
    return Shard(ctx, X, start, n_rows, n_thread, exponents, weights, sum_exponents)


def load_rows(ctx: Any, data: Any) -> Any:
    """My rows as the kernels read them: in memory where this worker has enough, else in a file of
    its own, which every pass reads again."""
    if ctx.memory is None or not data.dense:
        return native_rows(data.load())
    n_mine, n_columns = len(data.rows), data.shape[1]
    needed = n_mine * (n_columns * data.dtype.itemsize + _STATE_BYTES) + _PROCESS_BYTES
    if needed <= ctx.memory:
        return native_rows(data.load())
    size = f"{n_mine * n_columns * data.dtype.itemsize / 2**30:.1f} GB"
    ctx.log(
        f"{n_mine} x {n_columns} {data.dtype} rows, {size}, exceed this worker's "
        f"{ctx.memory >> 20} MB: kept on its local disk and read in every pass"
    )
    ctx.progress(None, spilling=size)
    return data.spill()


def load_weights(ctx: Any, X: Any, start: int) -> np.ndarray | None:
    """The weights (my rows,) of my rows X, of X's dtype; None where rows have none.

    Raises
    ------
    DataError
        They are of another shape or dtype than rows of X need, negative or not finite.
    """
    if WEIGHTS not in ctx.data:
        return None
    data = ctx.data[WEIGHTS]
    expected = (ctx.data["X"].shape[0], 1)
    if data.shape != expected or data.dtype != X.dtype:
        raise DataError(
            f"{WEIGHTS} must be of shape {expected} and dtype {X.dtype}, like X, got {data.shape} "
            f"and {data.dtype}"
        )
    weights = np.ascontiguousarray(data.load(ctx.data["X"].rows)[:, 0])
    (bad,) = np.nonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise DataError(
            f"{WEIGHTS} has {weights[bad[0]]} at row {start + bad[0]} (counted from 0): weights "
            "must be finite and not negative"
        )
    return weights


def refuse_weights(absmax: np.ndarray, heaviest: float) -> None:
    """DataError for rows that weigh nothing at all, or so much that inertia could overflow."""
    if heaviest == 0:
        raise DataError(f"all {WEIGHTS} are 0: at least one row must have a weight")
    with np.errstate(over="ignore"):
        inertia = float(np.sum(np.square(absmax))) * heaviest
    if inertia > kernels.LARGEST_INERTIA:
        raise DataError(
            f"{WEIGHTS} reaches {heaviest:.3g}: weighted squared distances would overflow float64. "
            "Divide all weights by that."
        )


def save_labels(ctx: Any, labels: np.ndarray, output: str | None) -> None:
    """Give the labels of my rows to the driver, or leave them in the directory `output`."""
    if output is None:
        ctx.save("labels", labels)
    else:
        ctx.data["X"].save(output, labels)


def native_rows(rows: Any) -> Any:
    """Rows as the kernels read them: an ndarray as it is, sparse ones checked."""
    if isinstance(rows, np.ndarray):
        return rows
    return sparse.CsrMatrix(rows.data, rows.indices, rows.indptr, rows.shape[1])


def kernels_for(X: Any) -> Any:
    """The kernels that read such rows, under the same names."""
    if isinstance(X, np.ndarray):
        return kernels
    return sparse if isinstance(X, sparse.CsrMatrix) else blocked


def dense_rows(X: Any, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """The given rows of X with all their values: ndarray (len(rows), n_columns)."""
    return X[rows] if isinstance(X, np.ndarray) else X.dense_rows(rows)


def refuse_not_finite(
    rows: Any, bad: tuple[int, int], what: str, place: str | None = None
) -> NoReturn:
    """DataError naming the value at `bad` of `rows`; `place` says where that row stands."""
    row, column = bad
    value = dense_rows(rows, [row])[0, column]
    raise DataError(
        f"{what} has {value} at {place or f'row {row}'}, column {column} (counted from 0): k-means "
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


def total(ctx: Any, mine: np.ndarray) -> np.ndarray:
    """Sum over all workers; a worker that is alone gets its own array back."""
    return mine if ctx.size == 1 else ctx.comm.allreduce(mine)


def exact_total(ctx: Any, limbs: np.ndarray) -> float:
    """Sum of all workers' exact scalars, rounded once."""
    return kernels.exact_value(total(ctx, limbs))
