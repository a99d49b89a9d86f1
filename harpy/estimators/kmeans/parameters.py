"""Parameters of DAALKMeans: names, order, defaults, what is valid; how a fitted one is saved. What
they mean is said in estimator.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from harpy.estimators.labels import LABELS, LabellingEstimator
from harpy.estimators.model_files import ModelFormat
from harpy.estimators.session import AT_LEAST_ONE, SESSION_CONSTRAINTS
from harpy.session.session import Session

CENTERS = "cluster_centers"  # in what programs return, and the file of a saved model


class KMeansParameters(LabellingEstimator):
    """The parameters of DAALKMeans, and what a fit finds."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_clusters": [AT_LEAST_ONE],
        "max_iter": [AT_LEAST_ONE],
        "init": [StrOptions({"k-means++", "k-means||", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), AT_LEAST_ONE],
        **SESSION_CONSTRAINTS,
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "algorithm": [StrOptions({"lloyd", "elkan"})],
        "copy_x": ["boolean"],
    }
    _job_name = "kmeans"
    _model_format = ModelFormat(
        name="harpy k-means model",
        version=1,
        arrays={CENTERS: 2},
        values={"n_iter": int, "inertia": float, "labels_path": str},
        extras=(LABELS,),
        advice="Centers alone, such as `harpy fetch` brings, make one: "
        "DAALKMeans.from_centers(numpy.load('…/cluster_centers.npy'))",
    )

    cluster_centers_: np.ndarray
    inertia_: float
    n_iter_: int

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
