"""Promise 2 on YARN: the bits of one thread in this process, whatever the rows' form.

Workers and threads without YARN, by the hundred: tests/parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits

import harpy
from harpy.config import load_hadoop_conf
from harpy.storage import filesystem
from tests.support.rows.files import DENSE_FORMS, write_files

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


def test_yarn_workers(on_cluster, expected, tmp_path):
    with harpy.Session(n_node=2, n_thread=2, n_mem=1024, launcher="yarn") as session:
        for case in CASES:
            model = harpy.DAALKMeans(**PARAMETERS, session=session)
            assert bits(model.fit(table(case))) == expected[case], case
        check_seedings_and_files(session, tmp_path)


def check_seedings_and_files(session: harpy.Session, folder: Path) -> None:
    """Weighted rows from memory and from Parquet on HDFS, by the seedings that pass over them."""
    X = table(("decades", "float32"))
    weights = np.random.default_rng(5).random(len(X), dtype=np.float32)
    local = write_files(folder / "rows", X, DENSE_FORMS["parquet"])
    fs = filesystem(load_hadoop_conf().default_fs + "/")
    url = f"{fs.home()}/same-bits"
    try:
        for file in local.iterdir():
            fs.write_bytes(f"{url}/{file.name}", file.read_bytes())
        for init in ("k-means++", "k-means||"):
            model = harpy.DAALKMeans(7, 10, init, n_init=3, random_state=1, launcher="local")
            alone = bits(model.fit(X, sample_weight=weights))
            model.set_params(launcher="auto", session=session)
            for rows in (X, url):
                assert bits(model.fit(rows, sample_weight=weights)) == alone, (init, type(rows))
    finally:
        fs.delete(url, recursive=True)


def test_one_job_of_one_worker_on_yarn(on_cluster, expected):
    case = ("digits", "float64")
    model = harpy.DAALKMeans(**PARAMETERS, n_node=1, n_thread=2, n_mem=1024, launcher="yarn")
    assert bits(model.fit(table(case))) == expected[case]
    assert model.job_.application_id.startswith("application_")
    np.testing.assert_array_equal(model.predict(table(case)), model.labels_)
