"""The programs for known centers: the nearest one of each row, or how far all rows are
from theirs. Kernels do the arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harpy.jobs.kmeans.shard import add_up, load_rows, load_weights, save_labels
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import NativeRows

if TYPE_CHECKING:
    from harpy.program.context import Context


def predict(ctx: Context) -> None:
    """Label the rows of ctx.data["X"]; save "labels" (int32, this worker's rows).

    Parameters
    ----------
    ctx : harpy.Context
        `params`: centers, ndarray (n_clusters, n_columns) of X's dtype; output, None or the URL of
        a directory where labels of rows in files are left.

    Raises
    ------
    DataError
        A value is not finite or its square would overflow.
    """
    _, labels, _ = _labelled(ctx)
    save_labels(ctx, labels, ctx.params["output"])


def inertia(ctx: Context) -> float:
    """Sum of the squared distances of the rows to their nearest centers, rounded once.

    Parameters
    ----------
    ctx : harpy.Context
        `params`: centers, as for `predict`; `data["X"]`: the rows; `data["sample_weight"]`, if
        there is one: how often each row counts.

    Returns
    -------
    float

    Raises
    ------
    DataError
        As `predict`; or a weight is negative or not finite, or weighted distances could overflow.
    """
    X, labels, absmax = _labelled(ctx)
    weights = load_weights(ctx, X.dtype)
    if weights is not None:
        heaviest = np.array([weights.max(initial=0)], dtype=np.float64)
        largest = ctx.comm.allreduce(np.concatenate([absmax, heaviest]), op="max")
        kernels.refuse_weights(largest[:-1], largest[-1])
    n_thread = kernels.worthwhile_threads(ctx.n_thread, X.size, 1, 1)
    limbs = kernels.backend_for(X).squared_distance_sum(
        X, ctx.params["centers"], labels, weights, n_thread
    )
    return kernels.exact_value(add_up(ctx.comm, limbs))


def _labelled(ctx: Context) -> tuple[NativeRows, np.ndarray, np.ndarray]:
    """My rows, the indices of their nearest centers, and the largest magnitude of each column."""
    centers, data = ctx.params["centers"], ctx.data["X"]
    X = load_rows(ctx)
    n_thread = kernels.worthwhile_threads(ctx.n_thread, X.size, 1, len(centers))
    backend = kernels.backend_for(X)
    labels = np.full(len(X), -1, dtype=np.int32)
    offset = backend.center_offset(centers, n_thread)
    absmax, bad = backend.assign_unseen(X, centers, offset, labels, n_thread)
    if bad is not None:
        kernels.refuse_not_finite(X, bad, "X", data.describe_row(data.rows.start + bad[0]))
    kernels.refuse_overflow(absmax, X.dtype, "X")
    return X, labels, absmax
