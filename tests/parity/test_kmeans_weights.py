"""Rows with weights: the same bits for every gang, and what scikit-learn's KMeans makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans

from harpy import DAALKMeans, Session
from harpy.errors import DataError
from harpy.jobs.kmeans import main
from harpy.storage import as_rows
from tests.support.gangs.threads import run_gang
from tests.support.rows.hostile import DTYPES, hostile_data
from tests.support.rows.sparse import hostile_sparse

N_CLUSTERS = 8
GANGS = [((), 4), ((350,), 1), ((1,), 3), ((0, 500), 2), ((175, 350, 525), 4)]
NAMES = tuple(hostile_data(np.float64))


@pytest.fixture(autouse=True)
def every_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use all threads asked for, however little there is to do."""
    monkeypatch.setattr("harpy.kernels.kmeans.exact.WORK_PER_THREAD", 1)


def weights_for(X: Any, seed: int = 5) -> np.ndarray:
    """Over six binades; every seventh row weighs nothing."""
    rng = np.random.default_rng(seed)
    weights = np.ldexp(rng.random(X.shape[0]), rng.integers(-3, 3, X.shape[0])).astype(X.dtype)
    weights[::7] = 0
    return weights


def params_for(X: Any, init: str) -> dict[str, Any]:
    params = {"n_clusters": N_CLUSTERS, "max_iter": 12, "n_init": 2, "random_state": 4}
    if init != "array":
        return {**params, "init": init}
    # Two centers far from all rows: their clusters are empty, so that rows are relocated.
    rows = X[:: X.shape[0] // N_CLUSTERS][:N_CLUSTERS]
    centers = np.array(rows.toarray() if hasattr(rows, "toarray") else rows)
    centers[2] = centers[5] = 1e3 * abs(X).max()
    return {**params, "init": np.stack([centers, centers[::-1]])}


@pytest.mark.parametrize("init", ["random", "k-means++", "k-means||", "array"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_same_bits_for_every_gang(form: str, dtype: type, init: str) -> None:
    cases = hostile_sparse(dtype) if form == "sparse" else hostile_data(dtype)
    for name, X in cases.items():
        weights, params = weights_for(X), params_for(X, init)
        alone = run_gang(main, as_rows(X), params, weights=weights)
        for splits, n_thread in GANGS:
            gang = run_gang(
                main, as_rows(X), params, splits=splits, n_thread=n_thread, weights=weights
            )
            assert gang.bits == alone.bits, (name, splits, n_thread)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_one_change_no_bit(dtype: type) -> None:
    for name, X in hostile_data(dtype).items():
        params = params_for(X, "array")  # draws by weight are other draws
        ones = np.ones(len(X), dtype)
        assert run_gang(main, X, params, weights=ones).bits == run_gang(main, X, params).bits, name


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_and_sparse_rows_have_the_same_centers(dtype: type) -> None:
    X = csr_matrix(np.random.default_rng(1).integers(0, 3, (500, 6)).astype(dtype))
    model = DAALKMeans(n_clusters=5, init=X[:5].toarray(), launcher="local")
    weights = weights_for(X)
    sparse, dense = (model.fit(rows, sample_weight=weights) for rows in (X, X.toarray()))
    assert sparse.cluster_centers_.tobytes() == dense.cluster_centers_.tobytes()
    assert np.array_equal(sparse.labels_, dense.labels_)


def test_a_weight_of_two_is_two_rows() -> None:
    X = np.random.default_rng(2).normal(size=(300, 4))
    times = np.arange(300) % 3
    init = X[[1, 50, 100, 200]]
    model = DAALKMeans(n_clusters=4, init=init, max_iter=50, tol=0, launcher="local")
    weighted = model.fit(X, sample_weight=times).cluster_centers_
    repeated = model.fit(np.repeat(X, times, axis=0)).cluster_centers_
    assert weighted.tobytes() == repeated.tobytes()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("init", ["random", "k-means++"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_scikit_learn_finds_the_same(dtype: type, init: str, sparse: bool) -> None:
    rng = np.random.default_rng(3)
    X: Any = (rng.normal(size=(2000, 5)) + 4 * rng.integers(0, 6, (2000, 5))).astype(dtype)
    X = csr_matrix(X) if sparse else X
    weights = weights_for(X)
    theirs = KMeans(12, init=init, n_init=2, max_iter=300, tol=0, random_state=0)
    theirs.fit(X, sample_weight=weights)
    ours = DAALKMeans(
        12, init=init, n_init=2, max_iter=300, tol=0, random_state=0, launcher="local"
    ).fit(X, sample_weight=weights)
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-4, atol=1e-5)
    assert ours.score(X, sample_weight=weights) == pytest.approx(
        theirs.score(X, sample_weight=weights), rel=1e-5
    )
    assert ours.score(X, sample_weight=weights) == -ours.inertia_


def test_rows_without_weight_are_not_drawn() -> None:
    X = np.arange(40.0).reshape(20, 2)
    weights = np.zeros(20)
    weights[[3, 8, 15]] = 1e-12, 1.0, 5.0
    for init in ("random", "k-means++"):
        model = DAALKMeans(3, init=init, max_iter=1, random_state=1, launcher="local")
        assert model.fit(X, sample_weight=weights).cluster_centers_[:, 0].min() >= 0
    model = DAALKMeans(4, init="random", launcher="local")
    with pytest.raises(DataError, match="only 3 rows have a weight: 4 initial centers"):
        model.fit(X, sample_weight=weights)


def test_worker_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    X = hostile_data(np.float32)["offset 1e4"]
    weights = weights_for(X)
    with Session(2, 2, 512, launcher="local", workdir=str(tmp_path), progress=False) as session:
        for init in ("random", "k-means++"):
            model = DAALKMeans(n_clusters=8, init=init, random_state=0, launcher="local")
            alone = model.fit(X, sample_weight=weights)
            expected = (alone.cluster_centers_.tobytes(), alone.labels_.tobytes(), alone.inertia_)
            model.set_params(launcher="auto", session=session).fit(X, sample_weight=weights)
            got = (model.cluster_centers_.tobytes(), model.labels_.tobytes(), model.inertia_)
            assert got == expected


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, -1.0, 1.0], "Negative values in data passed to `sample_weight`"),
        ([1.0, np.nan, 1.0], "sample_weight contains NaN"),
        ([1.0, 1.0], r"sample_weight.shape == \(2,\), expected \(3,\)"),
        ([0.0, 0.0, 0.0], "zero"),
        ([1e300, 1.0, 1.0], "sample_weight reaches 1e\\+300"),
    ],
)
def test_bad_weights_are_refused(weights: list[float], words: str) -> None:
    X = np.array([[1e30, 2.0], [3.0, 4.0], [5.0, 6.0]])
    with pytest.raises(ValueError, match=words):
        DAALKMeans(n_clusters=1, launcher="local").fit(X, sample_weight=weights)


@pytest.mark.parametrize("bad", [-1.0, np.inf])
def test_a_worker_names_the_row_of_a_bad_weight(bad: float) -> None:
    X = np.arange(20.0).reshape(10, 2)
    weights = np.ones(10)
    weights[7] = bad
    params = {"n_clusters": 2, "random_state": 0}
    with pytest.raises(DataError, match=f"sample_weight has {bad} at row 7 "):
        run_gang(main, X, params, splits=(5,), weights=weights)
