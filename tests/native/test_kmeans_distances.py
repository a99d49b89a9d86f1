"""Distances are direct differences in one defined order."""

from __future__ import annotations

import numpy as np
import pytest
from exact_reference import chained_squares
from hostile_data import DTYPES, hostile_data

from harpy.kernels import kmeans


@pytest.mark.parametrize("dtype", DTYPES)
def test_distances_follow_the_chain_to_the_last_bit(dtype: type) -> None:
    for name, X in hostile_data(dtype, n=20).items():
        centers = X[3:8].astype(np.float64) + 0.1
        labels = (np.arange(20) % 5).astype(np.int32)
        expected = np.array([[chained_squares(row - c) for row in X] for c in centers])
        assert np.array_equal(kmeans.closest_distances(X, centers, None), expected), name
        own = expected[labels, np.arange(20)]
        assert np.array_equal(kmeans.squared_distances(X, centers, labels), own), name
        assert np.array_equal(kmeans.squared_distances(X, centers[:1], None), expected[0]), name
        assert np.array_equal(kmeans.transform(X, centers), np.sqrt(expected.T).astype(dtype)), name


def test_closest_keeps_the_lesser_distance() -> None:
    X = np.array([[0.0], [1.0], [5.0]])
    closest = np.array([0.5, 4.0, 1.0])
    got = kmeans.closest_distances(X, np.array([[1.0], [5.0]]), closest)
    assert got.tolist() == [[0.5, 0.0, 1.0], [0.5, 4.0, 0.0]]


def test_shift_is_the_sum_of_squared_moves() -> None:
    before = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)
    after = np.array([[3.0, 4.0], [1.0, 2.0]], np.float32)
    assert kmeans.center_shift(before, after) == 26.0
