"""The message of a step, read by name: what NumPy finds in the rows."""

from __future__ import annotations

import numpy as np
import pytest

from harpy.kernels import kmeans
from harpy.kernels.kmeans import Totals

K = 4


def exponents_of(X: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    weighted = weights is not None
    absmax = kmeans.weighted_ranges(X, weights) if weighted else kmeans.column_ranges(X)[0]
    return kmeans.column_exponents(absmax)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_by_name(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(-50, 50, (300, 3)).astype(np.float64)
    weights = rng.integers(0, 5, 300).astype(np.float64) if weighted else None
    exponents = exponents_of(X, weights)
    state = kmeans.Lloyd(X, K, exponents, 1, weights)
    totals = Totals(state.step(X[:K].copy()), exponents, weighted)
    ones = np.ones(300) if weights is None else weights
    by_label = np.array([ones[state.labels == c].sum() for c in range(K)])
    assert (totals.n_changed, totals.n_clusters) == (300, K)
    assert totals.counts.tolist() == np.bincount(state.labels, minlength=K).tolist()
    assert totals.limbs.shape == (K, 3 + weighted, 3)
    assert totals.weights.tolist() == by_label.tolist()
    # Integers are exact in NumPy, too; each quotient is rounded once here and there.
    sums = np.array([(X * ones[:, None])[state.labels == c].sum(axis=0) for c in range(K)])
    centers, shift, n_empty = totals.next_centers(X[:K].copy())
    assert np.array_equal(centers, sums / by_label[:, None])
    assert shift == pytest.approx(((centers - X[:K]) ** 2).sum())
    assert n_empty == 0
    assert np.array_equal(totals.mean(), sums.sum(axis=0) / ones.sum())


def test_totals_of_two_workers_add_up() -> None:
    X = np.random.default_rng(1).normal(size=(200, 2))
    exponents = exponents_of(X, None)
    messages = [
        kmeans.Lloyd(part, K, exponents).step(X[:K].copy()).copy() for part in (X, X[:90], X[90:])
    ]
    whole, added = (Totals(m, exponents, False) for m in (messages[0], messages[1] + messages[2]))
    assert (added.n_changed, added.counts.tolist()) == (200, whole.counts.tolist())
    assert np.array_equal(added.next_centers(X[:K].copy())[0], whole.next_centers(X[:K].copy())[0])


def test_a_row_moves_with_its_weight_and_copies_stay() -> None:
    X = np.array([[1.0, 2.0], [3.0, 5.0], [30.0, 50.0]])
    weights = np.array([2.0, 1.0, 4.0])
    exponents = exponents_of(X, weights)
    totals = Totals.zeros(2, exponents, weighted=True)
    totals.limbs[:], totals.counts[:] = kmeans.accumulate(
        X, np.array([0, 0, 1], np.int32), 2, exponents, 1, weights
    )
    before = totals.copy()
    row, _ = kmeans.accumulate(X[1:2], None, 1, exponents, 1, weights[1:2])
    totals.move(row[0], 0, 1)
    assert (totals.counts.tolist(), totals.weights.tolist()) == ([1, 2], [2.0, 5.0])
    centers, _, _ = totals.next_centers(np.zeros((2, 2)))
    assert centers.tolist() == [[1.0, 2.0], [(3 + 120) / 5, (5 + 200) / 5]]
    assert before.counts.tolist() == [2, 1]
    totals.n_changed = 7
    assert (totals.n_changed, before.n_changed) == (7, 0)
