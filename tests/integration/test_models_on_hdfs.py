"""Models saved on HDFS, and several of them from one session on YARN."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.datasets import load_iris

import harpy
from harpy import DAALKMeans
from harpy.errors import DataError, PathExists, PathNotFound, StoragePermissionError
from harpy.storage import filesystem
from tests.support.cluster.running import RunningCluster

X = load_iris().data
PARAMETERS = {"random_state": 0, "max_iter": 50}


@pytest.fixture
def folder(on_cluster: RunningCluster) -> Iterator[str]:
    url = f"{on_cluster.user_home}/models-test"
    yield url
    filesystem(url).delete(url, recursive=True)


def fitted(n_clusters: int = 4) -> DAALKMeans:
    return DAALKMeans(n_clusters, **PARAMETERS, launcher="local").fit(X)


def test_models_are_saved_replaced_and_loaded(folder: str) -> None:
    fs, path = filesystem(folder), f"{folder}/new/model"
    with pytest.raises(PathNotFound, match=f"^no model at {path}: there is nothing$"):
        DAALKMeans.load(path)
    model = fitted()
    model.save(path, labels=True)
    again = DAALKMeans.load(path)
    assert again.predict(X).tobytes() == model.labels_.tobytes() == again.labels_.tobytes()
    assert again.transform(X).tobytes() == model.transform(X).tobytes()
    with pytest.raises(PathExists, match="holds a model already"):
        model.save(path)
    fitted(2).save(path, overwrite=True)
    assert len(DAALKMeans.load(path).cluster_centers_) == 2
    assert [entry.name for entry in fs.list(f"{folder}/new")] == ["model"]
    names = [entry.name for entry in fs.list(path)]
    assert names == ["cluster_centers.npy", "model.json"]


def test_a_path_without_host_is_on_the_default_file_system(folder: str) -> None:
    path = folder.partition("://")[2].partition("/")[2]
    fitted().save(f"hdfs:///{path}/model")
    assert DAALKMeans.load(f"{folder}/model").n_clusters == 4


def test_damage_is_named(folder: str) -> None:
    fs, path = filesystem(folder), f"{folder}/model"
    fitted().save(path)
    centers = fs.read_bytes(f"{path}/cluster_centers.npy")
    fs.write_bytes(f"{path}/cluster_centers.npy", centers[:-8], overwrite=True)
    with pytest.raises(
        DataError, match=rf"^{path}/cluster_centers\.npy should hold float64 \(4, 4\)"
    ):
        DAALKMeans.load(path)


def test_where_one_may_not_write_nothing_is_left(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = filesystem(folder)
    fs.mkdirs(folder, 0o755)
    with monkeypatch.context() as other:
        other.setenv("HADOOP_USER_NAME", "mallory")
        with pytest.raises(StoragePermissionError, match="mallory"):
            fitted().save(f"{folder}/model")
    assert fs.list(folder) == []


def test_a_path_on_yarn_gives_the_models_of_this_process(on_cluster: RunningCluster) -> None:
    models = harpy.kmeans_path(
        X, [2, 3, 4], **PARAMETERS, n_node=2, n_thread=1, n_mem=1024, launcher="yarn"
    )
    for k, model in zip((2, 3, 4), models, strict=True):
        expected = fitted(k)
        assert model.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()
        assert np.array_equal(model.labels_, expected.labels_)
        assert (model.inertia_, model.n_iter_) == (expected.inertia_, expected.n_iter_)
    assert len({model.job_.application_id for model in models}) == 1
    assert models[0].job_.state == "succeeded"
