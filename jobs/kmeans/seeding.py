"""Initial centers: rows at random, or greedy k-means++. Draws address global rows.

All workers hold the same RandomState and draw in step. Given the state scikit-learn's KMeans starts
from, the same rows are drawn, up to its own rounding of cumulative probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harpy.errors import ConfigError, DataError
from harpy.jobs.kmeans.shard import Shard
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import PotentialsState, RunningTotals

if TYPE_CHECKING:
    from harpy.program.context import Context

# A seed, or the dict of `RandomState.get_state(legacy=False)`.
GeneratorState: TypeAlias = int | Mapping[str, Any] | None
SEEDINGS = ("random", "k-means++", "k-means||")
# A legacy RandomState draws doubles that are multiples of this.
_DRAW_BITS = 53


def shared_random_state(ctx: Context, state: GeneratorState) -> np.random.RandomState:
    """The generator all workers draw from in step; without a state rank 0 picks a seed for all.

    Parameters
    ----------
    ctx : Context
    state : int, mapping or None
        The same on all workers.

    Raises
    ------
    ConfigError
        The mapping names no kind of generator.
    """
    if state is None:
        state = int(ctx.comm.broadcast(np.random.RandomState().randint(2**31, size=1))[0])
    return restore_random_state(state)


def restore_random_state(state: GeneratorState) -> np.random.RandomState:
    """The generator of a state, as `shared_random_state` has it; None: any."""
    if not isinstance(state, Mapping):
        return np.random.RandomState(state)
    kind = getattr(np.random, str(state.get("bit_generator")), None)
    if not (isinstance(kind, type) and issubclass(kind, np.random.BitGenerator)):
        raise ConfigError(f"random_state names no bit generator: {state.get('bit_generator')!r}")
    random = np.random.RandomState(kind())
    random.set_state(dict(state))
    return random


def seed_centers(
    shard: Shard, init: str, n_clusters: int, random: np.random.RandomState
) -> np.ndarray:
    """Rows of X as initial centers.

    Parameters
    ----------
    shard : Shard
    init : {"random", "k-means++"}
    n_clusters : int
    random : RandomState
        In the same state on all workers, before and after.

    Returns
    -------
    ndarray of shape (n_clusters, n_columns), X's dtype
        The same on every worker.
    """
    if init == "random":
        return fetch_rows(shard, draw_rows(shard, random, n_clusters))
    return plus_plus(shard, n_clusters, random)


def draw_rows(shard: Shard, random: np.random.RandomState, size: int) -> list[int]:
    """Draw `size` distinct global rows with probabilities proportional to the weights.

    Raises
    ------
    DataError
        Fewer rows have a weight.
    """
    if shard.weights is None:
        return draw_distinct(random, shard.n_rows, size)
    return draw_by_weight(shard, random, size)


def draw_by_weight(shard: Shard, random: np.random.RandomState, size: int) -> list[int]:
    """`draw_distinct` for `p=weights`: what `random.choice` draws, with exact running sums.

    Raises
    ------
    DataError
        Fewer rows have a weight; next to the heaviest row less than 2^-61 of its weight is none.
    """
    weights = shard.weights
    assert weights is not None
    left = weights.astype(np.float64)
    rows: list[int] = []
    while len(rows) < size:
        mine = np.array([row - shard.start for row in rows], dtype=np.int64)
        left[mine[(mine >= 0) & (mine < len(left))]] = 0
        running = kernels.RunningSums(left)
        by_rank = total_by_rank(shard, running)
        total = sum(by_rank)
        if total == 0:
            raise DataError(
                f"only {len(rows)} rows have a weight: {size} initial centers need as many. "
                "Lower n_clusters, or drop the rows that weigh nothing."
            )
        draws = random.random_sample(size - len(rows))
        targets = [scaled_floor(u, total) + 1 for u in draws.tolist()]
        for row in find_rows(shard, running, by_rank, targets):
            if row not in rows:
                rows.append(row)
    return rows


def draw_distinct(random: np.random.RandomState, n_rows: int, size: int) -> list[int]:
    """What `random.choice(n_rows, size, replace=False, p=uniform)` draws, without its O(n_rows).

    Like there, all missing rows are drawn at once among those not yet taken, of equal draws the
    first counts, and the rest is drawn again.
    """
    rows: list[int] = []
    while len(rows) < size:
        taken = sorted(rows)
        for u in random.random_sample(size - len(rows)):
            row = scaled_floor(u, n_rows - len(taken))
            for other in taken:  # ascending: the row-th of those that are left
                row += other <= row
            if row not in rows:
                rows.append(row)
    return rows


def plus_plus(shard: Shard, n_clusters: int, random: np.random.RandomState) -> np.ndarray:
    """Greedy k-means++: of a few rows drawn by their potential the one that lowers the total most.

    A row's potential is its squared distance to the closest center so far, times its weight.

    Parameters
    ----------
    shard : Shard
    n_clusters : int
    random : RandomState
        In the same state on all workers, before and after.

    Returns
    -------
    ndarray of shape (n_clusters, n_columns), X's dtype
        Rows of X, the same on every worker. Once every row is some center they repeat.

    References
    ----------
    D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    """
    n_trials = 2 + int(np.log(n_clusters))  # scikit-learn's number
    centers = np.empty((n_clusters, shard.X.shape[1]), dtype=shard.X.dtype)
    centers[:1] = fetch_rows(shard, draw_rows(shard, random, 1))
    weights = None if shard.weights is None else shard.weights.astype(np.float64)
    potentials = shard.backend.Potentials(shard.X, centers, weights, shard.n_thread)
    for c in range(1, n_clusters):
        shard.progress(None, seeding=c)
        drawn = draw_by_potential(shard, potentials, random.uniform(size=n_trials))
        candidates = fetch_rows(shard, drawn)
        sums = shard.comm.allreduce(potentials.gains(candidates))
        gains = [kernels.limbs_to_int(limbs) for limbs in sums]
        potentials.keep(candidates, gains.index(max(gains)))
    return centers


def draw_by_potential(shard: Shard, potentials: PotentialsState, draws: np.ndarray) -> list[int]:
    """For each u of `draws` the first global row whose running sum of potentials reaches u·total.

    Running sums are exact integers, so that the row does not depend on how rows are sharded.

    Parameters
    ----------
    draws : ndarray of shape (n_draws,), float64
        In [0, 1).
    """
    by_rank = total_by_rank(shard, potentials)
    total = sum(by_rank)
    targets = [-scaled_floor(u, -total) for u in draws.tolist()]  # up: running sums are integers
    # A target of 0 (all rows are centers already, or u = 0) is reached by the very first row.
    return [max(row, 0) for row in find_rows(shard, potentials, by_rank, targets)]


def find_rows(
    shard: Shard,
    running: RunningTotals,
    by_rank: Sequence[int],
    targets: Sequence[int],
) -> list[int]:
    """For each target the first global row whose running sum is not below it; -1 for 0.

    Parameters
    ----------
    running : RunningTotals
        Of my rows.
    by_rank : sequence of int
        Each worker's sum, from `total_by_rank`.
    targets : sequence of int
        At most the sum of all, in any order.
    """
    rank = shard.comm.rank
    before = sum(by_rank[:rank])
    found = np.full(len(targets), -1, dtype=np.int64)
    inside = [
        i
        for i in sorted(range(len(targets)), key=targets.__getitem__)
        if before < targets[i] <= before + by_rank[rank]
    ]
    if inside:
        limbs = kernels.int_to_limbs([targets[i] - before for i in inside])
        found[inside] = shard.start + running.find(limbs)
    return shard.comm.allreduce(found, op="max").tolist()


def total_by_rank(shard: Shard, values: RunningTotals) -> list[int]:
    """Each worker's sum of values, in units that go with the largest value of all."""
    by_rank = shard.comm.allgather(values.summary)
    if not any(summary[-1] for summary in by_rank):
        # No value has the exponent of the units any more.
        largest = shard.comm.allreduce(np.array([values.largest()]), op="max")
        values.quantise(int(kernels.column_exponents(largest)[0]))
        by_rank = shard.comm.allgather(values.summary)
    return [kernels.limbs_to_int(summary[:-1]) for summary in by_rank]


def scaled_floor(u: float, n: int) -> int:
    """floor(u·n) without rounding, for a draw u in [0, 1)."""
    return int(u * 2.0**_DRAW_BITS) * n >> _DRAW_BITS


def fetch_rows(shard: Shard, rows: Sequence[int]) -> np.ndarray:
    """Rows of any worker on every worker.

    Parameters
    ----------
    rows : sequence of int
        Their global numbers.

    Returns
    -------
    ndarray of shape (len(rows), n_columns), X's dtype
        The same bits as theirs.
    """
    # As integers, of which only the owner's are not zero: a sum that keeps the bits, -0.0 too.
    integers = np.dtype(f"i{shard.X.dtype.itemsize}")
    bits = np.zeros((len(rows), shard.X.shape[1]), dtype=np.int64)
    for i, row in enumerate(rows):
        if shard.start <= row < shard.start + len(shard.X):
            bits[i] = kernels.dense_rows(shard.X, [row - shard.start])[0].view(integers)
    return shard.comm.allreduce(bits).astype(integers).view(shard.X.dtype)
