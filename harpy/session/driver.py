"""The driver of a gang: job directory, submission, staging, control channel, results, clean-up.

Owns every trace a session leaves outside its own process until that trace is removed. Knows no
Hadoop (harpy.launch does) and no protocol (harpy.gang does).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from harpy.config import Deadlines, HadoopConf, hadoop_user
from harpy.errors import (
    ConfigError,
    HarpyError,
    JobStateUnknown,
    LaunchError,
    PathExists,
    PeerLost,
    RendezvousTimeout,
    RunTimeout,
    SafeModeError,
    SessionClosed,
    StorageError,
    StoragePermissionError,
)
from harpy.launch.base import (
    FileRange,
    JobState,
    Launcher,
)
from harpy.program.source import ProgramSource
from harpy.session import registry
from harpy.session.control import (
    BegunAnew,
    ControlChannel,
    Lost,
    Paced,
    Progressed,
    RunDone,
    RunFailed,
    SessionEnded,
)
from harpy.session.first_cause import first_cause, make_error
from harpy.session.gang_job import GangJob, Shares
from harpy.session.options import JobInfo, SessionOptions
from harpy.session.progress import Progress
from harpy.storage import (
    FileRows,
    FileSystem,
    JobDirectory,
    PutRows,
    Rows,
    check_rows,
    check_value,
    content_hash,
    filesystem,
    stage_array,
)
from harpy.wire.frames import array_bytes
from harpy.wire.run_spec import JobSpec, RunSpec

logger = logging.getLogger("harpy")

INLINE_BYTES = 4 << 20  # parameters up to this size travel with the run, not in a file
MOST_RANGES = 16  # of a rank's files, by which it is placed: the NameNode is asked for each
POLL_S = 0.05  # how often the driver looks for rank 0, an event or the job's state


class GangDriver:
    """One gang from its job directory to its end. All methods are called from one thread."""

    def __init__(
        self, options: SessionOptions, progress: Progress, conf_dir: Path | None = None
    ) -> None:
        """`conf_dir`: Hadoop's configuration, if not the environment's."""
        self.options = options
        self.deadlines = Deadlines.from_environment()
        self.usable = True  # False once the gang has ended for whatever reason
        self._gang_stands = False  # the last run failed, and its gang waits for the next
        self._progress = progress
        self._job_id = f"{options.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self._started = time.monotonic()
        self._timings: dict[str, float] = {}
        self._job = GangJob(options, self.deadlines, progress, conf_dir)
        self._fs: FileSystem | None = None
        self._directory: JobDirectory | None = None
        self._record: registry.JobRecord | None = None
        self._control: ControlChannel | None = None
        self._staged: set[str] = set()
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="harpy-writer")
        self._writing: list[Future[None]] = []
        self._n_runs = 0
        self._waits_for_replacement = False

    # -- opening ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the job directory, while the launcher starts what is slow."""
        self._launcher.open()
        options = self.options
        self._fs, workdir = self._resolve_workdir()
        with suppress(StoragePermissionError):  # create() below says what to do about it
            # A NameNode that is down is met here, before there is anything to record or remove.
            self._fs.exists(workdir)
        url = f"{workdir}/{self._job_id}"
        self._directory = JobDirectory(self._fs, url)
        self._record = registry.JobRecord.of_this_process(
            self._job_id, url, options.launcher, time.time()
        )
        self._record = registry.update(
            self._record,
            conf_dir=str(self._conf.directory.absolute()) if self._conf.directory else None,
            hadoop_conf=dict(options.hadoop_conf),
            keep=options.keep,
            user=hadoop_user(),
        )
        try:
            self._directory.create()
        except (PathExists, SafeModeError, StoragePermissionError):
            # Removing it would meet the same refusal; whatever was made of it has no rows in it.
            self._directory = None
            registry.forget(self._job_id)
            raise
        self._mark("job_directory")

    def submit(self, first_run: RunSpec | None, shares: Shares = ()) -> None:
        """Check the demand and start the workers, near the files they read if these are known; they
        come up while the driver goes on."""
        assert self._directory and self._record
        options = self.options
        self._write(
            self._directory.write_job,
            {
                "version": 1,
                "job_id": self._job_id,
                "owner": self._record.user,
                "created": self._record.created,
                "launcher": options.launcher,
                "n_node": options.n_node,
                "n_thread": options.n_thread,
                "n_mem": options.n_mem,
                "queue": options.queue,
                "wishes": sorted(options.wishes),
                "keep_open": not options.single_run,
                "first_run": first_run.to_json() if first_run else None,
                "max_losses": self._job.max_losses,
                "deadlines": self._worker_deadlines(),
            },
        )
        self._launch(shares)

    def submit_again(self) -> None:
        """Start workers anew on the job directory as it stands. What is left of the older ones is
        fenced by their lower attempts."""
        assert self._directory is not None
        self._launch((), self._directory.begin_generation())

    def _launch(self, shares: Shares, first_attempt: int = 0) -> None:
        assert self._directory and self._record
        self._job.preflight()
        self._mark("preflight")
        self._finish_writing()  # from here on the job needs nothing of us but its data
        self._record = registry.update(self._record, application_id=None, submission_began=True)
        application_id = self._job.submit(self._job_id, self._directory.url, shares, first_attempt)
        self._record = registry.update(self._record, application_id=application_id)
        self._mark("submitted")

    # -- runs ------------------------------------------------------------------------------------

    def resume(self, record: registry.JobRecord, timeout_s: float | None) -> None:
        """Become the driver of a job of one run whose driver and workers are gone: start others on
        its directory and follow the run until it is done."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self.cleaned_up_on_error():
            self._launcher.open()
            self._job_id = record.job_id
            fs = filesystem(record.job_url, hadoop_conf=self._conf, deadlines=self.deadlines)
            self._fs, self._directory = fs, JobDirectory(fs, record.job_url)
            spec = JobSpec.from_json(self._directory.read_job()).first_run
            assert spec is not None
            self._n_runs = spec.run
            self._record = registry.update(record.of_new_driver())
            self.submit_again()
            self._connect(deadline)
            self._follow(spec, deadline, failed_before=False)

    def run(
        self,
        source: ProgramSource,
        params: Mapping[str, Any],
        data: Mapping[str, Rows | PutRows | FileRows],
        timeout_s: float | None,
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """One run from its description to its results."""
        if not self.usable:
            raise SessionClosed("this session has ended; open a new one")
        assert self._directory is not None
        # Before anything changes: a caller's mistake must not cost a kept session.
        check_value(params, "params")
        for array in data.values():
            check_rows(array)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        failed_before, self._gang_stands = self._gang_stands, False
        with self.cleaned_up_on_error():
            self._n_runs += 1
            self._progress.new_run()
            digests = {name: content_hash(array) for name, array in data.items()}
            spec = self._describe_run(source, params, digests)
            with_the_job = self._travels_with_the_job(spec)
            if with_the_job:
                self.submit(spec, _shares(data, self.options.n_node))
            for name, array in data.items():
                self.stage(array, digests[name], deadline)
            self._finish_writing()
            if self._control is None:
                self._connect(deadline)
            if self._control is not None and not with_the_job:
                with suppress(PeerLost):  # what it said before it left is read next
                    self._control.start_run(spec)
            done = self._follow(spec, deadline, failed_before)
            self._mark("ran")
            results = done.read_results(self._directory.run(spec.run))
            self._mark("downloaded")
        return results

    def stage(
        self,
        array: Rows | PutRows | FileRows,
        digest: str | None = None,
        deadline: float | None = None,
    ) -> None:
        """Bring rows to where workers read them, once per content (whose hash is `digest`)."""

        def watch(fraction: float) -> None:
            if self._launcher.status().state.over and not self._over_already():
                raise self._cause(None)
            self._check_deadline(deadline)

        check_rows(array)
        assert self._fs and self._directory
        digest = digest or content_hash(array)
        if digest in self._staged:
            return
        self._progress.stage(f"staging {_described(array)}")
        stage_array(self._fs, self._directory.data(digest), array, self.options.n_node, watch)
        self._staged.add(digest)
        self._mark("staged")

    def _describe_run(
        self, source: ProgramSource, params: Mapping[str, Any], digests: Mapping[str, str]
    ) -> RunSpec:
        """Say what to run; what is too large for a message goes into the job directory."""
        assert self._fs and self._directory
        if source.text is not None:
            path = self._directory.program(source.digest)
            if not self._fs.exists(path):
                self._write(self._fs.write_bytes, path, source.text.encode())
        inline = not self.options.single_run and _is_small(params)
        if not inline:
            self._write(self._directory.run(self._n_runs).write_params, dict(params))
        return RunSpec(
            params=dict(params) if inline else None,
            run=self._n_runs,
            function=source.function,
            module=source.module,
            file=source.digest if source.text is not None else None,
            origin=source.origin,
            data=digests,
            # Through the control channel in a kept session; into files where the run must be able
            # to finish without this process, or somebody wants to find them.
            deliver=not (self.options.single_run or self.options.keep),
        )

    def _write(self, write: Callable[..., None], *arguments: Any) -> None:
        """Begin to write a small file: HDFS takes half a second to close one, whatever its size."""
        self._writing.append(self._writers.submit(write, *arguments))

    def _finish_writing(self) -> None:
        """Wait for the small files; raise the first failure among them."""
        while self._writing:
            self._writing.pop(0).result()

    def _connect(self, run_deadline: float | None) -> None:
        """Wait until rank 0 can be reached, saying meanwhile what the cluster says. A single run
        may be over before: then there is nobody to connect to."""
        assert self._directory is not None
        deadline = time.monotonic() + self.deadlines.allocate_s
        refused: Exception | None = None
        while True:
            status = self._launcher.status()
            if self._over_already():
                return
            if status.state.over or status.final_failure is not None:
                raise self._cause(None)
            if self._start_anew_if_stuck():
                continue
            self._progress.stage(status.message or "waiting for workers")
            for hub in self._directory.rank0_addresses():  # the highest attempt first
                try:
                    self._control = ControlChannel.connect(
                        hub.address, hub.port, self._job.secret, self._job_id, self.deadlines
                    )
                except (ConnectionError, TimeoutError) as exc:
                    refused = exc  # an attempt that is gone, or not listening yet
                    continue
                self._mark("connected")
                self._waits_for_replacement = False
                return
            self._check_deadline(run_deadline)
            if time.monotonic() > deadline:
                raise RendezvousTimeout(
                    f"no worker of job {self._job_id} could be reached within "
                    f"{self.deadlines.allocate_s:g} s (HARPY_ALLOCATE_S): "
                    f"{refused or status.message or 'rank 0 never started'}"
                ) from refused
            time.sleep(POLL_S)

    def _follow(self, spec: RunSpec, deadline: float | None, failed_before: bool) -> RunDone:
        """Show the run's progress until it is done; raise its first cause if it fails."""
        while True:
            try:
                if self._control is None:
                    raise PeerLost("the run was over before the driver could connect")
                event = self._control.next_event(POLL_S)
            except (ConnectionError, PeerLost) as exc:
                if self._over_already():
                    return RunDone(spec.run)
                self._connect_anew(spec, exc, deadline)
                continue
            if isinstance(event, RunDone) and event.run == spec.run:
                return event
            if isinstance(event, RunFailed) and event.run == spec.run:
                cause = self._cause_of_run(event)
                if self.options.keep and not self._gang_stands:
                    # Workers end by themselves once their reports, which are to be kept, are there.
                    with suppress(LaunchError):  # ending the job meets it again
                        self._launcher.wait(self.deadlines.close_s)
                raise cause
            if isinstance(event, SessionEnded):
                ended = SessionClosed(f"the session ended: {event.reason}; open a new one")
                # The launcher's first failure would be that of the run before, which was told.
                raise ended if failed_before else self._cause(ended)
            if isinstance(event, Progressed):
                self._progress.iteration(event.fraction, event.values)
            elif isinstance(event, Paced):
                self._progress.pace(event.rank, event.host, event.busy)
            elif isinstance(event, Lost):
                self._progress.note(f"{event.message}; waiting for its replacement")
                self._waits_for_replacement = True
            elif isinstance(event, BegunAnew):
                self._waits_for_replacement = False
                self._progress.note("all workers are there; going on from the last checkpoint")
            elif event is None:
                status = self._launcher.status()
                if status.state.over or status.final_failure is not None:
                    raise self._cause(None)
                if self._start_anew_if_stuck():
                    self._reconnect(spec, deadline)
                self._check_deadline(deadline)

    def _connect_anew(self, spec: RunSpec, lost: Exception, deadline: float | None) -> None:
        """Find the hub of rank 0's replacement; raise the cause if the gang is ending instead."""
        if self._control is None or self._launcher.status().state.over or not self._job.max_losses:
            raise self._cause(lost) from lost
        self._progress.note(f"lost rank 0 ({lost}); waiting for its replacement")
        self._waits_for_replacement = True
        self._reconnect(spec, deadline)

    def _reconnect(self, spec: RunSpec, deadline: float | None) -> None:
        """Find the hub, wherever it is now, and go on with the run there."""
        assert self._control is not None
        self._control.close()
        self._control = None
        self._connect(deadline)
        if self._control is not None and not self._travels_with_the_job(spec):
            with suppress(PeerLost):  # it is met again at the next look
                self._control.start_run(spec)

    def _start_anew_if_stuck(self) -> bool:
        """Put another application in the place of one that cannot get on by itself; its workers go
        on from the last checkpoint. False if there is no need to."""
        why = self._job.why_stuck(self._waits_for_replacement)
        if why is None:
            return False
        self._job.end_stuck(why)
        self._waits_for_replacement = False
        self.submit_again()
        return True

    def _travels_with_the_job(self, spec: RunSpec) -> bool:
        """Whether workers find this run in job.json."""
        return self.options.single_run and spec.run == 1

    def _over_already(self) -> bool:
        """Whether the only run of this session has ended well, even if nobody told us."""
        assert self._directory is not None
        ended_well = self._launcher.status().state is JobState.SUCCEEDED
        return ended_well and self._directory.run(self._n_runs).finished()

    def _check_deadline(self, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise RunTimeout(f"run {self._n_runs} of job {self._job_id} passed its timeout_s")

    # -- causes ----------------------------------------------------------------------------------

    def _cause_of_run(self, event: RunFailed) -> HarpyError:
        """The error of a run whose gang could still say what happened."""
        if event.kind == "WorkerLost":
            # The gang saw a silent peer; the launcher may know how it died.
            return self._cause(make_error(event.kind, event.message, event.rank, event.host))
        self._gang_stands = not self.options.single_run and event.kind != "RendezvousTimeout"
        return make_error(event.kind, event.message, event.rank, event.host, event.detail)

    def _cause(self, seen: Exception | None) -> HarpyError:
        """The first cause of the gang's end, as far as anybody knows it."""
        return first_cause(self._launcher, self._job_id, seen)

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Tell the gang to end, wait until the cluster agrees, remove what is left."""
        if not self.usable:
            return None
        if self._control is None and self._launcher.status().state is not JobState.NEW:
            return self.abandon("closed before its first run")
        self._progress.stage("closing")
        self.usable = False
        try:
            if self._control is not None:
                self._control.close_session()
                status = self._launcher.wait(self.deadlines.close_s)
                if not status.state.ended:
                    self._launcher.kill(f"did not end within {self.deadlines.close_s:g} s")
            self._mark("closed")
        finally:
            self._release()

    def abandon(self, reason: str) -> None:
        """Kill the job and remove what is left."""
        if not self.usable:
            return
        self.usable = False
        try:
            if not self._launcher.status().state.ended:
                self._progress.stage(f"killing {self._job_id}")
                self._launcher.kill(reason)
        finally:
            self._release()

    @contextmanager
    def cleaned_up_on_error(self) -> Iterator[None]:
        """Whatever goes wrong inside, Ctrl-C included, ends the job and removes its traces, except
        the failure of a program in a kept session, whose gang waits for the next run.

        Raises
        ------
        JobStateUnknown
            In the place of that error: the job may go on, and its traces stay.
        """
        try:
            yield
        except BaseException as exc:
            if not self._gang_stands or self._launcher.status().state.over:
                try:
                    self.abandon(type(exc).__name__)
                except JobStateUnknown as problem:
                    raise problem from exc
                except HarpyError as problem:
                    exc.add_note(f"and cleaning up failed: {problem}; try: harpy clean")
            raise

    def _release(self) -> None:
        """Close what this process holds, then the job directory and the record of the job."""
        try:
            self._writers.shutdown(cancel_futures=True)  # no file may appear after the removal
            if self._control is not None:
                self._control.close()
        finally:
            self._launcher.close()
        if self._directory is None or self._record is None:
            return
        status = self._launcher.status()
        if not (status.state.ended or status.state is JobState.NEW):
            raise JobStateUnknown(
                f"{status.application_id or 'the application of job ' + self._job_id} has not "
                "ended, as far as anybody knows: "
                f"{status.diagnostics or status.message or status.state.value}\n"
                f"  Its job directory stays: {self._directory.url}\n"
                f"  next: harpy jobs; harpy kill {self._job_id}"
            )
        if self.options.keep:
            registry.update(self._record, ended=True, final_state=status.state.value)
            return
        try:
            self._directory.remove()
        except StorageError as exc:
            exc.add_note(f"job directory {self._directory.url} may remain; try: harpy clean")
            raise
        registry.forget(self._job_id)

    # -- small things ----------------------------------------------------------------------------

    def job_info(self) -> JobInfo:
        status = self._launcher.status()
        options, grant = self.options, self._job.grant
        return JobInfo(
            id=self._job_id,
            launcher=options.launcher,
            url=self._directory.url if self._directory else None,
            application_id=status.application_id,
            tracking_url=status.tracking_url,
            state=status.state.value,
            failures=status.failures,
            n_node=options.n_node,
            n_thread=grant.n_thread if grant else options.n_thread,
            n_mem=grant.n_mem if grant else options.n_mem,
            timings={**status.timings, **self._timings},
        )

    @property
    def _launcher(self) -> Launcher:
        return self._job.launcher

    @property
    def _conf(self) -> HadoopConf:
        return self._job.conf

    def _resolve_workdir(self) -> tuple[FileSystem, str]:
        """The file system and URL below which job directories are made."""
        default_fs = "file://" if self.options.launcher == "local" else self._conf.default_fs
        given = self.options.workdir
        if default_fs == "file:" and (given is None or "://" not in given):
            raise ConfigError(
                f"{self._conf.directory} names no file system of the cluster (fs.defaultFS in "
                "core-site.xml).\n  Point HADOOP_CONF_DIR at the cluster's configuration, or give "
                "workdir as a URL that all nodes can reach: hdfs://… or file://…"
            )
        if given is None:
            fs = filesystem(default_fs, hadoop_conf=self._conf, deadlines=self.deadlines)
            return fs, f"{fs.home()}/{self.options.default_workdir}"
        url = given if "://" in given else default_fs + str(Path("/") / given)
        if urlsplit(url).scheme not in ("hdfs", "file"):
            raise ConfigError(f"workdir must be a path, hdfs:// or file://, got {given!r}")
        return filesystem(url, hadoop_conf=self._conf, deadlines=self.deadlines), url.rstrip("/")

    def _worker_deadlines(self) -> dict[str, float]:
        from dataclasses import asdict

        chosen = asdict(self.deadlines)
        if self.options.idle_timeout_s is not None:
            chosen["idle_s"] = self.options.idle_timeout_s
        return chosen

    def _mark(self, stage: str) -> None:
        self._timings[stage] = time.monotonic() - self._started


def _shares(data: Mapping[str, Rows | PutRows | FileRows], n_node: int) -> Shares:
    """What each rank reads of the files on HDFS, its largest pieces: they decide where it runs."""
    on_hdfs = [rows for rows in data.values() if isinstance(rows, FileRows) and rows.on_hdfs]
    if not on_hdfs:
        return ()
    shares = []
    for rank in range(n_node):
        ranges = [range_ for rows in on_hdfs for range_ in rows.byte_ranges(rank, n_node)]
        largest = sorted(ranges, key=lambda found: -found[2])[:MOST_RANGES]
        shares.append(tuple(FileRange(*found) for found in largest))
    return tuple(shares)


def _described(rows: Rows | PutRows | FileRows) -> str:
    if isinstance(rows, FileRows):
        return f"nothing: {len(rows.files)} {rows.format} files are read where they lie"
    return f"{rows.shape[0]} x {rows.shape[1]} {rows.dtype}"


def _is_small(params: Mapping[str, Any]) -> bool:
    """Whether parameters that passed check_value fit comfortably into a control message."""
    return array_bytes(params) <= INLINE_BYTES and len(repr(params)) <= INLINE_BYTES // 4
