"""Potentials of k-means++ are the integers that plain Python works out from all distances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from harpy.kernels import kmeans
from tests.support.rows.hostile import DTYPES, hostile_data

ISAS = kmeans.instruction_sets()


class PlainPotentials:
    """kmeans.Potentials with every distance measured and every integer a Python integer."""

    def __init__(self, X: np.ndarray, center: np.ndarray, weights: np.ndarray | None) -> None:
        self.X = X
        self.weights = np.ones(len(X)) if weights is None else weights
        self.values = self.distances(center)

    def distances(self, center: np.ndarray) -> np.ndarray:
        return kmeans.squared_distances(self.X, center[np.newaxis], None)

    def largest(self) -> float:
        return max(self.weights * self.values)

    def units(self, values: np.ndarray, exponent: int) -> list[int]:
        power = 61 - max(exponent, -1022)
        return [int(math.ldexp(value, power)) for value in self.weights * values]

    def gain(self, candidate: np.ndarray, exponent: int) -> int:
        least = np.minimum(self.values, self.distances(candidate))
        return sum(self.units(self.values, exponent)) - sum(self.units(least, exponent))

    def keep(self, candidate: np.ndarray) -> None:
        self.values = np.minimum(self.values, self.distances(candidate))

    def find(self, targets: list[int], exponent: int) -> list[int]:
        running = np.cumsum(np.array(self.units(self.values, exponent), dtype=object))
        return [int(np.searchsorted(running, target)) for target in targets]


def follow(X: np.ndarray, weights: np.ndarray | None, n_centers: int, n_trials: int) -> None:
    """Seed by turns of gains and keep, comparing every integer; threads change with every turn."""
    rng = np.random.default_rng(5)
    centers = np.full((n_centers, X.shape[1]), np.nan, X.dtype)
    centers[0] = X[rng.integers(len(X))]
    plain = PlainPotentials(X, centers[0], weights)
    ours = kmeans.Potentials(X, centers, weights, 1 + n_trials % 4)
    exponent = None
    for c in range(1, n_centers):
        assert ours.largest() == plain.largest()
        if exponent is None or not ours.summary[-1]:
            exponent = int(kmeans.column_exponents(np.array([ours.largest()]))[0])
            ours.quantise(exponent)
        total = sum(plain.units(plain.values, exponent))
        top = np.count_nonzero(plain.weights * plain.values >= math.ldexp(1.0, exponent))
        assert (kmeans.limbs_to_int(ours.summary[:-1]), ours.summary[-1]) == (total, top)
        targets = sorted({1, total // 3, total // 3 + 1, total, total + 1})
        found = ours.find(kmeans.int_to_limbs(targets)).tolist()
        assert found == plain.find(targets, exponent)
        candidates = np.ascontiguousarray(X[rng.integers(0, len(X), n_trials)])
        gains = [kmeans.limbs_to_int(limbs) for limbs in ours.gains(candidates)]
        assert gains == [plain.gain(candidate, exponent) for candidate in candidates]
        kept = int(rng.integers(n_trials))
        ours.keep(candidates, kept)
        plain.keep(candidates[kept])
        assert np.array_equal(centers[c], candidates[kept])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_hostile_data(
    dtype: type, weighted: bool, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(6)
    for n_trials, (name, X) in enumerate(hostile_data(dtype, n=330).items(), start=1):
        weights = rng.choice([0.0, 0.3, 1.0, 1e6], len(X)) if weighted else None
        try:
            follow(X, weights, 14, n_trials)
        except AssertionError as error:
            raise AssertionError(name) from error


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_no_candidate_can_reach(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(7)
    X = (100 * rng.normal(size=(20, 2)))[rng.integers(0, 20, 2500)] + rng.normal(size=(2500, 2))
    follow(X.astype(dtype), None, 30, 6)
    # On a lattice many candidates stand exactly where the triangle inequality is an equation.
    follow(rng.integers(0, 6, (2500, 1)).astype(dtype), None, 6, 4)
    follow(rng.integers(0, 4, (2500, 2)).astype(dtype), None, 12, 11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows_are_left_off_early(dtype: type) -> None:
    rng = np.random.default_rng(8)
    X = (3 * rng.normal(size=(5, 700)))[rng.integers(0, 5, 150)] + rng.normal(size=(150, 700))
    follow(X.astype(dtype), None, 12, 9)
    follow(X.astype(dtype), None, 24, 3)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_columns(dtype: type, isa: str, use_isa: Callable[[str], None]) -> None:
    use_isa(isa)
    rng = np.random.default_rng(10)
    for n_columns in (*range(1, 10), 31, 32, 64, 65, 66):  # distances are kept from 128 bytes on
        follow(rng.normal(size=(300, n_columns)).astype(dtype), None, 12, 1 + n_columns % 10)


def test_every_number_of_candidates_is_counted() -> None:
    X = np.random.default_rng(9).normal(size=(100, 3))
    for n_trials in range(1, 25):
        follow(X, None, 4, n_trials)
    with pytest.raises(ValueError, match="at most 24 candidates, got 25"):
        kmeans.Potentials(X, X[:2].copy()).gains(X[:25].copy())


def test_no_rows_have_no_potential() -> None:
    ours = kmeans.Potentials(np.empty((0, 3)), np.zeros((2, 3)))
    ours.quantise(0)
    assert (ours.largest(), ours.summary.tolist()) == (0.0, [0, 0, 0, 0])
    assert ours.gains(np.ones((4, 3))).tolist() == [[0, 0, 0]] * 4
    ours.keep(np.ones((4, 3)), 2)
    assert ours.find(kmeans.int_to_limbs([1])).tolist() == [0]


def test_what_does_not_fit_is_refused() -> None:
    X = np.ones((4, 3))
    with pytest.raises(ValueError, match="number of columns of centers must be 3, got 2"):
        kmeans.Potentials(X, np.ones((2, 2)))
    with pytest.raises(ValueError, match="number of weights must be 4, got 3"):
        kmeans.Potentials(X, X[:2].copy(), np.ones(3))
    with pytest.raises(ValueError, match="need at least one center, got 0"):
        kmeans.Potentials(X, np.empty((0, 3)))
    with pytest.raises((ValueError, TypeError)):
        kmeans.Potentials(X, np.ones((2, 3), np.float32))
    full = kmeans.Potentials(X, X[:1].copy())
    with pytest.raises(ValueError, match="number of candidates must be 0, got 2"):
        full.keep(X[:2].copy(), 1)
    full.quantise(0)
    full.gains(X[:2].copy())
    with pytest.raises(IndexError):
        full.keep(X[:2].copy(), 1)
