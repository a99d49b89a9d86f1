"""What other shells do with a job: list, logs, kill, fetch its results, go on with it.

Nothing of a job is removed unless its cluster says that it has ended (job_states.py). cleaning.py
removes what dead drivers left, saved_results.py writes results.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harpy.config import Deadlines
from harpy.errors import (
    ConfigError,
    HarpyError,
    JobKilled,
    JobNotFound,
    JobStateUnknown,
    RunError,
    RunTimeout,
)
from harpy.launch.base import JobState
from harpy.session import registry
from harpy.session.cleaning import remove_job
from harpy.session.job_states import (
    Clusters,
    Standing,
    directory_of,
    find_application,
    finished_runs,
    hadoop_conf,
    look_up,
)
from harpy.session.registry import JobRecord
from harpy.session.saved_results import check_output, save_results

if TYPE_CHECKING:
    from harpy.storage import JobDirectory
    from harpy.wire.job_spec import JobSpec

logger = logging.getLogger("harpy")

POLL_S = 0.2
ASK_S = 3.0  # between questions to the resource manager while waiting for a run
DRIVER_S = 10.0  # for a driver to clean up after its job was killed


@dataclass(frozen=True)
class JobSummary:
    """A job as `harpy jobs` shows it."""

    record: JobRecord
    state: str  # a JobState, or "unknown" where the cluster does not say
    finished_runs: int

    def to_json(self) -> dict[str, Any]:
        """The summary as `harpy jobs --json` prints it."""
        record = self.record
        return {
            "job": record.job_id,
            "state": self.state,
            "launcher": record.launcher,
            "application": record.application_id,
            "created": record.created,
            "finished_runs": self.finished_runs,
            "directory": record.job_url,
            "driver_alive": record.driver_alive(),
            "keep": record.keep,
        }


def summaries() -> Iterator[JobSummary]:
    """The jobs started from this machine, oldest first; one question per cluster."""
    records = list(registry.all_jobs())
    clusters = Clusters(records)
    for record in records:
        try:
            standing = clusters.look_up(record)
            if standing.why:
                logger.warning("cannot say where job=%s stands: %s", record.job_id, standing.why)
            yield JobSummary(standing.record, standing.state.value, finished_runs(record))
        except HarpyError as exc:
            logger.warning("cannot say where job=%s stands: %s", record.job_id, exc)
            yield JobSummary(record, JobState.UNKNOWN.value, 0)


def logs(job_id: str) -> str:
    """What the workers of a job wrote: their reports, and on YARN their containers' logs. A job
    that failed at its start has left no record here; its cluster knows it by its id."""
    record = find_application(job_id)
    if record.job_url:
        record = look_up(record).record
    parts = [] if not record.job_url else _reports(record)
    if record.application_id:
        from harpy.launch.yarn.applications import application_logs

        try:
            parts.append(application_logs(hadoop_conf(record), record.application_id))
        except JobNotFound:
            if not parts:
                raise
    if not parts:
        raise JobNotFound(f"job {record.job_id} has written no report and has no container logs")
    return "\n".join(parts)


def _reports(record: JobRecord) -> list[str]:
    reports = directory_of(record).reports()
    return [json.dumps(r.to_wire(), indent=1, sort_keys=True) for r in reports]


def kill(job_id: str) -> str:
    """End a job from another shell and remove its directory unless it is to be kept; return its
    full id. Its driver raises JobKilled, a local job's driver KeyboardInterrupt.

    Raises
    ------
    JobStateUnknown
        Its cluster does not know it, or does not answer: nothing was removed.
    """
    standing = look_up(registry.find(job_id))
    if standing.record.application_id is None and standing.record.driver_alive():
        _interrupt(standing.record)
        try:
            # It may have submitted the job meanwhile, and not have ended it.
            standing = look_up(registry.find(standing.record.job_id))
        except JobNotFound:
            return standing.record.job_id  # its driver removed it
    record = standing.record
    if standing.state is JobState.UNKNOWN:
        raise _unknown(standing, "cannot be killed")
    if record.application_id and not standing.state.ended:
        from harpy.launch.yarn.applications import kill_application

        kill_application(hadoop_conf(record), record.application_id, "harpy kill")
        # A driver that waits for the job cleans up itself. The wait is bounded: once the job is
        # killed, a driver that is busy elsewhere can do no harm.
        _await_driver_end(record, DRIVER_S)
    if not record.keep:
        remove_job(record)
    return record.job_id


def _unknown(standing: Standing, what: str) -> JobStateUnknown:
    name = standing.record.job_id
    return JobStateUnknown(
        f"job {name} {what}: nobody can say whether it runs: {standing.why}\n"
        f"  Nothing of it was removed: {standing.record.job_url}\n"
        f"  If it certainly does not run: harpy clean --force {name}"
    )


def _interrupt(record: JobRecord) -> None:
    """End a driver whose workers are its children, or whose job is not submitted yet."""
    if not record.driver_is_here():
        raise JobNotFound(
            f"job {record.job_id} is driven from {record.host} and has no application yet that "
            f"could be killed from here; run harpy kill {record.job_id} there"
        )
    seconds = Deadlines.from_environment().kill_s
    for number in (signal.SIGINT, signal.SIGTERM):  # the first is ignored in a script's background
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.driver_pid, number)
        if _await_driver_end(record, seconds):
            return
    raise RunTimeout(
        f"the driver of job {record.job_id} (process {record.driver_pid}) has not ended "
        f"{2 * seconds:g} s after SIGINT and SIGTERM; kill -9 {record.driver_pid}, then harpy clean"
    )


def _await_driver_end(record: JobRecord, timeout_s: float) -> bool:
    """Wait until the driver is dead or has cleaned up; False at the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if not registry.find(record.job_id).driver_alive():
                return True
        except JobNotFound:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)


