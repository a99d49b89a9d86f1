"""The libraries compared, each behind the same few calls; all keep to the same number of threads.

Every call is what a user would write: whole fits with validation, labels and inertia. FAISS and
superkmeans return centers only, and get that head start.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import psutil
from scipy import sparse

from peers.data import Problem

Rows = np.ndarray | sparse.csr_matrix


@dataclass(frozen=True)
class Fit:
    """What a fit came to; `inertia` is None where the library reports none of its final centers."""

    n_iter: int
    inertia: float | None = None


class SitsOut(Exception):
    """Why a library does not take part in a cell; it is printed and the others go on."""


class Library(ABC):
    """One way to compute k-means.

    Attributes
    ----------
    distribution : str
        What pip installs.
    exact : bool
        Whether rows always go to their nearest center.
    modes, dtypes : set of str
    stops : bool
        Whether it ends by itself; the others are told how many iterations scikit-learn made.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    exact: ClassVar[bool] = True
    modes: ClassVar[frozenset[str]] = frozenset({"iterations", "convergence", "predict"})
    dtypes: ClassVar[frozenset[str]] = frozenset({"float32", "float64"})
    stops: ClassVar[bool] = True

    def __init__(self, n_thread: int) -> None:
        self.n_thread = n_thread

    def check(self, problem: Problem) -> None:
        """SitsOut, where this library cannot or should not solve the problem."""
        if str(problem.X.dtype) not in self.dtypes:
            raise SitsOut(f"it knows {' and '.join(sorted(self.dtypes))} only")

    @abstractmethod
    def fit(self, X: Rows, starts: np.ndarray, max_iter: int, tol: float) -> Fit: ...

    def predictor(self, centers: np.ndarray) -> Callable[[Rows], Any]:
        """A call that assigns rows to these centers."""
        raise NotImplementedError

    def seed(self, X: Rows, n_clusters: int, seed: int) -> np.ndarray:
        """Centers by greedy k-means++, of shape (n_clusters, n_columns)."""
        raise NotImplementedError


class Harpy(Library):
    name = "harpy"
    distribution = "harpy-yarn"
    modes = frozenset({"iterations", "convergence", "predict", "sparse", "seeding"})

    def __init__(self, n_thread: int) -> None:
        super().__init__(n_thread)
        from harpy import DAALKMeans
        from harpy.jobs.kmeans.seeding import plus_plus
        from harpy.jobs.kmeans.shard import load_shard
        from harpy.program.context import Context

        self._estimator, self._context = DAALKMeans, Context
        self._load_shard, self._plus_plus = load_shard, plus_plus

    def fit(
        self,
        X: Rows,
        starts: np.ndarray,
        max_iter: int,
        tol: float,
        weights: np.ndarray | None = None,
    ) -> Fit:
        model = self._estimator(
            len(starts),
            max_iter,
            starts,
            n_node=1,
            n_thread=self.n_thread,
            tol=tol,
            launcher="local",
        ).fit(X, sample_weight=weights)
        return Fit(model.n_iter_, model.inertia_)

    def predictor(self, centers: np.ndarray) -> Callable[[Rows], Any]:
        return self._estimator.from_centers(centers, n_thread=self.n_thread).predict

    def seed(self, X: Rows, n_clusters: int, seed: int) -> np.ndarray:
        # As fit does it: the time includes the checks and the columns' means.
        context = self._context.in_process(data={"X": X}, n_thread=self.n_thread)
        shard = self._load_shard(context, n_clusters, None, None)
        return self._plus_plus(shard, n_clusters, np.random.RandomState(seed))


class ScikitLearn(Library):
    name = "scikit-learn"
    distribution = "scikit-learn"
    modes = frozenset({"iterations", "convergence", "predict", "sparse", "seeding"})
    module: ClassVar[str] = "sklearn.cluster"
    algorithm: ClassVar[str] = "lloyd"

    def __init__(self, n_thread: int) -> None:
        super().__init__(n_thread)
        self._estimator = import_module(self.module).KMeans

    def fit(self, X: Rows, starts: np.ndarray, max_iter: int, tol: float) -> Fit:
        model = self._estimator(
            len(starts),
            init=starts,
            n_init=1,
            max_iter=max_iter,
            tol=tol,
            algorithm=self.algorithm,
        ).fit(X)
        return Fit(model.n_iter_, model.inertia_)

    def predictor(self, centers: np.ndarray) -> Callable[[Rows], Any]:
        # The mean of two equal rows is that row: a fitted model of exactly these centers.
        model = self._estimator(len(centers), init=centers, n_init=1, max_iter=1)
        return model.fit(np.concatenate([centers, centers])).predict

    def seed(self, X: Rows, n_clusters: int, seed: int) -> np.ndarray:
        from sklearn.cluster import kmeans_plusplus

        return kmeans_plusplus(X, n_clusters, random_state=seed)[0]


