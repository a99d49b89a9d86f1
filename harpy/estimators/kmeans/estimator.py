"""DAALKMeans, scikit-learn's KMeans on a gang of workers: parameters, validation, attributes.

What workers compute is named by the program they run (harpy.jobs.kmeans); arithmetic is left to
harpy.kernels, workers to harpy.session.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from inspect import Signature, signature
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite, check_array, check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from harpy.cpus import available_cpus
from harpy.estimators.kmeans.files import (
    check_file_weights,
    describe_rows,
    describe_training_files,
    fetch_labels,
    labels_directory,
    refuse_choice,
)
from harpy.estimators.kmeans.model_files import ModelFiles
from harpy.estimators.kmeans.session import new_session, refuse_contradictions, untouched
from harpy.estimators.kmeans.verbose import course_lines
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import (
    WEIGHTS,
    backend_for,
    native_rows,
    refuse_not_finite,
    refuse_overflow,
    refuse_weights,
)
from harpy.session.options import IN_PROCESS
from harpy.session.session import RunResult, Session
from harpy.storage.rows.csr import as_rows
from harpy.storage.rows.dataset import names_files
from harpy.storage.rows.put_rows import PutRows

PROGRAM = "harpy.jobs.kmeans:main"
PREDICT_PROGRAM = "harpy.jobs.kmeans:predict"
SCORE_PROGRAM = "harpy.jobs.kmeans:inertia"
_DTYPES: list[np.dtype] = [np.dtype(np.float64), np.dtype(np.float32)]
_PLAIN_VALUES = (int, float, str, bool)  # types of values that never change
_AT_LEAST_ONE = Interval(Integral, 1, None, closed="left")


class DAALKMeans(
    ModelFiles, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """K-means clustering on Hadoop workers, to be swapped in for `sklearn.cluster.KMeans`.

    The result is bitwise the same for every `n_node`, `n_thread` and instruction set.

    A parameter that equals its default counts as untouched, hence as a wish: `n_thread` and `n_mem`
    are lowered to what the cluster grants, `workdir` becomes `<home>/kmeans-work`. Any other value
    is a demand, and an error when it cannot be met.

    Parameters
    ----------
    n_clusters : int, default=10
        Number of clusters and of centers. Every worker holds all centers, and in each iteration
        their sums travel once between the workers.
    max_iter : int, default=10
        Largest number of iterations of one run.
    init : {"random", "k-means++", "k-means||"}, callable or array-like of shape \
            (n_clusters, n_features), default="random"
        Distinct rows at random, drawn by global row number, which costs nothing; greedy k-means++,
        for which the workers pass over their rows and talk once for each center; k-means||, for
        which they do so six times in all, with centers as good; given centers, which travel with
        the job; or a callable ``init(X, n_clusters, random_state)`` that returns centers, called
        here in the driver with the validated `X` (not centered, as scikit-learn's would be).
    n_init : "auto" or int, default=1
        Number of runs from different initial centers; the one of least inertia is kept. "auto" is 1
        for k-means++, k-means|| and arrays, else 10. All runs are one job: the rows are uploaded
        and loaded once.
    n_node : int, default=1
        Number of workers, each a container of its own with an equal share of the rows; the
        scheduler chooses their machines.
    n_thread : int, default=8
        Threads of each worker, asked for as its container's vcores, and of `predict`, `transform`
        and `score` here. Untouched, it is lowered to what the cluster grants a container.
    n_mem : int, default=10240
        Memory of one worker's whole container in MB; rows that do not fit there go to its local
        disk. Untouched, it is lowered to the queue's largest container.
    workdir : str, default="/kmeans-work"
        Directory on the cluster's file system (or a URL) below which the job keeps its files while
        it runs, uploaded rows among them. Untouched, it is `<home>/kmeans-work`.
    tol : float, default=1e-4
        Relative to the mean variance of the columns over all rows: a run ends when the centers'
        squared shift is not larger, or when no label of any worker changed.
    random_state : int, RandomState instance or None, default=None
        Of the draws of `init`; all workers draw the same. "random" and "k-means++" draw the rows
        that scikit-learn draws, and an instance is left where scikit-learn would leave it.
    verbose : int, default=0
        Above 0 progress is shown on stderr even where that is no terminal, and when the fit is
        done each run is told on stdout in scikit-learn's words, which takes the workers another
        pass over their rows in each iteration.
    algorithm : {"lloyd", "elkan"}, default="lloyd"
        Both find the same clusters; here both are computed by Lloyd's iteration, which skips what
        bounds prove needless.
    copy_x : bool, default=True
        No effect: `X` is never modified, whatever is given.
    launcher : {"auto", "local", "yarn"}, default="auto"
        "auto" is "yarn" where HADOOP_CONF_DIR or HARPY_LAUNCHER says so, else "local": processes on
        this machine, and with one worker this very process.
    queue : str, default=None
        YARN queue; None: the one the cluster gives this user.
    hadoop_conf : dict of str to str, default=None
        Hadoop settings on top of the configuration files, for the job and for HDFS:
        ``{"dfs.replication": "1"}`` uploads one replica of the rows.
    session : harpy.Session, default=None
        Run on the workers of this session, which stays open and keeps the rows. `n_node` and what
        else belongs to the session is then the session's.
    keep : bool, default=False
        Leave the job's files in `workdir`, for `harpy fetch` and `harpy logs`.
    progress : bool, default=None
        Show stages, iterations and the job's URL on stderr; None: when it is a terminal.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
    labels_ : ndarray of shape (n_samples,), int32
        Equal to ``predict(X)``. Not where `fit` left them in `output`.
    labels_path_ : str
        Where `fit` left the labels: `.npy` parts that follow the input's files, manifest.json.
    inertia_ : float
        Sum of the squared distances of the rows to their centers, rounded once.
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where `X` has column names that are all strings.
    job_ : harpy.session.JobInfo or None
        The job that carried the fit; None when it ran inside this process.

    Examples
    --------
    >>> import numpy as np
    >>> from harpy import DAALKMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = DAALKMeans(n_clusters=2, random_state=0, launcher="local").fit(X)
    >>> sorted(model.cluster_centers_.tolist())
    [[1.0, 2.0], [10.0, 2.0]]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_clusters": [_AT_LEAST_ONE],
        "max_iter": [_AT_LEAST_ONE],
        "init": [StrOptions({"k-means++", "k-means||", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), _AT_LEAST_ONE],
        "n_node": [_AT_LEAST_ONE],
        "n_thread": [_AT_LEAST_ONE],
        "n_mem": [_AT_LEAST_ONE],
        "workdir": [str],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "algorithm": [StrOptions({"lloyd", "elkan"})],
        "copy_x": ["boolean"],
        "launcher": [StrOptions({"auto", "local", "yarn"})],
        "queue": [str, None],
        "hadoop_conf": [Mapping, None],
        "session": [HasMethods("run"), None],
        "keep": ["boolean"],
        "progress": ["boolean", None],
    }

    _defaults: ClassVar[dict[str, Any]]

    def __init__(
        self,
        n_clusters: int = 10,
        max_iter: int = 10,
        init: Any = "random",
        n_init: Any = 1,
        n_node: int = 1,
        n_thread: int = 8,
        n_mem: int = 10240,
        workdir: str = "/kmeans-work",
        *,
        tol: float = 1e-4,
        random_state: Any = None,
        verbose: int = 0,
        algorithm: str = "lloyd",
        copy_x: bool = True,
        launcher: str = "auto",
        queue: str | None = None,
        hadoop_conf: Mapping[str, str] | None = None,
        session: Session | None = None,
        keep: bool = False,
        progress: bool | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.max_iter = max_iter
        self.init = init
        self.n_init = n_init
        self.n_node = n_node
        self.n_thread = n_thread
        self.n_mem = n_mem
        self.workdir = workdir
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose
        self.algorithm = algorithm
        self.copy_x = copy_x
        self.launcher = launcher
        self.queue = queue
        self.hadoop_conf = hadoop_conf
        self.session = session
        self.keep = keep
        self.progress = progress

    @classmethod
    def from_centers(cls, centers: Any, **parameters: Any) -> DAALKMeans:
        """A fitted model of known centers (n_clusters, n_features): it can predict, not refit."""
        centers = check_array(centers, dtype=_DTYPES, order="C", copy=True, input_name="centers")
        model = cls(n_clusters=len(centers), **parameters)
        model.cluster_centers_ = centers
        model.n_features_in_ = centers.shape[1]
        model._n_features_out = len(centers)
        return model

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        columns: Any = None,
        format: str | None = None,
        output: str | PathLike[str] | None = None,
    ) -> DAALKMeans:
        """Find the centers of the rows of `X`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features); or path, URL or list of \
                them, or `harpy.dataset`; or `harpy.put` of rows that are used several times
            float32 stays so; anything else becomes float64. Sparse rows stay sparse, in CSR format,
            on the workers, too.

            Of files (npy, Parquet, CSV, libsvm, sparse npz; `hdfs://…`, local, or what fsspec
            opens; directories; patterns such as ``hdfs:///data/points/*.parquet``) only headers and
            footers are read here: the workers read the rows, each its share.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            A row of weight w counts w times in centers, inertia and the draws of `init`; None: 1.
        columns : list of str or int, default=None
            Of files: which columns are read, by name, or by position where they have no names.
        format : {"npy", "parquet", "csv", "libsvm", "npz"}, default=None
            Of files; None: by the ending of their names.
        output : str or path, default=None
            Of files: a directory that does not exist yet, where the workers leave the labels
            (`labels_path_`, `fetch_labels`). None: they are brought here (`labels_`).

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Parameters or `X` are not valid; before anything is started or written.
        harpy.errors.HarpyError
            The cluster, the file system or a worker failed: see harpy.errors.
        """
        self._validate_params()
        given = X
        if names_files(X):
            X, absmax = describe_training_files(self, X, columns, format), None
            weights = check_file_weights(sample_weight, X)
            self._warn_of_one_cluster()
        else:
            refuse_choice(columns=columns, format=format, output=output)
            X, absmax = self._validate_training_rows(X)
            weights = self._validate_weights(sample_weight, X, absmax)
        self._n_init = self._number_of_runs()
        random_state = check_random_state(self.random_state)
        init = self._prepare_init(X, random_state)
        params = {
            "n_clusters": int(self.n_clusters),
            "max_iter": int(self.max_iter),
            "tol": float(self.tol),
            "init": init,
            "n_init": self._n_init,
            "absmax": absmax,
            "verbose": bool(self.verbose),
        }
        if isinstance(given, PutRows) and given.holds(X):
            X = given  # the session need not learn again what it holds
        draws = isinstance(init, str)
        if draws:
            params["random_state"] = random_state.get_state(legacy=False)
        with labels_directory(self, output) as params["output"]:
            result = self._run(PROGRAM, X, weights, params)
        if draws:
            random_state.set_state(result.value["random_state"])
        return self._take(result, params["output"])

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """`labels_` of `fit`."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """`transform(X)` after `fit`."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def predict(
        self,
        X: Any,
        *,
        columns: Any = None,
        format: str | None = None,
        output: str | PathLike[str] | None = None,
    ) -> Any:
        """Index of the nearest center of each row of `X`: ndarray (n_samples,) of int32.

        Rows in files, which `fit` describes, are labelled by workers; with `output` these leave the
        labels in that directory, and its full URL is returned (`fetch_labels` reads it). Columns
        that have names are by default those of the fit.
        """
        if names_files(X):
            return self._predict_files(X, columns, format, output)
        refuse_choice(columns=columns, format=format, output=output)
        return self._labels_and_ranges(*self._rows_and_centers(X))[0]

    def fetch_labels(self, path: str | PathLike[str] | None = None) -> np.ndarray:
        """The labels (n_samples,) of the fit, wherever they are; or those that `predict` left in
        the directory `path`."""
        check_is_fitted(self, "cluster_centers_")
        if path is None and hasattr(self, "labels_"):
            return self.labels_
        return fetch_labels(self, self.labels_path_ if path is None else path)

    def transform(self, X: Any) -> np.ndarray:
        """Euclidean distance of each row to each center: ndarray (n_samples, n_clusters)."""
        if names_files(X):
            raise ValueError(
                "transform takes rows in memory, and X names files: n_clusters distances a row "
                "would come here.\n  Load the rows, or ask for their labels: predict(path)"
            )
        X, centers = self._rows_and_centers(X)
        self._refuse_unusable(X, *backend_for(X).column_ranges(X, self._threads_for(X)))
        return backend_for(X).transform(X, centers, self._threads_for(X))

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        columns: Any = None,
        format: str | None = None,
    ) -> float:
        """Opposite of the sum of the squared distances of `X`'s rows to their centers, each times
        its weight of `sample_weight` (n_samples,), if given. Rows in files, which `predict`
        describes, are read by workers."""
        if names_files(X):
            return -self._run_on_files(SCORE_PROGRAM, X, sample_weight, columns, format).value
        refuse_choice(columns=columns, format=format)
        X, centers = self._rows_and_centers(X)
        labels, absmax = self._labels_and_ranges(X, centers)
        weights = self._validate_weights(sample_weight, X, absmax)
        inertia = backend_for(X).squared_distance_sum(
            X, centers, labels, weights, self._threads_for(X)
        )
        return -kernels.exact_value(inertia)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # Live workers cannot be pickled; the model can.
        return {**super().__getstate__(), "session": None}

    # Steps of fit

    def _validate_params(self) -> None:
        """As scikit-learn's, which looks at all of them each time: a seventh of the fit of a small
        table."""
        if get_config()["skip_parameter_validation"]:
            return
        model: Any = type(self)
        for name, constraints in self._parameter_constraints.items():
            value = getattr(self, name)
            if value is self._defaults.get(name, Signature.empty):
                continue
            kind = type(value)
            if kind in _PLAIN_VALUES:
                _check_plain_value(model, name, value)
            elif not (kind is np.ndarray and value.ndim and "array-like" in constraints):
                _check_value(model, name, value)

    def _validate_training_rows(self, X: Any) -> tuple[Any, np.ndarray]:
        """Rows that can be clustered, and the largest magnitude of each of their columns."""
        X = self._as_rows(X, reset=True)
        absmax = self._column_ranges(native_rows(as_rows(X)), "X")
        if X.shape[0] < self.n_clusters:
            raise ValueError(f"n_samples={X.shape[0]} should be >= n_clusters={self.n_clusters}.")
        refuse_overflow(absmax, X.dtype, "X", getattr(self, "feature_names_in_", None))
        self._warn_of_one_cluster()
        return X, absmax

    def _warn_of_one_cluster(self) -> None:
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=4,
            )

    def _validate_weights(
        self, sample_weight: Any, X: Any, absmax: np.ndarray
    ) -> np.ndarray | None:
        """Weights (n_samples,) of X's dtype, or None."""
        if sample_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        refuse_weights(absmax, float(weights.max()))
        return np.ascontiguousarray(weights)

    def _prepare_init(self, X: Any, random_state: np.random.RandomState) -> Any:
        """The name of a seeding, or centers of shape (runs, n_clusters, n_features)."""
        if isinstance(self.init, str):
            return self.init
        if callable(self.init):
            return np.stack(
                [
                    self._checked_centers(
                        self.init(X, self.n_clusters, random_state=random_state), X
                    )
                    for _ in range(self._n_init)
                ]
            )
        if self._n_init != 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={self._n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
            self._n_init = 1
        return self._checked_centers(self.init, X)[np.newaxis]

    def _number_of_runs(self) -> int:
        if self.n_init != "auto":
            return int(self.n_init)
        several = callable(self.init) or (isinstance(self.init, str) and self.init == "random")
        return 10 if several else 1

    def _checked_centers(self, centers: Any, X: Any) -> np.ndarray:
        if not _is_plain(centers, [X.dtype]):
            centers = check_array(
                centers, dtype=X.dtype, order="C", ensure_all_finite=False, input_name="init"
            )
        absmax = self._column_ranges(centers, "init")
        expected = (
            (centers.shape[0], self.n_clusters, "number of clusters"),
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

    def _run(
        self, program: str, X: Any, weights: np.ndarray | None, params: dict[str, Any]
    ) -> RunResult:
        """Run a program on the given session, or on one of our own for this one run."""
        data = {"X": X}
        if weights is not None:
            data[WEIGHTS] = weights[:, np.newaxis]
        if self.session is not None:
            refuse_contradictions(self, self.session)
            return self.session.run(program, params, data=data)
        with new_session(self, single_run=True) as session:
            result = session.run(program, params, data=data)
        if result.job.id == IN_PROCESS:
            return result
        return replace(result, job=session.job)  # as it ended

    def _take(self, result: RunResult, labels_path: str | None) -> DAALKMeans:
        for line in course_lines(result.value["courses"]):
            print(line)
        n_distinct = result.value["n_distinct"]
        if n_distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({n_distinct}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.cluster_centers_ = result.value["cluster_centers"]
        self._n_features_out, self.n_features_in_ = self.cluster_centers_.shape
        for name in ("labels_", "labels_path_"):
            self.__dict__.pop(name, None)  # of a fit before
        if labels_path is None:
            self.labels_ = result.load("labels")
        else:
            self.labels_path_ = labels_path
        self.inertia_ = result.value["inertia"]
        self.n_iter_ = result.value["n_iter"]
        self.job_ = None if result.job.id == IN_PROCESS else result.job
        return self

    def _threads_for(self, X: Any) -> int:
        """Threads of this process worth using for the rows of X."""
        n_thread = kernels.worthwhile_threads(int(self.n_thread), X.size, 1, int(self.n_clusters))
        if n_thread > 1 and "n_thread" in untouched(self):
            return min(n_thread, available_cpus())
        return n_thread

    # Steps of predict, transform and score

    def _predict_files(self, X: Any, columns: Any, format: Any, output: Any) -> Any:
        check_is_fitted(self, "cluster_centers_")
        with labels_directory(self, output) as url:
            result = self._run_on_files(PREDICT_PROGRAM, X, None, columns, format, output=url)
        return result.load("labels") if url is None else url

    def _run_on_files(
        self, program: str, X: Any, sample_weight: Any, columns: Any, format: Any, **params: Any
    ) -> RunResult:
        """Run a program on the fitted centers and rows in files."""
        check_is_fitted(self, "cluster_centers_")
        rows = describe_rows(self, X, columns, format)
        weights = check_file_weights(sample_weight, rows)
        centers = np.ascontiguousarray(self.cluster_centers_, dtype=rows.dtype)
        return self._run(program, rows, weights, {"centers": centers, **params})

    def _rows_and_centers(self, X: Any) -> tuple[Any, np.ndarray]:
        """Validated rows, as kernels read them, and the centers, both of the wider of their dtypes
        (exactly)."""
        if not hasattr(self, "cluster_centers_"):
            check_is_fitted(self, "cluster_centers_")  # it is slow, and says what a user expects
        X = self._as_rows(X, reset=False)
        dtype = np.promote_types(X.dtype, self.cluster_centers_.dtype)
        X = native_rows(as_rows(X.astype(dtype, copy=False)))
        centers = np.ascontiguousarray(self.cluster_centers_, dtype=dtype)
        return X, centers

    def _labels_and_ranges(self, X: Any, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest centers of rows whose values are checked on the way, and the largest magnitude
        of each column."""
        labels = np.full(len(X), -1, dtype=np.int32)
        n_thread = self._threads_for(X)
        native = backend_for(X)
        offset = native.center_offset(centers, n_thread)
        absmax, bad = native.assign_unseen(X, centers, offset, labels, n_thread)
        self._refuse_unusable(X, absmax, bad)
        return labels, absmax

    # Validation as scikit-learn does it, but for the values: one pass measures and checks them

    def _as_rows(self, X: Any, reset: bool) -> Any:
        """X as ndarray, or as scipy's CSR with ascending columns, each once."""
        if isinstance(X, PutRows):
            X = X.given
        plain = _is_plain(X, _DTYPES)
        # Of a few rows the checks that plain ones pass would be a third of what predict takes.
        if plain and not hasattr(self, "feature_names_in_"):
            if reset:
                self.n_features_in_ = X.shape[1]
            if X.shape[1] == self.n_features_in_:
                return X
        rows = validate_data(
            self,
            X,
            reset=reset,
            skip_check_array=plain,
            accept_sparse="csr",
            dtype=_DTYPES,
            order="C",
            ensure_all_finite=False,
        )
        if issparse(rows) and not rows.has_canonical_format:
            rows = rows.copy()  # the caller's stay as they are
            rows.sum_duplicates()
        return rows

    def _column_ranges(self, rows: Any, what: str) -> np.ndarray:
        """Largest magnitude of each column; scikit-learn's error where a value is not finite."""
        absmax, bad = backend_for(rows).column_ranges(rows, self._threads_for(rows))
        self._refuse_not_finite(rows, bad, what)
        return absmax

    def _refuse_not_finite(self, rows: Any, bad: tuple[int, int] | None, what: str) -> None:
        if bad is not None:
            name = type(self).__name__ if what == "X" else ""
            values = rows if isinstance(rows, np.ndarray) else rows.data
            assert_all_finite(values, estimator_name=name, input_name=what)
            refuse_not_finite(rows, bad, what)  # scikit-learn was told to assume that all are

    def _refuse_unusable(self, rows: Any, absmax: np.ndarray, bad: tuple[int, int] | None) -> None:
        """The error for rows of X that are not finite or too large, if there are such."""
        self._refuse_not_finite(rows, bad, "X")
        refuse_overflow(absmax, rows.dtype, "X", getattr(self, "feature_names_in_", None))


# Taken apart once: scikit-learn and `untouched` ask for it in every call.
_SIGNATURE = signature(DAALKMeans.__init__)
DAALKMeans.__init__.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
DAALKMeans._defaults = {name: given.default for name, given in _SIGNATURE.parameters.items()}


def _check_value(model: type[DAALKMeans], name: str, value: Any) -> None:
    """scikit-learn's error where a parameter of `model` is not valid."""
    constraints = {name: model._parameter_constraints[name]}
    validate_parameter_constraints(constraints, {name: value}, caller_name=model.__name__)


@lru_cache(typed=True)
def _check_plain_value(model: type[DAALKMeans], name: str, value: Any) -> None:
    """The same for a value of _PLAIN_VALUES; what was found valid is not looked at again."""
    _check_value(model, name, value)


def _is_plain(array: Any, dtypes: Sequence[DTypeLike]) -> bool:
    """Whether check_array would hand out this very array, its values aside."""
    return (
        type(array) is np.ndarray
        and array.ndim == 2
        and array.size > 0
        and array.flags.c_contiguous
        and array.dtype in dtypes
    )
