"""What exact sums and an exact inertia cost beside plain float64 ones, as a share of a fit."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from harpy.gang.context import Context
from harpy.jobs.kmeans import assign_and_sum
from harpy.jobs.kmeans_shard import Shard, load_shard
from harpy.kernels import kmeans as kernels
from peers.clock import Call, interleave
from peers.data import Shape, draw
from peers.libraries import Harpy
from peers.machine import compile_native
from peers.single import Finding

SHAPES = tuple(Shape(500_000, 64, n_clusters) for n_clusters in (2, 4, 16))
MAX_ITER = 10
MOST = 0.15


class PlainSums:
    """The rounding counterparts of harpy's kernels, for one thread.

    Raises
    ------
    RuntimeError
        There is no C++ compiler, or it refuses.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="plain-sums-")
        library = Path(self._folder.name) / "plain_sums.so"
        source = Path(__file__).with_name("plain_sums.cpp")
        compile_native(source, library, "-shared", "-fPIC", "-fopenmp-simd")
        self._native = ctypes.CDLL(str(library))

    def sums(self, X: np.ndarray, labels: np.ndarray, n_clusters: int) -> np.ndarray:
        """Sum of the rows of each label: ndarray (n_clusters, n_columns) of float64."""
        totals = np.zeros((n_clusters, X.shape[1]))
        self._call("sums", None, X, labels, totals)
        return totals

    def inertia(self, X: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> float:
        return self._call("inertia", ctypes.c_double, X, labels, centers)

    def _call(
        self, name: str, restype: Any, X: np.ndarray, labels: np.ndarray, last: np.ndarray
    ) -> Any:
        function = getattr(self._native, f"{name}_{X.dtype}")
        function.restype = restype
        rows, row_labels, values = (
            ctypes.c_void_p(array.ctypes.data) for array in (X, labels, last)
        )
        n_rows, n_columns = (ctypes.c_int64(size) for size in X.shape)
        return function(rows, row_labels, n_rows, n_columns, values)


def cost_of_exactness(shape: Shape, kind: str, dtype: str, seed: int, repeat: int) -> Finding:
    """Seconds that exactness adds to a fit with one thread, by those of the fit."""
    problem = draw(shape, kind, dtype, seed)
    X, starts, n_clusters = problem.X, problem.starts, shape.n_clusters
    shard = load_shard(Context.in_process(data={"X": X}, n_thread=1), n_clusters, None, None)
    passes, centers, labels = follow(shard, starts)
    plain = PlainSums()
    harpy = Harpy(1)
    calls: dict[str, Call] = {
        "exact sums": lambda _: kernels.accumulate(X, labels, n_clusters, shard.exponents, 1),
        "plain sums": lambda _: plain.sums(X, labels, n_clusters),
        "exact inertia": lambda _: kernels.squared_distance_sum(X, centers, labels, n_thread=1),
        "plain inertia": lambda _: plain.inertia(X, labels, centers),
        "fit": lambda _: harpy.fit(X, starts, MAX_ITER, 0.0),
    }
    best = interleave(calls, repeat, always="fit").best()
    exact_sums, plain_sums, exact_inertia, plain_inertia, fit = (best[name] for name in calls)
    added = passes * (exact_sums - plain_sums) + exact_inertia - plain_inertia
    ns = [1e9 * taken / len(X) for taken in (exact_sums, plain_sums, exact_inertia, plain_inertia)]
    detail = (
        f"ns a row: sums {ns[0]:.1f}, plain {ns[1]:.1f}; inertia {ns[2]:.1f}, plain {ns[3]:.1f}; "
        f"rows are added {passes:.1f} times in a fit of {fit:.3f} s"
    )
    return Finding("cost of exactness", str(shape), dtype, 1, added / fit, MOST, detail)


def follow(shard: Shard, centers: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """How often a row is added or taken out in a fit, its last centers, the labels."""
    X, exponents = shard.X, shard.exponents
    lloyd = kernels.Lloyd(X, len(centers), exponents, 1)
    n_added = -len(X)  # the first iteration only adds
    for _ in range(MAX_ITER):
        n_changed, sums, counts = assign_and_sum(shard, lloyd, centers)
        n_added += 2 * n_changed
        centers = kernels.centers_from_sums(sums, counts, exponents, X.dtype)
        if n_changed == 0:
            break
    return n_added / len(X), centers, lloyd.labels.copy()
