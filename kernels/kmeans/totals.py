"""`Totals`, the message of a step of Lloyd's iteration: the one place in Python that knows where in
it what stands. The native `Lloyd.step` and `next_centers` write and read the same array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harpy.kernels.kmeans._kmeans import (
    SUM_LIMBS,
    centers_from_sums,
    column_means,
    next_centers,
)


class Totals:
    """What a step found out about rows: labels that changed, rows in each cluster, exact sums.

    All of it is one array of integers, so that one allreduce carries it, and the elementwise sum of
    the workers' arrays is, exactly, the message of all their rows:

    =================================== ============================================
    ``message[0]``                      rows whose label changed
    ``message[1 : 1 + n_clusters]``     rows in each cluster, whatever they weigh
    ``message[1 + n_clusters :]``       limbs of the sums, (n_clusters, n_sums, 3)
    =================================== ============================================

    ``n_sums`` is the number of columns; where rows have weights it is one more: the sums are those
    of the weighted rows, and the last that of the weights.

    Parameters
    ----------
    message : ndarray of int64
        As above. Not copied: what changes it changes the totals.
    exponents : ndarray of shape (n_sums,), int32
        Of the largest magnitude over all rows of what is summed: the quanta of the exact sums.
    weighted : bool
        Whether rows have weights.

    Attributes
    ----------
    message, exponents, weighted
        As given.
    """

    __slots__ = ("exponents", "message", "weighted")

    def __init__(
        self, message: NDArray[np.int64], exponents: NDArray[np.int32], weighted: bool
    ) -> None:
        self.message, self.exponents, self.weighted = message, exponents, weighted

    @classmethod
    def zeros(cls, n_clusters: int, exponents: NDArray[np.int32], weighted: bool) -> Totals:
        """Of no rows."""
        n_limbs = n_clusters * len(exponents) * SUM_LIMBS
        return cls(np.zeros(1 + n_clusters + n_limbs, np.int64), exponents, weighted)

    @property
    def n_changed(self) -> int:
        """Rows whose label the step changed."""
        return int(self.message[0])

    @n_changed.setter
    def n_changed(self, value: int) -> None:
        self.message[0] = value

    @property
    def n_clusters(self) -> int:
        """Clusters, with rows or without."""
        return (len(self.message) - 1) // (1 + len(self.exponents) * SUM_LIMBS)

    @property
    def counts(self) -> NDArray[np.int64]:
        """View (n_clusters,): rows in each cluster."""
        return self.message[1 : 1 + self.n_clusters]

    @property
    def limbs(self) -> NDArray[np.int64]:
        """View (n_clusters, n_sums, 3): the exact sums."""
        n_clusters = self.n_clusters
        return self.message[1 + n_clusters :].reshape(n_clusters, len(self.exponents), SUM_LIMBS)

    @property
    def weights(self) -> NDArray[Any]:
        """Total weight of each cluster (n_clusters,), float64, rounded once; the counts where rows
        have no weights."""
        if not self.weighted:
            return self.counts
        return rounded(self.limbs[:, -1:], self.exponents[-1:])

    def copy(self) -> Totals:
        """The same totals in an array of their own."""
        return Totals(self.message.copy(), self.exponents, self.weighted)

    def move(self, row: NDArray[np.int64], old: int, new: int) -> None:
        """Take a row out of one cluster and add it to another.

        Parameters
        ----------
        row : ndarray of shape (n_sums, 3), int64
            Limbs of what the row adds to its cluster's sums.
        old, new : int
            Clusters.
        """
        limbs, counts = self.limbs, self.counts
        limbs[old] -= row
        limbs[new] += row
        counts[old] -= 1
        counts[new] += 1

    def next_centers(
        self, centers: NDArray[Any], n_thread: int = 1
    ) -> tuple[NDArray[Any], float, int]:
        """The mean of each cluster's rows: where the centers go.

        Parameters
        ----------
        centers : IN, ndarray of shape (n_clusters, n_columns)
            Where they are.

        Returns
        -------
        centers : ndarray of shape (n_clusters, n_columns), of the same dtype
            A cluster without weight gets the center of the first heaviest one.
        shift : float
            Sum of the squared distances that they move.
        n_empty : int
            Clusters without weight.
        """
        return next_centers(self.message, centers, self.exponents, n_thread)

    def mean(self) -> NDArray[np.float64]:
        """Mean of all rows (n_columns,), weighted where they have weights."""
        if not self.weighted:
            return column_means(self.limbs, self.counts, self.exponents)
        by_one = np.zeros_like(self.counts)
        by_one[0] = 1
        totals = column_means(self.limbs, by_one, self.exponents)
        return totals[:-1] / totals[-1]


def rounded(limbs: NDArray[np.int64], exponents: NDArray[np.int32]) -> NDArray[np.float64]:
    """Exact sums of one column, each rounded once.

    Parameters
    ----------
    limbs : IN, ndarray of shape (n, 1, 3), int64
    exponents : IN, ndarray of shape (1,), int32

    Returns
    -------
    ndarray of shape (n,), float64
    """
    by_one = np.ones(len(limbs))
    column = np.ascontiguousarray(limbs)
    return centers_from_sums(column, by_one, exponents, np.float64)[:, 0]
