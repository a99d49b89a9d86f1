"""`Backend`: what programs ask of the kernels, whatever form their rows have. Each form's module is
one: `_kmeans` (dense), `sparse`, `blocked` (dense, block by block).
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from harpy.kernels.kmeans import _kmeans, blocked, sparse
from harpy.kernels.kmeans.blocked import BlockedRows
from harpy.kernels.kmeans.row_forms import LoadedRows, NativeRows
from harpy.kernels.kmeans.sparse import CsrMatrix

Rows = TypeVar("Rows", contravariant=True)


class Backend(Protocol[Rows]):
    """The kernels for rows X of one form: (n_rows, n_columns), float32 or float64.

    Bits, of every function: the same for every number of threads, every instruction set and every
    way of cutting the rows into shards or blocks. docs/numerics.md defines them. Dense rows in
    memory and block by block give the same labels; those of sparse rows are the labels of the same
    rows written out, scored with an offset of 0.

    Centers are ndarrays (n_clusters, n_columns), C-contiguous, of X's dtype, unless said otherwise.
    Arguments are IN: read, not kept, unless said otherwise. `n_thread` is how many threads to use.

    Raises
    ------
    ValueError
        Shapes or dtypes do not fit, or `n_thread` is below 1.
    MemoryError
        There is no room for the result.
    ConfigError
        HARPY_ISA names an instruction set that is not there.
    """

    def column_ranges(
        self, X: Rows, n_thread: int = 1
    ) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
        """How large the values are, and whether all are finite.

        Returns
        -------
        absmax : ndarray of shape (n_columns,), float64
            Largest finite magnitude of each column.
        bad : (int, int) or None
            Row and column of the first value, in row order, that is not finite.
        """

    def weighted_ranges(
        self, X: Rows, weights: NDArray[Any], n_thread: int = 1
    ) -> NDArray[np.float64]:
        """How large weighted rows are.

        Parameters
        ----------
        weights : ndarray of shape (n_rows,), X's dtype
            Finite and not negative, as the values are finite.

        Returns
        -------
        ndarray of shape (n_columns + 1,), float64
            Largest magnitude of each column of the rows times their weights; last, of the weights.
        """

    def center_offset(self, centers: NDArray[Any], n_thread: int = 1) -> NDArray[Any]:
        """What is subtracted from rows and centers before they are scored.

        Returns
        -------
        ndarray of shape (n_columns,), dtype of the centers
            It follows from the centers alone.
        """

    def assign(
        self,
        X: Rows,
        centers: NDArray[Any],
        offset: NDArray[Any],
        labels: NDArray[np.int32],
        n_thread: int = 1,
    ) -> int:
        """Find the nearest center of each row: the lowest score; of equal ones the first center.

        Parameters
        ----------
        offset : ndarray of shape (n_columns,)
            `center_offset` of the centers.
        labels : OUT, ndarray of shape (n_rows,), int32
            Overwritten with the indices of the centers.

        Returns
        -------
        int
            Labels that changed.
        """

    def assign_unseen(
        self,
        X: Rows,
        centers: NDArray[Any],
        offset: NDArray[Any],
        labels: NDArray[np.int32],
        n_thread: int = 1,
    ) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
        """`assign` for rows whose values nobody has checked.

        Returns
        -------
        absmax, bad
            As of `column_ranges`. The labels mean something where all values are finite and
            `overflowing_column` finds none to blame; they are in range in any case.
        """

    def accumulate(
        self,
        X: Rows,
        labels: NDArray[np.int32] | None,
        n_clusters: int,
        exponents: NDArray[np.int32],
        n_thread: int = 1,
        weights: NDArray[Any] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sum the rows of each label, exactly.

        Parameters
        ----------
        labels : ndarray of shape (n_rows,), int32, or None
            None: all rows belong to cluster 0.
        exponents : ndarray of shape (n_sums,), int32
            As of `Totals`; at least those of these rows.
        weights : ndarray of shape (n_rows,), X's dtype, or None

        Returns
        -------
        limbs : ndarray of shape (n_clusters, n_sums, 3), int64
            Several of these add up elementwise; as integers they are the exact sums, whatever the
            limbs.
        counts : ndarray of shape (n_clusters,), int64
        """

    def squared_distances(
        self,
        X: Rows,
        centers: NDArray[Any],
        labels: NDArray[np.int32] | None,
        n_thread: int = 1,
    ) -> NDArray[np.float64]:
        """How far rows are from their centers.

        Parameters
        ----------
        centers : ndarray of shape (n_clusters, n_columns), float32 or float64
        labels : ndarray of shape (n_rows,), int32, or None
            None: all rows belong to the only center.

        Returns
        -------
        ndarray of shape (n_rows,), float64
            Squares of the distances, in the order of operations that docs/numerics.md defines.
        """

    def squared_distance_sum(
        self,
        X: Rows,
        centers: NDArray[Any],
        labels: NDArray[np.int32] | None,
        weights: NDArray[Any] | None = None,
        n_thread: int = 1,
    ) -> NDArray[np.int64]:
        """The exact sum of `squared_distances`, each times its row's weight, rounded once.

        Returns
        -------
        ndarray of shape (68,), int64
            Limbs: several of these add up elementwise; `exact_value` rounds the sum.
        """

    def Lloyd(  # noqa: N802  # a class, or what makes one
        self,
        X: Rows,
        n_clusters: int,
        exponents: NDArray[np.int32],
        n_thread: int = 1,
        weights: NDArray[Any] | None = None,
    ) -> LloydState:
        """Begin a run of Lloyd's iteration.

        Parameters
        ----------
        X : kept
        exponents : ndarray of shape (n_sums,), int32, kept
            Of the largest magnitudes over all workers' rows: of `column_ranges`, or of
            `weighted_ranges` where rows have weights.
        weights : ndarray of shape (n_rows,), X's dtype, or None, kept
        """

    def Potentials(  # noqa: N802
        self,
        X: Rows,
        centers: NDArray[Any],
        weights: NDArray[np.float64] | None = None,
        n_thread: int = 1,
    ) -> PotentialsState:
        """Begin a seeding by greedy k-means++.

        Parameters
        ----------
        X : kept
        centers : IN and OUT, ndarray of shape (n_clusters, n_columns), kept
            The first row is the first center; `keep` fills in the others.
        weights : ndarray of shape (n_rows,), float64, or None, kept
        """


