"""Lloyd's k-means as a map-collective program: load, seed, loop (assign, allreduce, average).

docs/numerics.md defines every number here, so that any number of workers and threads gives the same
bits. Arithmetic is left to harpy.kernels.kmeans, initial centers to kmeans_seeding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harpy.errors import ConfigError, DataError
from harpy.jobs.kmeans_journal import Clustering, Journal, Position
from harpy.jobs.kmeans_parallel import scalable_plus_plus
from harpy.jobs.kmeans_seeding import SEEDINGS, seed_centers, shared_random_state
from harpy.jobs.kmeans_shard import Shard, load_shard, save_labels
from harpy.jobs.kmeans_sums import sums_of
from harpy.kernels import kmeans as kernels


@dataclass(frozen=True)
class Parameters:
    """What `main` reads from ctx.params; scikit-learn's names and meanings.

    Attributes
    ----------
    init : {"random", "k-means++", "k-means||"} or ndarray of shape (n_init, n_clusters, n_columns)
    random_state : int, None or the dict of `RandomState.get_state(legacy=False)`
        Of the draws, where `init` is a name.
    absmax : ndarray of shape (n_columns,), float64, or None
        Largest magnitude of each column over all rows, where the driver has measured and accepted
        it, and `init`: workers then need no pass for it.
    verbose : bool
        Whether the result tells the course of every run, which takes a pass over the rows in each
        iteration.
    output : str or None
        URL of a directory for the labels of rows in files; None: the output "labels".
    """

    n_clusters: int
    max_iter: int = 300
    tol: float = 1e-4
    init: str | np.ndarray = "random"
    n_init: int = 1
    random_state: Any = None
    absmax: np.ndarray | None = None
    verbose: bool = False
    output: str | None = None

    @classmethod
    def from_mapping(cls, params: Mapping[str, Any]) -> Parameters:
        unknown = params.keys() - cls.__dataclass_fields__.keys()
        if unknown or "n_clusters" not in params:
            raise ConfigError(
                f"kmeans takes {', '.join(cls.__dataclass_fields__)} and needs n_clusters; "
                f"got {', '.join(sorted(params)) or 'nothing'}"
            )
        return cls(**params)

    def __post_init__(self) -> None:
        if self.n_clusters < 1 or self.max_iter < 1 or self.n_init < 1 or self.tol < 0:
            raise ConfigError(
                "n_clusters, max_iter and n_init must be at least 1 and tol at least 0, got "
                f"{self.n_clusters}, {self.max_iter}, {self.n_init}, {self.tol}"
            )
        if isinstance(self.init, str) and self.init not in SEEDINGS:
            raise ConfigError(f"init must be {', '.join(SEEDINGS)} or an array, got {self.init!r}")


def main(ctx: Any) -> dict[str, Any]:
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
    journal = Journal(shard, random)
    best = journal.best
    for run in range(journal.n_ended, params.n_init):
        start = journal.start() or Position(initial_centers(shard, params, run, random))
        found = lloyd(shard, start, params, run, journal)
        if best is None or (
            found.inertia < best.inertia
            and not same_clustering(shard, found.labels, best.labels, params.n_clusters)
        ):
            best = found
        journal.end_run(found, best)
    assert best is not None
    save_labels(ctx, best.labels, params.output)
    sizes = shard.total(np.bincount(best.labels, minlength=params.n_clusters))
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
    """Centers of shape (n_clusters, n_columns) to start the given run from."""
    if isinstance(params.init, str):
        assert random is not None
        if params.init == "k-means||":
            return scalable_plus_plus(shard, params.n_clusters, random)
        return seed_centers(shard, params.init, params.n_clusters, random)
    given = params.init if params.init.ndim == 3 else params.init[np.newaxis]
    expected = (params.n_init, params.n_clusters, shard.X.shape[1])
    if given.shape != expected:
        raise ConfigError(f"init must be of shape {expected}, got {params.init.shape}")
    return np.ascontiguousarray(given[run], dtype=shard.X.dtype)


def lloyd(
    shard: Shard, start: Position, params: Parameters, run: int, journal: Journal
) -> Clustering:
    """Assign and average until no label changes, the centers rest, or max_iter."""
    watched = shard.ctx.watched
    state = shard.kernels.Lloyd(
        shard.X, len(start.centers), shard.sum_exponents, shard.n_thread, shard.weights
    )
    if start.previous is not None:
        state.step(start.previous)  # for the labels that the next iteration counts changes from
    centers, labels, course = start.centers, state.labels, start.course
    most_tolerance = params.tol * shard.most_variance if params.tol else 0.0
    for n_iter in range(start.n_iter + 1, params.max_iter + 1):
        total = shard.total(state.step(centers))
        if params.verbose:
            course.inertias.append(shard.inertia(centers, labels))
        previous = centers
        centers, course.shift, n_empty = shard.next_centers(total, previous)
        if n_empty:
            total = relocate_empty(shard, previous, labels, total)
            centers, course.shift, _ = shard.next_centers(total, previous)
        if watched or 0 < course.shift <= most_tolerance:
            shard.measure_scatter(shard.sums(total))
        course.tolerance = params.tol * shard.mean_variance
        n_changed = int(total[0])
        course.settled = n_changed == 0
        if watched:
            shard.ctx.progress(
                (run + n_iter / params.max_iter) / params.n_init,
                iteration=n_iter,
                inertia=shard.estimate_inertia(centers, shard.sums(total).weights),
                changed=n_changed,
            )
        if course.settled or course.shift <= course.tolerance:
            break
        journal.note(centers, previous, n_iter, course)
    if not course.settled or (previous != centers).any():
        # The centers moved after the last assignment: labels_ must be what predict says.
        state.label(centers)
    return Clustering(centers, labels, shard.inertia(centers, labels), n_iter, course)


def relocate_empty(
    shard: Shard, centers: np.ndarray, labels: np.ndarray, total: np.ndarray
) -> np.ndarray:
    """Move the rows farthest from their centers into the clusters without weight: scikit-learn's
    rule.

    Distances are those of all workers' rows to the centers they were assigned to, whatever the rows
    weigh; of equal ones the higher global row comes first. Returns the total of all workers' steps
    after that, the same on every worker.
    """
    empty = np.flatnonzero(shard.sums(total).weights == 0)
    distances = shard.kernels.squared_distances(shard.X, centers, labels, shard.n_thread)
    mine = farthest(distances, np.arange(len(distances)), len(empty))
    gather = shard.ctx.comm.allgather
    far_distances = np.concatenate(gather(distances[mine]))
    far_rows = np.concatenate(gather(mine + shard.start))
    far_labels = np.concatenate(gather(labels[mine]))
    far_values = np.concatenate(gather(shard.dense_rows(mine)))
    far_weights = None
    if shard.weights is not None:
        far_weights = np.concatenate(gather(shard.weights[mine]))
    chosen = farthest(far_distances, far_rows, len(empty))
    if far_distances[chosen[0]] == 0:
        return total  # more clusters than distinct rows: nothing to gain
    total = total.copy()
    sums = shard.sums(total)
    values = np.ascontiguousarray(far_values.reshape(-1, shard.X.shape[1])[chosen])
    weights = None if far_weights is None else far_weights[chosen]
    own_cluster = np.arange(len(chosen), dtype=np.int32)
    rows = sums_of(kernels, values, own_cluster, len(chosen), sums.exponents, weights).limbs
    for row, old, new in zip(rows, far_labels[chosen], empty, strict=False):
        sums.move(row, old, new)
    return total


def farthest(distances: np.ndarray, rows: np.ndarray, n_wanted: int) -> np.ndarray:
    """Positions of the n_wanted largest distances in descending order, of equal ones the higher
    row first."""
    candidates = np.arange(len(distances))
    if len(distances) > n_wanted:
        least = np.partition(distances, -n_wanted)[-n_wanted]
        candidates = np.flatnonzero(distances >= least)
    order = np.lexsort((-rows[candidates], -distances[candidates]))
    return candidates[order[:n_wanted]]


def same_clustering(shard: Shard, a: np.ndarray, b: np.ndarray, n_clusters: int) -> bool:
    """Whether each cluster of `a` lies within one cluster of `b`, over the rows of all workers."""
    lowest = np.full(n_clusters, n_clusters, dtype=np.int64)
    highest = np.full(n_clusters, -1, dtype=np.int64)
    np.minimum.at(lowest, a, b)
    np.maximum.at(highest, a, b)
    lowest = shard.ctx.comm.allreduce(lowest, op="min")
    highest = shard.ctx.comm.allreduce(highest, op="max")
    return bool(np.all((lowest == highest) | (highest == -1)))
