"""The nearest center of each row, as a map-collective program; kernels do the arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from harpy.jobs.kmeans_shard import (
    kernels_for,
    load_rows,
    refuse_not_finite,
    refuse_overflow,
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
    save_labels(ctx, labels, ctx.params["output"])
