"""kmeans_path: models for several numbers of clusters, from one session and one upload."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from harpy.errors import DataError
from harpy.estimators.kmeans.estimator import DAALKMeans
from harpy.estimators.kmeans.training import validate_training_rows
from harpy.estimators.session import SESSION_PARAMETERS
from harpy.session.session import put
from harpy.storage.rows.dataset import names_files


def kmeans_path(
    X: Any, ks: Iterable[int], *, sample_weight: Any = None, **parameters: Any
) -> list[DAALKMeans]:
    """Fit a model for each number of clusters, on one session and one upload of `X`.

    The models are, bit for bit, ``[DAALKMeans(n_clusters=k, **parameters).fit(X) for k in ks]``:
    workers are started once, rows are checked, uploaded and loaded once.

    Parameters
    ----------
    X : what `DAALKMeans.fit` takes
    ks : iterable of int
        Numbers of clusters; fitted in this order.
    sample_weight : array-like of shape (n_samples,), optional
    **parameters
        Of the models. With `session` they run there and it stays open; else a session is opened
        with `n_node`, `n_thread` and the like, and closed at the end.

    Returns
    -------
    list of fitted DAALKMeans
        In the order of `ks`.

    Raises
    ------
    ValueError, TypeError
        `ks` is empty, or parameters or `X` are not valid; before anything is started.
    harpy.errors.HarpyError
        As of `DAALKMeans.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> import harpy
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> models = harpy.kmeans_path(X, [2, 4, 8], random_state=0, launcher="local")
    >>> [model.n_clusters for model in models]
    [2, 4, 8]
    """
    counts = list(ks)
    if not counts:
        raise ValueError("ks must name at least one number of clusters, got none")
    for k in counts:
        DAALKMeans(n_clusters=k, **parameters)._validate_params()
    if not names_files(X):
        validate_training_rows(DAALKMeans(n_clusters=max(counts), **parameters), X)
    rows = _put_if_valid(X)
    with ExitStack() as stack:
        own = parameters
        if parameters.get("session") is None:
            first = DAALKMeans(n_clusters=counts[0], **parameters)
            session = stack.enter_context(first._new_session(single_run=False))
            own = {name: v for name, v in parameters.items() if name not in SESSION_PARAMETERS}
            own["session"] = session
        models = [
            DAALKMeans(n_clusters=k, **own).fit(rows, sample_weight=sample_weight) for k in counts
        ]
    for model in models:
        model.set_params(session=None).set_params(**parameters)
        if model.job_ is not None and own is not parameters:
            model.job_ = session.job  # as it ended
    return models


def _put_if_valid(X: Any) -> Any:
    """Rows that are hashed once, or what fit must convert or refuse."""
    try:
        return put(X)
    except DataError:
        return X
