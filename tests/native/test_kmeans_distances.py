"""Distances are direct differences in one defined order."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from harpy.kernels import kmeans
from tests.support.numerics.exact_reference import squared_norm
from tests.support.rows.hostile import DTYPES, hostile_data

ISAS = kmeans.instruction_sets()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 7, 8, 19])
def test_distances_follow_the_definition_to_the_last_bit(
    dtype: type, isa: str, d: int, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    for name, X in hostile_data(dtype, n=21, d=d).items():
        centers = X[3:8].astype(np.float64) + 0.1
        labels = (np.arange(21) % 5).astype(np.int32)
        expected = np.array(
            [[squared_norm(row - c) for row in X.astype(np.float64)] for c in centers]
        )
        own = expected[labels, np.arange(21)]
        assert np.array_equal(kmeans.squared_distances(X, centers, labels), own), name
        assert np.array_equal(kmeans.squared_distances(X, centers[:1], None), expected[0]), name
        assert np.array_equal(kmeans.transform(X, centers), np.sqrt(expected.T).astype(dtype)), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_centers_and_columns_gives_the_same_bits(
    dtype: type, use_isa: Callable[[str], None]
) -> None:
    rng = np.random.default_rng(3)
    for n_centers, d in [(1, 300), (2, 65), (3, 9), (5, 513), (6, 31), (7, 4), (9, 16), (33, 24)]:
        X = rng.normal(size=(67, d)).astype(dtype)
        centers = rng.normal(size=(n_centers, d)).astype(dtype)
        one_by_one = np.stack(
            [kmeans.squared_distances(X, centers[c : c + 1], None) for c in range(n_centers)],
            axis=1,
        )
        for isa in ISAS:
            use_isa(isa)
            got = kmeans.transform(X, centers, 2)
            assert np.array_equal(got, np.sqrt(one_by_one).astype(dtype)), (isa, n_centers, d)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_streamed_sum_is_that_of_the_distances(
    dtype: type, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(4)
    for name, X in hostile_data(dtype, n=1300).items():
        centers = np.ascontiguousarray(X[::100])
        labels = rng.integers(0, len(centers), len(X)).astype(np.int32)
        distances = kmeans.squared_distances(X, centers, labels)
        for n_thread in (1, 3):
            total = kmeans.squared_distance_sum(X, centers, labels, n_thread=n_thread)
            assert kmeans.exact_value(total) == math.fsum(distances), name
            for weight_dtype in DTYPES:
                weights = rng.exponential(size=len(X)).astype(weight_dtype)
                total = kmeans.squared_distance_sum(X, centers, labels, weights, n_thread)
                assert kmeans.exact_value(total) == math.fsum(weights * distances), name
