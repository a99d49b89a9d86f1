"""Exact sums of each cluster's rows, and what follows from them: weights, centers, means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harpy.kernels import kmeans as kernels


@dataclass
class ClusterSums:
    """The rows of all workers, cluster by cluster.

    Attributes
    ----------
    limbs : ndarray of shape (n_clusters, n_columns, 3), int64
        Exact sums of the rows; where rows have weights (n_clusters, n_columns + 1, 3): of the
        weighted rows, and of the weights.
    counts : ndarray of shape (n_clusters,), int64
        Rows, whatever they weigh.
    exponents : ndarray of shape (n_columns,) or (n_columns + 1,), int32
        Of the largest magnitude of what is summed in each column.
    weighted : bool
    """

    limbs: np.ndarray
    counts: np.ndarray
    exponents: np.ndarray
    weighted: bool

    @classmethod
    def from_message(
        cls, message: np.ndarray, exponents: np.ndarray, weighted: bool
    ) -> ClusterSums:
        """Views of what `Lloyd.step` returns, or of the total of several."""
        n_clusters = (len(message) - 1) // (1 + len(exponents) * kernels.SUM_LIMBS)
        counts, limbs = message[1 : 1 + n_clusters], message[1 + n_clusters :]
        shape = (n_clusters, len(exponents), kernels.SUM_LIMBS)
        return cls(limbs.reshape(shape), counts, exponents, weighted)

    @property
    def weights(self) -> np.ndarray:
        """Total weight of each cluster (n_clusters,), rounded once; counts where rows have none."""
        if not self.weighted:
            return self.counts
        return rounded(self.limbs[:, -1:], self.exponents[-1:])

    def mean(self) -> np.ndarray:
        """Mean of all rows (n_columns,), float64, weighted where they have weights."""
        if not self.weighted:
            return kernels.column_means(self.limbs, self.counts, self.exponents)
        by_one = np.zeros_like(self.counts)
        by_one[0] = 1
        totals = kernels.column_means(self.limbs, by_one, self.exponents)
        return totals[:-1] / totals[-1]

    def move(self, row: np.ndarray, old: int, new: int) -> None:
        """Take a row, of which `row` holds the limbs, out of one cluster's sums into another's."""
        self.limbs[old] -= row
        self.limbs[new] += row
        self.counts[old] -= 1
        self.counts[new] += 1


def rounded(limbs: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Sums of one column (n_clusters, 1, 3), each rounded once: (n_clusters,), float64."""
    by_one = np.ones(len(limbs))
    column = np.ascontiguousarray(limbs)
    return kernels.centers_from_sums(column, by_one, exponents, np.float64)[:, 0]


def sums_of(
    native: Any,
    X: Any,
    labels: np.ndarray | None,
    n_clusters: int,
    exponents: np.ndarray,
    weights: np.ndarray | None = None,
    n_thread: int = 1,
) -> ClusterSums:
    """Sums of this worker's rows only; `native` are the kernels that read X."""
    limbs, counts = native.accumulate(X, labels, n_clusters, exponents, n_thread, weights)
    return ClusterSums(limbs, counts, exponents, weights is not None)
