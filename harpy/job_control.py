"""What other shells do with jobs: list, logs, kill, fetch results, clean after dead drivers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harpy import registry
from harpy.config import Deadlines, HadoopConf
from harpy.errors import (
    ConfigError,
    JobKilled,
    JobNotFound,
    PathExists,
    PathNotFound,
    RunError,
    RunTimeout,
)
from harpy.launch.base import JobState
from harpy.registry import JobRecord
from harpy.storage import FileSystem, JobDirectory, filesystem

POLL_S = 0.2


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
    known: dict[str | None, dict[str, JobState]] = {None: {}}
    for record in registry.all_jobs():
        if record.conf_dir not in known:
            known[record.conf_dir] = _applications_of(record)
        if record.launcher == "yarn" and record.application_id:
            state = known[record.conf_dir].get(record.application_id)
        else:
            state = _state(record)
        yield JobSummary(record, state.value if state else "unknown", _finished_runs(record))


def _applications_of(record: JobRecord) -> dict[str, JobState]:
    """The states of this user's applications on the record's cluster."""
    from harpy.launch.applications import list_applications

    return {a.application_id: a.state for a in list_applications(_conf(record))}


def logs(job_id: str) -> str:
    """What the workers of a job wrote: their reports, and on YARN their containers' logs."""
    record = registry.find(job_id)
    directory = _directory(record)
    parts = []
    for report in directory.reports():
        parts.append(json.dumps(report, indent=1, sort_keys=True))
    if record.application_id:
        from harpy.launch.applications import application_logs

        parts.append(application_logs(_conf(record), record.application_id))
    if not parts:
        raise JobNotFound(f"job {record.job_id} has written no report and has no container logs")
    return "\n".join(parts)


def kill(job_id: str) -> str:
    """End a job from another shell; return its full id. Its driver, if alive, cleans up and raises
    JobKilled; if it is dead we remove the job directory here."""
    record = registry.find(job_id)
    alive = record.driver_alive()
    if record.launcher == "yarn" and record.application_id:
        from harpy.launch.applications import kill_application

        kill_application(_conf(record), record.application_id, "harpy kill")
    elif alive:
        # The workers are the driver's children and there is no cluster to ask.
        os.kill(record.driver_pid, signal.SIGINT)
    deadline = time.monotonic() + Deadlines.from_environment().kill_s
    while record.driver_alive() and alive and time.monotonic() < deadline:
        try:
            registry.find(record.job_id)
        except JobNotFound:
            return record.job_id
        time.sleep(POLL_S)
    if not alive:
        _remove(record)
    return record.job_id


def fetch(job_id: str, output: Path, *, keep: bool = False, timeout_s: float = 600.0) -> list[Path]:
    """Download what the last run of a job left, waiting until it has finished; then remove the job
    directory unless `keep`. Returns the files written: result.json and one .npy per array."""
    record = registry.find(job_id)
    directory = _directory(record)
    deadline = time.monotonic() + timeout_s
    while not (finished := directory.finished_runs()):
        state = _state(record)
        if state is JobState.KILLED:
            raise JobKilled(f"job {record.job_id} was killed; nothing to fetch")
        if state.ended or (state is JobState.NEW and not record.driver_alive()):
            causes = [r["error"]["message"] for r in directory.reports() if r.get("error")]
            raise RunError(
                f"job {record.job_id} ended ({state.value}) without a finished run"
                + (f": {causes[0]}" if causes else "")
                + f"\n  see: harpy logs {record.job_id}; remove it: harpy clean"
            )
        if time.monotonic() > deadline:
            raise RunTimeout(f"job {record.job_id} is still {state.value} after {timeout_s:g} s")
        time.sleep(POLL_S)
    value, arrays = directory.run(finished[-1]).read_results()
    written = save_results(output, value, arrays)
    if not keep and not record.driver_alive():
        _await_end(record, deadline)
        _remove(record)
    return written


def check_output(output: Path) -> None:
    """Refuse a place for results that is taken, before any work is done for them."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PathExists(f"{output} exists and is not an empty directory", path=str(output))


def save_results(output: Path, value: Any, arrays: dict[str, np.ndarray]) -> list[Path]:
    """Write result.json and <name>.npy files into a new or empty directory, all or nothing."""
    check_output(output)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        loose: dict[str, np.ndarray] = dict(arrays)
        plain = _without_arrays(value, "", loose)
        for name, array in loose.items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        (partial / "result.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        written = [output / path.name for path in sorted(partial.iterdir())]
        if output.exists():
            output.rmdir()
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def _without_arrays(value: Any, name: str, found: dict[str, np.ndarray]) -> Any:
    """The value with every ndarray replaced by the name of the file that will hold it."""
    if isinstance(value, np.ndarray):
        found[name or "value"] = value
        return {"npy": f"{name or 'value'}.npy", "shape": value.shape, "dtype": str(value.dtype)}
    if isinstance(value, dict):
        dot = f"{name}." if name else ""
        return {k: _without_arrays(v, f"{dot}{k}", found) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(v, f"{name}.{i}", found) for i, v in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def clean(*, older_than_s: float = 0.0, kept: bool = False) -> list[str]:
    """Remove what dead drivers left: job directories of jobs that do not run, and their records.

    A job that still runs is left alone, so is one whose driver lives, and one with keep=True
    unless `kept`. Returns the ids removed.
    """
    removed = []
    for record in registry.all_jobs():
        if time.time() - record.created < older_than_s or (record.keep and not kept):
            continue
        if not record.keep and record.driver_alive():
            continue
        if record.application_id is None and record.launcher == "yarn":
            record = _adopt_application(record)
        if record.application_id and not _state(record).ended:
            continue
        _remove(record)
        removed.append(record.job_id)
    return removed


def _adopt_application(record: JobRecord) -> JobRecord:
    """Find the application of a job whose driver died while it submitted."""
    from harpy.launch.applications import list_applications

    for application in list_applications(_conf(record)):
        if application.name == record.job_id:
            return registry.update(record, application_id=application.application_id)
    return record


def _conf(record: JobRecord) -> HadoopConf:
    if record.conf_dir is None:
        raise ConfigError(f"job {record.job_id} has no Hadoop configuration")
    return HadoopConf.load(Path(record.conf_dir))


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
    """Where a job stands now."""
    if record.launcher == "yarn":
        if record.application_id is None:
            return JobState.NEW
        from harpy.launch.applications import application_state

        return application_state(_conf(record), record.application_id).state
    if record.driver_alive() and not record.keep:
        return JobState.RUNNING
    return JobState.SUCCEEDED if _finished_runs(record) else JobState.FAILED


def _await_end(record: JobRecord, deadline: float) -> None:
    while not _state(record).ended:
        if time.monotonic() > deadline:
            raise RunTimeout(f"job {record.job_id} has finished its run but does not end")
        time.sleep(POLL_S)


def _remove(record: JobRecord) -> None:
    directory = _directory(record)
    with contextlib.suppress(PathNotFound):  # killed before it made one, or removed by hand
        directory.remove()
    registry.forget(record.job_id)
