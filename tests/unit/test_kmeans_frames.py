"""Tables of pandas, polars and Arrow in place of arrays: the same numbers, and their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from harpy import DAALKMeans

X = load_iris().data
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
Frame = Callable[..., Any]


def chunked_arrow(rows: np.ndarray) -> pyarrow.Table:
    halves = rows[:70], rows[70:]
    return pyarrow.concat_tables(
        [pyarrow.table(dict(zip(NAMES, half.T, strict=True))) for half in halves]
    )


FRAMES: dict[str, Frame] = {
    "pandas": lambda rows: pandas.DataFrame(rows, columns=NAMES),
    "pandas nullable": lambda rows: pandas.DataFrame(rows, columns=NAMES).convert_dtypes(),
    "pandas on arrow": lambda rows: pandas.DataFrame(rows, columns=NAMES).convert_dtypes(
        dtype_backend="pyarrow"
    ),
    "polars": lambda rows: polars.DataFrame(rows, schema=NAMES),
    "arrow": lambda rows: pyarrow.table(dict(zip(NAMES, rows.T, strict=True))),
    "arrow in chunks": chunked_arrow,
}


def model(**parameters: Any) -> DAALKMeans:
    return DAALKMeans(**{"n_clusters": 3, "random_state": 0, "launcher": "local", **parameters})


@pytest.mark.parametrize("form", FRAMES)
def test_tables_give_the_bits_of_arrays_and_their_names(form: str) -> None:
    frame = FRAMES[form](X)
    expected, got = model().fit(X), model().fit(frame)
    assert got.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()
    assert got.labels_.tobytes() == expected.labels_.tobytes()
    assert got.inertia_ == expected.inertia_
    assert got.feature_names_in_.tolist() == NAMES
    assert got.predict(frame).tobytes() == expected.labels_.tobytes()
    assert got.transform(frame).tobytes() == expected.transform(X).tobytes()
    assert got.score(frame) == expected.score(X)


@pytest.mark.parametrize("form", FRAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_those_scikit_learn_would_use(form: str, dtype: type) -> None:
    frame = FRAMES[form](X.astype(dtype))
    theirs = KMeans(3, n_init=1, random_state=0).fit(frame)
    assert model().fit(frame).cluster_centers_.dtype == theirs.cluster_centers_.dtype


@pytest.mark.parametrize("form", FRAMES)
def test_other_names_are_refused_as_by_scikit_learn(form: str) -> None:
    frame = FRAMES[form](X)
    other = pandas.DataFrame(X, columns=[*NAMES[:3], "other"])
    fitted = model().fit(frame)
    with pytest.raises(ValueError) as theirs:
        KMeans(3, n_init=1, random_state=0).fit(frame).predict(other)
    with pytest.raises(ValueError) as ours:
        fitted.predict(other)
    assert str(ours.value) == str(theirs.value)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but DAALKMeans was"):
        fitted.predict(X)


@pytest.mark.parametrize(
    ("output", "kind"), [("pandas", pandas.DataFrame), ("polars", polars.DataFrame)]
)
@pytest.mark.parametrize("form", FRAMES)
def test_set_output_makes_tables_of_distances(form: str, output: str, kind: type) -> None:
    frame = FRAMES[form](X)
    fitted = model().set_output(transform=output).fit(frame)
    distances = fitted.transform(frame)
    assert isinstance(distances, kind)
    assert list(distances.columns) == ["daalkmeans0", "daalkmeans1", "daalkmeans2"]
    assert np.array_equal(distances.to_numpy(), model().fit(X).transform(X))
    assert isinstance(model().set_output(transform=output).fit_transform(frame), kind)


def test_indices_of_rows_are_kept() -> None:
    frame = pandas.DataFrame(X, columns=NAMES, index=[f"row {i}" for i in range(len(X))])
    distances = model().set_output(transform="pandas").fit_transform(frame)
    assert distances.index.equals(frame.index)


def test_integers_and_mixed_columns_become_float64() -> None:
    frame = pandas.DataFrame({"a": np.arange(9), "b": np.arange(9, dtype=np.float32) / 2})
    rows = frame.to_numpy(np.float64)
    for table in (frame, polars.from_pandas(frame), pyarrow.Table.from_pandas(frame)):
        fitted = model(max_iter=3).fit(table)
        assert fitted.cluster_centers_.dtype == np.float64
        assert fitted.inertia_ == model(max_iter=3).fit(rows).inertia_


def test_missing_values_are_refused_in_scikit_learns_words() -> None:
    rows = X.copy()
    rows[7, 2] = np.nan
    for frame in (FRAMES["pandas"](rows), FRAMES["polars"](rows), FRAMES["arrow"](rows)):
        with pytest.raises(
            ValueError, match=r"^Input X contains NaN\.\nDAALKMeans does not accept"
        ):
            model().fit(frame)


def test_texts_are_refused() -> None:
    frame = pandas.DataFrame({"a": ["x", "y", "z"], "b": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="could not convert string to float"):
        model().fit(frame)


def test_works_in_pipelines_and_searches_over_tables() -> None:
    frame = FRAMES["pandas"](X)
    pipeline = make_pipeline(StandardScaler(), model(n_init="auto")).set_output(transform="pandas")
    search = GridSearchCV(pipeline, {"daalkmeans__n_clusters": [2, 3, 4]}, cv=3).fit(frame)
    assert search.best_params_ == {"daalkmeans__n_clusters": 4}
    theirs = make_pipeline(StandardScaler(), KMeans(init="random", n_init=10, random_state=0))
    expected = GridSearchCV(theirs, {"kmeans__n_clusters": [2, 3, 4]}, cv=3).fit(frame)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=0.05
    )
    assert np.array_equal(search.predict(frame), search.best_estimator_["daalkmeans"].labels_)
