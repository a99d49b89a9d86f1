"""Relocation of clusters without weight by scikit-learn's rule, over the rows of all workers."""

from __future__ import annotations

import numpy as np

from harpy.jobs.kmeans.shard import Shard
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import Totals


def relocate_empty(shard: Shard, totals: Totals, centers: np.ndarray, labels: np.ndarray) -> Totals:
    """Move the rows farthest from their centers into the clusters without weight.

    Distances are those of all workers' rows to the centers they were assigned to, whatever the rows
    weigh; of equal ones the higher global row comes first.

    Parameters
    ----------
    totals : IN
        Of the step that assigned the rows, over all workers.
    centers : IN, ndarray of shape (n_clusters, n_columns)
        They were assigned to.
    labels : IN, ndarray of shape (my rows,), int32

    Returns
    -------
    Totals
        After that, the same on every worker. Those given where no row is away from its center:
        there are more clusters than distinct rows, and nothing to gain.
    """
    empty = np.flatnonzero(totals.weights == 0)
    distances = shard.backend.squared_distances(shard.X, centers, labels, shard.n_thread)
    mine = farthest(distances, np.arange(len(distances)), len(empty))
    gather = shard.comm.allgather
    far_distances = np.concatenate(gather(distances[mine]))
    far_rows = np.concatenate(gather(mine + shard.start))
    far_labels = np.concatenate(gather(labels[mine]))
    far_values = np.concatenate(gather(kernels.dense_rows(shard.X, mine)))
    far_weights = None
    if shard.weights is not None:
        far_weights = np.concatenate(gather(shard.weights[mine]))
    chosen = farthest(far_distances, far_rows, len(empty))
    if far_distances[chosen[0]] == 0:
        return totals
    totals = totals.copy()
    values = np.ascontiguousarray(far_values.reshape(-1, shard.X.shape[1])[chosen])
    weights = None if far_weights is None else far_weights[chosen]
    own_cluster = np.arange(len(chosen), dtype=np.int32)
    rows, _ = kernels.accumulate(values, own_cluster, len(chosen), totals.exponents, 1, weights)
    for row, old, new in zip(rows, far_labels[chosen], empty, strict=False):
        totals.move(row, int(old), int(new))
    return totals


def farthest(distances: np.ndarray, rows: np.ndarray, n_wanted: int) -> np.ndarray:
    """Positions of the n_wanted largest distances in descending order, of equal ones the higher
    row first.

    Parameters
    ----------
    distances : IN, ndarray of shape (n,), float64
    rows : IN, ndarray of shape (n,), int64
        Global numbers of the rows.
    """
    candidates = np.arange(len(distances))
    if len(distances) > n_wanted:
        smallest = np.partition(distances, -n_wanted)[-n_wanted]
        candidates = np.flatnonzero(distances >= smallest)
    order = np.lexsort((-rows[candidates], -distances[candidates]))
    return candidates[order[:n_wanted]]
