"""K-means numerics of one worker: the same bits for every number of threads and instruction set.

docs/numerics.md defines them; what happens between workers is jobs/kmeans.py.
"""

from harpy.kernels.kmeans._kmeans import (
    SCALAR_LIMBS,
    SUM_LIMBS,
    Lloyd,
    Potentials,
    accumulate,
    assign,
    assign_unseen,
    center_offset,
    centers_from_sums,
    column_exponents,
    column_means,
    column_ranges,
    exact_sum,
    instruction_set,
    instruction_sets,
    next_centers,
    screen,
    squared_distance_sum,
    squared_distances,
    transform,
    weighted_ranges,
)
from harpy.kernels.kmeans.exact import (
    LARGEST_INERTIA,
    exact_value,
    int_to_limbs,
    limbs_to_int,
    overflowing_column,
    worthwhile_threads,
)
from harpy.kernels.kmeans.running_sums import RunningSums

__all__ = [
    "LARGEST_INERTIA",
    "SCALAR_LIMBS",
    "SUM_LIMBS",
    "Lloyd",
    "Potentials",
    "RunningSums",
    "accumulate",
    "assign",
    "assign_unseen",
    "center_offset",
    "centers_from_sums",
    "column_exponents",
    "column_means",
    "column_ranges",
    "exact_sum",
    "exact_value",
    "instruction_set",
    "instruction_sets",
    "int_to_limbs",
    "limbs_to_int",
    "next_centers",
    "overflowing_column",
    "screen",
    "squared_distance_sum",
    "squared_distances",
    "transform",
    "weighted_ranges",
    "worthwhile_threads",
]
