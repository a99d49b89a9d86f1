"""Sparse rows: the same bits for every gang, and what scikit-learn's KMeans makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array
from sklearn.cluster import KMeans, kmeans_plusplus

from harpy import DAALKMeans, Session
from harpy.errors import DataError
from harpy.jobs.kmeans import main
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import sparse
from harpy.storage import CsrRows
from tests.support.gangs.threads import GangResult, run_gang
from tests.support.rows.hostile import DTYPES, hostile_data
from tests.support.rows.sparse import hostile_sparse, rows_of

N_CLUSTERS = 8
GANGS = [((), 4), ((350,), 1), ((1,), 3), ((0, 500), 2), ((175, 350, 525), 4), ((100, 700), 1)]
# Relative to |x|² + |c|²: closer than this the two best centers may change places.
E_STEP_SLACK = {np.float32: 1e-5, np.float64: 1e-12}


@pytest.fixture(autouse=True)
def every_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use all threads asked for, however little there is to do."""
    monkeypatch.setattr("harpy.kernels.kmeans.exact.WORK_PER_THREAD", 1)


def texts(dtype: type, n: int = 1200, d: int = 900, seed: int = 0) -> csr_matrix:
    """Rows that draw from a few words of their own topic, and from all. Their lengths differ: rows
    of length 1 as initial centers tie, within a rounding, for every row they share no word with."""
    rng = np.random.default_rng(seed)
    common = random_array((n, d), density=0.01, rng=rng, format="csr")
    topic = rng.integers(0, 6, n)
    columns = topic[:, None] * (d // 6) + rng.integers(0, 40, (n, 15))
    own = csr_matrix((rng.random(n * 15), (np.repeat(np.arange(n), 15), columns.ravel())), (n, d))
    return csr_matrix(common + own).astype(dtype)


def run(X: csr_matrix, params: dict[str, Any], **gang: Any) -> GangResult:
    return run_gang(main, CsrRows.of(X), params, **gang)


def params_for(X: csr_matrix, init: str) -> dict[str, Any]:
    params = {"n_clusters": N_CLUSTERS, "max_iter": 20, "tol": 0, "n_init": 2, "random_state": 4}
    if init != "array":
        return {**params, "init": init}
    # Two centers far from all rows: their clusters are empty, so that rows are relocated.
    centers = X.toarray()[:: X.shape[0] // N_CLUSTERS][:N_CLUSTERS].copy()
    centers[2] = centers[5] = 1e3 * np.abs(X.data).max()
    return {**params, "init": np.stack([centers, centers[::-1]])}


@pytest.mark.parametrize("init", ["random", "k-means++", "k-means||", "array"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", hostile_data(np.float64))
def test_same_bits_for_every_gang(name: str, dtype: type, init: str) -> None:
    X = hostile_sparse(dtype)[name]
    params = params_for(X, init)
    alone = run(X, params)
    for splits, n_thread in GANGS:
        gang = run(X, params, splits=splits, n_thread=n_thread)
        assert gang.bits == alone.bits, (splits, n_thread)
        for value in gang.values:
            assert value["cluster_centers"].tobytes() == alone.value["cluster_centers"].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_every_instruction_set(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, X in {**hostile_sparse(dtype), "texts": texts(dtype)}.items():
        seen = set()
        for isa in kernels.instruction_sets():
            monkeypatch.setenv("HARPY_ISA", isa)
            runs = [params_for(X, init) for init in ("k-means++", "k-means||")]
            seen.add(tuple(run(X, params, splits=(300,)).bits for params in runs))
        assert len(seen) == 1, name


@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_zeros_and_holes_are_the_same_to_centers_and_labels(dtype: type) -> None:
    for name, X in hostile_sparse(dtype).items():
        without = X.copy()
        without.eliminate_zeros()
        assert without.nnz < X.nnz
        params = params_for(X, "random")
        with_zeros, no_zeros = run(X, params).bits, run(without, params).bits
        assert with_zeros[:2] == no_zeros[:2], name


@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_are_what_predict_says(dtype: type) -> None:
    for name, X in hostile_sparse(dtype).items():
        result = run(X, params_for(X, "random"), splits=(10, 300))
        model = DAALKMeans.from_centers(result.value["cluster_centers"])
        assert np.array_equal(model.predict(X), result.saved["labels"]), name
        assert -model.score(X) == result.value["inertia"], name


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize(("n_node", "n_thread"), [(1, 3), (2, 1), (3, 2)])
def test_worker_processes_give_the_bits_of_one(n_node: int, n_thread: int, tmp_path: Path) -> None:
    with Session(
        n_node, n_thread, 512, launcher="local", workdir=str(tmp_path), progress=False
    ) as session:
        for dtype in DTYPES:
            for X in (texts(dtype), hostile_sparse(dtype)["duplicates"]):
                stray = X.toarray()[:8].copy()
                stray[3] = 1e3 * np.abs(X.data).max()
                for init in ("k-means++", "k-means||", stray):
                    model = DAALKMeans(n_clusters=8, init=init, random_state=0, launcher="local")
                    alone = model.fit(X)
                    expected = (alone.cluster_centers_.tobytes(), alone.labels_.tobytes())
                    got = model.set_params(launcher="auto", session=session).fit(X)
                    assert (got.cluster_centers_.tobytes(), got.labels_.tobytes()) == expected
    assert not list(tmp_path.iterdir()), "the session leaves nothing behind"


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # scikit-learn's, of hostile data
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_e_step_agrees_wherever_the_best_center_is_clear(dtype: type) -> None:
    for name, X in {**hostile_sparse(dtype), "texts": texts(dtype)}.items():
        if name == "subnormal":
            continue  # every square underflows: all centers tie
        centers = X.toarray()[:: X.shape[0] // 12].copy()
        ours = np.full(X.shape[0], -1, np.int32)
        sparse.assign(rows_of(X), centers, sparse.center_offset(centers), ours)
        theirs = KMeans(len(centers), init=centers, n_init=1, max_iter=1).fit(X)
        theirs.cluster_centers_ = centers
        differ = np.flatnonzero(ours != theirs.predict(X))
        wide, wide_centers = X[differ].toarray().astype(np.float64), centers.astype(np.float64)
        squares = np.square(wide[:, None] - wide_centers).sum(axis=2)
        two_best = np.sort(squares, axis=1)[:, :2]
        scale = np.square(wide).sum(axis=1) + np.square(wide_centers[ours[differ]]).sum(axis=1)
        clear = two_best[:, 1] - two_best[:, 0] > E_STEP_SLACK[dtype] * scale
        assert not clear.any(), (name, differ[clear])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("init", ["random", "k-means++"])
@pytest.mark.parametrize("seed", range(3))
def test_converges_to_scikit_learns_inertia(dtype: type, init: str, seed: int) -> None:
    X = texts(dtype, seed=seed)
    params = {"n_clusters": 9, "max_iter": 300, "tol": 0, "init": init, "n_init": 2}
    ours = DAALKMeans(**params, random_state=seed, launcher="local").fit(X)
    theirs = KMeans(**params, random_state=seed).fit(X)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-6)
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.cluster_centers_.dtype == dtype
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-6)
    rows = X[::7]
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-4, atol=1e-5)
    assert ours.score(rows) == pytest.approx(theirs.score(rows), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_plus_plus_chooses_scikit_learns_rows(seed: int) -> None:
    X = texts(np.float64, n=400)
    expected, _ = kmeans_plusplus(X, 7, random_state=seed)
    state = np.random.RandomState(seed).get_state(legacy=False)
    params = {"n_clusters": 7, "max_iter": 1, "init": "k-means++", "random_state": state}
    ours = run(X, params, splits=(13, 200))
    theirs = run(X, {"n_clusters": 7, "max_iter": 1, "init": expected})
    assert ours.value["cluster_centers"].tobytes() == theirs.value["cluster_centers"].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_more_clusters_than_distinct_rows_end_with_empty_ones(dtype: type) -> None:
    distinct = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 0.5]], dtype)
    X = csr_matrix(np.repeat(distinct, 5, axis=0))
    for init in ("k-means++", "random"):
        params = {"n_clusters": 5, "init": init, "random_state": 0}
        result = run(X, params, splits=(7,))
        assert result.value["n_distinct"] == 3
        assert result.value["inertia"] == 0.0
        assert {row.tobytes() for row in result.value["cluster_centers"]} == {
            row.tobytes() for row in distinct
        }


def test_a_cluster_of_one_row_and_an_all_zero_row() -> None:
    X = csr_matrix(np.array([[0.0, 9.0], [0.1, 0.0], [0.0, 0.0], [0.2, 0.0]]))
    init = np.array([[0.0, 8.0], [0.0, 0.0]])
    result = run(X, {"n_clusters": 2, "init": init}, splits=(2,))
    assert result.saved["labels"].tolist() == [0, 1, 1, 1]
    assert result.value["cluster_centers"][0].tolist() == [0.0, 9.0]
    np.testing.assert_allclose(result.value["cluster_centers"][1], [0.1, 0.0], rtol=1e-15)
    assert result.value["inertia"] == pytest.approx(0.02, rel=1e-14)


def test_a_bad_value_on_any_worker_is_named_by_its_global_row() -> None:
    X = texts(np.float64, n=100)
    X.data[X.indptr[77]] = np.nan
    column = X.indices[X.indptr[77]]
    with pytest.raises(DataError, match=rf"^X has nan at row 77, column {column} \(counted"):
        run(X, {"n_clusters": 2}, splits=(10, 50))
