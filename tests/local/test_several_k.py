"""harpy.put and harpy.kmeans_path: one session, one upload, the bits of separate fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn.datasets import load_iris

import harpy
import harpy.session.staging
from harpy import DAALKMeans, Session
from harpy.errors import ConfigError, DataError
from harpy.storage.rows import put_rows

X = load_iris().data
SPARSE = csr_matrix(np.where(X > 2, X, 0))
LOCAL = {"launcher": "local", "max_iter": 50}


def bits(model: DAALKMeans) -> tuple[Any, ...]:
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        model.inertia_,
        model.n_iter_,
    )


class Work:
    """How often sessions were opened, rows hashed and uploaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = self.hashed = self.uploaded = 0
        for module, name, counter in (
            (harpy.session.staging, "stage_array", "uploaded"),
            (put_rows, "content_hash", "hashed"),
        ):
            monkeypatch.setattr(module, name, self.counted(getattr(module, name), counter))
        monkeypatch.setattr(Session, "open", self.counted(Session.open, "opened"))

    def counted(self, function: Any, counter: str) -> Any:
        def count(*arguments: Any, **options: Any) -> Any:
            if counter != "opened" or arguments[0]._state == "new":
                setattr(self, counter, getattr(self, counter) + 1)
            return function(*arguments, **options)

        return count


@pytest.mark.parametrize(
    "settings",
    [
        {"random_state": 3},
        {"random_state": 3, "init": "k-means++", "n_init": 2},
        {"random_state": 3, "verbose": 1},
    ],
)
@pytest.mark.parametrize("data", [X, X.astype(np.float32), SPARSE, X.tolist()])
def test_models_are_those_of_separate_fits(data: Any, settings: dict[str, Any]) -> None:
    models = harpy.kmeans_path(data, [2, 5, 3], **LOCAL, **settings)
    separate = [DAALKMeans(n_clusters=k, **LOCAL, **settings).fit(data) for k in (2, 5, 3)]
    assert [bits(model) for model in models] == [bits(model) for model in separate]
    for ours, theirs in zip(models, separate, strict=True):
        assert ours.get_params() == theirs.get_params()


def test_a_generator_is_drawn_from_as_by_separate_fits() -> None:
    ours, theirs = np.random.RandomState(1), np.random.RandomState(1)
    models = harpy.kmeans_path(X, [3, 4], **LOCAL, random_state=ours)
    separate = [DAALKMeans(n_clusters=k, **LOCAL, random_state=theirs).fit(X) for k in (3, 4)]
    assert [bits(model) for model in models] == [bits(model) for model in separate]
    assert ours.random_sample() == theirs.random_sample()


def test_weights_count() -> None:
    weights = np.random.default_rng(0).random(len(X))
    models = harpy.kmeans_path(X, [3], sample_weight=weights, **LOCAL, random_state=0)
    expected = DAALKMeans(3, **LOCAL, random_state=0).fit(X, sample_weight=weights)
    assert bits(models[0]) == bits(expected)


def test_names_of_columns_are_kept() -> None:
    frame = pandas.DataFrame(X, columns=list("abcd"))
    (model,) = harpy.kmeans_path(frame, [3], **LOCAL, random_state=0)
    assert model.feature_names_in_.tolist() == list("abcd")


