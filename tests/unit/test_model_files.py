"""Models as files: what is saved, what comes back, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from harpy import DAALKMeans
from harpy.errors import (
    ConfigError,
    DataError,
    HarpyError,
    PathExists,
    PathNotFound,
    StorageError,
    StoragePermissionError,
)
from harpy.storage.fs.local import LocalFileSystem

X = load_iris().data


def fitted(data: Any = X, **parameters: Any) -> DAALKMeans:
    given = {"n_clusters": 4, "random_state": 0, "launcher": "local", **parameters}
    return DAALKMeans(**given).fit(data)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    fitted().save(path, labels=True)
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def edit(path: Path, **changes: Any) -> None:
    """Change entries of model.json."""
    described = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps({**described, **changes}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loaded_model_predicts_the_same_bits(tmp_path: Path, dtype: type) -> None:
    data = X.astype(dtype)
    model = fitted(data)
    model.save(tmp_path / "model")
    again = DAALKMeans.load(tmp_path / "model")
    assert again.cluster_centers_.dtype == dtype
    assert again.cluster_centers_.tobytes() == model.cluster_centers_.tobytes()
    assert again.predict(data).tobytes() == model.predict(data).tobytes()
    assert again.transform(data).tobytes() == model.transform(data).tobytes()
    assert again.score(data) == model.score(data)
    assert (again.inertia_, again.n_iter_) == (model.inertia_, model.n_iter_)
    assert (type(again.inertia_), type(again.n_iter_)) == (float, int)
    assert again.n_features_in_ == 4
    assert again.get_params() == model.get_params()
    assert again.get_feature_names_out().tolist() == model.get_feature_names_out().tolist()
    assert again.fit(data).inertia_ == model.inertia_  # it can be fitted again, too


def test_the_files_are_what_the_documentation_says(saved: Path) -> None:
    assert names_in(saved) == ["cluster_centers.npy", "labels.npy", "model.json"]
    described = json.loads((saved / "model.json").read_text())
    model = fitted()
    assert described["format"] == "harpy k-means model"
    assert described["version"] == 1
    assert described["class"] == "DAALKMeans"
    assert described["parameters"]["n_clusters"] == 4
    assert described["n_features_in"] == 4
    assert described["feature_names_in"] is None
    assert (described["n_iter"], described["inertia"]) == (model.n_iter_, model.inertia_)
    assert described["arrays"]["labels"]["shape"] == [150]
    centers = np.load(saved / "cluster_centers.npy", allow_pickle=False)
    assert np.array_equal(centers, model.cluster_centers_)
    assert np.array_equal(np.load(saved / "labels.npy", allow_pickle=False), model.labels_)


def test_labels_are_saved_when_asked_for(saved: Path, tmp_path: Path) -> None:
    again = DAALKMeans.load(saved)
    assert again.labels_.tobytes() == fitted().labels_.tobytes()
    assert again.labels_.dtype == np.int32
    fitted().save(tmp_path / "small")
    small = DAALKMeans.load(tmp_path / "small")
    assert not hasattr(small, "labels_")
    with pytest.raises(NotFittedError, match="this DAALKMeans has no labels_ to save"):
        small.save(tmp_path / "other", labels=True)
    assert not (tmp_path / "other").exists()


def test_labels_that_lie_in_files_stay_there(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", X)
    model = DAALKMeans(4, random_state=0, launcher="local")
    model.fit(tmp_path / "points.npy", output=str(tmp_path / "labels"))
    model.save(tmp_path / "model")
    again = DAALKMeans.load(tmp_path / "model")
    assert again.labels_path_ == model.labels_path_
    assert np.array_equal(again.fetch_labels(), model.predict(X))


def test_column_names_are_kept(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "ü"])
    model = fitted(frame)
    model.save(tmp_path / "model")
    again = DAALKMeans.load(tmp_path / "model")
    assert again.feature_names_in_.tolist() == ["a", "b", "c", "ü"]
    assert np.array_equal(again.predict(frame), model.labels_)
    with pytest.raises(ValueError, match="feature names should match"):
        again.predict(frame.rename(columns={"a": "z"}))


def test_parameters_that_json_cannot_carry_become_defaults(tmp_path: Path) -> None:
    model = fitted(init=X[:4], random_state=np.random.RandomState(1), tol=np.float32(0.5))
    model.set_params(hadoop_conf={"secret": "no"})
    model.save(tmp_path / "model")
    assert "secret" not in (tmp_path / "model" / "model.json").read_text()
    again = DAALKMeans.load(tmp_path / "model")
    assert (again.init, again.random_state, again.tol) == ("random", None, 0.5)
    assert again.hadoop_conf is None


def test_parameters_can_be_chosen_anew(saved: Path) -> None:
    model = DAALKMeans.load(saved, n_thread=2, launcher="auto", hadoop_conf={"a": "b"})
    assert (model.n_thread, model.launcher, model.hadoop_conf) == (2, "auto", {"a": "b"})
    assert model.n_clusters == 4


@pytest.mark.parametrize("form", [str, lambda path: f"file://{path}", lambda path: f"{path}/"])
def test_paths_may_have_any_form(tmp_path: Path, form: Callable[[Path], str]) -> None:
    path = tmp_path / "new" / "folder" / "model"
    fitted().save(form(path))
    assert DAALKMeans.load(form(path)).n_clusters == 4
    assert names_in(path.parent) == ["model"]


def test_relative_paths_are_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fitted().save("model")
    assert (tmp_path / "model" / "model.json").exists()
    assert DAALKMeans.load("model").n_clusters == 4


def test_known_centers_are_saved_without_numbers_of_a_fit(tmp_path: Path) -> None:
    DAALKMeans.from_centers([[0.0, 1.0], [2.0, 3.0]]).save(tmp_path / "model")
    again = DAALKMeans.load(tmp_path / "model")
    assert again.predict([[0.0, 0.0], [9.0, 9.0]]).tolist() == [0, 1]
    assert not hasattr(again, "inertia_")


def test_only_fitted_models_are_saved(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="This DAALKMeans instance is not fitted yet"):
        DAALKMeans().save(tmp_path / "model")
    assert not names_in(tmp_path)


def test_a_model_is_replaced_only_when_asked(saved: Path) -> None:
    other = fitted(n_clusters=2)
    with pytest.raises(PathExists, match=r"model holds a model already; .* overwrite=True$"):
        other.save(saved)
    assert DAALKMeans.load(saved).n_clusters == 4
    other.save(saved, overwrite=True)
    assert DAALKMeans.load(saved).n_clusters == 2
    assert names_in(saved) == ["cluster_centers.npy", "model.json"]
    assert names_in(saved.parent) == ["model"]


def test_what_is_no_model_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("1")
    (tmp_path / "file").write_text("2")
    for name in ("thesis", "file"):
        with pytest.raises(PathExists, match="exists and is no saved model; choose another path"):
            fitted().save(tmp_path / name, overwrite=True)
    assert (tmp_path / "thesis" / "chapter").read_text() == "1"
    assert names_in(tmp_path) == ["file", "thesis"]


@pytest.mark.parametrize("step", ["write_bytes", "rename"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_save_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, overwrite: bool
) -> None:
    path = tmp_path / "model"
    if overwrite:
        fitted().save(path)
    real, failed = getattr(LocalFileSystem, step), []

    def fail(self: LocalFileSystem, name: str, *rest: Any) -> Any:
        last = step == "rename" and (rest[0] == f"file://{path}") and not failed
        if last or step == "write_bytes":
            failed.append(name)
            raise StoragePermissionError("no", path=name)
        return real(self, name, *rest)

    monkeypatch.setattr(LocalFileSystem, step, fail)
    with pytest.raises(StoragePermissionError):
        fitted(n_clusters=2).save(path, overwrite=overwrite)
    monkeypatch.undo()
    assert failed
    assert names_in(tmp_path) == (["model"] if overwrite else [])
    if overwrite:
        assert DAALKMeans.load(path).n_clusters == 4


@pytest.mark.parametrize("path", ["", 3, b"model"])
def test_paths_are_checked(path: Any) -> None:
    with pytest.raises(ConfigError, match=r"^path must be that of a directory, or its URL, got"):
        fitted().save(path)
    with pytest.raises(ConfigError, match=r"^path must be that of a directory, or its URL, got"):
        DAALKMeans.load(path)


def test_what_fsspec_opens_is_read_and_not_written(saved: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(saved), "/models/iris", recursive=True)
    again = DAALKMeans.load("memory://models/iris")
    assert again.predict(X).tobytes() == fitted().labels_.tobytes()
    with pytest.raises(StorageError, match=r"can only be read; use hdfs:// or file://$"):
        fitted().save("memory://models/other")
    with pytest.raises(ConfigError, match=r"^nowhere://model: expected hdfs://"):
        fitted().save("nowhere://model")


def damaged_centers(path: Path) -> None:
    file = path / "cluster_centers.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def short_centers(path: Path) -> None:
    file = path / "cluster_centers.npy"
    file.write_bytes(file.read_bytes()[:-8])


def pickled_centers(path: Path) -> None:
    np.save(path / "cluster_centers.npy", np.array([{}], dtype=object), allow_pickle=True)


def other_shape(path: Path) -> None:
    np.save(path / "cluster_centers.npy", np.zeros((4, 3)))


DAMAGE: list[tuple[Callable[[Path], Any], type[HarpyError], str]] = [
    (lambda p: shutil.rmtree(p), PathNotFound, "^no model at file://.*/model: there is nothing$"),
    (lambda p: (p / "model.json").unlink(), DataError, "holds no model.json"),
    (lambda p: (p / "model.json").write_text("{"), DataError, "model.json is damaged: not JSON"),
    (lambda p: (p / "model.json").write_text("[]"), DataError, "a JSON object, got list"),
    (lambda p: (p / "model.json").write_bytes(b"\xff{}"), DataError, "damaged: not JSON"),
    (lambda p: edit(p, format="tree"), DataError, "format 'harpy k-means model', got 'tree'"),
    (lambda p: edit(p, version=2), DataError, r"format version 2, this harpy \(.*\) reads 1; it w"),
    (lambda p: edit(p, **{"class": "Tree"}), DataError, "holds a Tree, not a DAALKMeans: load it"),
    (lambda p: edit(p, arrays={}), DataError, "is not as `save` writes it: KeyError: 'cluster_ce"),
    (lambda p: edit(p, arrays=3), DataError, "is not as `save` writes it"),
    (lambda p: edit(p, n_iter="x"), DataError, "is not as `save` writes it: ValueError"),
    (
        lambda p: edit(p, n_features_in=5),
        DataError,
        r"should have 5 columns, .* got shape \(4, 4\)",
    ),
    (lambda p: edit(p, feature_names_in=["a"]), DataError, "names 1 features of 4"),
    (lambda p: edit(p, parameters={"n_magic": 1}), DataError, "does not know: n_magic; update h"),
    (
        lambda p: edit(p, parameters={"tol": -1}),
        DataError,
        "holds no usable model: The 'tol' param",
    ),
    (
        lambda p: (p / "cluster_centers.npy").unlink(),
        DataError,
        "centers.npy is missing, which mod",
    ),
    (damaged_centers, DataError, "cluster_centers.npy is damaged or was changed"),
    (short_centers, DataError, r"should hold float64 \(4, 4\), which is 256 bytes, but has 248"),
    (pickled_centers, DataError, "not an array written by harpy"),
    (other_shape, DataError, r"should hold float64 \(4, 4\), .* says, got float64 \(4, 3\)"),
]


@pytest.mark.parametrize(("damage", "kind", "message"), DAMAGE)
def test_damage_is_named(
    saved: Path, damage: Callable[[Path], Any], kind: type[HarpyError], message: str
) -> None:
    damage(saved)
    with pytest.raises(kind, match=message) as error:
        DAALKMeans.load(saved)
    assert str(saved) in str(error.value)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file is no model saved by harpy: it holds no model.json"):
        DAALKMeans.load(tmp_path / "file")


@pytest.mark.parametrize("data", [X, X.astype(np.float32), csr_matrix(X)])
def test_scikit_learns_model_predicts_the_same(data: Any) -> None:
    model = fitted(data, max_iter=300, algorithm="elkan", n_init="auto")
    theirs = model.to_sklearn()
    assert type(theirs) is KMeans
    assert np.array_equal(theirs.predict(data), model.predict(data))
    np.testing.assert_allclose(theirs.transform(data), model.transform(data), rtol=1e-3, atol=1e-5)
    assert theirs.score(data) == pytest.approx(model.score(data), rel=1e-5)
    for name in ("cluster_centers_", "labels_"):
        assert getattr(theirs, name).tobytes() == getattr(model, name).tobytes()
        assert not np.may_share_memory(getattr(theirs, name), getattr(model, name))
    for name in ("inertia_", "n_iter_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(model, name)
    assert theirs.get_feature_names_out().tolist() == [f"kmeans{i}" for i in range(4)]
    for name, value in theirs.get_params().items():
        assert value == getattr(model, name), name
    theirs.fit(data)


def test_scikit_learns_model_can_be_fitted_where_it_lacks_the_seeding() -> None:
    theirs = fitted(init="k-means||").to_sklearn()
    assert theirs.init == "k-means++"
    assert len(theirs.fit(X).cluster_centers_) == 4


def test_scikit_learns_model_of_known_centers() -> None:
    theirs = DAALKMeans.from_centers([[0.0], [4.0]]).to_sklearn()
    assert theirs.predict([[1.0], [3.0]]).tolist() == [0, 1]
    assert not hasattr(theirs, "labels_")
    with pytest.raises(NotFittedError):
        DAALKMeans().to_sklearn()
