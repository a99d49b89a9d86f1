"""This worker's rows, what all workers know of all rows, and the sums over all workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harpy.errors import DataError
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import WEIGHTS, Backend, LloydState, NativeRows, Totals

if TYPE_CHECKING:
    from harpy.program.context import Context

# Bytes that a fit keeps for a row besides its values: labels, bounds, potentials.
_STATE_BYTES = 48
# Bytes of the interpreter with its libraries, of buffers, and of centers of ordinary size.
_PROCESS_BYTES = 200 << 20


class Collectives(Protocol):
    """Of `Context.comm` what is called for a shard."""

    @property
    def rank(self) -> int:
        """This worker's number."""

    @property
    def size(self) -> int:
        """The number of workers."""

    def allreduce(self, array: np.ndarray, op: str = "sum") -> np.ndarray:
        """The arrays of all ranks combined element by element by "sum", "max" or "min"."""

    def allgather(self, array: np.ndarray) -> list[np.ndarray]:
        """The arrays of all ranks, in rank order."""


@dataclass(frozen=True)
class Shard:
    """Rows `start`, `start + 1`, … of `n_rows`.

    Attributes
    ----------
    comm : Collectives
        Among the workers whose shards make up all rows.
    progress : callable
        `Context.progress`.
    X : ndarray of shape (my rows, n_columns), C-contiguous, CsrMatrix or BlockedRows
        Of float32 or float64.
    n_thread : int
        Threads worth using: fewer than the worker has where there is little to do.
    exponents : ndarray of shape (n_columns,), int32
        Of each column's largest magnitude over all rows: the quanta of the exact sums.
    weights : ndarray of shape (my rows,), X's dtype, or None
    sum_exponents : ndarray of shape (n_columns,) or (n_columns + 1,), int32
        The same for what is summed in an iteration: weighted rows and weights, if there are any.
    """

    comm: Collectives
    progress: Callable[..., None]
    X: NativeRows
    start: int
    n_rows: int
    n_thread: int
    exponents: np.ndarray
    weights: np.ndarray | None
    sum_exponents: np.ndarray

    @property
    def backend(self) -> Backend[Any]:
        """The kernels that read X."""
        return kernels.backend_for(self.X)

    def lloyd(self, n_clusters: int) -> LloydState:
        """A run of Lloyd's iteration over my rows, at its beginning."""
        return self.backend.Lloyd(
            self.X, n_clusters, self.sum_exponents, self.n_thread, self.weights
        )

    def add_up(self, mine: np.ndarray) -> np.ndarray:
        """As the function `add_up`, among this shard's workers."""
        return add_up(self.comm, mine)

    def allreduce(self, message: np.ndarray) -> Totals:
        """The totals of all workers' rows, from what each worker's `LloydState.step` gave: one
        allreduce. A worker that is alone shares the array with the state."""
        return Totals(add_up(self.comm, message), self.sum_exponents, self.weights is not None)

    def inertia(self, centers: np.ndarray, labels: np.ndarray) -> float:
        """Weighted sum of the squared distances of all rows to the centers of their labels, rounded
        once.

        Parameters
        ----------
        centers : IN, ndarray of shape (n_clusters, n_columns)
        labels : IN, ndarray of shape (my rows,), int32
        """
        limbs = self.backend.squared_distance_sum(
            self.X, centers, labels, self.weights, self.n_thread
        )
        return kernels.exact_value(self.add_up(limbs))


def add_up(comm: Collectives, mine: np.ndarray) -> np.ndarray:
    """Sum of all workers' arrays; a worker that is alone gets its own array back."""
    return mine if comm.size == 1 else comm.allreduce(mine)


