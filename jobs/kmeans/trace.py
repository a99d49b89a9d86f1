"""The course of a run of Lloyd's iteration: when it has converged, and what is reported meanwhile.

Owns the tolerance, the course that `verbose` tells and the progress; moves no center.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harpy.jobs.kmeans.parameters import Parameters
from harpy.jobs.kmeans.shard import Shard
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import Totals


@dataclass
class Course:
    """What scikit-learn's `verbose` says of a run.

    Attributes
    ----------
    inertias : list of float
        Of each iteration's assignment, about the centers it started from; empty unless asked for.
    shift, tolerance : float
        The centers' squared shift in the last iteration, and up to which they count as at rest.
    strictly_converged : bool
        Whether the last iteration changed no label.
    """

    inertias: list[float] = field(default_factory=list)
    shift: float = 0.0
    tolerance: float = 0.0
    strictly_converged: bool = False


class Trace:
    """The course of the runs of one fit, one after the other.

    Parameters
    ----------
    shard : Shard
        Of the rows that are clustered.
    params : Parameters
        Of the fit: `tol`, `verbose`, and the numbers of runs and iterations.
    watched : bool
        Whether progress may be shown, which costs each fit a pass over the rows.

    Attributes
    ----------
    course : Course
        Of the run that goes on.
    converged : bool
        Whether its last iteration changed no label, or the centers rest.
    """

    def __init__(self, shard: Shard, params: Parameters, watched: bool) -> None:
        self._shard, self._params, self._watched = shard, params, watched
        self._spread: Spread | None = None
        # The tolerance is less than this.
        self._max_tolerance = params.tol * largest_variance(shard) if params.tol else 0.0
        self._run = 0
        self.course = Course()
        self.converged = False

    def begin(self, run: int, course: Course) -> None:
        """Follow the run of this number, which goes on from such a course."""
        self._run, self.course, self.converged = run, course, False

    def note_assignment(self, centers: np.ndarray, labels: np.ndarray) -> None:
        """Where `verbose` asks for it, measure the inertia of a step's assignment.

        Parameters
        ----------
        centers : IN, ndarray of shape (n_clusters, n_columns)
            The rows were assigned to.
        labels : IN, ndarray of shape (my rows,), int32
        """
        if self._params.verbose:
            self.course.inertias.append(self._shard.inertia(centers, labels))

    def note_iteration(
        self, n_iter: int, totals: Totals, centers: np.ndarray, shift: float
    ) -> None:
        """Compare the shift with the tolerance, and report progress.

        Parameters
        ----------
        n_iter : int
            Iterations so far.
        totals : Totals
            Of all workers' rows.
        centers : IN, ndarray of shape (n_clusters, n_columns)
            Where they have gone.
        shift : float
            Sum of their squared moves.
        """
        course = self.course
        # The rows are not read for it while the centers move farther than any tolerance.
        if self._spread is None and (self._watched or 0 < shift <= self._max_tolerance):
            self._spread = Spread.measure(self._shard, totals)
        tolerance = self._params.tol * self._spread.mean_variance if self._spread else 0.0
        n_changed = totals.n_changed
        course.shift, course.tolerance, course.strictly_converged = shift, tolerance, n_changed == 0
        self.converged = n_changed == 0 or shift <= tolerance
        if self._watched and self._spread:
            params = self._params
            self._shard.progress(
                (self._run + n_iter / params.max_iter) / params.n_init,
                iteration=n_iter,
                inertia=self._spread.estimate_inertia(centers, totals),
                changed=n_changed,
            )


@dataclass(frozen=True)
class Spread:
    """How all rows lie about their mean.

    Attributes
    ----------
    mean : ndarray of shape (n_columns,), float64
        Weighted.
    scatter : float
        Sum of the squared distances of the rows to their mean, weighted.
    mean_variance : float
        Mean of the columns' variances, not weighted: the unit of scikit-learn's `tol`.
    """

    mean: np.ndarray
    scatter: float
    mean_variance: float

    @classmethod
    def measure(cls, shard: Shard, totals: Totals) -> Spread:
        """From the totals of any clustering of all rows, in a pass over them; two where they have
        weights."""
        mean = totals.mean()
        scatter = unweighted = _scatter_about(shard, mean, shard.weights)
        if shard.weights is not None:
            rows = Totals.zeros(1, shard.exponents, weighted=False)
            rows.limbs[:], rows.counts[:] = shard.backend.accumulate(
                shard.X, None, 1, shard.exponents, shard.n_thread
            )
            rows.message = shard.add_up(rows.message)
            unweighted = _scatter_about(shard, rows.mean(), None)
        return cls(mean, scatter, unweighted / (shard.n_rows * shard.X.shape[1]))

    def estimate_inertia(self, centers: np.ndarray, totals: Totals) -> float:
        """Inertia about centers that are the means of their clusters: no pass over the rows, but
        rounded."""
        distances = kernels.squared_distances(centers, self.mean[np.newaxis], None)
        between = totals.weights @ distances
        return max(self.scatter - float(between), 0.0)


def _scatter_about(shard: Shard, mean: np.ndarray, weights: np.ndarray | None) -> float:
    limbs = shard.backend.squared_distance_sum(
        shard.X, mean[np.newaxis], None, weights, shard.n_thread
    )
    return kernels.exact_value(shard.add_up(limbs))


def largest_variance(shard: Shard) -> float:
    """What the columns' mean variance is less than, by their magnitudes alone."""
    squares = np.ldexp(8.0, 2 * shard.exponents)
    return float(np.add.reduce(squares)) / len(squares)  # sooner than its method `sum`
