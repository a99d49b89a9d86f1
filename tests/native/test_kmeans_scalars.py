"""The exact accumulator is math.fsum, and prefix sums of potentials do not know of shards."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from harpy.kernels import kmeans


def total(values: np.ndarray, n_thread: int = 1) -> float:
    return kmeans.exact_value(kmeans.exact_sum(values, n_thread))


@pytest.mark.parametrize("seed", range(20))
def test_exact_sum_is_fsum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = [(-1074, 1000), (-20, 20), (-1074, -1000), (900, 1000)][seed % 4]
    values = rng.choice([-1.0, 1.0], 5000) * np.exp2(rng.uniform(low, high, 5000))
    expected = math.fsum(values)
    assert [total(values, n) for n in (1, 2, 3)] == [expected] * 3
    parts = [kmeans.exact_sum(part) for part in np.array_split(values, 7)]
    assert kmeans.exact_value(sum(parts)) == expected


@pytest.mark.parametrize(
    "values",
    [
        [],
        [0.0, -0.0],
        [5e-324],
        [5e-324, -5e-324],
        [1e308, 1e-308, -1e308],
        [1.0, 2.0**-53],  # a tie, to even
        [1.0, 2.0**-53, 2.0**-1074],  # just above the tie
        [1.0, -(2.0**-54)],
        [np.finfo(float).max, 1.0],
        [-1.0, 2.0**-1074],
    ],
)
def test_exact_sum_rounds_once(values: list[float]) -> None:
    assert total(np.array(values, dtype=np.float64)) == math.fsum(values)


def test_a_sum_beyond_the_range_is_infinite() -> None:
    largest = np.finfo(float).max
    assert total(np.array([largest, largest])) == math.inf
    assert total(np.array([-largest, -largest])) == -math.inf


def test_prefix_search_finds_the_first_row_that_reaches_the_target() -> None:
    potentials = np.array([0.0, 1.0, 0.0, 2.0, 0.5])
    exponent = 1
    unit = 2 ** (61 - exponent)
    targets = [1, unit, unit + 1, 3 * unit, 3 * unit + 1, int(3.5 * unit), int(3.5 * unit) + 1]
    found = kmeans.prefix_search(potentials, exponent, kmeans.int_to_limbs(targets))
    assert found.tolist() == [1, 1, 3, 3, 4, 4, 5]


@pytest.mark.parametrize("scale", [1e-320, 1e-150, 1.0, 1e280])
def test_potential_sums_of_shards_add_up(scale: float) -> None:
    rng = np.random.default_rng(7)
    potentials = rng.random((3, 9000)) * scale
    exponent = int(kmeans.column_exponents(potentials.max(keepdims=True)[0])[0])
    whole = [kmeans.limbs_to_int(row) for row in kmeans.potential_sums(potentials, exponent, 3)]
    running = []
    for a, b in itertools.pairwise([0, 1, 1, 4000, 9000]):
        part = np.ascontiguousarray(potentials[:, a:b])
        running.append([kmeans.limbs_to_int(row) for row in kmeans.potential_sums(part, exponent)])
    assert [sum(column) for column in zip(*running, strict=True)] == whole
    exact = math.fsum(potentials[0] / scale) * scale
    measured = whole[0] * 2.0 ** (max(exponent, -1022) - 61) if scale > 1e-300 else None
    if measured is not None:
        assert abs(measured - exact) <= 1e-12 * exact


def test_values_below_the_quantum_count_nothing() -> None:
    potentials = np.array([[1.0, 2.0**-62, 0.0]])
    assert kmeans.limbs_to_int(kmeans.potential_sums(potentials, 0)[0]) == 2**61
