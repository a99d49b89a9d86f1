"""Promise: centers, labels, inertia and n_iter have the same bits for every gang and every data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harpy.jobs.kmeans import main
from harpy.kernels import kmeans as kernels
from tests.support.gangs.threads import run_gang
from tests.support.rows.hostile import DTYPES, hostile_data

N_CLUSTERS = 8
# (splits, threads): 1 to 4 ranks, uneven ones, and ranks without rows at either end.
GANGS = [
    ((), 4),
    ((350,), 1),
    ((1,), 3),
    ((233, 466), 2),
    ((0, 500), 2),
    ((175, 350, 525), 4),
    ((100, 100, 700), 1),
]


@pytest.fixture(autouse=True)
def every_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use all threads asked for, however little there is to do."""
    monkeypatch.setattr("harpy.kernels.kmeans.exact.WORK_PER_THREAD", 1)


def params_for(X: np.ndarray, init: str) -> dict[str, Any]:
    params = {"n_clusters": N_CLUSTERS, "max_iter": 25, "tol": 1e-6, "n_init": 2}
    params["random_state"] = 42
    if init != "array":
        return {**params, "init": init}
    # Two of the eight are so far off that they stay empty and are relocated.
    centers = np.array(X[:: len(X) // N_CLUSTERS][:N_CLUSTERS])
    centers[2] = centers[5] = 1e3 * np.abs(X).max()
    return {**params, "init": np.stack([centers, centers[::-1]])}


@pytest.mark.parametrize("init", ["random", "k-means++", "k-means||", "array"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", hostile_data(np.float64))
def test_same_bits_for_every_gang(name: str, dtype: type, init: str) -> None:
    X = hostile_data(dtype)[name]
    params = params_for(X, init)
    alone = run_gang(main, X, params)
    for splits, n_thread in GANGS:
        gang = run_gang(main, X, params, splits=splits, n_thread=n_thread)
        assert gang.bits == alone.bits, (splits, n_thread)
        for value in gang.values:  # every rank returns what rank 0 does
            assert value["cluster_centers"].tobytes() == alone.value["cluster_centers"].tobytes()
            assert value["inertia"] == alone.value["inertia"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_every_instruction_set(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, X in hostile_data(dtype).items():
        seen = set()
        for isa in kernels.instruction_sets():
            monkeypatch.setenv("HARPY_ISA", isa)
            runs = [params_for(X, init) for init in ("k-means++", "k-means||")]
            seen.add(tuple(run_gang(main, X, params, splits=(300,)).bits for params in runs))
        assert len(seen) == 1, name


@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_are_what_predict_says(dtype: type) -> None:
    from harpy.estimators.kmeans.estimator import DAALKMeans

    for name, X in hostile_data(dtype).items():
        result = run_gang(main, X, params_for(X, "random"), splits=(10, 300))
        model = DAALKMeans.from_centers(result.value["cluster_centers"])
        assert np.array_equal(model.predict(X), result.saved["labels"]), name
        assert -model.score(X) == result.value["inertia"], name
