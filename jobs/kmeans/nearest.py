"""The nearest center of each row, or how far the rows are from theirs, as map-collective programs;
kernels do the arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from harpy.jobs.kmeans_shard import (
    exact_total,
    kernels_for,
    load_rows,
    load_weights,
    refuse_not_finite,
    refuse_overflow,
    refuse_weights,
    save_labels,
)
from harpy.kernels import kmeans as kernels


def main(ctx: Any) -> None:
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


def inertia(ctx: Any) -> float:
    """Sum of the squared distances of the rows of ctx.data["X"] to the nearest centers, rounded
    once; each times its weight, if ctx.data["sample_weight"] has some.

    Parameters
    ----------
    ctx : harpy.Context
        `params`: centers, as for `main`.

    Raises
    ------
    DataError
        As `main`; or a weight is negative or not finite, or weighted distances could overflow.
    """
    X, labels, absmax = _labelled(ctx)
    weights = load_weights(ctx, X, ctx.data["X"].rows.start)
    if weights is not None:
        heaviest = np.array([weights.max(initial=0)], dtype=np.float64)
        largest = ctx.comm.allreduce(np.concatenate([absmax, heaviest]), op="max")
        refuse_weights(largest[:-1], largest[-1])
    n_thread = kernels.worthwhile_threads(ctx.n_thread, X.size, 1, 1)
    distances = kernels_for(X).squared_distance_sum(
        X, ctx.params["centers"], labels, weights, n_thread
    )
    return exact_total(ctx, distances)


def _labelled(ctx: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """My rows, the indices of their nearest centers, and the largest magnitude of each column."""
    centers, data = ctx.params["centers"], ctx.data["X"]
    X = load_rows(ctx, data)
    n_thread = kernels.worthwhile_threads(ctx.n_thread, X.size, 1, len(centers))
    native = kernels_for(X)
    labels = np.full(len(X), -1, dtype=np.int32)
    offset = native.center_offset(centers, n_thread)
    absmax, bad = native.assign_unseen(X, centers, offset, labels, n_thread)
    if bad is not None:
        refuse_not_finite(X, bad, "X", data.place(data.rows.start + bad[0]))
    refuse_overflow(absmax, X.dtype, "X")
    return X, labels, absmax
