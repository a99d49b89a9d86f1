"""Rows that lie on HDFS: described by the driver, read by the workers, with memory's bits."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array, save_npz
from sklearn.datasets import load_digits

import harpy
from harpy.errors import DataError, PathExists, PathNotFound
from harpy.storage import FileSystem, filesystem
from tests.support.cluster.running import RunningCluster

X = load_digits().data
PARAMETERS = {"n_clusters": 7, "max_iter": 20, "random_state": 3}


def content(form: str, rows: np.ndarray) -> bytes:
    out = io.BytesIO()
    if form == "npy":
        np.save(out, rows)
    elif form == "parquet":
        columns = {f"c{i}": column for i, column in enumerate(rows.T)}
        pq.write_table(pa.table(columns), out, row_group_size=100)
    elif form == "npz":
        save_npz(out, csr_array(rows))
    else:
        np.savetxt(out, rows, "%.17g", ",")
        return gzip.compress(out.getvalue()) if form == "csv.gz" else out.getvalue()
    return out.getvalue()


FORMS = ("npy", "parquet", "csv", "csv.gz", "npz")


@pytest.fixture(scope="module")
def points(cluster: RunningCluster) -> Iterator[str]:
    """A folder with the same rows in each form, three files each."""
    fs = filesystem(cluster.namenode)
    base = f"{cluster.user_home}/points"
    for form in FORMS:
        for number, part in enumerate(np.array_split(X, 3)):
            fs.write_bytes(f"{base}/{form}/part-{number}.{form}", content(form, part))
        fs.write_bytes(f"{base}/{form}/_SUCCESS", b"")
    yield base
    fs.delete(base, recursive=True)


@pytest.fixture
def fs(on_cluster: RunningCluster) -> FileSystem:
    return filesystem(on_cluster.namenode)


def bits(model: harpy.DAALKMeans) -> tuple[bytes, bytes, float, int]:
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        model.inertia_,
        model.n_iter_,
    )


@pytest.mark.parametrize("n_node", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_files_on_hdfs_give_the_bits_of_memory(
    on_cluster: RunningCluster, points: str, n_node: int
) -> None:
    local = {"n_thread": 1, "launcher": "local"}
    dense = bits(harpy.DAALKMeans(**PARAMETERS, **local).fit(X))
    sparse = bits(harpy.DAALKMeans(**PARAMETERS, **local).fit(csr_array(X)))
    with harpy.Session(n_node=n_node, n_thread=2, n_mem=1024, launcher="yarn") as session:
        for form in FORMS:
            model = harpy.DAALKMeans(**PARAMETERS, session=session).fit(f"{points}/{form}")
            assert bits(model) == (sparse if form == "npz" else dense), form


@pytest.mark.slow
def test_one_job_reads_by_a_pattern_without_host(on_cluster: RunningCluster, points: str) -> None:
    path = points.removeprefix(on_cluster.namenode)
    columns = [f"c{i}" for i in range(0, 64, 3)]
    model = harpy.DAALKMeans(**PARAMETERS, n_node=2, n_thread=1, n_mem=1024, launcher="yarn")
    model.fit(f"hdfs://{path}/parquet/*.parquet", columns=columns)
    expected = harpy.DAALKMeans(**PARAMETERS, launcher="local").fit(X[:, ::3])
    assert bits(model) == bits(expected)
    assert model.feature_names_in_.tolist() == columns
    assert model.job_.application_id.startswith("application_")


def test_workers_are_placed_where_their_bytes_are(on_cluster: RunningCluster, points: str) -> None:
    model = harpy.DAALKMeans(**PARAMETERS, n_node=2, n_mem=1024, launcher="yarn")
    model.fit(f"{points}/npy")
    job = model.job_.application_id.replace("application", "job")
    counters = counters_of(on_cluster, job)
    assert counters["DATA_LOCAL_MAPS"] == 2, "their tasks had a wish, and it was met"


def counters_of(cluster: RunningCluster, job: str) -> dict[str, int]:
    """The counters of a finished job, from the history server, which needs a moment."""
    path = f"/ws/v1/history/mapreduce/jobs/{job}/counters"
    for _ in range(300):
        try:
            with urlopen(cluster.state.url("historyserver.http") + path, timeout=10) as answer:
                groups = json.load(answer)["jobCounters"]["counterGroup"]
        except HTTPError as exc:
            assert exc.code == 404, exc
            time.sleep(0.1)
        else:
            # A list of one comes as that one alone.
            lists = (group["counter"] for group in groups)
            named = (c for found in lists for c in (found if isinstance(found, list) else [found]))
            return {counter["name"]: counter["totalCounterValue"] for counter in named}
    raise AssertionError(f"the history server does not know {job}")


def test_labels_stay_on_hdfs(on_cluster: RunningCluster, fs: FileSystem, points: str) -> None:
    inner = f"{fs.path_of(points)}/labels"
    expected = harpy.DAALKMeans(**PARAMETERS, launcher="local").fit(X).labels_
    try:
        with harpy.Session(n_node=2, n_mem=1024, launcher="yarn") as session:
            model = harpy.DAALKMeans(**PARAMETERS, session=session)
            model.fit(f"{points}/parquet", output=f"hdfs://{inner}")
            assert model.labels_path_ == f"{on_cluster.namenode}{inner}"
            np.testing.assert_array_equal(model.fetch_labels(), expected)
            found = model.predict(f"{points}/csv.gz", output=f"hdfs://{inner}-2")
            np.testing.assert_array_equal(model.fetch_labels(found), expected)
            assert "_SUCCESS" in [entry.name for entry in fs.list(found)]
            with pytest.raises(PathExists, match="labels-2 exists already"):
                model.predict(f"{points}/npy", output=f"hdfs://{inner}-2")
    finally:
        fs.delete(inner, recursive=True)
        fs.delete(f"{inner}-2", recursive=True)


def test_hdfs_tells_where_blocks_begin(fs: FileSystem, points: str) -> None:
    assert fs.stat(f"{points}/npy/part-0.npy").block_size == 128 << 20


def test_bad_files_are_named_with_file_and_row(fs: FileSystem, points: str) -> None:
    bad = X.copy()
    bad[1700, 5] = np.nan
    with pytest.raises(PathNotFound, match="matches no file"):
        harpy.DAALKMeans().fit(f"{points}/*.nothing")
    base = f"{points}/bad"
    fs.write_bytes(f"{base}/0.npy", content("npy", X))
    fs.write_bytes(f"{base}/1.npy", content("npy", bad))
    try:
        with harpy.Session(n_node=2, n_mem=1024, launcher="yarn") as session:
            model = harpy.DAALKMeans(**PARAMETERS, session=session)
            with pytest.raises(DataError, match=rf"X has nan at row 1700 of {base}/1\.npy, col"):
                model.fit(base)
            text = content("csv", X[:90]).replace(b"\n", b"\nnonsense" + b"," * 63 + b"\n", 1)
            fs.write_bytes(f"{base}/x.csv", text)
            with pytest.raises(DataError, match=rf"row 1 of {base}/x\.csv .*got 'nonsense'"):
                model.fit(f"{base}/x.csv")
            assert bits(model.fit(f"{points}/npy"))[3] > 1, "the session works on"
    finally:
        fs.delete(base, recursive=True)
