# Names, shapes and dtypes of the native k-means kernels. Matrices are C-contiguous; X, centers and
# offset share one dtype, float32 or float64. docs/numerics.md defines every number.
# Raises, everywhere: ValueError for shapes, dtypes or n_thread < 1; MemoryError; OverflowError
# where clusters times columns do not fit; ConfigError when HARPY_ISA names what is not there.

from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

_F = TypeVar("_F", np.float32, np.float64)

SUM_LIMBS: int  # int64 limbs of one exact sum: 48, 48 and 32 bits
SCALAR_LIMBS: int  # int64 limbs of one exact scalar: 32 bits each, in units of 2^-1074

def instruction_sets() -> tuple[str, ...]:
    """Instruction sets of this processor, the best first; always ends with "scalar"."""

def instruction_set() -> str:
    """The one in use: HARPY_ISA, or the best."""

def column_ranges(
    X: NDArray[_F], n_thread: int = 1
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    """Largest finite magnitude of each column, and (row, column) of the first value, in row order,
    that is not finite."""

def weighted_ranges(X: NDArray[_F], weights: NDArray[_F], n_thread: int = 1) -> NDArray[np.float64]:
    """Largest magnitude (n_columns + 1,) of each column of the rows times their weights, the last
    one that of the weights. All values are finite."""

def column_exponents(absmax: NDArray[np.float64]) -> NDArray[np.int32]:
    """Exponent e of each column's largest magnitude, 2^e <= absmax < 2^(e+1); 0 where it is 0."""

def assign(
    X: NDArray[_F],
    centers: NDArray[_F],
    offset: NDArray[_F],
    labels: NDArray[np.int32],
    n_thread: int = 1,
) -> int:
    """Overwrite `labels` with the nearest center of each row; return how many changed.

    HARPY_BOUNDS=off compares all centers with all rows, as for `Lloyd`.
    """

def assign_unseen(
    X: NDArray[_F],
    centers: NDArray[_F],
    offset: NDArray[_F],
    labels: NDArray[np.int32],
    n_thread: int = 1,
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    """`assign` for rows whose values nobody has checked; return what `column_ranges` does.

    All labels are in range; they mean something where all values are finite and within the range
    that `overflowing_column` tells.
    """

class Lloyd:
    """One run of Lloyd's iteration over rows X (n_rows, n_columns), C-contiguous: what is known of
    the rows from call to call, so that rows whose center cannot have changed are not read again.

    Labels and sums are those of searching all centers for all rows. HARPY_BOUNDS=off does just
    that; HARPY_BOUNDS=<bytes a row> (default 20) bounds the memory for knowing better.
    """

    labels: NDArray[np.int32]
    """Nearest center of each row (n_rows,) as of the last call, -1 before the first."""

    def __init__(
        self,
        X: NDArray[_F],
        n_clusters: int,
        exponents: NDArray[np.int32],
        n_thread: int = 1,
        weights: NDArray[_F] | None = None,
    ) -> None:
        """`exponents` must cover every row's magnitude; with `weights` (n_rows,), finite and not
        negative, those of `weighted_ranges`."""

    def step(self, centers: NDArray[_F]) -> NDArray[np.int64]:
        """Assign all rows. Returns one message that adds up between workers, the same array in
        every call.

        [0] is the number of labels that changed, [1 : 1 + n_clusters] the counts and the rest the
        exact sums of each cluster's rows as limbs (n_clusters, n_columns, 3). With weights these
        are (n_clusters, n_columns + 1, 3): of the weighted rows, and of the weights.
        """

    def label(self, centers: NDArray[_F]) -> int:
        """Assign all rows without sums, as the last call; return how many changed."""

def accumulate(
    X: NDArray[_F],
    labels: NDArray[np.int32] | None,
    n_clusters: int,
    exponents: NDArray[np.int32],
    n_thread: int = 1,
    weights: NDArray[_F] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Exact sums (n_clusters, n_columns, 3) and counts of given labels; None: all rows are 0. With
    weights the sums are those of `Lloyd.step`."""

def centers_from_sums(
    limbs: NDArray[np.int64],
    weights: NDArray[np.int64] | NDArray[np.float64],
    exponents: NDArray[np.int32],
    dtype: DTypeLike,
    n_thread: int = 1,
) -> NDArray:
    """Sums divided by their clusters' weights, or counts (n_clusters,): means (n_clusters,
    n_columns). A cluster without weight gets the first heaviest one's center."""

def next_centers(
    message: NDArray[np.int64],
    centers: NDArray[_F],
    exponents: NDArray[np.int32],
    n_thread: int = 1,
) -> tuple[NDArray[_F], float, int]:
    """Where the centers go by what `Lloyd.step` gave, or a total of it, with the exponents it was
    given; the sum of their squared moves; and how many clusters have no weight."""

def column_means(
    limbs: NDArray[np.int64], counts: NDArray[np.int64], exponents: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Mean of all rows (n_columns,) from the sums of any clustering of them."""

def screen(
    X: NDArray[_F], centers: NDArray[_F], offset: NDArray[_F]
) -> tuple[NDArray[np.int32], NDArray[_F], NDArray[_F]]:
    """What the integer prefilter is certain of, for tests: the nearest center of each row or
    -1, an upper bound on that center's score and a lower one on all others' (n,). Always -1 where
    the instruction set has no such search."""

def center_offset(centers: NDArray[_F], n_thread: int = 1) -> NDArray[_F]:
    """Median of the centers (n_columns,): what is subtracted before scoring."""

def squared_distances(
    X: NDArray[_F],
    centers: NDArray,
    labels: NDArray[np.int32] | None,
    n_thread: int = 1,
) -> NDArray[np.float64]:
    """Squared distance of each row to the center of its label (None: to the only center)."""

def squared_distance_sum(
    X: NDArray[_F],
    centers: NDArray,
    labels: NDArray[np.int32] | None,
    weights: NDArray[np.float32] | NDArray[np.float64] | None = None,
    n_thread: int = 1,
) -> NDArray[np.int64]:
    """Limbs (68,) of the exact sum of those distances, each times its row's weight rounded once."""

def transform(X: NDArray[_F], centers: NDArray, n_thread: int = 1) -> NDArray[_F]:
    """Euclidean distances (n_rows, n_centers)."""

def exact_sum(values: NDArray[np.float64], n_thread: int = 1) -> NDArray[np.int64]:
    """Limbs (68,) of the exact sum of finite values; `exact_value` rounds it."""

class Potentials:
    """Greedy k-means++ over one worker's rows: squared distances to the closest center so far.

    A potential (times its row's weight) counts as an integer in units of 2^(exponent - 61),
    truncated; sums are limbs. 13 bytes a row, and up to 32 MiB of distances to candidates.
    """

    def __init__(
        self,
        X: NDArray[_F],
        centers: NDArray[_F],
        weights: NDArray[np.float64] | None = None,
        n_thread: int = 1,
    ) -> None:
        """`centers` (n_clusters, n_columns) has its first row; `keep` fills in the others."""

    @property
    def summary(self) -> NDArray[np.int64]:
        """(4,): limbs of the sum of all potentials; how many are at least 2^exponent."""

    def largest(self) -> float:
        """The largest potential; 0 without rows."""

    def quantise(self, exponent: int) -> None:
        """Choose the units, by the largest potential of all workers."""

    def find(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each of the ascending targets (limbs) the first row whose running sum is not below
        it; the number of rows where there is none."""

    def gains(self, candidates: NDArray) -> NDArray[np.int64]:
        """Limbs (n_candidates, 3): how much the sum would fall with each of up to 24 candidates."""

    def keep(self, candidates: NDArray, index: int) -> None:
        """Make one of the candidates, those of the last `gains`, the next center."""

# Rows in compressed sparse row form: values and their pattern. sparse.py is the face to use; what
# these do is documented there and in sparse.h.

class CsrPattern:
    """Where the values of sparse rows are, checked: columns strictly ascending within each row."""

    shape: tuple[int, int]
    n_values: int
    def __init__(
        self, indices: NDArray[np.int32], indptr: NDArray[np.int64], n_columns: int
    ) -> None: ...

def sparse_column_ranges(
    values: NDArray[_F], pattern: CsrPattern, n_thread: int = 1
) -> tuple[NDArray[np.float64], tuple[int, int] | None]: ...
def sparse_assign(
    values: NDArray[_F],
    pattern: CsrPattern,
    centers: NDArray[_F],
    labels: NDArray[np.int32],
    scores: NDArray[_F] | None,
    moved: NDArray[np.uint8] | None,
    n_thread: int = 1,
) -> int:
    """With `moved` only what centers that moved since the last call can change is computed;
    `labels` and `scores` hold the last call's results, and get the new ones."""

def moved_rows(before: NDArray[_F], after: NDArray[_F]) -> NDArray[np.uint8]:
    """1 where a row is not bitwise the same."""

def sparse_move(
    values: NDArray[_F],
    pattern: CsrPattern,
    before: NDArray[np.int32],
    after: NDArray[np.int32],
    exponents: NDArray[np.int32],
    limbs: NDArray[np.int64],
    counts: NDArray[np.int64],
    n_thread: int = 1,
) -> None:
    """Take rows whose label changed out of the sums of the one before (-1: none), add them to the
    other's."""

def sparse_squared_distances(
    values: NDArray[_F],
    pattern: CsrPattern,
    centers: NDArray[np.floating],
    labels: NDArray[np.int32] | None,
    n_thread: int = 1,
) -> NDArray[np.float64]: ...
def sparse_closest_distances(
    values: NDArray[_F],
    pattern: CsrPattern,
    candidates: NDArray[np.floating],
    closest: NDArray[np.float64] | None,
    n_thread: int = 1,
) -> NDArray[np.float64]: ...
def sparse_transform(
    values: NDArray[_F], pattern: CsrPattern, centers: NDArray[np.floating], n_thread: int = 1
) -> NDArray[_F]: ...
