"""From what launcher and gang know of a failure to the one error that the driver raises: the first
cause, never an echo, with rank, host and the last lines of its traceback or log.
"""

from __future__ import annotations

import time

from harpy import errors
from harpy.errors import HarpyError, JobStateUnknown, PeerLost, WorkerLost
from harpy.launch.base import AttemptFailure, JobState, Launcher, LaunchStatus
from harpy.launch.yarn.causes import ended_job
from harpy.wire.failure import Failure

DETAIL_LINES = 20  # of a traceback or log in an error's message; all of it is in `detail`
DETAIL_COLUMNS = 500
CAUSE_S = 15.0  # how long after a failure to wait for the launcher to report its first cause
POLL_S = 0.05


def first_cause(launcher: Launcher, job_id: str, seen: Exception | None) -> HarpyError:
    """The error of a run that failed.

    It is the launcher's first failure that no other attempt makes good; else what the cluster says
    of the whole job; else the first failure that is no echo; else that the cluster took the worker
    back; else what the driver itself has `seen`.
    """
    deadline = time.monotonic() + CAUSE_S
    status = launcher.status()
    while time.monotonic() < deadline:
        status = launcher.status()
        ended: HarpyError | None = None
        if status.state is JobState.UNKNOWN:
            return JobStateUnknown(
                f"nobody can say whether job {job_id} runs: {status.diagnostics}"
            )
        if status.state.ended and status.final_failure is None:
            killed = status.state is JobState.KILLED
            ended = ended_job(job_id, killed, status.diagnostics)
        first = status.final_failure or next(
            (f for f in status.failures if not f.failure.echo and not f.taken_back), None
        )
        if ended is not None:
            return ended
        if first is not None:
            return make_error(first.failure)
        if status.state.ended:
            break  # its last failures were reported before that
        time.sleep(POLL_S)
    taken = _taken_back(status, seen)
    if taken is not None:
        return make_error(taken.failure)
    if isinstance(seen, HarpyError) and not isinstance(seen, PeerLost):
        return seen
    echo = next((f.failure.message for f in status.failures), None)
    return WorkerLost(
        f"job {job_id} ended ({status.state.value}) before its run did: "
        f"{echo or status.diagnostics or seen or 'no word why'}"
    )


def _taken_back(status: LaunchStatus, seen: Exception | None) -> AttemptFailure | None:
    """Of the workers that the cluster took back, the one whose loss is what the driver has `seen`;
    earlier ones were replaced."""
    if seen is not None and not isinstance(seen, PeerLost | WorkerLost):
        return None
    rank = getattr(seen, "rank", None)
    taken = (f for f in reversed(status.failures) if f.taken_back)
    return next((f for f in taken if rank is None or f.failure.rank == rank), None)


def make_error(failure: Failure) -> HarpyError:
    """An error of the class that a failure names, with rank, host and the last lines of its
    detail."""
    kind, message, rank, host = failure.kind, failure.message, failure.rank, failure.host
    cls = getattr(errors, kind, WorkerLost)
    if not issubclass(cls, HarpyError):
        cls = WorkerLost
    named = message.startswith(f"rank {rank}") or f"node {host}" in message
    where = f"rank {rank} on {host}: " if rank is not None and host and not named else ""
    lines = [line for line in map(printable, failure.detail.splitlines()) if line.strip()]
    # A traceback helps where the program failed; messages about data or disks need none.
    shown = lines[-DETAIL_LINES:] if issubclass(cls, errors.RunError) else []
    error = cls("\n".join([where + message, *(f"  | {line}" for line in shown)]))
    error.rank, error.host, error.detail = rank, host, failure.detail
    return error


def printable(line: str) -> str:
    """A line as a terminal may show it: no control characters, not longer than a few lines."""
    shown = "".join(c if c.isprintable() or c == "\t" else "�" for c in line)
    return shown if len(shown) <= DETAIL_COLUMNS else shown[:DETAIL_COLUMNS] + " …"
