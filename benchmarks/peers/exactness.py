"""What exact sums and an exact inertia cost beside plain float64 ones, as a share of a fit."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from harpy.jobs.kmeans.shard import Shard, load_shard
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import WEIGHTS
from harpy.program.context import Context
from peers.clock import Call, interleave
from peers.data import Problem, Shape, draw
from peers.libraries import Harpy
from peers.machine import compile_native
from peers.single import Finding

SHAPES = tuple(Shape(500_000, 64, n_clusters) for n_clusters in (2, 4, 16))
MAX_ITER = 10
MOST = 0.15

Weights: TypeAlias = np.ndarray | None  # (n_rows,) of X's dtype


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

    def sums(self, X: np.ndarray, weights: Weights, labels: np.ndarray, k: int) -> np.ndarray:
        """Sum of the (weighted) rows of each label: ndarray (k, n_columns) of float64."""
        totals = np.zeros((k, X.shape[1]))
        self._call("sums", None, X, weights, labels, totals)
        return totals

    def inertia(
        self, X: np.ndarray, weights: Weights, labels: np.ndarray, centers: np.ndarray
    ) -> float:
        return self._call("inertia", ctypes.c_double, X, weights, labels, centers)

    def _call(
        self,
        name: str,
        restype: Any,
        X: np.ndarray,
        weights: Weights,
        labels: np.ndarray,
        last: np.ndarray,
    ) -> Any:
        function = getattr(self._native, f"{name}_{X.dtype}")
        function.restype = restype
        rows, row_weights, row_labels, values = (
            None if array is None else ctypes.c_void_p(array.ctypes.data)
            for array in (X, weights, labels, last)
        )
        n_rows, n_columns = (ctypes.c_int64(size) for size in X.shape)
        return function(rows, row_weights, row_labels, n_rows, n_columns, values)


def costs_of_exactness(
    shape: Shape, kind: str, dtype: str, seed: int, repeat: int
) -> Iterator[Finding]:
    """For rows without weights, then with: seconds that exactness adds to a fit with one thread, by
    those of the fit."""
    problem = draw(shape, kind, dtype, seed)
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, len(problem.X)).astype(dtype)
    plain, harpy = PlainSums(), Harpy(1)
    yield _cost(problem, None, plain, harpy, repeat)
    yield _cost(problem, weights, plain, harpy, repeat)


def _cost(
    problem: Problem, weights: Weights, plain: PlainSums, harpy: Harpy, repeat: int
) -> Finding:
    X, starts, n_clusters = problem.X, problem.starts, len(problem.starts)
    data = {"X": X} if weights is None else {"X": X, WEIGHTS: weights[:, np.newaxis]}
    shard = load_shard(Context.in_process(data=data, n_thread=1), n_clusters, None, None)
    passes, centers, labels = follow(shard, starts)
    exponents = shard.sum_exponents
    calls: dict[str, Call] = {
        "exact sums": lambda _: kernels.accumulate(X, labels, n_clusters, exponents, 1, weights),
        "plain sums": lambda _: plain.sums(X, weights, labels, n_clusters),
        "exact inertia": lambda _: kernels.squared_distance_sum(X, centers, labels, weights, 1),
        "plain inertia": lambda _: plain.inertia(X, weights, labels, centers),
        "fit": lambda _: harpy.fit(X, starts, MAX_ITER, 0.0, weights),
    }
    best = interleave(calls, repeat, always="fit").best()
    exact_sums, plain_sums, exact_inertia, plain_inertia, fit = (best[name] for name in calls)
    added = passes * (exact_sums - plain_sums) + exact_inertia - plain_inertia
    ns = [1e9 * taken / len(X) for taken in (exact_sums, plain_sums, exact_inertia, plain_inertia)]
    detail = (
        f"ns a row: sums {ns[0]:.1f}, plain {ns[1]:.1f}; inertia {ns[2]:.1f}, plain {ns[3]:.1f}; "
        f"rows are added {passes:.1f} times in a fit of {fit:.3f} s"
    )
    what = "cost of exactness" if weights is None else "cost of exactness, weighted"
    return Finding(what, problem.name, str(X.dtype), 1, added / fit, MOST, detail)


def follow(shard: Shard, centers: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """How often a row is added or taken out in a fit, its last centers, the labels."""
    state, n_rows = shard.lloyd(len(centers)), len(shard.X)
    n_added = -n_rows  # the first iteration only adds
    for _ in range(MAX_ITER):
        totals = shard.allreduce(state.step(centers))
        n_added += 2 * totals.n_changed
        centers, _, _ = totals.next_centers(centers)
        if totals.n_changed == 0:
            break
    return n_added / n_rows, centers, state.labels.copy()
