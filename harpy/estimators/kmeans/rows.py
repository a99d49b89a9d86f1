"""The values of rows in memory as k-means needs them: one pass measures and checks them. Shapes and
dtypes are left to harpy.estimators.rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite

from harpy.estimators.kmeans.parameters import KMeansParameters
from harpy.estimators.rows import row_weights
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import (
    LoadedRows,
    backend_for,
    refuse_not_finite,
    refuse_overflow,
    refuse_weights,
)


def worthwhile_threads(model: KMeansParameters, X: LoadedRows) -> int:
    """Threads of this process worth using for a pass over the rows of X, before other passes."""
    n_thread = kernels.worthwhile_threads(
        int(model.n_thread), X.size, 1, int(model.n_clusters), repeated=True
    )
    return model._threads_here(n_thread)


def column_ranges(model: KMeansParameters, rows: LoadedRows, what: str) -> np.ndarray:
    """Largest magnitude of each column.

    Parameters
    ----------
    model : KMeansParameters
    rows : rows as kernels read them
    what : str
        "X", or what else the rows are called.

    Returns
    -------
    ndarray of shape (n_columns,), float64

    Raises
    ------
    ValueError
        scikit-learn's, where a value is not finite.
    """
    absmax, bad = backend_for(rows).column_ranges(rows, worthwhile_threads(model, rows))
    _check_finite(model, rows, bad, what)
    return absmax


def check_values(
    model: KMeansParameters, rows: LoadedRows, absmax: np.ndarray, bad: tuple[int, int] | None
) -> None:
    """Raise for rows of X that are not finite or too large, by what a pass found.

    Parameters
    ----------
    model : KMeansParameters
    rows : rows as kernels read them
    absmax : ndarray of shape (n_columns,), float64
        Largest magnitude of each column.
    bad : (int, int) or None
        Row and column of a value that is not finite.

    Raises
    ------
    ValueError
        scikit-learn's, where a value is not finite.
    DataError
        Squared distances could overflow.
    """
    _check_finite(model, rows, bad, "X")
    refuse_overflow(absmax, rows.dtype, "X", getattr(model, "feature_names_in_", None))


def checked_weights(sample_weight: Any, X: Any, absmax: np.ndarray) -> np.ndarray | None:
    """Weights (n_samples,) of X's dtype, or None.

    Raises
    ------
    ValueError
        See row_weights.
    DataError
        All are 0, or weighted distances could overflow.
    """
    weights = row_weights(sample_weight, X)
    if weights is not None:
        refuse_weights(absmax, float(weights.max()))
    return weights


def _check_finite(
    model: KMeansParameters, rows: LoadedRows, bad: tuple[int, int] | None, what: str
) -> None:
    if bad is not None:
        name = type(model).__name__ if what == "X" else ""
        values = rows if isinstance(rows, np.ndarray) else rows.data
        assert_all_finite(values, estimator_name=name, input_name=what)
        refuse_not_finite(rows, bad, what)  # scikit-learn was told to assume that all are
