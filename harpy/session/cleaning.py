"""Removing what dead drivers left: job directories and the records of their jobs.

Nothing of a job is removed unless its cluster says that it has ended (job_states.py), or the user
says so with `force`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harpy.errors import HarpyError, JobStateUnknown, PathNotFound
from harpy.launch.base import JobState
from harpy.session import registry
from harpy.session.job_states import Clusters, Standing, directory_of, finished_runs
from harpy.session.registry import JobRecord


@dataclass(frozen=True)
class Removed:
    """A job of which nothing is left, and what was lost with it if its state was unknown."""

    job_id: str
    lost: str = ""


def clean(
    job_ids: Sequence[str] = (),
    *,
    older_than_s: float = 0.0,
    kept: bool = False,
    force: bool = False,
) -> Iterator[Removed]:
    """Remove what dead drivers left: job directories of jobs that have ended, and their records.

    A job that still runs is left alone, so is one whose driver lives, and one with keep=True
    unless `kept`. A job that cannot be removed does not keep others from removal: its error comes
    last.

    Parameters
    ----------
    job_ids : sequence of str
        Only these; none means all that were started from this machine.
    older_than_s : float
        Only what was created so many seconds ago.
    kept : bool
        Also what was to be kept; a job that is named need not be asked for twice.
    force : bool
        Also jobs whose state is unknown: the caller knows that they do not run.
        What cannot be removed any more, as its cluster is gone, is forgotten.

    Raises
    ------
    JobStateUnknown
        Some were left because their state is unknown.
    """
    records = [registry.find(i) for i in job_ids] if job_ids else list(registry.all_jobs())
    clusters = Clusters(records)
    problems: list[tuple[JobRecord, HarpyError]] = []
    for record in records:
        if time.time() - record.created < older_than_s or record.driver_alive():
            continue
        if record.keep and not (kept or job_ids):
            continue
        try:
            removed = _clean_one(clusters.look_up(record), force)
        except HarpyError as exc:
            problems.append((record, exc))
        else:
            if removed is not None:
                yield removed
    if problems:
        raise _left(problems)


def _clean_one(standing: Standing, force: bool) -> Removed | None:
    """Remove one job; None if it runs."""
    record, state = standing.record, standing.state
    if state in (JobState.SUBMITTED, JobState.RUNNING):
        return None
    if state is JobState.UNKNOWN and not force:
        raise JobStateUnknown(f"nobody can say whether it runs: {standing.why}")
    try:
        n_finished = finished_runs(record)
        remove_job(record)
    except HarpyError as exc:
        if not force:
            raise
        registry.forget(record.job_id)
        return Removed(record.job_id, f"its record; {record.job_url} may remain: {exc}")
    if state is not JobState.UNKNOWN:
        return Removed(record.job_id)
    runs = f"{n_finished} finished run" + ("" if n_finished == 1 else "s")
    return Removed(record.job_id, f"{record.job_url} with {runs} and all checkpoints")


def _left(problems: list[tuple[JobRecord, HarpyError]]) -> HarpyError:
    """One error for the jobs that were left; of a kind for machines if they are of one."""
    ids = " ".join(record.job_id for record, _ in problems)
    words = "".join(f"\n  {record.job_id}: {problem}" for record, problem in problems)
    kinds = {type(problem) for _, problem in problems}
    kind = kinds.pop() if len(kinds) == 1 else JobStateUnknown
    return kind(
        f"not removed:{words}\n  If they certainly do not run, and what they have is not needed: "
        f"harpy clean --force {ids}"
    )


def remove_job(record: JobRecord) -> None:
    """Remove a job's directory and its record, whatever state it is in."""
    directory = directory_of(record)
    with contextlib.suppress(PathNotFound):  # killed before it made one, or removed by hand
        directory.remove()
    registry.forget(record.job_id)
