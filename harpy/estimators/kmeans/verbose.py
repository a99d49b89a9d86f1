"""The words of scikit-learn's `verbose` for the runs of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def course_lines(courses: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One line an event of each run, in scikit-learn's words, from what
    `harpy.jobs.kmeans.trace.Course` holds; iterations count from 0, as there."""
    for course in courses:
        yield "Initialization complete"
        last = len(course["inertias"]) - 1
        for i, inertia in enumerate(course["inertias"]):
            yield f"Iteration {i}, inertia {inertia}."
        if course["strictly_converged"]:
            yield f"Converged at iteration {last}: strict convergence."
        elif course["shift"] <= course["tolerance"]:
            yield (
                f"Converged at iteration {last}: center shift {course['shift']} within "
                f"tolerance {course['tolerance']}."
            )
