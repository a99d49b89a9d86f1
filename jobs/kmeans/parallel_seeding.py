"""Initial centers by k-means||: a few passes that draw many rows each, then k-means++ over those.

Whether a row is drawn depends on its global number, its own potential and the total of all, never
on how rows are sharded. docs/numerics.md defines the numbers.
"""

from __future__ import annotations

import numpy as np

from harpy.jobs.kmeans.seeding import draw_rows, plus_plus
from harpy.jobs.kmeans.shard import Shard
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import LoadedRows, dense_rows, rounded, stack_rows, take_rows
from harpy.kernels.kmeans.sparse import CsrMatrix

# Rows to expect of a pass, as a multiple of n_clusters, and passes: where more of either stopped
# paying in the paper.
OVERSAMPLING = 2
N_PASSES = 5
# Values of drawn rows that are written out, with their zeros, at a time.
_BLOCK_VALUES = 1 << 23
# Rows whose draws are computed at a time, so that they stay in the processor's cache.
_BLOCK_ROWS = 1 << 14
# G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def scalable_plus_plus(shard: Shard, n_clusters: int, random: np.random.RandomState) -> np.ndarray:
    """Initial centers by k-means||.

    Parameters
    ----------
    shard : Shard
    n_clusters : int
    random : RandomState
        In the same state on all workers, before and after.

    Returns
    -------
    ndarray of shape (n_clusters, n_columns), X's dtype
        Rows of X, the same on every worker. Where the rows have fewer distinct values than there
        are clusters, some are equal.

    References
    ----------
    B. Bahmani, B. Moseley, A. Vattani, R. Kumar and S. Vassilvitskii, "Scalable k-means++",
    PVLDB 5 (2012).
    """
    candidates = draw_candidates(shard, n_clusters, random)
    return plus_plus(candidates.alone(), n_clusters, random)


