"""DAALKMeans, scikit-learn's KMeans on a gang of workers: what it is for users, and its fit.

What workers compute is left to the program they run, rows and parameters to the modules beside
this one, what estimators share to harpy.estimators.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state

from harpy.estimators.files import file_weights, refuse_choice
from harpy.estimators.kmeans import programs
from harpy.estimators.kmeans.nearest import NearestCenters
from harpy.estimators.kmeans.parameters import CENTERS
from harpy.estimators.kmeans.rows import checked_weights
from harpy.estimators.kmeans.training import (
    describe_training_files,
    number_of_runs,
    prepare_init,
    validate_training_rows,
    warn_of_one_cluster,
)
from harpy.estimators.kmeans.verbose import course_lines
from harpy.estimators.labels import labels_directory
from harpy.estimators.rows import FLOATS, known_rows
from harpy.estimators.session import job_of
from harpy.session.session import RunResult
from harpy.storage.rows.dataset import names_files


class DAALKMeans(NearestCenters):
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
        for which the workers pass over their rows and exchange messages once for each center;
        k-means||, for which they do so six times in all, with centers as good; given centers,
        which travel with the job; or a callable ``init(X, n_clusters, random_state)`` that returns
        centers, called here in the driver with the validated `X` (not centered, as scikit-learn's
        would be).
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

    @classmethod
    def from_centers(cls, centers: Any, **parameters: Any) -> Self:
        """A fitted model of known centers: it can predict, not refit.

        Parameters
        ----------
        centers : array-like of shape (n_clusters, n_features)
            Finite.
        **parameters
            Of the model, without `n_clusters`.

        Returns
        -------
        DAALKMeans
            Fitted.

        Raises
        ------
        ValueError
            In scikit-learn's words: they are no finite centers.
        """
        centers = check_array(centers, dtype=FLOATS, order="C", copy=True, input_name="centers")
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
            also on the workers.

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
            weights = file_weights(sample_weight, X)
        else:
            refuse_choice(columns=columns, format=format, output=output)
            X, absmax = validate_training_rows(self, X)
            weights = checked_weights(sample_weight, X, absmax)
        warn_of_one_cluster(self)
        random_state = check_random_state(self.random_state)
        self._n_init = number_of_runs(self)
        init = prepare_init(self, X, self._n_init, random_state)
        draws = isinstance(init, str)
        if not draws:
            self._n_init = len(init)
        params: dict[str, Any] = {
            "n_clusters": int(self.n_clusters),
            "max_iter": int(self.max_iter),
            "tol": float(self.tol),
            "init": init,
            "n_init": self._n_init,
            "absmax": absmax,
            "verbose": bool(self.verbose),
        }
        if draws:
            params["random_state"] = random_state.get_state(legacy=False)
        with labels_directory(self, output) as params["output"]:
            result = self._run(programs.FIT, known_rows(given, X), weights, params)
        if draws:
            random_state.set_state(result.value["random_state"])
        return self._keep_result(result, params["output"])

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """`labels_` of `fit`.

        Parameters
        ----------
        X, y, sample_weight : what `fit` takes

        Returns
        -------
        ndarray of shape (n_samples,), int32
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """`transform(X)` after `fit`.

        Parameters
        ----------
        X : rows in memory that `fit` takes
        y : ignored
        sample_weight : what `fit` takes

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    @classmethod
    def _of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        return cls.from_centers(arrays[CENTERS])

    def _keep_result(self, result: RunResult, labels_path: str | None) -> DAALKMeans:
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
        self.cluster_centers_ = result.value[CENTERS]
        self._n_features_out, self.n_features_in_ = self.cluster_centers_.shape
        self._take_labels(result, labels_path)
        self.inertia_ = result.value["inertia"]
        self.n_iter_ = result.value["n_iter"]
        self.job_ = job_of(result)
        return self
