"""What a fit of k-means is given: rows that can be clustered, and where its runs begin. The runs
themselves are left to the program.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import check_array

from harpy.estimators.files import describe_files, learn_features
from harpy.estimators.kmeans.parameters import KMeansParameters
from harpy.estimators.kmeans.rows import column_ranges
from harpy.estimators.rows import is_plain, validated_rows
from harpy.kernels.kmeans import native_rows, refuse_overflow
from harpy.storage import FileRows
from harpy.storage.rows.csr import as_rows


def validate_training_rows(model: KMeansParameters, X: Any) -> tuple[Any, np.ndarray]:
    """Rows in memory that can be clustered; sets the features' number and names.

    Parameters
    ----------
    model : KMeansParameters
    X : array-like or sparse matrix of shape (n_samples, n_features), or `harpy.put` of it

    Returns
    -------
    X : ndarray or scipy's CSR
        As of `validated_rows`.
    absmax : ndarray of shape (n_features,), float64
        Largest magnitude of each column.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words; also where there are fewer rows than clusters.
    DataError
        Squared distances could overflow.
    """
    X = validated_rows(model, X, reset=True)
    absmax = column_ranges(model, native_rows(as_rows(X)), "X")
    if X.shape[0] < model.n_clusters:
        raise ValueError(f"n_samples={X.shape[0]} should be >= n_clusters={model.n_clusters}.")
    refuse_overflow(absmax, X.dtype, "X", getattr(model, "feature_names_in_", None))
    return X, absmax


def describe_training_files(model: KMeansParameters, X: Any, columns: Any, format: Any) -> FileRows:
    """What `fit` knows of files before their rows are read; sets the features' number and names.

    Parameters
    ----------
    model, X, columns, format
        As for `describe_files`.

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
    rows = describe_files(model, X, columns, format)
    if rows.n_columns is None and not isinstance(model.init, str):
        # Nothing in libsvm files says how many columns there are; the centers do.
        rows = replace(rows, n_columns=np.shape(model.init)[-1])
    if rows.n_rows is not None and rows.n_rows < model.n_clusters:
        raise ValueError(f"n_samples={rows.n_rows} should be >= n_clusters={model.n_clusters}.")
    learn_features(model, rows)
    return rows


def warn_of_one_cluster(model: KMeansParameters) -> None:
    """scikit-learn's warning to the caller of `fit` where one cluster is asked of elkan."""
    if model.algorithm == "elkan" and model.n_clusters == 1:
        warnings.warn(
            "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
            RuntimeWarning,
            stacklevel=3,
        )


def number_of_runs(model: KMeansParameters) -> int:
    """How often a fit begins, unless it begins at given centers."""
    if model.n_init != "auto":
        return int(model.n_init)
    several = callable(model.init) or (isinstance(model.init, str) and model.init == "random")
    return 10 if several else 1


def prepare_init(
    model: KMeansParameters, X: Any, n_init: int, random_state: np.random.RandomState
) -> str | np.ndarray:
    """Where the runs begin.

    Parameters
    ----------
    model : KMeansParameters
    X : rows in memory, or FileRows
    n_init : int
        Number of runs asked for.
    random_state : RandomState
        For a callable `init`.

    Returns
    -------
    str or ndarray of shape (n_runs, n_clusters, n_features), X's dtype
        The name of a seeding; or centers, of one run only where they were given.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words: the centers are of another shape, or not finite.
    DataError
        Squared distances could overflow.
    """
    if isinstance(model.init, str):
        return model.init
    if callable(model.init):
        made = (model.init(X, model.n_clusters, random_state=random_state) for _ in range(n_init))
        return np.stack([_checked_centers(model, centers, X) for centers in made])
    if n_init != 1:
        warnings.warn(
            "Explicit initial center position passed: performing only one init in "
            f"{type(model).__name__} instead of n_init={n_init}.",
            RuntimeWarning,
            stacklevel=3,
        )
    return _checked_centers(model, model.init, X)[np.newaxis]


def _checked_centers(model: KMeansParameters, centers: Any, X: Any) -> np.ndarray:
    if not is_plain(centers, [X.dtype]):
        centers = check_array(
            centers, dtype=X.dtype, order="C", ensure_all_finite=False, input_name="init"
        )
    absmax = column_ranges(model, centers, "init")
    expected = (
        (centers.shape[0], model.n_clusters, "number of clusters"),
        (centers.shape[1], X.shape[1], "number of features of the data"),
    )
    for got, wanted, what in expected:
        if got != wanted:
            raise ValueError(
                f"The shape of the initial centers {centers.shape} does not match the {what} "
                f"{wanted}."
            )
    refuse_overflow(absmax, X.dtype, "init")
    return centers
