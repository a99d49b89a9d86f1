"""The checkpoints of k-means. They hold numbers that are the same on all workers; labels, which
follow from the centers, are assigned again when a run goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.jobs.kmeans.shard import Shard
from harpy.jobs.kmeans.trace import Course

if TYPE_CHECKING:
    from harpy.program.context import Context


@dataclass(frozen=True)
class Clustering:
    """One run's result.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_columns)
    labels : ndarray of shape (my rows,), int32
        Of this worker's rows; all else is the same on every worker.
    inertia : float
    n_iter : int
        Iterations it took.
    course : Course
    """

    centers: np.ndarray
    labels: np.ndarray
    inertia: float
    n_iter: int
    course: Course


@dataclass
class Position:
    """Where a run of Lloyd's iteration is: after `n_iter` iterations.

    Attributes
    ----------
    centers, previous : ndarray of shape (n_clusters, n_columns)
        After the last iteration and before it; `previous` is None before the first.
    """

    centers: np.ndarray
    previous: np.ndarray | None = None
    n_iter: int = 0
    course: Course = field(default_factory=Course)


class Journal:
    """What a checkpoint says of the runs of `n_init`.

    Parameters
    ----------
    ctx : Context
        Has the checkpoint.
    shard : Shard
        Of the rows that are clustered.
    random : RandomState or None
        The generator of the draws; its state is restored.

    Attributes
    ----------
    n_ended : int
        Runs that have ended.
    best : Clustering or None
        Of these.
    courses : list of dict
        Theirs, as `Course` has them.
    """

    def __init__(self, ctx: Context, shard: Shard, random: np.random.RandomState | None) -> None:
        self._checkpoint, self._random = ctx.checkpoint, random
        self._state: dict[str, Any] = {"best": None}
        self._start: Position | None = None
        self.n_ended = 0
        self.best: Clustering | None = None
        self.courses: list[dict[str, Any]] = []
        state = self._checkpoint.load()
        if state is not None:
            self._restore(state, shard)

    def _restore(self, state: dict[str, Any], shard: Shard) -> None:
        self._state = state
        self.n_ended, self.courses = state["n_ended"], state["courses"]
        if self._random is not None:
            self._random.set_state(state["random_state"])
        if state["position"] is not None:
            self._start = Position(**_with_course(state["position"]))
        if state["best"] is not None:
            best = _with_course(state["best"])
            self.best = Clustering(**best, labels=_labels(shard, best["centers"]))

    def start(self) -> Position | None:
        """Where the first run that has not ended goes on, if it had begun; None when called
        again."""
        start, self._start = self._start, None
        return start

    def note(self, centers: np.ndarray, previous: np.ndarray, n_iter: int, course: Course) -> None:
        """One iteration more: as the attributes of `Position`."""
        if self._checkpoint.kept:
            position = Position(centers, previous, n_iter, course)
            self._save(vars(position) | {"course": vars(course)})

    def end_run(self, found: Clustering, best: Clustering) -> None:
        """One run more has ended, and the best so far is this."""
        self.n_ended += 1
        self.courses.append(vars(found.course))
        self._state["best"] = {
            "centers": best.centers,
            "inertia": best.inertia,
            "n_iter": best.n_iter,
            "course": vars(best.course),
        }
        if self._checkpoint.kept:
            self._save(None)

    def _save(self, position: dict[str, Any] | None) -> None:
        if position is None or "random_state" not in self._state or position["n_iter"] == 1:
            drawn = self._random  # it stays as it is from one seeding to the next
            self._state["random_state"] = drawn.get_state(legacy=False) if drawn else None
        self._state |= {"n_ended": self.n_ended, "courses": self.courses, "position": position}
        self._checkpoint.save(self._state)


def _with_course(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "course": Course(**values["course"])}


def _labels(shard: Shard, centers: np.ndarray) -> np.ndarray:
    """The label of each of my rows: ndarray (my rows,) of int32."""
    state = shard.lloyd(len(centers))
    state.label(np.ascontiguousarray(centers))
    return state.labels
