"""What other shells do with jobs: list, logs, kill, fetch results, clean after dead drivers.

Nothing of a job is removed unless its cluster says that it has ended (job_states.py), or the user
says so with `force`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.config import Deadlines
from harpy.errors import (
    ConfigError,
    HarpyError,
    JobKilled,
    JobNotFound,
    JobStateUnknown,
    PathExists,
    PathNotFound,
    RunError,
    RunTimeout,
    StorageError,
    StoragePermissionError,
)
from harpy.launch.base import JobState
from harpy.session import registry
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

if TYPE_CHECKING:
    from harpy.storage import JobDirectory

logger = logging.getLogger("harpy")

POLL_S = 0.2
ASK_S = 3.0  # between questions to the resource manager while waiting for a run
DRIVER_S = 10.0  # for a driver to clean up after its job was killed


@dataclass(frozen=True)
class JobSummary:
    """A job as `harpy jobs` shows it."""

    record: JobRecord
    state: str  # a JobState, or "unknown" when nobody can say
    finished_runs: int

    def to_json(self) -> dict[str, Any]:
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
    return [json.dumps(r, indent=1, sort_keys=True) for r in directory_of(record).reports()]


def kill(job_id: str) -> str:
    """End a job from another shell and remove its directory unless it is to be kept; return its
    full id. Its driver raises JobKilled, a local job's driver KeyboardInterrupt.

    Raises
    ------
    JobStateUnknown
        Its cluster does not know it, or does not answer: nothing was removed.
    """
    standing = look_up(registry.find(job_id))
    record = standing.record
    if standing.state is JobState.UNKNOWN:
        raise _unknown(standing, "cannot be killed")
    if record.application_id and not standing.state.ended:
        from harpy.launch.yarn.applications import kill_application

        kill_application(hadoop_conf(record), record.application_id, "harpy kill")
        # A driver that waits for the job cleans up itself; one that is busy elsewhere need not be
        # waited for: there is nothing left that it could disturb.
        _driver_let_go(record, DRIVER_S)
        if not record.keep:
            _remove(record)
        return record.job_id
    if record.driver_alive():
        _interrupt(record)
    with contextlib.suppress(JobNotFound):  # its driver removed it
        left = look_up(registry.find(record.job_id))
        if left.state.over and not left.state.ended:
            raise _unknown(left, "has lost its driver")
        if not record.keep:
            _remove(record)
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
    if record.host != socket.gethostname():
        raise JobNotFound(
            f"job {record.job_id} is driven from {record.host} and has no application yet that "
            f"could be killed from here; run harpy kill {record.job_id} there"
        )
    seconds = Deadlines.from_environment().kill_s
    for number in (signal.SIGINT, signal.SIGTERM):  # the first is ignored in a script's background
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.driver_pid, number)
        if _driver_let_go(record, seconds):
            return
    raise RunTimeout(
        f"the driver of job {record.job_id} (process {record.driver_pid}) has not ended "
        f"{2 * seconds:g} s after SIGINT and SIGTERM; kill -9 {record.driver_pid}, then harpy clean"
    )


def _driver_let_go(record: JobRecord, timeout_s: float) -> bool:
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
            # Before looking for the run, which may finish meanwhile; seldom, as it costs a JVM.
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
    """Raise what says why a job without a finished run will not get one."""
    name, state = standing.record.job_id, standing.state
    if state is JobState.UNKNOWN:
        raise _unknown(standing, "has no finished run yet")
    if state is JobState.KILLED:
        raise JobKilled(f"job {name} was killed; nothing to fetch")
    if state.ended or (state is JobState.NEW and not standing.record.driver_alive()):
        causes = [r["error"]["message"] for r in directory.reports() if r.get("error")]
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
        _remove(record)
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
        Also where nobody can say whether its workers run still: the caller knows that they do not.

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
        n_node=job["n_node"],
        n_thread=job["n_thread"],
        n_mem=job["n_mem"],
        launcher=record.launcher,
        queue=job["queue"],
        hadoop_conf=record.hadoop_conf or {},
        keep=True,
        single_run=True,
        wishes=frozenset(job["wishes"]),
    )
    shown = Progress(progress)
    driver = GangDriver(options, shown, Path(record.conf_dir) if record.conf_dir else None)
    try:
        driver.resume(record, timeout_s)
        driver.close()
    finally:
        shown.close()
    return record.job_id


def _check_resumable(
    record: JobRecord, directory: JobDirectory, job: dict[str, Any], force: bool
) -> None:
    name, spec = record.job_id, job["first_run"]
    if spec is None or job["keep_open"]:
        raise ConfigError(
            f"job {name} was a session for many runs, which its driver knew: only a job of one run "
            "can be resumed"
        )
    if directory.run(spec["run"]).finished():
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
    for digest in spec["data"].values():
        if not directory.is_staged(digest):
            raise RunError(
                f"the rows of job {name} were never staged as a whole: run its program again\n"
                "  what is left of it: harpy clean"
            )


def check_output(output: Path) -> None:
    """Refuse a place for results that is taken, before any work is done for them."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PathExists(f"{output} exists and is not an empty directory", path=str(output))
    parent = next(p for p in output.absolute().parents if p.exists())
    if not os.access(parent, os.W_OK):
        raise StoragePermissionError(f"{parent} is not writable: no place for {output}")


