"""The gang as a state machine: events in, actions out, the clock passed in.

Owns the session: which run is active, whether a driver is connected, when the session ends. Who is
present is membership.py's, how far a run is run_state.py's; sockets, threads and files are the
hub's.

The launcher replaces a lost worker, and the run begins anew. A gang that has lost more workers than
it may ends with the first loss as its cause.
"""

from __future__ import annotations

from harpy.gang.events import (
    Action,
    CancelAsked,
    CloseAsked,
    CommAsked,
    Committed,
    DriverJoined,
    DriverLeft,
    EndSession,
    Event,
    Joined,
    Left,
    Refuse,
    Reported,
    RunOffered,
    Step,
    TellDriver,
    Tick,
)
from harpy.gang.membership import Loss, Membership
from harpy.gang.run_state import Run
from harpy.wire import to_driver
from harpy.wire.failure import Failure
from harpy.wire.job_spec import JobSpec
from harpy.wire.run_spec import RunSpec

DRIVER_GRACE_S = 3.0  # for a driver that lost its connection to reconnect
EPOCHS_PER_HUB = 1 << 20  # so that a replaced hub's epochs are above those of its predecessor


class Gang:
    """One session as rank 0's hub sees it.

    Parameters
    ----------
    job : JobSpec
        What was asked for; its first run is started without a driver, on each rank as it joins.
    now : float
        Monotonic seconds; the wait for the first members begins here.
    first_epoch : int
        Above all epochs of an earlier hub.

    Attributes
    ----------
    membership : Membership
    run : Run or None
        The run that is active, or whose programs are being stopped.
    ended : EndSession or None
        Set by the last action.
    """

    def __init__(self, job: JobSpec, now: float, first_epoch: int = 1) -> None:
        self.membership = Membership(job.n_node, job.max_losses, job.deadlines.allocate_s, now)
        self.run: Run | None = None
        self.ended: EndSession | None = None
        self._keep_open = job.keep_open or job.first_run is None
        self._deadlines = job.deadlines
        self._epoch = first_epoch - 1
        # Offered while the programs of the last one are being stopped.
        self._next: Run | None = None
        self._idle_since = now
        self._driver = False
        self._driver_gone_at: float | None = None
        self._closing = False
        self._last_outcome: TellDriver | None = None  # for a driver that connects later
        if job.first_run is not None:
            self._begin(self._offered(job.first_run), Step(now))

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event; return what to do, in order."""
        step = Step(now)
        if self.ended is not None:
            if isinstance(event, Joined):
                reason = f"the session has ended: {self.ended.reason}"
                step.do(Refuse(event.member.rank, event.member.attempt, reason))
            return step.actions
        match event:
            case Joined():
                self._join(event, step)
            case Left():
                self._lose(self.membership.leave(event, step), step)
            case CommAsked() | Reported() | Committed():
                self._handle_worker(event, step)
            case Tick():
                self._check_deadlines(step)
            case _:
                self._handle_driver(event, step)
        self._advance(step)
        return step.actions

    # -- members -----------------------------------------------------------------------------------

    def _join(self, event: Joined, step: Step) -> None:
        if self.membership.refuses(event, step):
            return
        self._lose(self.membership.replace(event, step), step)
        self.membership.admit(event, step)
        step.do(self._joined_message())
        if self.run is not None and self.run.active:
            self.run.start_on(event.member.rank, step)

    def _lose(self, loss: Loss | None, step: Step) -> None:
        """Count a loss and pass it to the run, which breaks if its communicator has formed."""
        if loss is None:
            return
        run = self.run
        if loss.counts and (run is None or run.counts_losses):
            self.membership.count_loss(loss.cause)
        if run is not None:
            run.lose(loss, step)

    def _handle_worker(self, event: CommAsked | Reported | Committed, step: Step) -> None:
        run = self.run
        if run is None or not run.is_meant(event):
            return
        match event:
            case CommAsked():
                run.ask_for_communicator(event, step)
            case Reported():
                run.report(event, step)
            case Committed():
                run.commit(event, step)

    # -- the driver --------------------------------------------------------------------------------

    def _handle_driver(self, event: Event, step: Step) -> None:
        run = self.run
        match event:
            case DriverJoined():
                self._driver_joined(step)
            case DriverLeft():
                self._driver, self._driver_gone_at = False, step.now
                if run is not None:
                    run.miss_driver()
            case RunOffered(spec):
                self._offer(spec, step)
            case CancelAsked(number, reason):
                if run is not None and run.spec.run == number:
                    run.fail(Failure("RunError", reason), step)
            case CloseAsked():
                self._closing = True
                if run is not None:
                    run.fail(Failure("RunError", "the session was closed"), step)

    def _driver_joined(self, step: Step) -> None:
        run = self.run
        if self._driver and run is not None:
            run.miss_driver()  # it has reconnected: messages may be lost
        self._driver, self._driver_gone_at = True, None
        step.do(self._joined_message())
        outcome = run.outcome if run is not None and run.failing else self._last_outcome
        if outcome is not None:
            step.do(outcome)

    def _joined_message(self) -> TellDriver:
        membership = self.membership
        return TellDriver(to_driver.Joined(len(membership.members), membership.n_node))

    # -- from run to run ---------------------------------------------------------------------------

    def _offer(self, spec: RunSpec, step: Step) -> None:
        """Begin a run now, or once the failing one has stopped; refuse it while another is
        active."""
        run = self.run
        if run is not None and not run.failing and run.spec.run == spec.run:
            if spec.deliver:
                run.repeat_delivery(step)
        elif self._closing or self._next is not None or (run is not None and not run.failing):
            busy = f"run {run.spec.run} is still going on" if run else "the session is closing"
            refusal = to_driver.RunFailed(spec.run, Failure("ProtocolError", busy))
            step.do(TellDriver(refusal))
        elif run is not None:
            self._next = self._offered(spec)
        else:
            self._begin(self._offered(spec), step)

    def _offered(self, spec: RunSpec) -> Run:
        return Run(spec, self.membership, self._deadlines)

    def _begin(self, run: Run, step: Step) -> None:
        self.run = run
        run.begin(self._next_epoch(), not self._driver, step)

    def _next_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def _check_deadlines(self, step: Step) -> None:
        overdue = self.membership.overdue(step.now)
        if overdue is not None:
            if self.run is not None:
                self.run.fail(overdue, step)
            self._end(overdue.message, overdue, step)
        if self.run is not None:
            self.run.check_deadlines(step)
        elif self.membership.complete and step.now - self._idle_since > self._deadlines.idle_s:
            self._end(f"no run for {self._deadlines.idle_s:g} s (HARPY_IDLE_S)", None, step)

    def _advance(self, step: Step) -> None:
        """After every event: restart or end the run, and begin the next one, as far as possible."""
        run = self.run
        if run is not None and self.ended is None:
            if run.can_restart(step):
                run.restart(self._next_epoch(), not self._driver, step)
            run.wind_down(step)
            if run.over:
                self._finish_run(run, step)
        if self.run is None and self.ended is None:
            self._begin_next_or_end(step)

    def _finish_run(self, run: Run, step: Step) -> None:
        """Leave a run that is over; end the session if nothing can follow."""
        self.run = None
        self._last_outcome = run.outcome
        self._idle_since = step.now
        if run.cause is None:
            if not self._keep_open:
                self._end("its run is done", None, step)
        elif self._closing:
            pass  # the session ends below, without a cause
        elif run.stuck:
            ranks = ", ".join(map(str, run.stuck))
            reason = f"rank {ranks} did not stop within {self._deadlines.abort_s:g} s"
            self._end(reason, run.cause, step)
        elif self.membership.lost_too_many or not self._keep_open:
            self._end(f"run {run.spec.run} failed", run.cause, step)

    def _begin_next_or_end(self, step: Step) -> None:
        """While no run is active: begin the next one, or end the session."""
        if self._closing:
            self._end("closed by the driver", None, step)
        elif self.membership.lost_too_many:
            cause = self.membership.too_many_losses()
            self._end(cause.message, cause, step)
        elif self._next is not None:
            run, self._next = self._next, None
            self._begin(run, step)
        elif self._driver_gone_at is not None and step.now - self._driver_gone_at > DRIVER_GRACE_S:
            self._end("the driver is gone", None, step)

    def _end(self, reason: str, cause: Failure | None, step: Step) -> None:
        self.ended = EndSession(reason, cause)
        step.do(TellDriver(to_driver.SessionEnded(reason, cause)), self.ended)
