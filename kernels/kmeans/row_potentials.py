"""Greedy k-means++ over rows that are not one dense array: what sparse.py and blocked.py share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harpy.kernels.kmeans.running_sums import RunningSums, to_units

_ALL = slice(None)


class RowPotentials(ABC):
    """One worker's squared distances to the closest center so far; kernels.Potentials documents the
    interface.

    Parameters
    ----------
    X : rows in the form of a subclass
    centers : ndarray of shape (n_clusters, n_columns)
        Of which the first is there; `keep` fills in the others.
    weights : ndarray of shape (n_rows,), float64, or None
    distances : ndarray of shape (n_rows,), float64
        To the first center.
    """

    def __init__(
        self,
        X: Any,
        centers: NDArray[Any],
        weights: NDArray[np.float64] | None,
        distances: NDArray[np.float64],
        n_thread: int,
    ) -> None:
        self._X, self._centers, self._n_centers = X, centers, 1
        self._weights, self._n_thread = weights, n_thread
        self._distances = distances
        self._exponent = 0
        self._running = RunningSums(self._weighted(distances))

    @abstractmethod
    def gains(self, candidates: NDArray[Any]) -> NDArray[np.int64]:
        """As `PotentialsState.gains`."""

    @abstractmethod
    def _distances_with(self, candidates: NDArray[Any], index: int) -> NDArray[np.float64]:
        """To the closest center (n_rows,), one of the candidates of the last `gains` included."""

    def keep(self, candidates: NDArray[Any], index: int) -> None:
        """As `PotentialsState.keep`."""
        self._centers[self._n_centers] = candidates[index]
        self._n_centers += 1
        self._distances = self._distances_with(candidates, index)
        self._running = RunningSums(self._weighted(self._distances))
        self._running.quantise(self._exponent)

    @property
    def summary(self) -> NDArray[np.int64]:
        """As `PotentialsState.summary`."""
        return self._running.summary

    def largest(self) -> float:
        """As `PotentialsState.largest`."""
        return self._running.largest()

    def quantise(self, exponent: int) -> None:
        """As `PotentialsState.quantise`."""
        self._exponent = exponent
        self._running.quantise(exponent)

    def find(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """As `PotentialsState.find`."""
        return self._running.find(targets)

    def _weighted(self, distances: NDArray[np.float64], rows: slice = _ALL) -> NDArray[np.float64]:
        return distances if self._weights is None else self._weights[rows] * distances

    def _fallen(self, distances: NDArray[np.float64], rows: slice = _ALL) -> NDArray[np.int64]:
        """By how many units each of these rows' potentials falls with such distances."""
        return self._running.units[rows] - to_units(self._weighted(distances, rows), self._exponent)
