"""DAALKMeans and scikit-learn's KMeans on every table that scikit-learn ships, and on photographs.

docs/numerics.md says where the two may differ: exact ties, which scikit-learn breaks by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from scipy.sparse import csr_array
from sklearn.cluster import KMeans

from harpy import DAALKMeans
from tests.support.numerics.e_step_agreement import clear_differences

TABLES = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
DTYPES = (np.float32, np.float64)
FORMS: dict[str, Callable[[np.ndarray], Any]] = {"dense": np.asarray, "sparse": csr_array}
SEEDS = range(3)


def starts(X: np.ndarray) -> Iterator[np.ndarray]:
    """Initial centers: distinct rows, few and many of them."""
    distinct = np.unique(X, axis=0)
    for seed in SEEDS:
        rows = np.random.default_rng(seed).permutation(len(distinct))
        for n_clusters in (3, min(20, len(distinct) // 2)):
            yield distinct[rows[:n_clusters]]


def check_e_steps(X: np.ndarray, form: str) -> None:
    given = FORMS[form](X)
    for start in starts(X):
        theirs = KMeans(len(start), init=start, n_init=1).fit(given)
        for centers in (start, theirs.cluster_centers_):
            theirs.cluster_centers_ = centers
            ours = DAALKMeans.from_centers(centers).predict(given)
            clear = clear_differences(X, centers, ours, theirs.predict(given))
            assert not clear.size, clear


def check_convergence(X: np.ndarray, form: str) -> None:
    given = FORMS[form](X)
    n_starts = n_parted = 0
    for start in starts(X):
        settings = {"n_clusters": len(start), "n_init": 1, "max_iter": 300, "tol": 0}
        theirs = KMeans(init=start, **settings).fit(given)
        ours = DAALKMeans(init=start, **settings, launcher="local").fit(given)
        assert ours.cluster_centers_.dtype == theirs.cluster_centers_.dtype
        n_starts += 1
        # Not their inertia_: of sparse float32 rows it has lost its last digits.
        if inertia(X, ours) != pytest.approx(inertia(X, theirs), rel=1e-6):
            n_parted += 1
            assert meets_ties(X, start)
            stays = KMeans(init=ours.cluster_centers_, **settings).fit(given)
            assert inertia(X, ours) == pytest.approx(inertia(X, stays), rel=1e-6)
    assert n_parted <= n_starts / 2


def inertia(X: np.ndarray, model: Any) -> float:
    """In float64, whatever X is."""
    return squared_distances(X, model.cluster_centers_).min(axis=1).sum()


def meets_ties(X: np.ndarray, centers: np.ndarray) -> bool:
    """Whether on the way of plain Lloyd from these centers a row is as good as equally far from
    its two best: the two libraries may then part."""
    for _ in range(300):
        squares = squared_distances(X, centers)
        labels, others = np.argsort(squares, axis=1)[:, :2].T
        if len(clear_differences(X, centers, labels, others)) < len(X):
            return True
        previous = centers
        centers = np.array([X[labels == c].mean(axis=0) for c in range(len(centers))])
        if np.array_equal(centers, previous):
            break
    return False


def squared_distances(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return np.square(X[:, None].astype(float) - centers.astype(float)).sum(axis=2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TABLES)
def test_e_steps_agree(name: str, dtype: type, form: str) -> None:
    check_e_steps(table(name, dtype), form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TABLES)
def test_converged_inertias_agree(name: str, dtype: type, form: str) -> None:
    check_convergence(table(name, dtype), form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_photographs_agree(photographs: np.ndarray, dtype: type, form: str) -> None:
    X = photographs.astype(dtype)
    check_e_steps(X, form)
    check_convergence(X, form)


def table(name: str, dtype: type) -> np.ndarray:
    return getattr(sklearn.datasets, f"load_{name}")().data.astype(dtype)


def test_no_table_of_scikit_learn_is_left_out() -> None:
    others = {"files", "sample_image", "sample_images", "svmlight_file", "svmlight_files"}
    loaders = {name[5:] for name in dir(sklearn.datasets) if name.startswith("load_")}
    assert loaders - others == set(TABLES)


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> np.ndarray:
    """Features (800, 50) of the scenes, as the demo computes them."""
    from harpy.demo.pictures import load_photographs

    return load_photographs(shared_data / "data" / "scenes").X
