"""What other shells do with jobs: list, logs, kill, fetch results, clean after dead drivers."""

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.config import Deadlines, HadoopConf
from harpy.errors import (
    ConfigError,
    HarpyError,
    JobKilled,
    JobNotFound,
    PathExists,
    PathNotFound,
    RunError,
    RunTimeout,
    StorageError,
    StoragePermissionError,
)
from harpy.launch.base import JobState
from harpy.session import registry
from harpy.session.registry import JobRecord
from harpy.storage import FileSystem, JobDirectory, filesystem

if TYPE_CHECKING:
    from harpy.launch.yarn.applications import Application

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
    clusters = _Clusters()
    for record in registry.all_jobs():
        try:
            record, state = clusters.look_up(record)
            yield JobSummary(record, state.value, _finished_runs(record))
        except HarpyError as exc:
            logger.warning("cannot say where job=%s stands: %s", record.job_id, exc)
            yield JobSummary(record, "unknown", 0)


def logs(job_id: str) -> str:
    """What the workers of a job wrote: their reports, and on YARN their containers' logs."""
    record = _with_application(registry.find(job_id))
    parts = []
    for report in _directory(record).reports():
        parts.append(json.dumps(report, indent=1, sort_keys=True))
    if record.application_id:
        from harpy.launch.yarn.applications import application_logs

        parts.append(application_logs(_conf(record), record.application_id))
    if not parts:
        raise JobNotFound(f"job {record.job_id} has written no report and has no container logs")
    return "\n".join(parts)


def kill(job_id: str) -> str:
    """End a job from another shell and remove its directory unless it is to be kept; return its
    full id. Its driver raises JobKilled, a local job's driver KeyboardInterrupt."""
    record = _with_application(registry.find(job_id))
    if record.application_id:
        from harpy.launch.yarn.applications import kill_application

        kill_application(_conf(record), record.application_id, "harpy kill")
        # A driver that waits for the job cleans up itself; one that is busy elsewhere need not be
        # waited for: there is nothing left that it could disturb.
        _driver_let_go(record, DRIVER_S)
    elif record.driver_alive():
        _interrupt(record)
    if not record.keep:
        _remove(record)
    return record.job_id


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
    record = _with_application(registry.find(job_id))
    directory = _directory(record)
    deadline = time.monotonic() + timeout_s
    number = _await_finished_run(record, directory, deadline, timeout_s)
    value, arrays = directory.run(number).read_results()
    written = save_results(output, value, arrays)
    if not keep and not record.driver_alive():
        _await_end(record, deadline)
        _remove(record)
    return written


def _await_finished_run(
    record: JobRecord, directory: JobDirectory, deadline: float, timeout_s: float
) -> int:
    """The last finished run of the job."""
    ask_at = time.monotonic()
    while True:
        state = None
        if time.monotonic() >= ask_at:
            # Before looking for the run, which may finish meanwhile; seldom, as it costs a JVM.
            state = _state(record)
            ask_at = time.monotonic() + ASK_S
        if finished := directory.finished_runs():
            return finished[-1]
        if state is JobState.KILLED:
            raise JobKilled(f"job {record.job_id} was killed; nothing to fetch")
        if state is not None and (
            state.ended or (state is JobState.NEW and not record.driver_alive())
        ):
            causes = [r["error"]["message"] for r in directory.reports() if r.get("error")]
            raise RunError(
                f"job {record.job_id} ended ({state.value}) without a finished run"
                + (f": {causes[0]}" if causes else "")
                + f"\n  see: harpy logs {record.job_id}; remove it: harpy clean"
            )
        if time.monotonic() > deadline:
            raise RunTimeout(f"job {record.job_id} has not finished a run after {timeout_s:g} s")
        time.sleep(POLL_S)


def resume(job_id: str, *, progress: bool | None = None, timeout_s: float | None = None) -> str:
    """Go on with a job whose driver and workers are gone, from its last checkpoint: new workers on
    its directory. Returns its full id once its run is done; `fetch` has the results.

    Raises
    ------
    ConfigError
        It was a session for many runs: the runs were its driver's.
    RunError
        It runs still, has finished, or its rows were never staged as a whole.
    """
    from harpy.session.driver import GangDriver
    from harpy.session.options import SessionOptions
    from harpy.session.progress import Progress

    record = _with_application(registry.find(job_id))
    directory = _directory(record)
    job = directory.read_job()
    _check_resumable(record, directory, job)
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


