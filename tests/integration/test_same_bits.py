"""Promise 2: the same bits for every launcher, number of workers and threads, and dtype."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits

import harpy

PARAMETERS = {"n_clusters": 7, "max_iter": 20, "random_state": 3}


def tables() -> dict[str, np.ndarray | csr_array]:
    """Small tables that are hard on the last bits; each reason in a word."""
    rng = np.random.default_rng(7)
    blobs = rng.normal(size=(601, 5)) + 4 * rng.integers(-2, 3, size=(601, 1))
    return {
        "digits": load_digits().data,
        "offset": 1e4 + blobs,  # float32 keeps three digits of what matters
        "decades": blobs * np.logspace(-6, 6, 5),  # columns over twelve decades
        "duplicates": np.repeat(blobs[:43], 14, axis=0),
        "ties": rng.integers(-2, 3, size=(600, 4)).astype(float),  # equal distances abound
        "holes": csr_array(blobs * (rng.random((601, 5)) < 0.4)),  # sparse rows
    }


CASES = [(name, dtype) for name in tables() for dtype in ("float32", "float64")]


def table(case: tuple[str, str]) -> np.ndarray | csr_array:
    return tables()[case[0]].astype(case[1])


def bits(model: harpy.DAALKMeans) -> tuple[bytes, bytes, float, int]:
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        model.inertia_,
        model.n_iter_,
    )


@pytest.fixture(scope="module")
def expected() -> dict[tuple[str, str], tuple[bytes, bytes, float, int]]:
    """Computed inside this process by one thread."""
    return {
        case: bits(harpy.DAALKMeans(**PARAMETERS, n_thread=1, launcher="local").fit(table(case)))
        for case in CASES
    }


@pytest.mark.parametrize("n_thread", [2, 3, 4])
def test_threads(expected, n_thread):
    for case in CASES:
        model = harpy.DAALKMeans(**PARAMETERS, n_thread=n_thread, launcher="local")
        assert bits(model.fit(table(case))) == expected[case], case


@pytest.mark.parametrize(("n_node", "n_thread"), [(2, 1), (3, 2), (4, 4)])
def test_local_workers(expected, n_node, n_thread):
    with harpy.Session(n_node=n_node, n_thread=n_thread, launcher="local") as session:
        for case in CASES:
            model = harpy.DAALKMeans(**PARAMETERS, session=session)
            assert bits(model.fit(table(case))) == expected[case], case


@pytest.mark.parametrize("n_node", [1, 2])
def test_yarn_workers(on_cluster, expected, n_node):
    with harpy.Session(n_node=n_node, n_thread=2, n_mem=1024, launcher="yarn") as session:
        for case in CASES:
            model = harpy.DAALKMeans(**PARAMETERS, session=session)
            assert bits(model.fit(table(case))) == expected[case], case


def test_one_job_on_yarn_gives_what_a_session_gives(on_cluster, expected):
    case = ("digits", "float64")
    model = harpy.DAALKMeans(**PARAMETERS, n_node=2, n_thread=1, n_mem=1024, launcher="yarn")
    assert bits(model.fit(table(case))) == expected[case]
    assert model.job_.application_id.startswith("application_")
    np.testing.assert_array_equal(model.predict(table(case)), model.labels_)


def test_kmeans_plus_plus_and_several_runs(expected) -> None:
    X = table(("digits", "float64"))
    wanted = harpy.DAALKMeans(6, 15, "k-means++", 3, random_state=1, launcher="local").fit(X)
    with harpy.Session(n_node=3, launcher="local") as session:
        model = harpy.DAALKMeans(6, 15, "k-means++", 3, random_state=1, session=session).fit(X)
    assert bits(model) == bits(wanted)