def save_results(output: Path, value: Any, arrays: dict[str, np.ndarray]) -> list[Path]:
    """Write result.json and <name>.npy files into a new or empty directory, all or nothing."""
    check_output(output)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        loose: dict[str, np.ndarray] = dict(arrays)
        plain = _without_arrays(value, "", loose)
        for name, array in loose.items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        (partial / "result.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        written = [output / path.name for path in sorted(partial.iterdir())]
        if output.exists():
            output.rmdir()
        partial.rename(output)
    except OSError as exc:
        raise StorageError(f"cannot write results to {output}: {exc}", path=str(output)) from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def _without_arrays(value: Any, name: str, found: dict[str, np.ndarray]) -> Any:
    """The value with every ndarray replaced by the name of the file that will hold it."""
    if isinstance(value, np.ndarray):
        # Keys are anybody's; file names are not.
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".") or "value"
        while safe in found:
            safe = f"value.{safe}"
        found[safe] = value
        return {"npy": f"{safe}.npy", "shape": value.shape, "dtype": str(value.dtype)}
    if isinstance(value, dict):
        dot = f"{name}." if name else ""
        return {k: _without_arrays(v, f"{dot}{k}", found) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(v, f"{name}.{i}", found) for i, v in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class Removed:
    """A job of which nothing is left; what was lost with it where nobody knew whether it ran."""

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
    unless `kept`. Jobs that cannot be removed do not hold up the others: their error comes last.

    Parameters
    ----------
    job_ids : sequence of str
        Only these; none means all that were started from this machine.
    older_than_s : float
        Only what was created so many seconds ago.
    kept : bool
        Also what was to be kept; a job that is named need not be asked for twice.
    force : bool
        Also jobs of which nobody can say whether they run: the caller knows that they do not.

    Raises
    ------
    JobStateUnknown
        Some were left because nobody can say whether they run.
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
    if state is not JobState.UNKNOWN:
        _remove(record)
        return Removed(record.job_id)
    if not force:
        raise JobStateUnknown(f"nobody can say whether it runs: {standing.why}")
    try:
        n_finished = finished_runs(record)
        _remove(record)
    except HarpyError as exc:
        registry.forget(record.job_id)
        return Removed(record.job_id, f"its record; {record.job_url} may remain: {exc}")
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


def _remove(record: JobRecord) -> None:
    directory = directory_of(record)
    with contextlib.suppress(PathNotFound):  # killed before it made one, or removed by hand
        directory.remove()
    registry.forget(record.job_id)
