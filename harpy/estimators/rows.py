"""Rows in memory as estimators take them: validated as scikit-learn does it, except their values,
which each estimator checks in a pass over them that it makes anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, validate_data

from harpy.storage.rows.put_rows import PutRows

FLOATS: list[np.dtype[Any]] = [np.dtype(np.float64), np.dtype(np.float32)]


def validated_rows(
    estimator: BaseEstimator, X: Any, *, reset: bool, accept_sparse: bool = True
) -> Any:
    """Rows of float32 or float64, of the number and names of columns that the estimator expects.

    Parameters
    ----------
    estimator : BaseEstimator
    X : array-like or sparse matrix of shape (n_samples, n_features), or `harpy.put` of it
    reset : bool
        Whether the estimator is to learn number and names of columns from `X`; else they must be
        those it knows.
    accept_sparse : bool, default=True

    Returns
    -------
    ndarray of shape (n_samples, n_features), C-contiguous, or scipy's CSR with ascending columns, \
            each once
        `X` itself where it is that already.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words. Values that are not finite are not searched for.
    """
    if isinstance(X, PutRows):
        X = X.given
    plain = is_plain(X, FLOATS)
    # The early path of small tables: of a few rows scikit-learn's checks, which plain ones pass,
    # would be a third of what `predict` takes.
    if plain and not hasattr(estimator, "feature_names_in_"):
        if reset:
            estimator.n_features_in_ = X.shape[1]
        if X.shape[1] == estimator.n_features_in_:
            return X
    rows = validate_data(
        estimator,
        X,
        reset=reset,
        skip_check_array=plain,
        accept_sparse="csr" if accept_sparse else False,
        dtype=FLOATS,
        order="C",
        ensure_all_finite=False,
    )
    if issparse(rows) and not rows.has_canonical_format:
        rows = rows.copy()  # the caller's stay as they are
        rows.sum_duplicates()
    return rows


def is_plain(array: Any, dtypes: Sequence[DTypeLike]) -> bool:
    """Whether scikit-learn's check_array would return this very array, values aside.

    Parameters
    ----------
    array : Any
        What a caller gave.
    dtypes : sequence of dtype
        Those that need no conversion.

    Returns
    -------
    bool
    """
    return (
        type(array) is np.ndarray
        and array.ndim == 2
        and array.size > 0
        and array.flags.c_contiguous
        and array.dtype in dtypes
    )


def row_weights(sample_weight: Any, X: Any) -> np.ndarray | None:
    """Weights of rows in memory.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), or None
    X : rows of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_samples,), X's dtype, C-contiguous; or None

    Raises
    ------
    ValueError
        In scikit-learn's words: of another shape, negative, or not finite.
    """
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
    return np.ascontiguousarray(weights)


def known_rows(given: Any, rows: Any) -> Any:
    """The rows that were put, if these are they: a session need not hash and upload them again.

    Parameters
    ----------
    given : Any
        What the caller gave.
    rows : Any
        What validation made of it.

    Returns
    -------
    PutRows, or rows as they are
    """
    return given if isinstance(given, PutRows) and given.holds(rows) else rows
