"""Which jobs this user started from this machine: a small file each, until its directory is gone.

By these files `harpy jobs`, `fetch`, `kill` and `clean` find a job whose driver died, even before
it submitted anything. The files hold no secret.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from harpy.errors import ConfigError, JobNotFound

logger = logging.getLogger("harpy")


@dataclass(frozen=True)
class JobRecord:
    """What another shell needs to find a job again."""

    job_id: str
    job_url: str
    launcher: str
    created: float  # seconds since the epoch
    host: str
    driver_pid: int
    driver_started: float  # seconds since the epoch: a reused pid is not the driver
    conf_dir: str | None = None
    hadoop_conf: dict[str, str] | None = None  # the user's settings on top
    # Set before a submission begins: there may be an application though its id is not known.
    submission_began: bool = True
    application_id: str | None = None
    keep: bool = False
    user: str | None = None  # the user name under which the cluster knows the driver
    ended: bool = False  # its session is over; only what was to be kept is left
    final_state: str | None = None  # of an ended job, the JobState that the cluster told its driver
    pid_namespace: str | None = None  # in which driver_pid counts; None: it was not recorded

    @classmethod
    def of_this_process(cls, job_id: str, job_url: str, launcher: str, created: float) -> JobRecord:
        """The record of a job that this process drives, before it has an application."""
        driver = _this_process()
        return cls(job_id, job_url, launcher, created, submission_began=False, **driver)

    @classmethod
    def from_json(cls, text: str) -> JobRecord:
        """Read what `record` wrote; fields that a newer harpy added are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in json.loads(text).items() if key in known})

    def of_new_driver(self) -> JobRecord:
        """The same job, driven from this process; it has no application yet."""
        return replace(
            self,
            application_id=None,
            submission_began=False,
            ended=False,
            final_state=None,
            **_this_process(),
        )

    def driver_is_here(self) -> bool:
        """Whether the number of the driver's process means something here: not on another host,
        nor in another container of this one."""
        same_host = self.host == socket.gethostname()
        return same_host and self.pid_namespace in (None, _pid_namespace())

    def driver_alive(self) -> bool:
        """Whether the process that started the job still works on it. True where that cannot be
        seen from here: on another host, or in another container of this one."""
        import psutil

        if self.ended:
            return False
        if not self.driver_is_here():
            return True
        try:
            started: float = psutil.Process(self.driver_pid).create_time()
        except psutil.NoSuchProcess:
            return False
        return abs(started - self.driver_started) < 1.0


def _this_process() -> dict[str, Any]:
    import psutil

    return {
        "host": socket.gethostname(),
        "driver_pid": os.getpid(),
        "driver_started": psutil.Process().create_time(),
        "pid_namespace": _pid_namespace(),
    }


def _pid_namespace() -> str | None:
    """The kernel's name for the numbering of processes that this one lives in."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def state_dir() -> Path:
    """HARPY_STATE, or the platform's directory for a user's state."""
    given = os.environ.get("HARPY_STATE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_state_dir("harpy"))


def path_of(job_id: str) -> Path:
    """Where a job's file lies."""
    return state_dir() / "jobs" / f"{job_id}.json"


def record(job: JobRecord) -> None:
    """Write (or rewrite) the job's file; where that is impossible, say so: the job can run."""
    path = path_of(job.job_id)
    directory = path.parent
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(json.dumps(asdict(job), indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        logger.warning(
            "cannot record job=%s under %s (%s): other shells will not find it; set HARPY_STATE",
            job.job_id,
            directory,
            exc.strerror,
        )


def update(job: JobRecord, **changes: object) -> JobRecord:
    """Return the job with changes, recorded."""
    changed = replace(job, **changes)  # type: ignore[arg-type]
    record(changed)
    return changed


def forget(job_id: str) -> None:
    """Remove the job's file; nothing happens when there is none."""
    try:
        path_of(job_id).unlink(missing_ok=True)
    except OSError as exc:
        logger.warning("cannot remove the record of job=%s: %s", job_id, exc.strerror)


def all_jobs() -> Iterator[JobRecord]:
    """The recorded jobs, oldest first."""
    found = []
    for path in (state_dir() / "jobs").glob("*.json"):
        try:
            found.append(JobRecord.from_json(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue  # its driver finished meanwhile
        except (ValueError, TypeError, AttributeError) as exc:
            raise ConfigError(f"{path} is not a job record ({exc}); remove it") from exc
    yield from sorted(found, key=lambda job: job.created)


def find(job_id: str) -> JobRecord:
    """The job with this id, or the only one whose id or application id begins with it."""
    jobs = list(all_jobs())
    for match in (
        [j for j in jobs if job_id in (j.job_id, j.application_id)],
        [j for j in jobs if j.job_id.startswith(job_id)],
    ):
        if len(match) == 1:
            return match[0]
        if match:
            names = ", ".join(j.job_id for j in match)
            raise JobNotFound(f"{job_id!r} is the beginning of {len(match)} jobs: {names}")
    known = ", ".join(j.job_id for j in jobs) or "none"
    raise JobNotFound(f"no job {job_id!r} was started from this machine; known: {known}")
