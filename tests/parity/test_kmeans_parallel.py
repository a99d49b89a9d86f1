"""k-means|| over any gang draws and keeps what a plain reference does, and its centers are good."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harpy.jobs.kmeans import main
from harpy.jobs.kmeans.parallel_seeding import (
    N_PASSES,
    OVERSAMPLING,
    scalable_plus_plus,
    uniform,
)
from harpy.jobs.kmeans.seeding import plus_plus
from harpy.jobs.kmeans.shard import load_shard
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import backend_for, dense_rows
from harpy.storage import CsrRows
from tests.support.gangs.threads import run_gang
from tests.support.rows.hostile import DTYPES, hostile_data
from tests.support.rows.sparse import hostile_sparse, rows_of

# (splits, threads): 1 to 4 ranks, uneven ones, and ranks without rows at either end.
GANGS = [((), 4), ((1,), 3), ((233, 466), 2), ((0, 500), 1), ((175, 350, 525), 2), ((100, 700), 1)]
SEED = 5


@pytest.fixture(autouse=True)
def every_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use all threads asked for, however little there is to do."""
    monkeypatch.setattr("harpy.kernels.kmeans.exact.WORK_PER_THREAD", 1)


def split_mix(key: int, position: int) -> float:
    """Element `position` of SplitMix64's stream from `key`, as published, in Python's integers."""
    mask = (1 << 64) - 1
    z = (key + (position + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def plain_candidates(X: Any, n_clusters: int, random: Any) -> tuple[list[int], list[int]]:
    """Rows drawn, and how many rows each is closest to: one row after the other."""
    native, n_rows = backend_for(X), X.shape[0]
    dense = dense_rows(X, np.arange(n_rows))
    rows: list[int] = []
    closest, potentials = [0] * n_rows, [np.inf] * n_rows

    def add(new: list[int]) -> None:
        labels = np.zeros(n_rows, np.int32)
        native.assign(X, dense[new], native.center_offset(dense[new]), labels)
        distances = native.squared_distances(X, dense[new], labels)
        for i in range(n_rows):
            if distances[i] < potentials[i]:
                closest[i], potentials[i] = len(rows) + labels[i], distances[i]
        for number, i in enumerate(new):
            closest[i], potentials[i] = len(rows) + number, 0.0
        rows.extend(new)

    add([int(random.random_sample() * 2**53) * n_rows >> 53])
    n_passes = 0
    while n_passes < N_PASSES or len(rows) < n_clusters:
        n_passes += 1
        total = kernels.exact_value(kernels.exact_sum(np.array(potentials)))
        if total == 0:
            break
        key = int(random.randint(1 << 64, size=1, dtype=np.uint64)[0])
        chances = [potential * (OVERSAMPLING * n_clusters) / total for potential in potentials]
        new = [i for i in range(n_rows) if split_mix(key, i) < chances[i]]
        if new:
            add(new)
    return rows, np.bincount(closest, minlength=len(rows)).tolist()


def plain_rows(X: Any, n_clusters: int, seed: int) -> np.ndarray:
    """Centers by writing out each candidate as often as it counts, drawing among the copies."""
    random = np.random.RandomState(seed)
    rows, weights = plain_candidates(X, n_clusters, random)
    native, dense = backend_for(X), dense_rows(X, np.array(rows))
    candidates = X[rows] if isinstance(X, np.ndarray) else X.take(np.array(rows))
    copies = np.repeat(np.arange(len(rows)), weights)
    chosen = [copies[int(random.random_sample() * 2**53) * len(copies) >> 53]]
    least = native.squared_distances(candidates, dense[chosen], None)
    for _ in range(1, n_clusters):
        largest = (least * weights).max()
        power = 61 - max(int(kernels.column_exponents(np.array([largest]))[0]), -1022)

        def units(distances: np.ndarray, power: int = power) -> np.ndarray:
            return np.ldexp(distances * weights, power).astype(np.int64).astype(object)

        running = np.cumsum(units(least))
        draws = random.uniform(size=2 + int(np.log(n_clusters)))
        targets = [-(int(u * 2**53) * -int(running[-1]) >> 53) for u in draws]
        drawn = [int(np.searchsorted(running, target)) for target in targets]
        trials = [
            np.minimum(least, native.squared_distances(candidates, dense[[i]], None)) for i in drawn
        ]
        totals = [sum(units(trial)) for trial in trials]
        chosen.append(drawn[totals.index(min(totals))])
        least = trials[totals.index(min(totals))]
    return dense[chosen]


def seeded(X: Any, n_clusters: int, seed: int, splits: tuple[int, ...], n: int) -> np.ndarray:
    def program(ctx: Any) -> np.ndarray:
        shard = load_shard(ctx, n_clusters, None, None)
        return scalable_plus_plus(shard, n_clusters, np.random.RandomState(seed))

    values = run_gang(program, X, {}, splits=splits, n_thread=n).values
    assert all(value.tobytes() == values[0].tobytes() for value in values)
    return values[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_rows_of_the_reference_for_every_gang(dtype: type) -> None:
    for name, X in hostile_data(dtype).items():
        expected = plain_rows(X, 12, SEED).tobytes()
        for splits, n_thread in GANGS:
            assert seeded(X, 12, SEED, splits, n_thread).tobytes() == expected, (name, splits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_rows_of_the_reference_for_every_gang(dtype: type) -> None:
    for name, X in hostile_sparse(dtype).items():
        expected = plain_rows(rows_of(X), 12, SEED).tobytes()
        for splits, n_thread in GANGS:
            got = seeded(CsrRows.of(X), 12, SEED, splits, n_thread)
            assert got.tobytes() == expected, (name, splits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_one_change_no_bit(dtype: type) -> None:
    for name, X in hostile_data(dtype).items():
        params = {"n_clusters": 12, "init": "k-means||", "max_iter": 1, "random_state": SEED}
        plain, weighted = (
            run_gang(main, X, params, splits=(300,), weights=weights).value
            for weights in (None, np.ones(len(X), dtype))
        )
        assert weighted["cluster_centers"].tobytes() == plain["cluster_centers"].tobytes(), name


def test_rows_that_weigh_nothing_are_not_drawn() -> None:
    X = np.random.default_rng(3).normal(size=(900, 3))
    X[::3] += 1e3
    weights = np.where(np.arange(900) % 3 == 0, 0.0, 1.0)

    def program(ctx: Any) -> np.ndarray:
        return scalable_plus_plus(load_shard(ctx, 9, None, None), 9, np.random.RandomState(0))

    assert run_gang(program, X, {}, splits=(100, 500), weights=weights).value.max() < 100


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_wide_rows_are_written_out_a_few_at_a_time(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "harpy.jobs.kmeans.parallel_seeding._BLOCK_VALUES", 40
    )  # 5 rows of 7 columns
    cases = hostile_data(np.float32) if form == "dense" else hostile_sparse(np.float32)
    for name in ("blobs", "integers with ties"):
        X = cases[name] if form == "dense" else CsrRows.of(cases[name])
        expected = seeded(X, 12, SEED, (), 1)
        assert len(np.unique(expected, axis=0)) == 12
        for splits, n_thread in GANGS:
            got = seeded(X, 12, SEED, splits, n_thread)
            assert got.tobytes() == expected.tobytes(), (name, splits)


def test_draws_are_the_published_generators() -> None:
    # The first numbers of SplitMix64 from seed 1234567, as its authors' C code prints them.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    key = np.array([1234567], dtype=np.uint64)
    got = uniform(key, np.arange(3, dtype=np.uint64))
    assert got.tolist() == [(number >> 11) * 2.0**-53 for number in published]
    far = np.array([2**40, 2**63 + 11], dtype=np.uint64)  # beyond what any shard begins at
    assert uniform(key, far).tolist() == [split_mix(1234567, int(i)) for i in far]


def seeded_inertia(seed_centers: Any, X: np.ndarray, n_clusters: int, seed: int) -> float:
    def program(ctx: Any) -> np.ndarray:
        shard = load_shard(ctx, n_clusters, None, None)
        return seed_centers(shard, n_clusters, np.random.RandomState(seed))

    centers = run_gang(program, X, {}, splits=(len(X) // 3,)).value
    labels = np.zeros(len(X), np.int32)
    kernels.assign(X, centers, kernels.center_offset(centers), labels)
    return kernels.exact_value(kernels.squared_distance_sum(X, centers, labels))


@pytest.mark.parametrize("spread", [0.05, 1.0])
def test_inertia_is_that_of_plus_plus(spread: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6))[rng.integers(0, 40, 6000)] + spread * rng.normal(size=(6000, 6))
    ours = [seeded_inertia(scalable_plus_plus, X, 40, seed) for seed in range(5)]
    greedy = [seeded_inertia(plus_plus, X, 40, seed) for seed in range(5)]
    assert np.mean(ours) < 1.1 * np.mean(greedy)
    if spread < 0.1:  # far apart: a group without a center would cost a hundred times as much
        assert max(ours) < 3 * 6000 * 6 * spread**2


def test_a_group_of_few_rows_far_from_all_others_gets_a_center() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(5000, 3))
    X[[17, 2500]] += 1e4
    for seed in range(5):
        assert (seeded(X, 8, seed, (2000,), 2) > 1e3).any(), seed


@pytest.mark.parametrize("dtype", DTYPES)
def test_more_clusters_than_distinct_rows_end_with_empty_ones(dtype: type) -> None:
    distinct = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 0.5]], dtype)
    X = np.repeat(distinct, 5, axis=0)
    params = {"n_clusters": 6, "init": "k-means||", "random_state": 0}
    result = run_gang(main, X, params, splits=(7,))
    assert result.value["n_distinct"] == 3
    assert result.value["inertia"] == 0.0
    found = {row.tobytes() for row in result.value["cluster_centers"]}
    assert found == {row.tobytes() for row in distinct}


@pytest.mark.parametrize("n_clusters", [195, 200])
@pytest.mark.parametrize("scale", [1.0, 2.0**20])
def test_nearly_as_many_clusters_as_rows(n_clusters: int, scale: float) -> None:
    # With the scale each row is far beyond all before it, so that one pass draws few.
    X = np.random.default_rng(2).normal(size=(200, 2)) * scale ** (np.arange(200) / 10)[:, None]
    for seed in range(3):
        centers = seeded(X, n_clusters, seed, (50, 51), 1)
        assert len(np.unique(centers, axis=0)) == n_clusters


def test_one_cluster() -> None:
    X = hostile_data(np.float64)["blobs"]
    assert seeded(X, 1, 0, (300,), 1).shape == (1, X.shape[1])
