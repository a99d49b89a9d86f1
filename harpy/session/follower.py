"""What a driver does next while it follows one run: events in, decisions out, the clock passed in.

Pure. runs.py receives events and carries out decisions; whether an application is stuck is
succession.py's, which of several failures came first is first_cause.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from harpy.config import Deadlines
from harpy.errors import RendezvousTimeout, RunTimeout, SessionClosed
from harpy.session.control import RunDone
from harpy.session.decisions import (
    Connect,
    Connected,
    Decision,
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
    Raise,
    StartAnew,
    Submitted,
    View,
    Wait,
)
from harpy.session.first_cause import make_error
from harpy.session.succession import Stuck, Succession
from harpy.wire.to_driver import BegunAnew, Lost, RunFailed, SessionEnded

POLL_S = 0.05  # maximum time for which a driver waits, or listens to the hub, between two checks


class Phase(Enum):
    """Where the following of a run stands."""

    CONNECTING = "connecting"  # finding the hub
    FOLLOWING = "following"  # connected to it
    ENDING = "ending"  # a stuck application is being killed
    PAUSED = "paused"  # it is gone; another is submitted when it is time


@dataclass(frozen=True)
class FollowedRun:
    """What a follower must know of its run.

    Attributes
    ----------
    with_the_job : bool
        Workers find it in job.json; else the hub is told of it.
    single_run : bool
        The session is over after it.
    keep : bool
        Whether the files that workers leave in the job directory are wanted.
    replaces_workers : bool
        Lost workers are replaced, rank 0 among them.
    failed_before : bool
        The session's last run failed, and its failure was told.
    ends_at : float or None
        When its timeout passes, on the clock that is passed in.
    """

    job_id: str
    run: int
    with_the_job: bool = False
    single_run: bool = False
    keep: bool = False
    replaces_workers: bool = True
    failed_before: bool = False
    ends_at: float | None = None


class Follower:
    """Decides what a driver does next until a run is done or has failed.

    ==========  ====================  =====================================  ==========
    phase       event                 decision                               then
    ==========  ====================  =====================================  ==========
    CONNECTING  None                  Connect
    CONNECTING  NotConnected          Wait, until the allocation's deadline
    CONNECTING  Connected             Offer, or Listen if sent with the job  FOLLOWING
    FOLLOWING   Offered, other words  Listen
    FOLLOWING   RunDone               Done
    FOLLOWING   RunFailed             Raise, or FindCause of a lost worker
    FOLLOWING   SessionEnded          FindCause, or Raise
    FOLLOWING   HubLost               HangUp, or FindCause at the gang's end CONNECTING
    FOLLOWING   None                  Listen
    ENDING      ApplicationEnded      as PAUSED                              PAUSED
    PAUSED      None                  Wait, StartAnew when it is due
    PAUSED      Submitted             Connect                                CONNECTING
    ==========  ====================  =====================================  ==========

    Whenever nothing came (None) while connecting or following, the launcher is checked first: a run
    that finished meanwhile is Done, a job that is over or lost a worker for good is FindCause,
    one that is stuck EndApplication (then ENDING). In every phase a passed timeout is Raise.

    Parameters
    ----------
    run : FollowedRun
    deadlines : Deadlines
        `allocate_s` counts here.
    succession : Succession
        Of the gang, for all of its runs.
    connected : bool
        Whether the driver is connected to the hub already.
    """

    def __init__(
        self, run: FollowedRun, deadlines: Deadlines, succession: Succession, connected: bool
    ) -> None:
        self._run = run
        self._allocate_s = deadlines.allocate_s
        self._succession = succession
        self.phase = Phase.FOLLOWING if connected else Phase.CONNECTING
        self._allocated_by: float | None = None  # while there is no connection
        # Why the last hub that was tried could not be reached.
        self._unreachable: Exception | None = None
        self._stuck = Stuck("")
        self._resume_at = 0.0  # the end of a pause
        self._paused = ""  # why, for people

    def begin(self, view: View, now: float) -> Decision:
        """The first decision; the outcome of each goes to `step`."""
        if self.phase is Phase.FOLLOWING:
            return self._connected(now)
        return self._connect(view, now)

    def step(self, event: Event, view: View, now: float) -> Decision:
        """The next decision."""
        match self.phase:
            case Phase.CONNECTING:
                return self._while_connecting(event, view, now)
            case Phase.FOLLOWING:
                return self._while_following(event, view, now)
            case Phase.ENDING:
                pause_s = self._succession.pause_s(self._stuck)
                self._resume_at, self.phase = now + pause_s, Phase.PAUSED
                self._paused = f"leaving room to others for {pause_s:.0f} s"
                return self._pause(view, now)
            case Phase.PAUSED if isinstance(event, Submitted):
                self._succession.waits_for_replacement = False
                return self._connect(view, now)
            case Phase.PAUSED:
                return self._pause(view, now)

    def while_staging(self, view: View, now: float) -> Failing | None:
        """What ends the run before its rows are staged; None while there is nothing."""
        if view.status.state.over and not view.finished:
            return FindCause()
        return self._timeout(now)

    # -- one method a phase ------------------------------------------------------------------------

    def _while_connecting(self, event: Event, view: View, now: float) -> Decision:
        if isinstance(event, Connected):
            self._succession.waits_for_replacement = False
            return self._connected(now)
        if isinstance(event, NotConnected):
            self._unreachable = event.problem or self._unreachable
            return self._timeout(now) or self._not_allocated(view, now) or Wait(POLL_S)
        return self._connect(view, now)

    def _while_following(self, event: Event, view: View, now: float) -> Decision:
        mine = self._run.run
        match event:
            case None:
                return self._check_launcher(view, now) or self._timeout(now) or Listen(POLL_S)
            case RunDone(run) if run == mine:
                return Done(event)
            case RunFailed(run) if run == mine:
                return self._failed(event)
            case SessionEnded(reason):
                ended = SessionClosed(f"the session ended: {reason}; open a new one")
                # The launcher's first failure would be that of the run before, which was raised
                # already.
                return Raise(ended) if self._run.failed_before else FindCause(ended)
            case HubLost(problem):
                return self._hub_lost(problem, view)
            case Lost():
                self._succession.waits_for_replacement = True
            case BegunAnew():
                self._succession.waits_for_replacement = False
        return self._timeout(now) or Listen(POLL_S)

    def _pause(self, view: View, now: float) -> Decision:
        """Between two applications, from the first one's end to the time for the next."""
        if view.finished:
            return Done(RunDone(self._run.run))
        passed = self._timeout(now) or self._not_allocated(view, now)
        if passed is not None:
            return passed
        left = self._resume_at - now
        if left <= 0:
            return StartAnew()
        return Wait(min(POLL_S, left), self._paused)

    # -- what several phases share -----------------------------------------------------------------

    def _connected(self, now: float) -> Decision:
        self.phase = Phase.FOLLOWING
        self._allocated_by = self._unreachable = None
        return Listen(POLL_S) if self._run.with_the_job else Offer()

    def _connect(self, view: View, now: float) -> Decision:
        """Find the hub, wherever it is now."""
        self.phase = Phase.CONNECTING
        if self._allocated_by is None:
            self._allocated_by = now + self._allocate_s
        return self._check_launcher(view, now) or Connect(
            view.status.message or "waiting for workers"
        )

    def _check_launcher(self, view: View, now: float) -> Decision | None:
        """The decision that the launcher's status demands; None if it demands none."""
        if view.finished:
            return Done(RunDone(self._run.run))
        if view.status.state.over or view.status.final_failure is not None:
            return FindCause()
        stuck = self._succession.stuck(view.status, now)
        if stuck is None:
            return None
        self._stuck, self.phase = stuck, Phase.ENDING
        return EndApplication(stuck.why)

    def _hub_lost(self, problem: Exception, view: View) -> Decision:
        if view.finished:
            return Done(RunDone(self._run.run))
        if view.status.state.over or not self._run.replaces_workers:
            return FindCause(problem, problem)
        self.phase = Phase.CONNECTING
        self._succession.waits_for_replacement = True
        return HangUp(f"lost rank 0 ({problem}); waiting for its replacement")

    def _failed(self, event: RunFailed) -> Failing:
        """What is raised of a failure that the gang reported."""
        keep, kind, error = self._run.keep, event.failure.kind, make_error(event.failure)
        if kind == "WorkerLost":
            # The gang only saw a silent peer; the launcher may know how its process ended.
            return FindCause(error, reports_due=keep)
        stands = not self._run.single_run and kind != "RendezvousTimeout"
        return Raise(error, gang_stands=stands, reports_due=keep and not stands)

    def _timeout(self, now: float) -> Raise | None:
        ends_at = self._run.ends_at
        if ends_at is None or now <= ends_at:
            return None
        which = f"run {self._run.run} of job {self._run.job_id}"
        return Raise(RunTimeout(f"{which} passed its timeout_s"))

    def _not_allocated(self, view: View, now: float) -> Raise | None:
        if self._allocated_by is None or now <= self._allocated_by:
            return None
        why = self._unreachable or view.status.message or "rank 0 never started"
        error = RendezvousTimeout(
            f"no worker of job {self._run.job_id} could be reached within "
            f"{self._allocate_s:g} s (HARPY_ALLOCATE_S): {why}"
        )
        return Raise(error, self._unreachable)
