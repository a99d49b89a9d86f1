"""What a fitted k-means does: `predict`, `transform`, `score`, `to_sklearn`. Arithmetic is left to
the kernels, rows in files to workers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin

from harpy.estimators.files import describe_known_files, file_weights, refuse_choice
from harpy.estimators.kmeans import programs
from harpy.estimators.kmeans.parameters import KMeansParameters
from harpy.estimators.kmeans.rows import check_values, checked_weights, worthwhile_threads
from harpy.estimators.labels import LABELS, labels_directory
from harpy.estimators.rows import validated_rows
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import LoadedRows, backend_for, native_rows
from harpy.session.session import RunResult
from harpy.storage.rows.csr import as_rows
from harpy.storage.rows.dataset import names_files

if TYPE_CHECKING:
    from sklearn.cluster import KMeans


class NearestCenters(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, KMeansParameters
):
    """Rows beside the centers of a fit."""

    def predict(
        self,
        X: Any,
        *,
        columns: Any = None,
        format: str | None = None,
        output: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Index of the nearest center of each row of `X`.

        Parameters
        ----------
        X, columns, format : what `fit` takes
            Rows in files are labelled by workers. Columns that have names are by default those of
            the fit.
        output : str or path, default=None
            Of files: a directory that does not exist yet, where the workers leave the labels.

        Returns
        -------
        ndarray of shape (n_samples,), int32; or str
            With `output` its full URL, which `fetch_labels` reads.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError, TypeError, harpy.errors.HarpyError
            As of `fit`.
        """
        if names_files(X):
            return self._predict_files(X, columns, format, output)
        refuse_choice(columns=columns, format=format, output=output)
        return self._labels_and_ranges(*self._rows_and_centers(X))[0]

    def transform(self, X: Any) -> np.ndarray:
        """Euclidean distance of each row to each center.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or `harpy.put` of it

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), of the wider dtype of rows and centers

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError, TypeError, harpy.errors.HarpyError
            As of `fit`; also where `X` names files.
        """
        if names_files(X):
            raise ValueError(
                "transform takes rows in memory, and X names files: n_clusters distances a row "
                "would come here.\n  Load the rows, or ask for their labels: predict(path)"
            )
        X, centers = self._rows_and_centers(X)
        native, n_thread = backend_for(X), worthwhile_threads(self, X)
        check_values(self, X, *native.column_ranges(X, n_thread))
        return native.transform(X, centers, n_thread)

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        columns: Any = None,
        format: str | None = None,
    ) -> float:
        """Opposite of the sum of the squared distances of `X`'s rows to their centers.

        Parameters
        ----------
        X, columns, format : what `predict` takes
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Each row's distance counts so many times.

        Returns
        -------
        float

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ValueError, TypeError, harpy.errors.HarpyError
            As of `fit`.
        """
        if names_files(X):
            return -self._run_on_files(programs.SCORE, X, sample_weight, columns, format).value
        refuse_choice(columns=columns, format=format)
        X, centers = self._rows_and_centers(X)
        labels, absmax = self._labels_and_ranges(X, centers)
        weights = checked_weights(sample_weight, X, absmax)
        inertia = backend_for(X).squared_distance_sum(
            X, centers, labels, weights, worthwhile_threads(self, X)
        )
        return -kernels.exact_value(inertia)

    def to_sklearn(self) -> KMeans:
        """This model as scikit-learn's, with the same parameters and copies of its attributes.

        Returns
        -------
        sklearn.cluster.KMeans
            Fitted. Its `init` is "k-means++" where this model's is "k-means||", which scikit-learn
            does not have.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        from sklearn.cluster import KMeans

        self._check_fitted()
        centers = np.array(self.cluster_centers_)
        # A fit of next to nothing, so that scikit-learn itself sets what its methods rely on.
        theirs = KMeans(n_clusters=1, init=centers[:1], n_init=1, max_iter=1).fit(centers[:1])
        own = self.get_params(deep=False)
        if isinstance(self.init, str) and self.init == "k-means||":
            own["init"] = "k-means++"
        theirs.set_params(**{name: own[name] for name in theirs.get_params(deep=False)})
        for name in ("labels_", "inertia_", "n_iter_", "feature_names_in_"):
            if hasattr(theirs, name):
                delattr(theirs, name)
            if hasattr(self, name):
                value = getattr(self, name)
                setattr(theirs, name, value.copy() if isinstance(value, np.ndarray) else value)
        theirs.cluster_centers_ = centers
        theirs._n_features_out = len(centers)
        return theirs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _predict_files(self, X: Any, columns: Any, format: Any, output: Any) -> Any:
        self._check_fitted()
        with labels_directory(self, output) as url:
            result = self._run_on_files(programs.PREDICT, X, None, columns, format, output=url)
        return result.load(LABELS) if url is None else url

    def _run_on_files(
        self, program: str, X: Any, sample_weight: Any, columns: Any, format: Any, **params: Any
    ) -> RunResult:
        """Run a program on the fitted centers and rows in files."""
        self._check_fitted()
        rows = describe_known_files(self, X, columns, format, self.cluster_centers_.dtype)
        weights = file_weights(sample_weight, rows)
        centers = np.ascontiguousarray(self.cluster_centers_, dtype=rows.dtype)
        return self._run(program, rows, weights, {"centers": centers, **params})

    def _rows_and_centers(self, X: Any) -> tuple[LoadedRows, np.ndarray]:
        """Validated rows, as kernels read them, and the centers, both of the wider of their dtypes
        (exactly)."""
        self._check_fitted()
        X = validated_rows(self, X, reset=False)
        dtype = np.promote_types(X.dtype, self.cluster_centers_.dtype)
        rows = native_rows(as_rows(X.astype(dtype, copy=False)))
        return rows, np.ascontiguousarray(self.cluster_centers_, dtype=dtype)

    def _labels_and_ranges(
        self, X: LoadedRows, centers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Nearest centers of rows whose values are checked on the way, and the largest magnitude
        of each column."""
        labels = np.full(len(X), -1, dtype=np.int32)
        n_thread = worthwhile_threads(self, X)
        native = backend_for(X)
        offset = native.center_offset(centers, n_thread)
        absmax, bad = native.assign_unseen(X, centers, offset, labels, n_thread)
        check_values(self, X, absmax, bad)
        return labels, absmax