class Candidates:
    """Rows drawn so far, and which of them is closest to each row of this worker.

    Attributes
    ----------
    rows : ndarray of shape (n_candidates, n_columns), or sparse.CsrMatrix, as X is
        The same on every worker.
    distances : ndarray of shape (my rows,), float64
        Square of that of each row to its closest candidate.
    closest : ndarray of shape (my rows,), int32
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        none = np.empty(0, dtype=np.int64)
        self.rows = take_rows(shard.X, none)
        self.distances = np.full(len(shard.X), np.inf)
        self.closest = np.zeros(len(shard.X), np.int32)

    @property
    def potentials(self) -> np.ndarray:
        """Distances times weights (my rows,)."""
        weights = self._shard.weights
        return self.distances if weights is None else self.distances * weights

    def add(self, mine: np.ndarray) -> None:
        """Take the given rows of each worker's shard, counted from 0, as further candidates."""
        by_rank = gather_rows(self._shard, mine)
        new, first = stack_rows(by_rank), len(self.rows)
        block_rows = max(1, _BLOCK_VALUES // new.shape[1])
        for begin in range(0, len(new), block_rows):
            block = np.arange(begin, min(begin + block_rows, len(new)))
            self._compare(dense_rows(new, block), first + begin)
        # A drawn row is its own closest candidate, whatever equal row or rounding the search found.
        of_lower_ranks = sum(map(len, by_rank[: self._shard.comm.rank]))
        self.distances[mine] = 0.0
        self.closest[mine] = first + of_lower_ranks + np.arange(len(mine))
        self.rows = stack_rows([self.rows, new])

    def _compare(self, new: np.ndarray, first: int) -> None:
        """Reassign the rows that are closer to candidates `first`, `first + 1`, … than to earlier
        ones."""
        shard = self._shard
        labels = np.zeros(len(self.closest), np.int32)
        offset = shard.backend.center_offset(new, shard.n_thread)
        shard.backend.assign(shard.X, new, offset, labels, shard.n_thread)
        distances = shard.backend.squared_distances(shard.X, new, labels, shard.n_thread)
        closer = distances < self.distances
        np.copyto(self.distances, distances, where=closer)
        labels += first
        np.copyto(self.closest, labels, where=closer)

    def weights(self) -> np.ndarray:
        """How much all workers' rows weigh that are closest to each candidate: float64, exact sums
        rounded once."""
        shard, n_candidates = self._shard, len(self.rows)
        if shard.weights is None:
            counts = np.bincount(self.closest, minlength=n_candidates)
            return shard.add_up(counts).astype(np.float64)
        column, exponents = shard.weights[:, np.newaxis], shard.sum_exponents[-1:]
        limbs, _ = kernels.accumulate(column, self.closest, n_candidates, exponents, shard.n_thread)
        return rounded(shard.add_up(limbs), exponents)

    def alone(self) -> Shard:
        """The candidates with their weights as all rows of a worker that is alone."""
        shard, weights = self._shard, self.weights()
        return Shard(
            Alone(),
            shard.progress,
            self.rows,
            0,
            len(self.rows),
            shard.n_thread,
            shard.exponents,
            weights,
            shard.sum_exponents,
        )


class Alone:
    """The collectives of a worker that computes alone what all others compute as well."""

    rank, size = 0, 1

    def allreduce(self, array: np.ndarray, op: str = "sum") -> np.ndarray:
        """The array itself, whatever `op` says."""
        return array

    def allgather(self, array: np.ndarray) -> list[np.ndarray]:
        """The array alone."""
        return [array]


def gather_rows(shard: Shard, mine: np.ndarray) -> list[LoadedRows]:
    """By rank the rows that each worker names of its shard, in X's form, on every worker."""
    gather, n_columns = shard.comm.allgather, shard.X.shape[1]
    rows = take_rows(shard.X, mine)
    if isinstance(rows, CsrMatrix):
        arrays = zip(gather(rows.data), gather(rows.indices), gather(rows.indptr), strict=True)
        return [CsrMatrix(*parts, n_columns) for parts in arrays]
    return [part.reshape(-1, n_columns) for part in gather(rows)]


def draw_candidates(shard: Shard, n_clusters: int, random: np.random.RandomState) -> Candidates:
    """About 1 + N_PASSES * OVERSAMPLING * n_clusters rows; at least n_clusters distinct ones, or
    all that there are."""
    candidates = Candidates(shard)
    row = draw_rows(shard, random, 1)[0] - shard.start
    candidates.add(np.array([row] if 0 <= row < len(shard.X) else [], dtype=np.int64))
    n_passes = 0
    while n_passes < N_PASSES or len(candidates.rows) < n_clusters:
        n_passes += 1
        shard.progress(None, candidates=len(candidates.rows))
        potentials = candidates.potentials
        limbs = kernels.exact_sum(potentials, shard.n_thread)
        total = kernels.exact_value(shard.add_up(limbs))
        if total == 0.0:
            break  # every row equals some candidate
        key = random.randint(1 << 64, size=1, dtype=np.uint64)
        n_expected = OVERSAMPLING * n_clusters
        candidates.add(draw_independently(shard, potentials, n_expected, total, key))
    return candidates


def draw_independently(
    shard: Shard, potentials: np.ndarray, n_expected: int, total: float, key: np.ndarray
) -> np.ndarray:
    """Draw each row of mine by itself, with probability n_expected * potential / total.

    Parameters
    ----------
    potentials : IN, ndarray of shape (my rows,), float64
    n_expected : int
        Rows that all workers draw, on average.
    total : float
        Of all workers' potentials.
    key : ndarray of shape (1,), uint64
        Of the stream of random numbers, the same on all workers.

    Returns
    -------
    ndarray of int64
        Rows of mine, counted from 0, ascending.
    """
    drawn = []
    for begin in range(0, len(potentials), _BLOCK_ROWS):
        probabilities = potentials[begin : begin + _BLOCK_ROWS] * n_expected / total
        first = shard.start + begin
        rows = np.arange(first, first + len(probabilities), dtype=np.uint64)
        drawn.append(begin + np.flatnonzero(uniform(key, rows) < probabilities))
    return np.concatenate(drawn) if drawn else np.empty(0, dtype=np.int64)


def uniform(key: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """SplitMix64's numbers at the given positions of the stream that starts from a key.

    Parameters
    ----------
    key : ndarray of shape (1,), uint64
    positions : ndarray of shape (n,), uint64

    Returns
    -------
    ndarray of shape (n,), float64
        Multiples of 2^-53 in [0, 1).
    """
    bits = (positions + np.uint64(1)) * _GAMMA + key
    for shift, factor in _MIXERS:
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    return (bits >> np.uint64(11)) * 2.0**-53
