"""Greedy k-means++ over any gang draws and keeps the rows that a plain reference does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harpy.jobs.kmeans.seeding import seed_centers
from harpy.jobs.kmeans.shard import load_shard
from harpy.kernels import kmeans as kernels
from tests.support.gangs.threads import run_gang
from tests.support.rows.hostile import DTYPES, hostile_data

# (splits, threads): 1 to 4 ranks, uneven ones, and ranks without rows at either end.
GANGS = [((), 4), ((1,), 3), ((233, 466), 2), ((0, 500), 1), ((175, 350, 525), 2), ((100, 700), 1)]


def plain_rows(X: np.ndarray, n_clusters: int, seed: int) -> list[int]:
    """Rows of the centers: every distance measured, every integer a Python integer."""
    random = np.random.RandomState(seed)
    rows = [int(random.random_sample() * 2**53) * len(X) >> 53]
    closest = kernels.squared_distances(X, X[rows], None)
    for _ in range(1, n_clusters):
        exponent = math.frexp(closest.max())[1] - 1 if closest.any() else 0
        power = 61 - max(exponent, -1022)

        def units(values: np.ndarray, power: int = power) -> np.ndarray:
            return np.array([int(math.ldexp(v, power)) for v in values], dtype=object)

        running = np.cumsum(units(closest))
        draws = random.uniform(size=2 + int(np.log(n_clusters)))
        targets = [-(int(u * 2**53) * -int(running[-1]) >> 53) for u in draws]
        drawn = [int(np.searchsorted(running, target)) for target in targets]
        trials = [np.minimum(closest, kernels.squared_distances(X, X[[r]], None)) for r in drawn]
        totals = [sum(units(trial)) for trial in trials]
        best = totals.index(min(totals))
        rows.append(drawn[best])
        closest = trials[best]
    return rows


def seeded(
    X: np.ndarray, n_clusters: int, seed: int, splits: tuple[int, ...], n: int
) -> np.ndarray:
    def program(ctx: Any) -> np.ndarray:
        shard = load_shard(ctx, n_clusters, None, None)
        return seed_centers(shard, "k-means++", n_clusters, np.random.RandomState(seed))

    values = run_gang(program, X, {}, splits=splits, n_thread=n).values
    assert all(np.array_equal(value, values[0]) for value in values)
    return values[0]


@pytest.fixture(autouse=True)
def every_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use all threads asked for, however little there is to do."""
    monkeypatch.setattr("harpy.kernels.kmeans.exact.WORK_PER_THREAD", 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_hostile_data(dtype: type) -> None:
    for seed, (name, X) in enumerate(hostile_data(dtype).items()):
        expected = X[plain_rows(X, 12, seed)].tobytes()
        for splits, n_thread in GANGS:
            assert seeded(X, 12, seed, splits, n_thread).tobytes() == expected, (name, splits)


@pytest.mark.parametrize("isa", kernels.instruction_sets())
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_centers_of_groups_far_apart(
    dtype: type, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_ISA", isa)
    rng = np.random.default_rng(1)
    X = (50 * rng.normal(size=(30, 2)))[rng.integers(0, 30, 3000)] + rng.normal(size=(3000, 2))
    X = X.astype(dtype)
    expected = X[plain_rows(X, 60, 3)]
    for splits, n_thread in [((), 1), ((), 3), ((70, 2000), 2)]:
        assert np.array_equal(seeded(X, 60, 3, splits, n_thread), expected), splits


def test_centers_that_use_up_all_distinct_rows() -> None:
    X = np.repeat(np.array([[1.0], [2.0], [4.0]]), 5, axis=0)
    expected = X[plain_rows(X, 6, 0)]
    for splits in ((), (7,), (0, 1, 15)):
        assert np.array_equal(seeded(X, 6, 0, splits, 1), expected), splits