class ScikitLearnElkan(ScikitLearn):
    name = "scikit-learn elkan"
    modes = frozenset({"iterations", "convergence", "sparse"})
    algorithm = "elkan"

    def check(self, problem: Problem) -> None:
        super().check(problem)
        bounds = problem.shape.n_rows * problem.shape.n_clusters * problem.X.dtype.itemsize
        if bounds > psutil.virtual_memory().available / 2:
            raise SitsOut(f"elkan keeps {bounds / 2**30:.1f} GiB of bounds: too much for here")


class ScikitLearnEx(ScikitLearn):
    """oneDAL behind scikit-learn's names. What it cannot do it leaves to scikit-learn, and says so
    only in its log: each call is checked there."""

    name = "sklearnex"
    distribution = "scikit-learn-intelex"
    modes = frozenset({"iterations", "convergence", "predict", "sparse"})
    module = "sklearnex.cluster"

    def __init__(self, n_thread: int) -> None:
        super().__init__(n_thread)
        import_module("daal4py").daalinit(n_thread)
        self._log: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self._log.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("sklearnex")
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)

    def fit(self, X: Rows, starts: np.ndarray, max_iter: int, tol: float) -> Fit:
        return self._accelerated(lambda: super(ScikitLearnEx, self).fit(X, starts, max_iter, tol))

    def predictor(self, centers: np.ndarray) -> Callable[[Rows], Any]:
        predict = super().predictor(centers)
        return lambda X: self._accelerated(lambda: predict(X))

    def _accelerated(self, call: Callable[[], Any]) -> Any:
        self._log.clear()
        result = call()
        if not any("running accelerated version" in line for line in self._log):
            raise SitsOut("it fell back to scikit-learn's own code")
        return result


class Faiss(Library):
    name = "FAISS"
    distribution = "faiss-cpu"
    dtypes = frozenset({"float32"})
    stops = False

    def __init__(self, n_thread: int) -> None:
        super().__init__(n_thread)
        self._faiss = import_module("faiss")
        self._faiss.omp_set_num_threads(n_thread)

    def fit(self, X: Rows, starts: np.ndarray, max_iter: int, tol: float) -> Fit:
        model = self._faiss.Kmeans(
            X.shape[1],
            len(starts),
            niter=max_iter,
            min_points_per_centroid=1,
            max_points_per_centroid=len(X),  # all rows, no sample
        )
        model.train(X, init_centroids=starts)
        return Fit(len(model.obj))

    def predictor(self, centers: np.ndarray) -> Callable[[Rows], Any]:
        index = self._faiss.IndexFlatL2(centers.shape[1])
        index.add(centers)
        return lambda X: index.assign(X, 1)


class SuperKMeans(Library):
    """Flat and on all rows. Prunes by a random rotation, hence not exact; draws its own starts."""

    name = "superkmeans"
    distribution = "superkmeans"
    exact = False
    modes = frozenset({"iterations"})
    dtypes = frozenset({"float32"})
    stops = False

    def __init__(self, n_thread: int) -> None:
        super().__init__(n_thread)
        self._estimator = import_module("superkmeans").SuperKMeans

    def check(self, problem: Problem) -> None:
        super().check(problem)
        if problem.shape.n_columns < 128:
            raise SitsOut("it is made for many columns: asked from 128 on")

    def fit(self, X: Rows, starts: np.ndarray, max_iter: int, tol: float) -> Fit:
        self._estimator(
            len(starts),
            X.shape[1],
            hierarchical=False,
            iters=max_iter,
            sampling_fraction=1.0,
            max_points_per_cluster=len(X),
            n_threads=self.n_thread,
            early_termination=False,
        ).train(X)
        return Fit(max_iter)


LIBRARIES: tuple[type[Library], ...] = (
    Harpy,
    ScikitLearn,
    ScikitLearnElkan,
    ScikitLearnEx,
    Faiss,
    SuperKMeans,
)


def load_libraries(n_thread: int) -> tuple[list[Library], list[str]]:
    """Those that are installed, and a line for each that is not."""
    present, missing = [], []
    for kind in LIBRARIES:
        try:
            present.append(kind(n_thread))
        except ModuleNotFoundError as exc:
            missing.append(f"{kind.name} is left out: {exc} (pip install {kind.distribution})")
    return present, missing
