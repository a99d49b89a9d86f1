"""Rows in files as DAALKMeans takes them: their description, checked as rows in memory are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array

from harpy.storage.dataset import dataset

if TYPE_CHECKING:
    from harpy.kmeans import DAALKMeans
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


def refuse_choice(columns: Any, format: Any) -> None:
    """ValueError where columns or format were given with rows in memory."""
    if columns is not None or format is not None:
        raise ValueError(
            "columns and format choose from files; X holds the rows themselves: pass X[:, columns]"
        )


def _hadoop_conf(model: DAALKMeans) -> Any:
    return model.hadoop_conf if model.session is None else model.session.options.hadoop_conf
