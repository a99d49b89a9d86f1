"""The files of a job from their making to their removal: the job directory, which its workers
share, and a record on this machine by which other shells find the job.

What runs write there is theirs; rows are staging.py's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harpy.config import Deadlines, HadoopConf, hadoop_user
from harpy.errors import (
    ConfigError,
    JobStateUnknown,
    PathExists,
    SafeModeError,
    StorageError,
    StoragePermissionError,
)
from harpy.launch.base import JobState, LaunchStatus
from harpy.session import registry
from harpy.session.options import SessionOptions
from harpy.storage import FileSystem, JobDirectory, filesystem
from harpy.wire.job_spec import JobSpec
from harpy.wire.run_spec import RunSpec

WRITERS = 4  # HDFS takes half a second to close a file, whatever its size


class JobFiles:
    """The directory and the record of one job.

    Parameters
    ----------
    options : SessionOptions
    deadlines : Deadlines

    Attributes
    ----------
    job_id : str
    """

    def __init__(self, options: SessionOptions, deadlines: Deadlines) -> None:
        self._options, self._deadlines = options, deadlines
        self.job_id = f"{options.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self._directory: JobDirectory | None = None
        self._record: registry.JobRecord | None = None
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="harpy-writer")
        self._writing: list[Future[None]] = []

    @property
    def directory(self) -> JobDirectory:
        """The job directory, once it is made."""
        assert self._directory is not None
        return self._directory

    @property
    def url(self) -> str | None:
        """Of the job directory; None before it is made."""
        return self._directory.url if self._directory else None

    # -- making them -----------------------------------------------------------------------------

    def create(self, conf: HadoopConf) -> None:
        """Record the job and make its directory."""
        options = self._options
        fs, workdir = _resolve_workdir(options, conf, self._deadlines)
        with suppress(StoragePermissionError):  # create() below says what to do about it
            # A NameNode that is down fails here, before there is anything to record or remove.
            fs.exists(workdir)
        directory = JobDirectory(fs, f"{workdir}/{self.job_id}")
        record = registry.JobRecord.of_this_process(
            self.job_id, f"{workdir}/{self.job_id}", options.launcher, time.time()
        )
        self._record = registry.update(
            record,
            conf_dir=str(conf.directory.absolute()) if conf.directory else None,
            hadoop_conf=dict(options.hadoop_conf),
            keep=options.keep,
            user=hadoop_user(),
        )
        self._directory = directory
        try:
            directory.create()
        except (PathExists, SafeModeError, StoragePermissionError):
            # Its removal would be refused as well; what was made of it holds no rows.
            self._directory = None
            registry.forget(self.job_id)
            raise

    def take_over(self, record: registry.JobRecord, conf: HadoopConf) -> JobSpec:
        """Become the driver of a job that another process left; return its job.json."""
        self.job_id = record.job_id
        fs = filesystem(record.job_url, hadoop_conf=conf, deadlines=self._deadlines)
        self._directory = JobDirectory(fs, record.job_url)
        spec = self._directory.read_job()
        self._record = registry.update(record.of_new_driver())
        return spec

    # -- writing ---------------------------------------------------------------------------------

    def write(self, write: Callable[..., None], *arguments: Any) -> None:
        """Write a small file of the job directory, in another thread."""
        self._writing.append(self._writers.submit(write, *arguments))

    def write_job(self, first_run: RunSpec | None, max_losses: int) -> None:
        """Write job.json, in another thread: what was asked for, and what workers must know."""
        assert self._record is not None
        options, deadlines = self._options, self._deadlines
        if options.idle_timeout_s is not None:
            deadlines = replace(deadlines, idle_s=options.idle_timeout_s)
        job = JobSpec(
            job_id=self.job_id,
            owner=self._record.user,
            created=self._record.created,
            launcher=options.launcher,
            n_node=options.n_node,
            n_thread=options.n_thread,
            n_mem=options.n_mem,
            queue=options.queue,
            wishes=options.wishes,
            keep_open=not options.single_run,
            first_run=first_run,
            max_losses=max_losses,
            deadlines=deadlines,
        )
        self.write(self.directory.write_job, job)

    def finish_writing(self) -> None:
        """Wait for the small files; raise the first failure among them."""
        while self._writing:
            self._writing.pop(0).result()

    def stop_writing(self) -> None:
        """Stop writing: no file may appear after the removal."""
        self._writers.shutdown(cancel_futures=True)

    # -- the record ------------------------------------------------------------------------------

    def submission_begins(self) -> None:
        """Record that from here on there may be an application, though its id is not known."""
        assert self._record is not None
        self._record = registry.update(self._record, application_id=None, submission_began=True)

    def submitted(self, application_id: str | None) -> None:
        """Record the id under which the cluster has accepted the job."""
        assert self._record is not None
        self._record = registry.update(self._record, application_id=application_id)

    # -- the end ---------------------------------------------------------------------------------

    def remove(self, status: LaunchStatus) -> None:
        """Remove directory and record, unless they are to be kept.

        Parameters
        ----------
        status : LaunchStatus
            The launcher's last status of the job.

        Raises
        ------
        JobStateUnknown
            The cluster has not said that the job ended: nothing is removed.
        """
        if self._directory is None or self._record is None:
            return
        if not (status.state.ended or status.state is JobState.NEW):
            raise JobStateUnknown(
                f"{status.application_id or 'the application of job ' + self.job_id} has not "
                "ended, as far as anybody knows: "
                f"{status.diagnostics or status.message or status.state.value}\n"
                f"  Its job directory stays: {self._directory.url}\n"
                f"  next: harpy jobs; harpy kill {self.job_id}"
            )
        if self._options.keep:
            registry.update(self._record, ended=True, final_state=status.state.value)
            return
        try:
            self._directory.remove()
        except StorageError as exc:
            exc.add_note(f"job directory {self._directory.url} may remain; try: harpy clean")
            raise
        registry.forget(self.job_id)


def _resolve_workdir(
    options: SessionOptions, conf: HadoopConf, deadlines: Deadlines
) -> tuple[FileSystem, str]:
    """The file system and URL below which job directories are made."""
    default_fs = "file://" if options.launcher == "local" else conf.default_fs
    given = options.workdir
    if default_fs == "file:" and (given is None or "://" not in given):
        raise ConfigError(
            f"{conf.directory} names no file system of the cluster (fs.defaultFS in "
            "core-site.xml).\n  Point HADOOP_CONF_DIR at the cluster's configuration, or give "
            "workdir as a URL that all nodes can reach: hdfs://… or file://…"
        )
    if given is None:
        fs = filesystem(default_fs, hadoop_conf=conf, deadlines=deadlines)
        return fs, f"{fs.home()}/{options.default_workdir}"
    url = given if "://" in given else default_fs + str(Path("/") / given)
    if urlsplit(url).scheme not in ("hdfs", "file"):
        raise ConfigError(f"workdir must be a path, hdfs:// or file://, got {given!r}")
    return filesystem(url, hadoop_conf=conf, deadlines=deadlines), url.rstrip("/")
