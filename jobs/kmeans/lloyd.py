"""Lloyd's k-means as a map-collective program: load, seed, loop (assign, allreduce, average).

Arithmetic is left to harpy.kernels.kmeans, initial centers to seeding.py and parallel_seeding.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.errors import DataError
from harpy.jobs.kmeans.journal import Clustering, Journal, Position
from harpy.jobs.kmeans.parallel_seeding import scalable_plus_plus
from harpy.jobs.kmeans.parameters import Parameters
from harpy.jobs.kmeans.relocation import relocate_empty
from harpy.jobs.kmeans.seeding import seed_centers, shared_random_state
from harpy.jobs.kmeans.shard import Shard, load_shard, save_labels
from harpy.jobs.kmeans.trace import Trace

if TYPE_CHECKING:
    from harpy.program.context import Context


def main(ctx: Context) -> dict[str, Any]:
    """Cluster the rows of ctx.data["X"]; save "labels" (int32, this worker's rows).

    Rows may have weights, ctx.data["sample_weight"]: a row of weight w counts w times in centers,
    inertia and draws, but not in the tolerance, as in scikit-learn.

    Parameters
    ----------
    ctx : harpy.Context
        With `params` as in `Parameters`, `data["X"]` of shape (n_rows, n_columns), float32 or
        float64, and optionally `data["sample_weight"]` of shape (n_rows, 1) and the same dtype.

    Returns
    -------
    dict
        cluster_centers: ndarray (n_clusters, n_columns) of X's dtype; inertia: float; n_iter: int;
        n_distinct: int, clusters that have rows; random_state: the generator's state afterwards,
        or as given where nothing was drawn; courses: with `verbose` a dict of each run's `Course`.

    Raises
    ------
    DataError
        A value is not finite or its square would overflow, a weight is negative, or there are
        fewer rows than clusters.

    References
    ----------
    S. Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28 (1982).
    """
    params = Parameters.from_mapping(ctx.params)
    given = None if isinstance(params.init, str) else params.init
    random = shared_random_state(ctx, params.random_state) if given is None else None
    shard = load_shard(ctx, params.n_clusters, given, params.absmax)
    if shard.n_rows < params.n_clusters:
        raise DataError(f"n_samples={shard.n_rows} should be >= n_clusters={params.n_clusters}.")
    journal, trace = Journal(ctx, shard, random), Trace(shard, params, ctx.watched)
    best = journal.best
    for run in range(journal.n_ended, params.n_init):
        start = journal.start() or Position(initial_centers(shard, params, run, random))
        trace.begin(run, start.course)
        found = lloyd(shard, start, params.max_iter, trace, journal)
        if best is None or (
            found.inertia < best.inertia
            and not same_clustering(shard, found.labels, best.labels, params.n_clusters)
        ):
            best = found
        journal.end_run(found, best)
    assert best is not None
    save_labels(ctx, best.labels, params.output)
    sizes = shard.add_up(np.bincount(best.labels, minlength=params.n_clusters))
    return {
        "cluster_centers": best.centers,
        "inertia": best.inertia,
        "n_iter": best.n_iter,
        "n_distinct": int(np.count_nonzero(sizes)),
        "random_state": random.get_state(legacy=False) if random else params.random_state,
        "courses": journal.courses if params.verbose else [],
    }


def initial_centers(
    shard: Shard, params: Parameters, run: int, random: np.random.RandomState | None
) -> np.ndarray:
    """Centers of shape (n_clusters, n_columns) to start the given run from.

    Raises
    ------
    ConfigError
        Those that were given are of another shape.
    DataError
        There are too few rows to draw from that have a weight.
    """
    given = params.given_centers(shard.X.shape[1], shard.X.dtype)
    if given is not None:
        return given[run]
    assert random is not None
    if params.init == "k-means||":
        return scalable_plus_plus(shard, params.n_clusters, random)
    return seed_centers(shard, str(params.init), params.n_clusters, random)


def lloyd(
    shard: Shard, start: Position, max_iter: int, trace: Trace, journal: Journal
) -> Clustering:
    """Assign and average until no label changes, the centers rest, or `max_iter`.

    Parameters
    ----------
    shard : Shard
    start : Position
        Where the run begins or goes on.
    max_iter : int
        Iterations of the whole run.
    trace : Trace
        Of this run.
    journal : Journal
        Takes the position after each iteration that has not converged.
    """
    state = shard.lloyd(len(start.centers))
    centers = previous = start.centers
    n_iter = start.n_iter
    if start.previous is not None:
        previous = start.previous
        state.step(previous)  # for the labels that the next iteration counts changes from

    for n_iter in range(start.n_iter + 1, max_iter + 1):
        totals = shard.allreduce(state.step(centers))
        trace.note_assignment(centers, state.labels)
        previous = centers
        centers, shift, n_empty = totals.next_centers(previous, shard.n_thread)
        if n_empty:
            totals = relocate_empty(shard, totals, previous, state.labels)
            centers, shift, _ = totals.next_centers(previous, shard.n_thread)
        trace.note_iteration(n_iter, totals, centers, shift)
        if trace.converged:
            break
        journal.note(centers, previous, n_iter, trace.course)

    if not trace.course.strictly_converged or (previous != centers).any():
        # The centers moved after the last assignment: labels_ must be what predict says.
        state.label(centers)
    inertia = shard.inertia(centers, state.labels)
    return Clustering(centers, state.labels, inertia, n_iter, trace.course)


def same_clustering(shard: Shard, a: np.ndarray, b: np.ndarray, n_clusters: int) -> bool:
    """Whether each cluster of `a` lies within one cluster of `b`, over the rows of all workers.

    Parameters
    ----------
    a, b : IN, ndarray of shape (my rows,), int32
        Labels.
    """
    lowest = np.full(n_clusters, n_clusters, dtype=np.int64)
    highest = np.full(n_clusters, -1, dtype=np.int64)
    np.minimum.at(lowest, a, b)
    np.maximum.at(highest, a, b)
    lowest = shard.comm.allreduce(lowest, op="min")
    highest = shard.comm.allreduce(highest, op="max")
    return bool(np.all((lowest == highest) | (highest == -1)))