class InMemoryBackend(Backend[Rows], Protocol[Rows]):
    """A backend of rows in memory: what a driver asks besides."""

    def transform(self, X: Rows, centers: NDArray[Any], n_thread: int = 1) -> NDArray[Any]:
        """Euclidean distances.

        Returns
        -------
        ndarray of shape (n_rows, n_clusters), X's dtype
            Each rounded once.
        """


class LloydState(Protocol):
    """What a run of Lloyd's iteration keeps of its rows from step to step: their labels, and what
    spares it to compare each row with each center again."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Nearest center of each row (n_rows,) as of the last call, -1 before the first: the same
        array all the time, to be read."""

    def step(self, centers: NDArray[Any]) -> NDArray[np.int64]:
        """Assign the rows to their nearest centers and sum the rows of each.

        Parameters
        ----------
        centers : ndarray of shape (n_clusters, n_columns), kept until the next call
            Not to be changed.

        Returns
        -------
        ndarray of int64
            The message that `Totals` explains: the state's own, to be read until the next step.
            Labels, counts and sums (as integers) are those of a comparison with all centers.
        """

    def label(self, centers: NDArray[Any]) -> int:
        """Only assign the rows; no step may follow. Returns how many labels changed."""


class RunningTotals(Protocol):
    """Values of rows that rows are drawn by, as integers in units of 2^(exponent - 61), truncated:
    their running sums are exact, so that a draw does not depend on how rows are sharded."""

    @property
    def summary(self) -> NDArray[np.int64]:
        """(4,): limbs of the sum of all values; how many values are at least 2^exponent."""

    def largest(self) -> float:
        """The largest value; 0 without rows."""

    def quantise(self, exponent: int) -> None:
        """Choose the units, by the largest value of all workers."""

    def find(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find the rows at which the running sum reaches given values.

        Parameters
        ----------
        targets : ndarray of shape (n, 3), int64
            Limbs, ascending.

        Returns
        -------
        ndarray of shape (n,), int64
            The first row whose running sum is not below the target; the number of rows where there
            is none.
        """


class PotentialsState(RunningTotals, Protocol):
    """A seeding by greedy k-means++: the values are potentials, the squared distance of each row to
    the closest center so far, times its weight."""

    def gains(self, candidates: NDArray[Any]) -> NDArray[np.int64]:
        """How much the sum of all potentials would fall with each of up to 24 candidates.

        Parameters
        ----------
        candidates : ndarray of shape (n_candidates, n_columns), X's dtype

        Returns
        -------
        ndarray of shape (n_candidates, 3), int64
            Limbs, which add up over workers.
        """

    def keep(self, candidates: NDArray[Any], index: int) -> None:
        """Make one of the candidates, those of the last `gains`, the next center."""


_DENSE: InMemoryBackend[NDArray[Any]] = _kmeans
_SPARSE: InMemoryBackend[CsrMatrix] = sparse
_BLOCKED: Backend[BlockedRows] = blocked


@overload
def backend_for(X: LoadedRows) -> InMemoryBackend[Any]: ...
@overload
def backend_for(X: NativeRows) -> Backend[Any]: ...
def backend_for(X: NativeRows) -> Backend[Any]:
    """The kernels that read rows of X's form."""
    if isinstance(X, np.ndarray):
        return _DENSE
    return _SPARSE if isinstance(X, CsrMatrix) else _BLOCKED
