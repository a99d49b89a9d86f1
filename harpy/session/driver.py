"""The driver of a gang, from its opening to its end: in any case the job ends and its files are
removed.

The directory and record of a job are job_files.py's, the application that carries it
gang_job.py's, rows staging.py's, runs runs.py's. Knows no Hadoop (harpy.launch does) and no
protocol (harpy.gang does).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from harpy.config import Deadlines
from harpy.errors import HarpyError, JobStateUnknown, SessionClosed
from harpy.launch.base import JobState, Launcher
from harpy.program.source import ProgramSource
from harpy.session.gang_job import GangJob
from harpy.session.job_files import JobFiles
from harpy.session.options import JobInfo, SessionOptions
from harpy.session.progress import Progress, Timings
from harpy.session.registry import JobRecord
from harpy.session.runs import Runs
from harpy.session.staging import AnyRows, Staging, shares_of
from harpy.storage import check_rows, check_value, content_hash


class GangDriver:
    """One gang from its job directory to its end. All methods are called from one thread.

    Parameters
    ----------
    options : SessionOptions
    progress : Progress
    conf_dir : Path, optional
        Hadoop's configuration, if not the environment's.

    Attributes
    ----------
    usable : bool
        False once the gang has ended for whatever reason.
    """

    def __init__(
        self, options: SessionOptions, progress: Progress, conf_dir: Path | None = None
    ) -> None:
        self.options = options
        self.deadlines = deadlines = Deadlines.from_environment()
        self.usable = True
        self._progress = progress
        self._timings = timings = Timings()
        self._job = GangJob(options, deadlines, progress, timings, conf_dir)
        self._files = files = JobFiles(options, deadlines)
        self._staging = Staging(options.n_node, files, progress, timings)
        self._runs = Runs(options, deadlines, self._job, files, progress, timings)

    # -- opening ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the job directory, while the launcher starts what is slow."""
        self._launcher.open()
        self._files.create(self._job.conf)
        self._timings.mark("job_directory")

    def submit(self) -> None:
        """Start the workers of a session for several runs; returns while they are starting."""
        self._files.write_job(None, self._job.max_losses)
        self._job.launch(self._files)

    def resume(self, record: JobRecord, timeout_s: float | None) -> None:
        """Become the driver of a job of one run whose driver and workers are gone: start new
        workers on its directory and follow the run until it is done."""
        ends_at = None if timeout_s is None else time.monotonic() + timeout_s
        with self.cleaned_up_on_error():
            self._launcher.open()
            spec = self._files.take_over(record, self._job.conf).first_run
            assert spec is not None
            self._job.launch_again(self._files)
            self._runs.follow(spec, self._runs.follower(spec, ends_at))

    # -- runs ------------------------------------------------------------------------------------

    def run(
        self,
        source: ProgramSource,
        params: Mapping[str, Any],
        data: Mapping[str, AnyRows],
        timeout_s: float | None,
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """One run from its description to its results."""
        if not self.usable:
            raise SessionClosed("this session has ended; open a new one")
        # Checked before anything changes: a caller's mistake must not end a kept session.
        check_value(params, "params")
        for array in data.values():
            check_rows(array)
        ends_at = None if timeout_s is None else time.monotonic() + timeout_s
        runs, files = self._runs, self._files
        failed_before, runs.gang_stands = runs.gang_stands, False
        with self.cleaned_up_on_error():
            self._progress.new_run()
            digests = {name: content_hash(array) for name, array in data.items()}
            spec = runs.describe(source, params, digests)
            follower = runs.follower(spec, ends_at, failed_before)
            if runs.travels_with_the_job(spec):
                files.write_job(spec, self._job.max_losses)
                self._job.launch(files, shares_of(data, self.options.n_node))
            for name, array in data.items():
                self._staging.stage(array, runs.staging_watch(spec, follower), digests[name])
            files.finish_writing()
            done = runs.follow(spec, follower)
            self._timings.mark("ran")
            results = done.read_results(files.directory.run(spec.run))
            self._timings.mark("downloaded")
        return results

    def stage(self, array: AnyRows) -> None:
        """Stage rows for later runs, once per content."""
        self._staging.stage(array, self._runs.watch_gang)

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End the gang, wait until the cluster says that the job ended, remove its files."""
        if not self.usable:
            return None
        control = self._runs.control
        if control is None and self._launcher.status().state is not JobState.NEW:
            return self.abandon("closed before its first run")
        self._progress.stage("closing")
        self.usable = False
        try:
            if control is not None:
                control.close_session()
                status = self._launcher.wait(self.deadlines.close_s)
                if not status.state.ended:
                    self._launcher.kill(f"did not end within {self.deadlines.close_s:g} s")
            self._timings.mark("closed")
        finally:
            self._release()

    def abandon(self, reason: str) -> None:
        """Kill the job and remove its files."""
        if not self.usable:
            return
        self.usable = False
        try:
            if not self._launcher.status().state.ended:
                self._progress.stage(f"killing {self._files.job_id}")
                self._launcher.kill(reason)
        finally:
            self._release()

    @contextmanager
    def cleaned_up_on_error(self) -> Iterator[None]:
        """Any error inside, Ctrl-C included, ends the job and removes its files, except the failure
        of a program in a kept session, whose gang waits for the next run.

        Raises
        ------
        JobStateUnknown
            Instead of that error: the job may still run, and its files stay.
        """
        try:
            yield
        except BaseException as exc:
            if not self._runs.gang_stands or self._launcher.status().state.over:
                try:
                    self.abandon(type(exc).__name__)
                except JobStateUnknown as problem:
                    raise problem from exc
                except HarpyError as problem:
                    exc.add_note(f"and cleaning up failed: {problem}; try: harpy clean")
            raise

    def _release(self) -> None:
        """Close what this process holds, then remove the job directory and the job's record."""
        try:
            self._files.stop_writing()
            self._runs.hang_up()
        finally:
            self._launcher.close()
        self._files.remove(self._launcher.status())

    # -- small things ----------------------------------------------------------------------------

    def job_info(self) -> JobInfo:
        """The job as it is now."""
        status = self._launcher.status()
        options, grant = self.options, self._job.grant
        return JobInfo(
            id=self._files.job_id,
            launcher=options.launcher,
            url=self._files.url,
            application_id=status.application_id,
            tracking_url=status.tracking_url,
            state=status.state.value,
            failures=status.failures,
            n_node=options.n_node,
            n_thread=grant.n_thread if grant else options.n_thread,
            n_mem=grant.n_mem if grant else options.n_mem,
            timings={**status.timings, **self._timings.reached},
        )

    @property
    def _launcher(self) -> Launcher:
        return self._job.launcher