def fetch(job_id: str, output: Path, *, keep: bool = False, timeout_s: float = 600.0) -> list[Path]:
    """Download what the last run of a job left, waiting until it has finished; then remove the job
    directory unless `keep`. Returns the files written: result.json and one .npy per array."""
    check_output(output)
    record = registry.find(job_id)
    directory = directory_of(record)
    deadline = time.monotonic() + timeout_s
    number = _await_finished_run(record, directory, deadline, timeout_s)
    value, arrays = directory.run(number).read_results()
    written = save_results(output, value, arrays)
    if not keep and not record.driver_alive():
        _remove_ended(record, deadline)
    return written


def _await_finished_run(
    record: JobRecord, directory: JobDirectory, deadline: float, timeout_s: float
) -> int:
    """The last finished run of the job."""
    ask_at = time.monotonic()
    while True:
        standing = None
        if time.monotonic() >= ask_at:
            # Asked before the run's results are looked up, since it may finish meanwhile; seldom,
            # as it starts a JVM.
            standing = look_up(record)
            ask_at = time.monotonic() + ASK_S
        if finished := directory.finished_runs():
            return finished[-1]
        if standing is not None:
            _refuse_if_over(standing, directory)
        if time.monotonic() > deadline:
            raise RunTimeout(f"job {record.job_id} has not finished a run after {timeout_s:g} s")
        time.sleep(POLL_S)


def _refuse_if_over(standing: Standing, directory: JobDirectory) -> None:
    """Raise an error if a job without a finished run cannot get one any more."""
    name, state = standing.record.job_id, standing.state
    if state is JobState.UNKNOWN:
        raise _unknown(standing, "has no finished run yet")
    if state is JobState.KILLED:
        raise JobKilled(f"job {name} was killed; nothing to fetch")
    if state.ended or (state is JobState.NEW and not standing.record.driver_alive()):
        causes = [r.error.message for r in directory.reports() if r.error is not None]
        raise RunError(
            f"job {name} ended ({state.value}) without a finished run"
            + (f": {causes[0]}" if causes else "")
            + f"\n  see: harpy logs {name}; remove it: harpy clean"
        )


def _remove_ended(record: JobRecord, deadline: float) -> None:
    """Remove a job whose results are safe, as soon as its cluster says that it has ended."""
    while not (standing := look_up(record)).state.over:
        if time.monotonic() > deadline:
            raise RunTimeout(f"job {record.job_id} has finished its run but does not end")
        time.sleep(ASK_S)
    if standing.state.ended:
        remove_job(record)
    else:
        logger.warning("%s", _unknown(standing, "is fetched but stays"))


def resume(
    job_id: str,
    *,
    progress: bool | None = None,
    timeout_s: float | None = None,
    force: bool = False,
) -> str:
    """Go on with a job whose driver and workers are gone, from its last checkpoint: new workers on
    its directory. Returns its full id once its run is done; `fetch` has the results.

    Parameters
    ----------
    force : bool
        Also where the job's state is unknown: the caller knows that its workers do not run.

    Raises
    ------
    ConfigError
        It was a session for many runs: the runs were its driver's.
    RunError
        It runs still, has finished, or its rows were never staged as a whole.
    JobStateUnknown
        Its cluster does not know it, or does not answer, and `force` is not given.
    """
    from harpy.session.driver import GangDriver
    from harpy.session.options import SessionOptions
    from harpy.session.progress import Progress

    record = registry.find(job_id)
    directory = directory_of(record)
    job = directory.read_job()
    _check_resumable(record, directory, job, force)
    options = SessionOptions(
        n_node=job.n_node,
        n_thread=job.n_thread,
        n_mem=job.n_mem,
        launcher=record.launcher,
        queue=job.queue,
        hadoop_conf=record.hadoop_conf or {},
        keep=True,
        single_run=True,
        wishes=job.wishes,
    )
    shown = Progress(progress)
    driver = GangDriver(options, shown, Path(record.conf_dir) if record.conf_dir else None)
    try:
        driver.resume(record, timeout_s)
        driver.close()
    finally:
        shown.close()
    return record.job_id


def _check_resumable(record: JobRecord, directory: JobDirectory, job: JobSpec, force: bool) -> None:
    name, spec = record.job_id, job.first_run
    if spec is None or job.keep_open:
        raise ConfigError(
            f"job {name} was a session for many runs, which its driver knew: only a job of one run "
            "can be resumed"
        )
    if directory.run(spec.run).finished():
        raise RunError(f"job {name} has finished; next: harpy fetch {name}")
    standing = look_up(record)
    if standing.state is JobState.UNKNOWN and not force:
        raise JobStateUnknown(
            f"nobody can say whether job {name} runs: {standing.why}\n"
            "  A second gang beside a running one would only disturb it.\n"
            f"  If it certainly does not run: harpy resume --force {name}"
        )
    if record.driver_alive() or standing.state in (JobState.SUBMITTED, JobState.RUNNING):
        raise RunError(f"job {name} is {standing.state.value}; to begin anew: harpy kill {name}")
    for digest in spec.data.values():
        if not directory.is_staged(digest):
            raise RunError(
                f"the rows of job {name} were never staged as a whole: run its program again\n"
                "  what is left of it: harpy clean"
            )