@pytest.mark.parametrize("data", [X, SPARSE])
def test_one_session_hashes_and_uploads_once(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    models = harpy.kmeans_path(data, [2, 3, 4], **LOCAL, n_node=2, n_thread=1, random_state=0)
    assert (work.opened, work.hashed, work.uploaded) == (1, 1, 1)
    alone = harpy.kmeans_path(data, [2, 3, 4], **LOCAL, random_state=0)
    assert [bits(model) for model in models] == [bits(model) for model in alone]
    assert {model.job_.state for model in models} == {"succeeded"}
    assert len({model.job_.id for model in models}) == 1
    for k, model in zip((2, 3, 4), models, strict=True):
        assert model.session is None
        assert (model.n_clusters, model.n_node, model.n_thread) == (k, 2, 1)
        assert model.launcher == "local"


def test_a_given_session_stays_open() -> None:
    with Session(launcher="local") as session:
        models = harpy.kmeans_path(X, [2, 3], session=session, max_iter=50, random_state=0)
        assert session.run("harpy.jobs.kmeans:main", {"n_clusters": 2}, data={"X": X})
        assert all(model.session is session for model in models)
    assert bits(models[1]) == bits(DAALKMeans(3, **LOCAL, random_state=0).fit(X))


@pytest.mark.parametrize(
    ("ks", "settings", "kind", "message"),
    [
        ([], {}, ValueError, "^ks must name at least one number of clusters, got none"),
        ([2, 0], {}, ValueError, "'n_clusters' parameter of DAALKMeans must be an int in the ra"),
        ([2, "3"], {}, ValueError, "'n_clusters' parameter of DAALKMeans must be an int in the r"),
        ([2], {"tol": -1}, ValueError, "The 'tol' parameter of DAALKMeans must be a float in th"),
        ([2, 200], {}, ValueError, "n_samples=150 should be >= n_clusters=200"),
        ([2], {"n_clusters": 3}, TypeError, "multiple values for keyword argument 'n_clusters'"),
        ([2], {"clusters": 3}, TypeError, "unexpected keyword argument 'clusters'"),
    ],
)
def test_mistakes_are_met_before_anything_starts(
    ks: list[Any],
    settings: dict[str, Any],
    kind: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Work(monkeypatch)
    with pytest.raises(kind, match=message):
        harpy.kmeans_path(X, ks, **LOCAL, **settings)
    assert work.opened == 0


@pytest.mark.parametrize("data", [X, X.astype(np.float32), SPARSE, csr_array(SPARSE)])
def test_put_rows_stand_for_themselves(data: Any) -> None:
    points = harpy.put(data)
    assert (points.shape, points.dtype, len(points)) == (data.shape, data.dtype, 150)
    ours, theirs = (DAALKMeans(3, **LOCAL, random_state=0).fit(rows) for rows in (points, data))
    assert bits(ours) == bits(theirs)
    assert np.array_equal(ours.predict(points), theirs.labels_)
    assert np.array_equal(ours.transform(points), theirs.transform(data))
    assert ours.score(points) == theirs.score(data)
    assert harpy.put(points) is points


def test_put_rows_that_fit_must_convert_are_converted() -> None:
    whole = np.arange(60).reshape(20, 3) % 17
    for rows in (whole, np.asfortranarray(whole.astype(float)), whole.astype(float)[::2]):
        expected = DAALKMeans(3, **LOCAL, random_state=0).fit(rows)
        assert bits(DAALKMeans(3, **LOCAL, random_state=0).fit(harpy.put(rows))) == bits(expected)


def test_a_session_hashes_and_uploads_put_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    points = harpy.put(X)
    for expected in (1, 2):
        with Session(n_node=2, launcher="local") as session:
            assert session.put(points) is points
            for k in (2, 3):
                DAALKMeans(k, session=session, random_state=0).fit(points)
            session.run("harpy.jobs.kmeans:main", {"n_clusters": 2}, data={"X": points})
        assert (work.hashed, work.uploaded) == (1, expected)


def test_a_dataset_needs_no_putting(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", X)
    points = harpy.dataset(tmp_path / "points.npy")
    with Session(n_node=2, launcher="local") as session:
        assert harpy.put(points, session) is points
        model = DAALKMeans(3, session=session, random_state=0, max_iter=50).fit(points)
    expected = DAALKMeans(3, **LOCAL, random_state=0).fit(X)
    assert model.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()
    (again,) = harpy.kmeans_path(points, [3], **LOCAL, random_state=0)
    assert again.inertia_ == expected.inertia_


@pytest.mark.parametrize("wrong", [X[0], X.tolist(), np.array([["a"]]), SPARSE.tocsc(), None])
def test_what_cannot_be_put_is_refused(wrong: Any) -> None:
    with pytest.raises(DataError, match="expected"):
        harpy.put(wrong)


def test_contradictions_of_a_given_session_are_refused() -> None:
    with (
        Session(launcher="local") as session,
        pytest.raises(ConfigError, match="n_node=3 contradicts the given session"),
    ):
        harpy.kmeans_path(X, [2], session=session, n_node=3)
