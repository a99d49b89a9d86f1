"""The exact accumulator is math.fsum."""

from __future__ import annotations

import math
from collections.abc import Callable

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


@pytest.mark.parametrize("isa", kmeans.instruction_sets())
@pytest.mark.parametrize("exponent", [-1074, -1030, -984, -983, -400, 0, 900, 1014, 1015])
def test_blocks_of_any_range_are_exact(
    exponent: int, isa: str, use_isa: Callable[[str], None]
) -> None:
    use_isa(isa)
    rng = np.random.default_rng(exponent + 2000)
    for binades in (1, 38, 39, 40, 60):  # two words reach 39 below the largest
        values = np.ldexp(rng.uniform(1, 2, 1003), exponent - rng.integers(0, binades, 1003))
        values[5] = np.ldexp(1.999999999999, exponent)
        values[::2] *= -1
        assert total(values) == math.fsum(values), binades
        if exponent < 1000:  # all of one sign would overflow there
            values = np.abs(values)
            assert total(values) == math.fsum(values), binades


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
