"""Labels of rows: brought here, or left as `.npy` parts where workers wrote them. Their files are
left to harpy.storage.rows.row_parts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from harpy.estimators.model_files import SavedEstimator
from harpy.estimators.session import SessionEstimator
from harpy.session.session import RunResult
from harpy.storage import FileSystems
from harpy.storage.fs.base import FileSystem
from harpy.storage.rows.dataset import absolute
from harpy.storage.rows.row_parts import fresh_directory, read_manifest, read_parts

LABELS = "labels"  # what programs save them as, and their file in a saved model
_NO_LABELS = (
    "this %(name)s has no labels_ to save: they lie in files, or it was loaded or made without "
    "any; pass labels=False"
)


class LabellingEstimator(SavedEstimator):
    """An estimator whose program saves a label of each row, here or in a directory.

    Its `_model_format` has LABELS among the extras, and "labels_path" among the values.
    """

    labels_: np.ndarray
    labels_path_: str

    def fetch_labels(self, path: str | os.PathLike[str] | None = None) -> np.ndarray:
        """The labels, wherever they are.

        Parameters
        ----------
        path : str or path, optional
            A directory in which `predict` left labels; None: those of the fit.

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        sklearn.exceptions.NotFittedError
        DataError
            The directory is not complete.
        PathNotFound
        """
        self._check_fitted()
        if path is None and hasattr(self, "labels_"):
            return self.labels_
        return read_parts(*_locate(self, self.labels_path_ if path is None else path))

    def save(
        self, path: str | os.PathLike[str], *, labels: bool = False, overwrite: bool = False
    ) -> None:
        """Write the fitted model as a directory of JSON and `.npy` files: all of it or nothing.

        Parameters
        ----------
        path : str or path
            `hdfs://…`, `file://…` or a path of this machine; missing parents are made.
        labels : bool, default=False
            Also save `labels_`.
        overwrite : bool, default=False
            Replace a model that is there already, and nothing else.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        PathExists
            Something is there: a model and not `overwrite`, or anything else.
        StorageError
            The file system refused; nothing half-written is left.
        """
        self._check_fitted()
        if labels:
            check_is_fitted(self, "labels_", msg=_NO_LABELS)
        names = (*self._model_format.arrays, *((LABELS,) if labels else ()))
        self._save(path, names, overwrite)

    def _take_labels(self, result: RunResult, path: str | None) -> None:
        """Keep the labels of a fit, or where it left them."""
        for name in ("labels_", "labels_path_"):
            self.__dict__.pop(name, None)  # of a fit before
        if path is None:
            self.labels_ = result.load(LABELS)
        else:
            self.labels_path_ = path


def count_labels(model: LabellingEstimator) -> int:
    """How many rows a fit labelled, wherever their labels are.

    Parameters
    ----------
    model : LabellingEstimator
        Fitted.

    Returns
    -------
    int
    """
    if hasattr(model, "labels_"):
        return len(model.labels_)
    n_rows: int = read_manifest(*_locate(model, model.labels_path_))["n_rows"]
    return n_rows


@contextmanager
def labels_directory(
    estimator: SessionEstimator, output: str | os.PathLike[str] | None
) -> Iterator[str | None]:
    """Make the directory for labels, if one is asked for; it is removed if the block raises.

    Parameters
    ----------
    estimator : SessionEstimator
        Its Hadoop settings choose the file system.
    output : str, path or None
        The directory; None: labels are brought to the driver.

    Yields
    ------
    str or None
        Its full URL.

    Raises
    ------
    PathExists
        There is something already.
    """
    if output is None:
        yield None
        return
    with fresh_directory(*_locate(estimator, output)) as url:
        yield url


def _locate(estimator: SessionEstimator, path: Any) -> tuple[FileSystem, str]:
    return FileSystems(estimator._hadoop_settings()).locate(absolute(os.fspath(path)))
