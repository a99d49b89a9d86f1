"""DAALKMeans as scikit-learn knows estimators, run inside this process."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_estimator,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_inplace_ensure_writeable,
    check_param_validation,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out_pandas,
)

import harpy.estimators.session
from harpy import DAALKMeans, Session
from harpy.errors import ConfigError, DataError
from harpy.session import JobInfo, RunResult
from harpy.session.options import SessionOptions

X, _ = make_blobs(400, 4, centers=5, cluster_std=2.0, random_state=0)


def model(**parameters: Any) -> DAALKMeans:
    return DAALKMeans(**{"n_clusters": 5, "random_state": 0, "launcher": "local", **parameters})


class RecordingSession:
    """Stands in for Session: remembers what it was opened with, and runs nothing."""

    made: list[RecordingSession]

    def __init__(self, n_node: int, n_thread: int, n_mem: int, **options: Any) -> None:
        self.options = SessionOptions(n_node=n_node, n_thread=n_thread, n_mem=n_mem)
        self.given = {"n_node": n_node, "n_thread": n_thread, "n_mem": n_mem, **options}
        self.runs: list[tuple[Any, Any, Any]] = []
        self.is_open = False
        type(self).made.append(self)

    def __enter__(self) -> RecordingSession:
        self.is_open = True
        return self

    def __exit__(self, *error: object) -> None:
        self.is_open = False

    job = JobInfo("job-1", "yarn", state="succeeded")

    def run(self, program: Any, params: Any, data: Any) -> RunResult:
        self.runs.append((program, params, data))
        value = {
            "cluster_centers": np.zeros((5, 4)),
            "inertia": 1.0,
            "n_iter": 2,
            "n_distinct": 5,
            "random_state": np.random.RandomState(1).get_state(legacy=False),
            "courses": [],
        }
        labels = np.zeros(len(data["X"]), np.int32)
        return RunResult(value, {"labels": labels}, 0.1, self.job)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[RecordingSession]:
    RecordingSession.made = []
    monkeypatch.setattr(harpy.estimators.session, "Session", RecordingSession)
    return RecordingSession.made


def test_scikit_learns_own_checks_pass() -> None:
    # As scikit-learn says of its KMeans: other rows are drawn from repeated rows than by weight.
    not_asked = {
        f"check_sample_weight_equivalence_on_{form}_data": "draws are not equivalent"
        for form in ("dense", "sparse")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            DAALKMeans(launcher="local"),
            expected_failed_checks=not_asked,
            on_skip=None,
            on_fail=None,
        )
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert sum(r["status"] == "passed" for r in results) > 40


@pytest.mark.parametrize(
    "check",
    [
        check_param_validation,
        check_set_output_transform_pandas,
        check_set_output_transform_polars,
        check_global_output_transform_pandas,
        check_global_set_output_transform_polars,
        check_inplace_ensure_writeable,
        check_transformer_get_feature_names_out_pandas,
    ],
)
@pytest.mark.filterwarnings("ignore:X (has|does not have)")
def test_scikit_learns_checks_of_its_own_estimators_pass(check: Callable[..., None]) -> None:
    check("DAALKMeans", DAALKMeans(n_clusters=2, launcher="local"))


def test_fit_sets_scikit_learns_attributes() -> None:
    ours = model(max_iter=300).fit(X)
    theirs = KMeans(5, init="random", n_init=1, random_state=0).fit(X)
    assert ours.cluster_centers_.shape == (5, 4)
    assert ours.labels_.dtype == theirs.labels_.dtype
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-12)
    assert (ours.n_iter_, ours.n_features_in_) == (theirs.n_iter_, 4)
    assert isinstance(ours.inertia_, float)
    assert isinstance(ours.n_iter_, int)
    assert ours.job_ is None
    assert ours.get_feature_names_out().tolist() == [f"daalkmeans{i}" for i in range(5)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_methods_agree_with_the_attributes(dtype: type) -> None:
    data = X.astype(dtype)
    fitted = model().fit(data)
    assert fitted.cluster_centers_.dtype == dtype
    assert np.array_equal(fitted.predict(data), fitted.labels_)
    assert np.array_equal(model().fit_predict(data), fitted.labels_)
    assert fitted.score(data) == -fitted.inertia_
    distances = fitted.transform(data)
    assert distances.dtype == dtype
    assert np.array_equal(distances.argmin(axis=1), fitted.labels_)
    assert np.array_equal(model().fit_transform(data), distances)
    exact = np.sqrt(np.square(data[:, None].astype(float) - fitted.cluster_centers_).sum(axis=2))
    np.testing.assert_allclose(distances, exact, rtol=1e-6)


def test_rows_of_the_other_dtype_are_compared_exactly() -> None:
    fitted = model().fit(X.astype(np.float32))
    wide = model(init=fitted.cluster_centers_.astype(np.float64), max_iter=1)
    assert (
        np.array_equal(fitted.predict(X), wide.fit(X).predict(X))
        or fitted.transform(X).dtype == np.float64
    )
    assert fitted.transform(X).dtype == np.float64


def test_integers_lists_and_strided_rows_are_accepted() -> None:
    rows = np.round(X * 10).astype(np.int64)
    expected = model().fit(rows.astype(np.float64))
    for data in (rows, rows.tolist(), np.asfortranarray(rows), np.repeat(rows, 2, axis=1)[:, ::2]):
        got = model().fit(data)
        assert got.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()


def test_input_is_not_modified() -> None:
    for copy_x in (True, False):
        data, init = X.copy(), X[:5].copy()
        model(copy_x=copy_x, init=init).fit(data)
        assert np.array_equal(data, X)
        assert np.array_equal(init, X[:5])


def test_n_thread_changes_no_bit() -> None:
    big = np.random.default_rng(1).normal(size=(20_000, 30)).astype(np.float32)
    seen = {
        (m.cluster_centers_.tobytes(), m.labels_.tobytes(), m.inertia_, m.n_iter_)
        for m in (model(n_thread=n).fit(big) for n in (1, 2, 3, 8))
    }
    assert len(seen) == 1


def test_unfitted_models_say_so() -> None:
    for method in ("predict", "transform", "score"):
        with pytest.raises(NotFittedError, match="This DAALKMeans instance is not fitted yet"):
            getattr(model(), method)(X)


def test_predict_checks_its_rows() -> None:
    fitted = model().fit(X)
    with pytest.raises(ValueError, match="X has 3 features, but DAALKMeans is expecting 4"):
        fitted.predict(X[:, :3])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fitted.predict(np.full((1, 4), np.nan))
    with pytest.raises(DataError, match="column 0 of X holds a value of magnitude 1e"):
        fitted.predict(np.full((1, 4), 1e200))


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_values_that_are_not_finite_are_refused_in_scikit_learns_words(
    bad: float, word: str
) -> None:
    rows = X.copy()
    rows[7, 2] = bad
    with pytest.raises(ValueError) as theirs:
        KMeans(5, n_init=1).fit(rows)
    with pytest.raises(ValueError, match=f"^Input X contains {word}") as ours:
        model().fit(rows)
    assert str(ours.value) == str(theirs.value).replace("KMeans", "DAALKMeans")
    with pytest.raises(ValueError, match=f"^Input init contains {word}"):
        model(init=rows[5:10]).fit(X)
    with config_context(assume_finite=True):
        with pytest.raises(DataError, match=r"^X has .* at row 7, column 2 "):
            model().fit(rows)
        with pytest.raises(DataError, match=r"^init has .* at row 2, column 2 "):
            model(init=rows[5:10]).fit(X)


def test_random_state_instance_moves_on_as_scikit_learns_does() -> None:
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    for _ in range(2):
        a = model(random_state=ours, n_init=2, max_iter=300).fit(X)
        b = KMeans(5, init="random", n_init=2, random_state=theirs).fit(X)
        assert a.inertia_ == pytest.approx(b.inertia_, rel=1e-9)
    assert ours.random_sample() == theirs.random_sample()


def test_without_random_state_fits_differ() -> None:
    data = np.random.default_rng(0).normal(size=(500, 3))
    inertias = {model(random_state=None, max_iter=1).fit(data).inertia_ for _ in range(5)}
    assert len(inertias) > 1


def test_callable_init_is_called_here_for_every_run() -> None:
    calls = []

    def init(rows: np.ndarray, n_clusters: int, random_state: np.random.RandomState) -> np.ndarray:
        calls.append((rows.shape, n_clusters))
        return rows[random_state.permutation(len(rows))[:n_clusters]]

    fitted = model(init=init, n_init=3, max_iter=300).fit(X)
    theirs = KMeans(5, init=init, n_init=3, random_state=0).fit(X)
    assert calls == [(X.shape, 5)] * 6
    assert fitted.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)


@pytest.mark.parametrize(
    ("init", "runs"),
    [
        ("random", 10),
        ("k-means++", 1),
        ("k-means||", 1),
        (lambda X, n_clusters, random_state: X[:n_clusters], 10),
    ],
)
def test_n_init_auto(init: Any, runs: int, sessions: list[RecordingSession]) -> None:
    model(init=init, n_init="auto").fit(X)
    assert sessions[0].runs[0][1]["n_init"] == runs


def test_given_centers_start_one_run_only() -> None:
    with pytest.warns(RuntimeWarning, match="performing only one init in DAALKMeans instead of n_"):
        fitted = model(init=X[:5], n_init=4, max_iter=300).fit(X)
    assert fitted.inertia_ == model(init=X[:5].tolist(), max_iter=300).fit(X).inertia_


def test_too_few_distinct_rows_warn_as_in_scikit_learn() -> None:
    rows = np.repeat(X[:3], 10, axis=0)
    message = r"Number of distinct clusters \(3\) found smaller than n_clusters \(5\)"
    with pytest.warns(ConvergenceWarning, match=message):
        model().fit(rows)


@pytest.mark.parametrize("data", [X, csr_matrix(X)], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    "settings", [{"tol": 0.0}, {"tol": 0.1}, {"max_iter": 2}, {"init": "k-means++", "n_init": 3}]
)
def test_verbose_says_what_scikit_learn_says(
    data: Any, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"max_iter": 300, "init": "random", "n_init": 1, "verbose": 1, **settings}
    model(**settings).fit(data)
    ours = capsys.readouterr().out
    KMeans(5, random_state=0, **settings).fit(data)
    theirs = capsys.readouterr().out
    number = r"\d+\.\d+(?:e-?\d+)?"
    assert re.sub(number, "x", ours) == re.sub(number, "x", theirs)
    assert "Iteration 1, inertia " in ours
    found = [np.array(re.findall(number, text), float) for text in (ours, theirs)]
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_elkan_is_lloyds_result() -> None:
    assert model(algorithm="elkan").fit(X).inertia_ == model().fit(X).inertia_
    with pytest.warns(RuntimeWarning, match="algorithm='elkan' doesn't make sense for a single"):
        model(algorithm="elkan", n_clusters=1).fit(X)


def test_models_are_pickled_without_their_session() -> None:
    with Session(launcher="local") as session:
        fitted = model(session=session, launcher="auto").fit(X)
        again = pickle.loads(pickle.dumps(fitted))
        assert fitted.session is session
    assert again.session is None
    assert np.array_equal(again.predict(X), fitted.labels_)


def test_clones_share_the_session() -> None:
    with Session(launcher="local") as session:
        cloned = clone(model(session=session, launcher="auto"))
        assert cloned.session is session
        assert cloned.fit(X).inertia_ == model().fit(X).inertia_


def test_works_in_a_pipeline() -> None:
    pipeline = make_pipeline(StandardScaler(), model()).fit(X)
    assert pipeline.predict(X[:3]).shape == (3,)


def test_known_centers_make_a_model_that_predicts() -> None:
    fitted = model().fit(X)
    known = DAALKMeans.from_centers(fitted.cluster_centers_.tolist(), n_thread=2)
    assert np.array_equal(known.predict(X), fitted.labels_)
    assert known.n_clusters == 5
    with pytest.raises(ValueError, match="Input centers contains NaN"):
        DAALKMeans.from_centers([[np.nan]])


def test_untouched_parameters_are_wishes(sessions: list[RecordingSession]) -> None:
    fitted = DAALKMeans(n_clusters=5).fit(X)
    (session,) = sessions
    assert not session.is_open
    assert session.given == {
        "n_node": 1,
        "n_thread": 8,
        "n_mem": 10240,
        "launcher": "auto",
        "workdir": None,
        "default_workdir": "kmeans-work",
        "queue": None,
        "hadoop_conf": None,
        "name": "kmeans",
        "keep": False,
        "single_run": True,
        "progress": None,
        "wishes": frozenset({"n_thread", "n_mem"}),
    }
    assert fitted.job_ == RecordingSession.job


def test_given_parameters_are_demands(sessions: list[RecordingSession]) -> None:
    DAALKMeans(5, 7, n_node=2, n_thread=3, n_mem=900, workdir="/w", verbose=1, queue="q").fit(X)
    given = sessions[0].given
    assert given["wishes"] == frozenset()
    assert (given["n_node"], given["n_thread"], given["n_mem"]) == (2, 3, 900)
    assert (given["workdir"], given["queue"], given["progress"]) == ("/w", "q", True)
    program, params, data = sessions[0].runs[0]
    assert program == "harpy.jobs.kmeans:main"
    assert data["X"].shape == X.shape
    assert {k: params[k] for k in ("n_clusters", "max_iter", "tol", "init", "n_init")} == {
        "n_clusters": 5,
        "max_iter": 7,
        "tol": 1e-4,
        "init": "random",
        "n_init": 1,
    }


def test_a_given_session_stays_open_and_is_not_contradicted(
    sessions: list[RecordingSession],
) -> None:
    session = RecordingSession(2, 4, 2048).__enter__()
    DAALKMeans(n_clusters=5, n_node=2, session=session).fit(X)
    assert session.is_open
    assert len(sessions) == 1
    with pytest.raises(
        ConfigError, match=r"^n_thread=3 contradicts the given session, which has n"
    ):
        DAALKMeans(n_clusters=5, n_thread=3, session=session).fit(X)
    with pytest.raises(
        ConfigError, match=r"^workdir, queue cannot be chosen for a session that is"
    ):
        DAALKMeans(n_clusters=5, workdir="/w", queue="q", session=session).fit(X)
    assert len(session.runs) == 1


def test_a_session_is_closed_when_the_run_fails(
    sessions: list[RecordingSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise DataError("bad shard")

    monkeypatch.setattr(RecordingSession, "run", fail)
    with pytest.raises(DataError, match="bad shard"):
        model().fit(X)
    assert not sessions[0].is_open


def sparse_case() -> csr_matrix:
    rng = np.random.default_rng(6)
    return csr_matrix(rng.normal(size=(300, 12)) * (rng.random((300, 12)) < 0.4))


def result_of(data: Any, **parameters: Any) -> tuple[bytes, bytes, float]:
    fitted = model(**parameters).fit(data)
    return fitted.cluster_centers_.tobytes(), fitted.labels_.tobytes(), fitted.inertia_


def test_any_form_of_sparse_rows_gives_the_same_bits() -> None:
    rows = sparse_case()
    wide = rows.copy()
    wide.indices, wide.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    shuffled = rows.copy()
    for i in range(300):  # columns in falling order
        own = slice(rows.indptr[i], rows.indptr[i + 1])
        shuffled.indices[own] = rows.indices[own][::-1]
        shuffled.data[own] = rows.data[own][::-1]
    shuffled.has_sorted_indices = shuffled.has_canonical_format = False
    read_only = rows.copy()
    for array in (read_only.data, read_only.indices, read_only.indptr):
        array.flags.writeable = False
    expected = result_of(rows, init="k-means++")
    forms = [wide, shuffled, read_only, rows.tocsc(), rows.tocoo(), csr_array(rows)]
    for form in forms:
        assert result_of(form, init="k-means++") == expected, form
        assert np.array_equal(
            model(init="k-means++").fit(rows).predict(form), np.frombuffer(expected[1], np.int32)
        )


def test_sparse_values_of_one_place_are_added_on_a_copy() -> None:
    rows = sparse_case()
    halves = csr_matrix(
        (np.repeat(rows.data / 2, 2), np.repeat(rows.indices, 2), rows.indptr * 2), rows.shape
    )
    before = [array.copy() for array in (halves.data, halves.indices, halves.indptr)]
    assert result_of(halves) == result_of(rows)
    assert np.array_equal(model().fit(rows).predict(halves), model().fit(rows).labels_)
    for array, old in zip((halves.data, halves.indices, halves.indptr), before, strict=True):
        assert np.array_equal(array, old)


def test_sparse_methods_agree_with_the_attributes() -> None:
    for dtype in (np.float32, np.float64):
        data = sparse_case().astype(dtype)
        fitted = model().fit(data)
        assert fitted.cluster_centers_.dtype == dtype
        assert np.array_equal(fitted.predict(data), fitted.labels_)
        assert fitted.score(data) == -fitted.inertia_
        distances = fitted.transform(data)
        assert distances.dtype == dtype
        np.testing.assert_allclose(distances, fitted.transform(data.toarray()), rtol=1e-5)
        wide = fitted.transform(data.astype(np.float64))
        assert wide.dtype == np.float64
        np.testing.assert_allclose(wide, distances, rtol=1e-5)


def test_sparse_rows_are_refused_in_scikit_learns_words() -> None:
    rows = sparse_case()
    with pytest.raises(ValueError, match=r"init. parameter of DAALKMeans must be .* array-like"):
        model(init=rows[:5]).fit(rows)
    with pytest.raises(ValueError, match="X has 11 features, but DAALKMeans is expecting 12"):
        model().fit(rows).predict(rows[:, :11])
    with pytest.raises(ValueError, match=r"n_samples=4 should be >= n_clusters=5"):
        model().fit(rows[:4])
    bad = rows.copy()
    bad.data[7] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model().fit(bad)
    bad.data[7] = 1e300
    with pytest.raises(DataError, match="squared distances would overflow float64"):
        model().fit(bad)


def test_callable_init_sees_the_sparse_rows() -> None:
    rows = sparse_case()

    def first(X: Any, n_clusters: int, random_state: Any) -> np.ndarray:
        return X[:n_clusters].toarray()

    assert result_of(rows, init=first) == result_of(rows, init=rows[:5].toarray())
