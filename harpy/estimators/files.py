"""Rows in files as estimators take them: their description, checked as rows in memory are. Workers
read the rows themselves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from sklearn.utils import check_array

from harpy.estimators.session import SessionEstimator
from harpy.storage import FileRows
from harpy.storage.rows.dataset import dataset


def describe_files(estimator: SessionEstimator, X: Any, columns: Any, format: Any) -> FileRows:
    """What headers and footers tell of the files that an estimator is to be fitted on.

    Parameters
    ----------
    estimator : SessionEstimator
    X : path, URL or list of them, or `harpy.dataset`
    columns : list of str or int, or None
        Which are read; None: all.
    format : str or None
        None: by the ending of their names.

    Raises
    ------
    HarpyError
        See Dataset.describe.
    """
    return dataset(X, columns, format).describe(estimator._hadoop_settings())


def learn_features(estimator: SessionEstimator, rows: FileRows) -> None:
    """Set number and names of the features, as far as the files tell; drop those of an earlier
    fit."""
    if hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
    if rows.names is not None:
        estimator.feature_names_in_ = np.array(rows.names, dtype=object)
    if rows.n_columns is not None:
        estimator.n_features_in_ = rows.n_columns


def describe_known_files(
    estimator: SessionEstimator, X: Any, columns: Any, format: Any, dtype: DTypeLike
) -> FileRows:
    """Files for a fitted estimator, of the columns that it knows.

    Parameters
    ----------
    estimator, X, columns, format
        As for `describe_files`; columns that have names are by default those of the fit.
    dtype : dtype
        Of what was fitted: rows are read in the wider one of theirs and this.

    Raises
    ------
    ValueError
        They have other columns than the estimator was fitted on.
    HarpyError
        See Dataset.describe.
    """
    n_features, names = estimator.n_features_in_, getattr(estimator, "feature_names_in_", None)
    usual = None if names is None else tuple(names)
    rows = dataset(X, columns, format).describe(estimator._hadoop_settings(), usual)
    if rows.n_columns is None:  # nothing in libsvm files says how many columns there are
        rows = replace(rows, n_columns=n_features)
    if rows.n_columns != n_features:
        raise ValueError(
            f"{rows.files[0].path} has {rows.n_columns} features, but {type(estimator).__name__} "
            f"is expecting {n_features} features as input"
        )
    return replace(rows, dtype=np.promote_types(rows.dtype, dtype))


def file_weights(sample_weight: Any, rows: FileRows) -> np.ndarray | None:
    """Weights of rows in files.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), or None
    rows : FileRows

    Returns
    -------
    ndarray of shape (n_samples,), of the rows' dtype, C-contiguous; or None

    Raises
    ------
    ValueError
        Negative or not finite, or not as many as there are rows, where headers and footers tell.
    """
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


def refuse_choice(**given: Any) -> None:
    """ValueError where an argument about files was given together with rows in memory."""
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise ValueError(
            f"{', '.join(named)}: only for rows in files, and X holds the rows themselves"
        )
