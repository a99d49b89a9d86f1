"""An estimator of a few lines has sessions, files, weights, scikit-learn's manners and saved models
by what harpy.estimators shares: nothing of k-means takes part."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import harpy
from harpy import Session
from harpy.errors import ConfigError, DataError, PathExists
from harpy.estimators.files import describe_files, file_weights, learn_features, refuse_choice
from harpy.estimators.model_files import ModelFormat, SavedEstimator
from harpy.estimators.rows import known_rows, row_weights, validated_rows
from harpy.estimators.session import SESSION_CONSTRAINTS, job_of
from harpy.storage.rows.dataset import names_files
from tests.support import ROOT

PROGRAM = str(ROOT / "tests" / "support" / "programs" / "column_means.py")
X = np.random.default_rng(0).normal(5, 2, size=(60, 3))
WEIGHTS = np.arange(60.0)


class ColumnCenterer(TransformerMixin, SavedEstimator):
    """Subtracts the columns' weighted means, which workers find."""

    _parameter_constraints: ClassVar[dict[str, Any]] = SESSION_CONSTRAINTS
    _job_name = "means"
    _model_format = ModelFormat("column means", 3, {"mean": 1}, {"weight": float})

    def __init__(
        self,
        n_node: int = 1,
        n_thread: int = 2,
        n_mem: int = 1024,
        workdir: str = "/means-work",
        *,
        launcher: str = "auto",
        queue: str | None = None,
        hadoop_conf: Mapping[str, str] | None = None,
        session: Session | None = None,
        keep: bool = False,
        progress: bool | None = None,
    ) -> None:
        self.n_node, self.n_thread, self.n_mem, self.workdir = n_node, n_thread, n_mem, workdir
        self.launcher, self.queue, self.hadoop_conf = launcher, queue, hadoop_conf
        self.session, self.keep, self.progress = session, keep, progress

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, columns: Any = None
    ) -> ColumnCenterer:
        self._validate_params()
        if names_files(X):
            rows = describe_files(self, X, columns, None)
            learn_features(self, rows)
            weights = file_weights(sample_weight, rows)
        else:
            refuse_choice(columns=columns)
            rows = validated_rows(self, X, reset=True, accept_sparse=False)
            weights = row_weights(sample_weight, rows)
        result = self._run(PROGRAM, known_rows(X, rows), weights, {})
        self.mean_, self.weight_ = result.value["mean"], result.value["weight"]
        self.n_features_in_ = len(self.mean_)
        self.job_ = job_of(result)
        return self

    def transform(self, X: Any) -> np.ndarray:
        self._check_fitted()
        return validated_rows(self, X, reset=False, accept_sparse=False) - self.mean_


def local(**parameters: Any) -> ColumnCenterer:
    return ColumnCenterer(**{"launcher": "local", "progress": False, **parameters})


def test_workers_fit_it_on_rows_in_memory(tmp_path: Path) -> None:
    alone, gang = local(), local(n_node=2, n_thread=1, n_mem=256, workdir=str(tmp_path))
    expected = np.average(X, axis=0, weights=WEIGHTS)
    for model in (alone.fit(X, sample_weight=WEIGHTS), gang.fit(X, sample_weight=WEIGHTS)):
        np.testing.assert_allclose(model.mean_, expected, rtol=1e-12)
        np.testing.assert_allclose(model.transform(X), X - expected, atol=1e-12)
        assert model.weight_ == WEIGHTS.sum()
    assert alone.job_ is None
    assert gang.job_ is not None
    assert gang.job_.id.startswith("means-")
    assert gang.job_.state == "succeeded"
    assert not list(tmp_path.iterdir()), "the session leaves nothing behind"


def test_workers_fit_it_on_rows_in_files(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    np.savetxt(path, X, delimiter=",", header="a,b,c", comments="")
    model = local().fit(path, columns=["a", "c"], sample_weight=WEIGHTS)
    expected = np.average(X[:, [0, 2]], axis=0, weights=WEIGHTS)
    np.testing.assert_allclose(model.mean_, expected, rtol=1e-12)
    assert model.feature_names_in_.tolist() == ["a", "c"]
    np.save(tmp_path / "points.npy", X)
    with pytest.raises(ValueError, match=r"^sample_weight.shape == \(59,\), expected \(60,\)!"):
        local().fit(tmp_path / "points.npy", sample_weight=WEIGHTS[1:])
    with pytest.raises(ValueError, match=r"^columns: only for rows in files, and X holds"):
        local().fit(X, columns=[0])


def test_a_given_session_is_used_and_not_contradicted() -> None:
    points = harpy.put(X)
    with Session(launcher="local") as session:
        model = ColumnCenterer(session=session).fit(points)
        np.testing.assert_allclose(model.mean_, X.mean(axis=0), rtol=1e-12)
        assert clone(model).session is session
        assert pickle.loads(pickle.dumps(model)).session is None
        with pytest.raises(ConfigError, match=r"^n_node=2 contradicts the given session, which"):
            ColumnCenterer(n_node=2, session=session).fit(points)
        with pytest.raises(ConfigError, match=r"^queue cannot be chosen for a session that is"):
            ColumnCenterer(queue="q", session=session).fit(points)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model = local(n_thread=1).fit(X)
    with pytest.raises(NotFittedError, match="This ColumnCenterer instance is not fitted yet"):
        local().save(tmp_path / "model")
    model.save(tmp_path / "model")
    again = ColumnCenterer.load(tmp_path / "model")
    assert again.mean_.tobytes() == model.mean_.tobytes()
    assert (again.weight_, again.n_features_in_) == (60.0, 3)
    assert again.get_params() == model.get_params()
    assert again.transform(X).tobytes() == model.transform(X).tobytes()
    described = json.loads((tmp_path / "model" / "model.json").read_text())
    assert (described["format"], described["version"]) == ("column means", 3)
    with pytest.raises(PathExists, match="holds a model already"):
        model.save(tmp_path / "model")
    with pytest.raises(DataError, match="should say format 'harpy k-means model', got 'column m"):
        harpy.DAALKMeans.load(tmp_path / "model")


def test_what_is_wrong_is_refused_in_scikit_learns_words() -> None:
    with pytest.raises(ValueError, match=r"^The 'n_node' parameter of ColumnCenterer must be an"):
        local(n_node=0).fit(X)
    with pytest.raises(NotFittedError, match="This ColumnCenterer instance is not fitted yet"):
        local().transform(X)
    with pytest.raises(ValueError, match="X has 2 features, but ColumnCenterer is expecting 3"):
        local().fit(X).transform(X[:, :2])
    with pytest.raises(TypeError, match="Sparse data was passed"):
        local().fit(csr_matrix(X))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        local().fit(X, sample_weight=-WEIGHTS)


def test_scikit_learns_own_checks_pass() -> None:
    not_asked = {"check_estimators_nan_inf": "it does not look at values"}
    results = check_estimator(local(), expected_failed_checks=not_asked, on_skip=None, on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert sum(r["status"] == "passed" for r in results) > 40
