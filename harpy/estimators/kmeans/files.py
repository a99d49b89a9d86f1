"""Rows in files as DAALKMeans takes them: their description, checked as rows in memory are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array

from harpy.storage import FileSystems
from harpy.storage.rows.dataset import absolute, dataset
from harpy.storage.rows.row_parts import fresh_directory, read_manifest, read_parts

if TYPE_CHECKING:
    from harpy.estimators.kmeans.estimator import DAALKMeans
    from harpy.storage import FileRows


def describe_training_files(model: DAALKMeans, X: Any, columns: Any, format: Any) -> FileRows:
    """What `fit` knows of files before their rows are read; sets the features' number and names.

    Raises
    ------
    ValueError
        There are fewer rows than clusters, as far as headers and footers tell; or `init` is a
        callable, which would need the rows.
    HarpyError
        See Dataset.describe.
    """
    if callable(model.init):
        raise ValueError(
            "init is a callable, which is called with all rows, but these lie in files: pass the "
            "centers it would return"
        )
    rows = dataset(X, columns, format).describe(_hadoop_conf(model))
    if rows.n_columns is None and not isinstance(model.init, str):
        # Nothing in libsvm files says how many columns there are; the centers do.
        rows = replace(rows, n_columns=np.shape(model.init)[-1])
    if rows.n_rows is not None and rows.n_rows < model.n_clusters:
        raise ValueError(f"n_samples={rows.n_rows} should be >= n_clusters={model.n_clusters}.")
    if hasattr(model, "feature_names_in_"):
        del model.feature_names_in_
    if rows.names is not None:
        model.feature_names_in_ = np.array(rows.names, dtype=object)
    if rows.n_columns is not None:
        model.n_features_in_ = rows.n_columns
    return rows


def check_file_weights(sample_weight: Any, rows: FileRows) -> np.ndarray | None:
    """Weights (n_samples,) of the rows' dtype, or None; how many there must be is known here where
    headers and footers tell."""
    if sample_weight is None:
        return None
    weights = check_array(
        sample_weight,
        dtype=rows.dtype,
        ensure_2d=False,
        ensure_non_negative=True,
        input_name="sample_weight",
    )
    if weights.ndim != 1 or rows.n_rows not in (None, len(weights)):
        raise ValueError(
            f"sample_weight.shape == {weights.shape}, expected ({rows.n_rows or 'n_samples'},)!"
        )
    return np.ascontiguousarray(weights)


def describe_rows(model: DAALKMeans, X: Any, columns: Any, format: Any) -> FileRows:
    """Files whose rows a fitted model is to label; read in the wider dtype of rows and centers.

    Raises
    ------
    ValueError
        They have other columns than the model was fitted on.
    """
    n_features, names = model.n_features_in_, getattr(model, "feature_names_in_", None)
    usual = None if names is None else tuple(names)
    rows = dataset(X, columns, format).describe(_hadoop_conf(model), usual)
    if rows.n_columns is None:
        rows = replace(rows, n_columns=n_features)
    if rows.n_columns != n_features:
        raise ValueError(
            f"{rows.files[0].path} has {rows.n_columns} features, but {type(model).__name__} is "
            f"expecting {n_features} features as input"
        )
    return replace(rows, dtype=np.promote_types(rows.dtype, model.cluster_centers_.dtype))


@contextmanager
def labels_directory(model: DAALKMeans, output: Any) -> Iterator[str | None]:
    """Make the directory for labels, if one is asked for; yield its full URL."""
    if output is None:
        yield None
        return
    systems = FileSystems(_hadoop_conf(model))
    with fresh_directory(*systems.locate(absolute(os.fspath(output)))) as url:
        yield url


def fetch_labels(model: DAALKMeans, path: Any) -> np.ndarray:
    """The labels in a directory that workers have written."""
    return read_parts(*FileSystems(_hadoop_conf(model)).locate(absolute(os.fspath(path))))


def count_rows(model: DAALKMeans) -> int:
    """How many rows the fit labelled, wherever their labels are."""
    if hasattr(model, "labels_"):
        return len(model.labels_)
    place = FileSystems(_hadoop_conf(model)).locate(model.labels_path_)
    n_rows: int = read_manifest(*place)["n_rows"]
    return n_rows


def refuse_choice(**given: Any) -> None:
    """ValueError where something was given that is only about files, with rows in memory."""
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise ValueError(
            f"{', '.join(named)}: only for rows in files, and X holds the rows themselves"
        )


def _hadoop_conf(model: DAALKMeans) -> Any:
    return model.hadoop_conf if model.session is None else model.session.options.hadoop_conf