def _check_resumable(record: JobRecord, directory: JobDirectory, job: dict[str, Any]) -> None:
    name, spec = record.job_id, job["first_run"]
    if spec is None or job["keep_open"]:
        raise ConfigError(
            f"job {name} was a session for many runs, which its driver knew: only a job of one run "
            "can be resumed"
        )
    if directory.run(spec["run"]).finished():
        raise RunError(f"job {name} has finished; next: harpy fetch {name}")
    state = _state(record)
    if record.driver_alive() or state in (JobState.SUBMITTED, JobState.RUNNING):
        raise RunError(f"job {name} is {state.value}; to begin anew: harpy kill {name}")
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


def clean(*, older_than_s: float = 0.0, kept: bool = False) -> Iterator[str]:
    """Remove what dead drivers left: job directories of jobs that do not run, and their records.

    A job that still runs is left alone, so is one whose driver lives, and one with keep=True
    unless `kept`. Yields the ids removed; jobs that cannot be removed do not hold up the others:
    their error comes last.
    """
    clusters = _Clusters()
    problems: list[tuple[JobRecord, HarpyError]] = []
    for record in registry.all_jobs():
        if time.time() - record.created < older_than_s or (record.keep and not kept):
            continue
        if record.driver_alive():
            continue
        try:
            _, state = clusters.look_up(record)
            if state in (JobState.SUBMITTED, JobState.RUNNING):
                continue
            _remove(record)
        except HarpyError as exc:
            problems.append((record, exc))
        else:
            yield record.job_id
    if problems:
        record, problem = problems[0]
        ids = ", ".join(r.job_id for r, _ in problems)
        raise type(problem)(
            f"cannot remove {ids}: {problem}\n  If that cluster is gone for good, remove the "
            f"records: {registry.path_of(record.job_id).parent}/<job>.json"
        ) from problem


class _Clusters:
    """The applications of this user on each cluster, asked for once."""

    def __init__(self) -> None:
        self._known: dict[str | None, list[Application]] = {}

    def look_up(self, record: JobRecord) -> tuple[JobRecord, JobState]:
        """Where a job stands; its record with the application it turned out to have."""
        if record.launcher != "yarn":
            return record, _state_without_cluster(record)
        if record.conf_dir not in self._known:
            from harpy.launch.yarn.applications import list_applications

            self._known[record.conf_dir] = list_applications(_conf(record))
        for application in self._known[record.conf_dir]:
            if application.application_id == record.application_id:
                return record, application.state
            if record.application_id is None and application.name == record.job_id:
                # Its driver died while it submitted.
                found = registry.update(record, application_id=application.application_id)
                return found, application.state
        if record.application_id is None:
            return record, JobState.NEW
        return record, _state_without_cluster(record)


def _with_application(record: JobRecord) -> JobRecord:
    """The record with its application, also if its driver died while it submitted."""
    if record.launcher != "yarn" or record.application_id or record.driver_alive():
        return record
    return _Clusters().look_up(record)[0]


def _conf(record: JobRecord) -> HadoopConf:
    if record.conf_dir is None:
        raise ConfigError(f"job {record.job_id} has no Hadoop configuration")
    return HadoopConf.load(Path(record.conf_dir), record.hadoop_conf)


def _file_system(record: JobRecord) -> FileSystem:
    conf = HadoopConf() if record.conf_dir is None else _conf(record)
    return filesystem(record.job_url, hadoop_conf=conf, deadlines=Deadlines.from_environment())


def _directory(record: JobRecord) -> JobDirectory:
    return JobDirectory(_file_system(record), record.job_url)


def _finished_runs(record: JobRecord) -> int:
    try:
        return len(_directory(record).finished_runs())
    except PathNotFound:
        return 0


def _state(record: JobRecord) -> JobState:
    """Where one job stands now."""
    return _Clusters().look_up(record)[1]


def _state_without_cluster(record: JobRecord) -> JobState:
    """Of a local job, or one that its cluster does not know any more."""
    if record.launcher == "local" and record.driver_alive():
        return JobState.RUNNING
    return JobState.SUCCEEDED if _finished_runs(record) else JobState.FAILED


def _await_end(record: JobRecord, deadline: float) -> None:
    while not _state(record).ended:
        if time.monotonic() > deadline:
            raise RunTimeout(f"job {record.job_id} has finished its run but does not end")
        time.sleep(ASK_S)


def _remove(record: JobRecord) -> None:
    directory = _directory(record)
    with contextlib.suppress(PathNotFound):  # killed before it made one, or removed by hand
        directory.remove()
    registry.forget(record.job_id)
