"""The runs of one gang: each is described, offered to the workers and followed to its end.

follower.py decides what to do next; this module receives events and carries decisions out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn, assert_never

from harpy.config import Deadlines
from harpy.errors import LaunchError, PeerLost
from harpy.launch.base import JobState
from harpy.program.source import ProgramSource
from harpy.session.control import ControlChannel, ControlEvent, RunDone
from harpy.session.decisions import (
    ApplicationEnded,
    Connect,
    Connected,
    Done,
    EndApplication,
    Event,
    Failing,
    FindCause,
    HangUp,
    HubLost,
    Listen,
    NotConnected,
    Offer,
    Offered,
    Raise,
    StartAnew,
    Submitted,
    View,
    Wait,
)
from harpy.session.first_cause import first_cause
from harpy.session.follower import FollowedRun, Follower
from harpy.session.gang_job import GangJob
from harpy.session.job_files import JobFiles
from harpy.session.options import SessionOptions
from harpy.session.progress import Progress, Timings
from harpy.session.succession import Succession
from harpy.wire.frames import array_bytes
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_driver import BegunAnew, Lost, Paced, Progressed

INLINE_BYTES = 4 << 20  # parameters up to this size travel with the run, not in a file


class Runs:
    """The runs of one gang, one at a time.

    Attributes
    ----------
    control : ControlChannel or None
        The connection to the hub, while there is one.
    gang_stands : bool
        Whether the last run failed and its gang waits for the next.
    """

    def __init__(
        self,
        options: SessionOptions,
        deadlines: Deadlines,
        job: GangJob,
        files: JobFiles,
        progress: Progress,
        timings: Timings,
    ) -> None:
        self._options, self._deadlines = options, deadlines
        self._job, self._files = job, files
        self._progress, self._timings = progress, timings
        self._succession = Succession(options.n_node, deadlines)
        self._n_runs = 0
        self.control: ControlChannel | None = None
        self.gang_stands = False

    # -- before a run ----------------------------------------------------------------------------

    def describe(
        self, source: ProgramSource, params: Mapping[str, Any], digests: Mapping[str, str]
    ) -> RunSpec:
        """Describe the next run; what is too large for a message goes into the job directory."""
        self._n_runs += 1
        directory = self._files.directory
        if source.text is not None:
            path = directory.program(source.digest)
            if not directory.fs.exists(path):
                self._files.write(directory.fs.write_bytes, path, source.text.encode())
        inline = not self._options.single_run and _is_small(params)
        if not inline:
            self._files.write(directory.run(self._n_runs).write_params, dict(params))
        return RunSpec(
            params=dict(params) if inline else None,
            run=self._n_runs,
            function=source.function,
            module=source.module,
            file=source.digest if source.text is not None else None,
            origin=source.origin,
            data=digests,
            # Results go through the control channel in a kept session; into files where the run
            # must finish without this process, or the files are to be kept.
            deliver=not (self._options.single_run or self._options.keep),
        )

    def travels_with_the_job(self, spec: RunSpec) -> bool:
        """Whether workers find this run in job.json."""
        return self._options.single_run and spec.run == 1

    def follower(
        self, spec: RunSpec, ends_at: float | None, failed_before: bool = False
    ) -> Follower:
        """The follower that decides for a run that was described."""
        run = FollowedRun(
            job_id=self._files.job_id,
            run=spec.run,
            with_the_job=self.travels_with_the_job(spec),
            single_run=self._options.single_run,
            keep=self._options.keep,
            replaces_workers=self._job.max_losses > 0,
            failed_before=failed_before,
            ends_at=ends_at,
        )
        connected = self.control is not None
        return Follower(run, self._deadlines, self._succession, connected)

    def staging_watch(self, spec: RunSpec, follower: Follower) -> Callable[[float], None]:
        """A function to call while the rows of a run are staged; it raises the error that ends the
        run."""

        def watch(fraction: float) -> None:
            failure = follower.while_staging(self._view(spec.run), time.monotonic())
            if failure is not None:
                self._fail(failure)

        return watch

    def watch_gang(self, fraction: float) -> None:
        """The same function for rows that are staged for later runs."""
        if self._job.launcher.status().state.over:
            self._fail(FindCause())

    # -- following a run -------------------------------------------------------------------------

    def follow(self, spec: RunSpec, follower: Follower) -> RunDone:
        """Show the run's progress until it is done; raise its first cause if it fails."""
        decision = follower.begin(self._view(spec.run), time.monotonic())
        while True:
            event: Event = None
            match decision:
                case Done(done):
                    return done
                case Raise() | FindCause():
                    self._fail(decision)
                case Listen(timeout_s):
                    event = self._listen(timeout_s)
                case Wait(timeout_s, stage):
                    if stage is not None:
                        self._progress.stage(stage)
                    time.sleep(timeout_s)
                case Connect(stage):
                    self._progress.stage(stage)
                    event = self._connect()
                case Offer():
                    event = self._offer(spec)
                case HangUp(note):
                    self._progress.note(note)
                    self.hang_up()
                case EndApplication(why):
                    self._job.end_application(why)
                    self.hang_up()
                    event = ApplicationEnded()
                case StartAnew():
                    self._job.renew()
                    self._job.launch_again(self._files)
                    event = Submitted()
                case _:
                    assert_never(decision)
            decision = follower.step(event, self._view(spec.run), time.monotonic())

    def hang_up(self) -> None:
        """Close the connection to the hub; workers finish the active run, then leave."""
        if self.control is not None:
            self.control.close()
            self.control = None

    def _view(self, run: int) -> View:
        status = self._job.launcher.status()
        ended_well = status.state is JobState.SUCCEEDED
        return View(status, ended_well and self._files.directory.run(run).finished())

    def _listen(self, timeout_s: float) -> Event:
        assert self.control is not None
        try:
            event = self.control.next_event(timeout_s)
        except (ConnectionError, PeerLost) as exc:
            return HubLost(exc)
        self._show(event)
        return event

    def _show(self, event: ControlEvent | None) -> None:
        match event:
            case Progressed():
                self._progress.iteration(event.fraction, event.values)
            case Paced():
                self._progress.pace(event.rank, event.host, event.busy)
            case Lost():
                self._progress.note(f"{event.failure.message}; waiting for its replacement")
            case BegunAnew():
                self._progress.note("all workers are there; going on from the last checkpoint")

    def _connect(self) -> Event:
        problem: Exception | None = None
        for hub in self._files.directory.rank0_addresses():  # the highest attempt first
            try:
                self.control = ControlChannel.connect(
                    hub.address, hub.port, self._job.secret, self._files.job_id, self._deadlines
                )
            except (ConnectionError, TimeoutError) as exc:
                problem = exc  # this attempt is gone, or does not listen yet
                continue
            self._timings.mark("connected")
            return Connected()
        return NotConnected(problem)

    def _offer(self, spec: RunSpec) -> Event:
        assert self.control is not None
        with suppress(PeerLost):  # what the hub sent before it closed is read next
            self.control.start_run(spec)
        return Offered()

    def _fail(self, failure: Failing) -> NoReturn:
        """Raise the error of a failed run."""
        if isinstance(failure, Raise):
            error, self.gang_stands = failure.error, failure.gang_stands
        else:
            error = first_cause(self._job.launcher, self._files.job_id, failure.seen)
        if failure.reports_due:
            with suppress(LaunchError):  # raised again when the job is ended
                self._job.launcher.wait(self._deadlines.close_s)
        if failure.problem is not None and failure.problem is not error:
            raise error from failure.problem
        raise error


def _is_small(params: Mapping[str, Any]) -> bool:
    """Whether parameters that passed check_value fit comfortably into a control message."""
    return array_bytes(params) <= INLINE_BYTES and len(repr(params)) <= INLINE_BYTES // 4
