"""What a user who swaps KMeans for DAALKMeans gets: scikit-learn's answer, draws and rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.datasets import load_digits, make_blobs

from harpy.jobs.kmeans import main
from harpy.jobs.kmeans.seeding import draw_distinct, restore_random_state
from harpy.kernels import kmeans as kernels
from tests.support.gangs.threads import run_gang
from tests.support.numerics.e_step_agreement import clear_differences
from tests.support.rows.hostile import DTYPES, hostile_data


def blobs(dtype: type, n: int = 1500, d: int = 6, k: int = 7) -> np.ndarray:
    X, _ = make_blobs(n, d, centers=k, cluster_std=2.5, random_state=3)
    return X.astype(dtype)


def state_of(seed: int) -> dict[str, Any]:
    return np.random.RandomState(seed).get_state(legacy=False)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # scikit-learn's, of hostile data
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_e_step_agrees_wherever_the_best_center_is_clear(dtype: type) -> None:
    for name, X in {**hostile_data(dtype), "digits": load_digits().data.astype(dtype)}.items():
        if name == "subnormal":
            continue  # every square underflows: all centers tie
        centers = np.ascontiguousarray(X[:: len(X) // 12])
        ours = np.full(len(X), -1, np.int32)
        kernels.assign(X, centers, kernels.center_offset(centers), ours)
        theirs = KMeans(len(centers), init=centers, n_init=1, max_iter=1).fit(X)
        theirs.cluster_centers_ = centers
        clear = clear_differences(X, centers, ours, theirs.predict(X))
        assert not clear.size, (name, clear)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("init", ["random", "k-means++"])
@pytest.mark.parametrize("seed", range(4))
def test_converges_to_scikit_learns_inertia(dtype: type, init: str, seed: int) -> None:
    X = blobs(dtype)
    params = {"n_clusters": 7, "max_iter": 300, "tol": 0, "init": init, "n_init": 2}
    ours = run_gang(main, X, {**params, "random_state": state_of(seed)}, splits=(700,))
    theirs = KMeans(**params, random_state=seed).fit(X)
    assert ours.value["inertia"] == pytest.approx(theirs.inertia_, rel=1e-6)
    assert np.array_equal(ours.saved["labels"], theirs.labels_)
    assert ours.value["cluster_centers"].dtype == dtype
    np.testing.assert_allclose(
        ours.value["cluster_centers"], theirs.cluster_centers_, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("tol", [0.0, 1e-5, 1e-3, 1e-1])
def test_stops_at_scikit_learns_iteration(tol: float) -> None:
    X = blobs(np.float64)
    init = np.ascontiguousarray(X[:7])
    for max_iter in (1, 2, 5, 300):
        params = {"n_clusters": 7, "max_iter": max_iter, "tol": tol, "init": init}
        ours = run_gang(main, X, params, splits=(1, 800))
        theirs = KMeans(**params, n_init=1).fit(X)
        assert ours.value["n_iter"] == theirs.n_iter_


@pytest.mark.parametrize("size", [1, 2, 5, 9, 10])
def test_random_rows_are_those_that_choice_draws(size: int) -> None:
    for seed in range(200):
        n = size + seed % 7
        expected, ours = np.random.RandomState(seed), np.random.RandomState(seed)
        rows = expected.choice(n, size=size, replace=False, p=np.full(n, 1 / n))
        assert draw_distinct(ours, n, size) == rows.tolist()
        assert ours.random_sample() == expected.random_sample()


@pytest.mark.parametrize("seed", range(10))
def test_plus_plus_chooses_scikit_learns_rows(seed: int) -> None:
    X = blobs(np.float64, n=400)
    expected, _ = kmeans_plusplus(X, 7, random_state=seed)
    # One iteration from the chosen rows: the same centers come out only of the same rows.
    ours = run_gang(
        main,
        X,
        {"n_clusters": 7, "max_iter": 1, "init": "k-means++", "random_state": state_of(seed)},
        splits=(13, 200),
    )
    theirs = run_gang(main, X, {"n_clusters": 7, "max_iter": 1, "init": expected})
    assert ours.value["cluster_centers"].tobytes() == theirs.value["cluster_centers"].tobytes()


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_the_generator_is_left_where_scikit_learn_leaves_it(init: str) -> None:
    X = blobs(np.float64, n=300)
    params = {"n_clusters": 5, "init": init, "n_init": 3, "max_iter": 5}
    theirs = np.random.RandomState(8)
    KMeans(**params, random_state=theirs).fit(X)
    value = run_gang(main, X, {**params, "random_state": state_of(8)}, splits=(50,)).value
    assert restore_random_state(value["random_state"]).random_sample() == theirs.random_sample()


def test_other_bit_generators_are_understood() -> None:
    random = np.random.RandomState(np.random.PCG64(4))
    state = random.get_state(legacy=False)
    assert restore_random_state(state).random_sample(5).tolist() == random.random_sample(5).tolist()


@pytest.mark.parametrize("n_empty", [1, 2, 3])
def test_empty_clusters_get_the_rows_farthest_from_their_centers(n_empty: int) -> None:
    X = blobs(np.float64, n=200)
    init = X[:8].copy()
    init[2 : 2 + n_empty] = 1e4 + np.arange(n_empty)[:, None]
    labels = np.square(X[:, None] - init).sum(axis=2).argmin(axis=1)
    assert not np.isin(np.arange(2, 2 + n_empty), labels).any()
    far = np.argsort(-np.square(X - init[labels]).sum(axis=1))[:n_empty]
    expected_labels = labels.copy()
    expected_labels[far] = 2 + np.arange(n_empty)
    expected = np.array([X[expected_labels == c].mean(axis=0) for c in range(8)])
    params = {"n_clusters": 8, "max_iter": 1, "init": init}
    ours = run_gang(main, X, params, splits=(60, 61)).value["cluster_centers"]
    np.testing.assert_allclose(ours, expected, rtol=1e-13)
    if n_empty == 1:  # among several, scikit-learn's order is that of a partial sort
        theirs = KMeans(**params, n_init=1).fit(X).cluster_centers_
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_among_equally_far_rows_the_higher_global_row_moves() -> None:
    # Rows 1, 3 and 4 are all at distance 1 from center 0; clusters 1 and 2 are empty.
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    init = np.array([[0.0, 0.0], [90.0, 90.0], [80.0, 80.0]])
    params = {"n_clusters": 3, "max_iter": 1, "init": init}
    for splits in ((), (1,), (2, 4), (0, 1, 3)):
        centers = run_gang(main, X, params, splits=splits).value["cluster_centers"]
        assert centers[1:].tolist() == [[-1.0, 0.0], [0.0, 1.0]], splits


def test_more_clusters_than_distinct_rows_end_with_empty_ones() -> None:
    X = np.repeat(np.array([[1.0], [2.0], [4.0]]), 5, axis=0)
    result = run_gang(
        main, X, {"n_clusters": 5, "init": "k-means++", "random_state": 0}, splits=(7,)
    )
    assert result.value["n_distinct"] == 3
    assert result.value["inertia"] == 0.0
    assert set(result.value["cluster_centers"].ravel()) == {1.0, 2.0, 4.0}


def test_the_best_of_several_runs_is_kept() -> None:
    X = blobs(np.float64, n=300)
    random = np.random.RandomState(1)
    singles = []
    for _ in range(6):
        state = random.get_state(legacy=False)
        single = run_gang(main, X, {"n_clusters": 7, "random_state": state})
        random.set_state(single.value["random_state"])
        singles.append(single.value["inertia"])
    together = run_gang(main, X, {"n_clusters": 7, "n_init": 6, "random_state": 1}, splits=(99,))
    assert len(set(singles)) > 1
    assert together.value["inertia"] == pytest.approx(min(singles), rel=1e-12)