def load_shard(
    ctx: Context, n_clusters: int, init: np.ndarray | None, absmax: np.ndarray | None
) -> Shard:
    """Load my rows and agree with the other workers on ranges.

    Parameters
    ----------
    n_clusters : int
        It says how many threads are worth using.
    init : IN, ndarray of shape (…, n_columns), or None
        Centers to start from.
    absmax : IN, ndarray of shape (n_columns,), float64, or None
        Largest magnitude of each column of all rows, where the driver has measured and accepted it,
        and `init`: my rows are not read for it.

    Raises
    ------
    DataError
        A value of mine is not finite, or squares of all rows (and of `init`) could overflow; a
        weight of mine is negative, or not finite.
    """
    data = ctx.data["X"]
    X = load_rows(ctx)
    start = data.rows.start
    n_rows, n_columns = data.shape
    n_thread = kernels.worthwhile_threads(ctx.n_thread, X.size, 1, n_clusters, repeated=True)
    backend: Backend[Any] = kernels.backend_for(X)
    if absmax is None:
        absmax, bad = backend.column_ranges(X, n_thread)
        if bad is not None:
            kernels.refuse_not_finite(X, bad, "X", data.describe_row(start + bad[0]))
        absmax = ctx.comm.allreduce(absmax, op="max")
        kernels.refuse_overflow(absmax, X.dtype, "X")
        if init is not None:
            largest = np.abs(init.reshape(-1, n_columns)).max(axis=0).astype(np.float64)
            kernels.refuse_overflow(largest, X.dtype, "init")
    exponents = sum_exponents = kernels.column_exponents(absmax)
    weights = load_weights(ctx, X.dtype)
    if weights is not None:
        largest = backend.weighted_ranges(X, weights, n_thread)
        largest = ctx.comm.allreduce(largest, op="max")
        kernels.refuse_weights(absmax, largest[-1])
        sum_exponents = kernels.column_exponents(largest)
    return Shard(
        ctx.comm, ctx.progress, X, start, n_rows, n_thread, exponents, weights, sum_exponents
    )


def load_rows(ctx: Context) -> NativeRows:
    """My rows as the kernels read them: in memory where this worker has enough, else in a file of
    its own, which every pass reads again."""
    data = ctx.data["X"]
    if ctx.memory is None or not data.dense:
        return kernels.native_rows(data.load())
    n_mine, n_columns = len(data.rows), data.shape[1]
    needed = n_mine * (n_columns * data.dtype.itemsize + _STATE_BYTES) + _PROCESS_BYTES
    if needed <= ctx.memory:
        return kernels.native_rows(data.load())
    size = f"{n_mine * n_columns * data.dtype.itemsize / 2**30:.1f} GB"
    ctx.log(
        f"{n_mine} x {n_columns} {data.dtype} rows, {size}, exceed this worker's "
        f"{ctx.memory >> 20} MB: kept on its local disk and read in every pass"
    )
    ctx.progress(None, spilling=size)
    return data.spill()


def load_weights(ctx: Context, dtype: np.dtype[Any]) -> np.ndarray | None:
    """The weights of my rows (my rows,), of the rows' dtype; None where rows have none.

    Raises
    ------
    DataError
        They are of another shape or dtype than rows need, negative or not finite.
    """
    if WEIGHTS not in ctx.data:
        return None
    data, X = ctx.data[WEIGHTS], ctx.data["X"]
    expected = (X.shape[0], 1)
    if data.shape != expected or data.dtype != dtype:
        raise DataError(
            f"{WEIGHTS} must be of shape {expected} and dtype {dtype}, like X, got {data.shape} "
            f"and {data.dtype}"
        )
    loaded = data.load(X.rows)
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{WEIGHTS} must be an array of all values, got sparse rows")
    weights = np.ascontiguousarray(loaded[:, 0])
    (bad,) = np.nonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise DataError(
            f"{WEIGHTS} has {weights[bad[0]]} at row {X.rows.start + bad[0]} (counted from 0): "
            "weights must be finite and not negative"
        )
    return weights


def save_labels(ctx: Context, labels: np.ndarray, output: str | None) -> None:
    """Give the labels of my rows to the driver, or leave them in the directory `output`."""
    if output is None:
        ctx.save("labels", labels)
    else:
        ctx.data["X"].save(output, labels)
