"""The state of a run: offered, begun in an epoch, its communicator forming, then done or failed; or
begun anew after a loss.

Pure: the clock is passed in with each step. Who is present, and which losses count, is
membership.py's; which run comes next is gang.py's.

Until the communicator has formed a lost rank's replacement begins alone. From then on a loss breaks
the run: the survivors stop, keeping their rows, and when all ranks are present the run begins anew
from its last checkpoint, in a new epoch.

==========  ========  ==========  ================================================================
state       trigger   becomes     when, and what is done
==========  ========  ==========  ================================================================
OFFERED     BEGIN     BEGUN       no other run goes on: present ranks start it, later ones as they
                                  join
BEGUN       ASK       FORMING     the first rank touches ctx.comm
FORMING     WITHDRAW  BEGUN       the last of those that asked is lost
FORMING     FORM      FORMED      all ranks have asked: they get each other's addresses
BEGUN       FINISH    COMMITTING  all ranks have returned, without a communicator: rank 0 commits
FORMED      FINISH    COMMITTING  all ranks have returned: rank 0 commits
COMMITTING  FINISH    COMMITTING  there was no communicator, a rank was lost after it had returned,
                                  and its replacement has also returned: rank 0 commits again
COMMITTING  ASK       FORMING     there was no communicator, a rank was lost after it had returned,
                                  and its replacement touches ctx.comm, unlike the others
COMMITTING  COMMIT    DONE        rank 0 has made the results final: the driver is told
BEGUN       BREAK     RESTARTING  a connection between ranks broke, or the driver missed what was
                                  delivered: all stop
FORMING     BREAK     RESTARTING  the same
FORMED      BREAK     RESTARTING  the same, or a rank is lost
COMMITTING  BREAK     RESTARTING  the same as in FORMED, if there is a communicator
RESTARTING  RESTART   BEGUN       all have stopped, all ranks are present: all start it again
BEGUN       FAIL      FAILING     a program raised, a deadline passed, the driver cancels, or the
                                  session has lost too many: the driver is told, all stop
FORMING     FAIL      FAILING     the same, or a rank returned without the communicator
FORMED      FAIL      FAILING     the same as in BEGUN
COMMITTING  FAIL      FAILING     the same, or the results cannot be made final
RESTARTING  FAIL      FAILING     the same as in BEGUN
FAILING     STOP      FAILED      all have stopped, or have had HARPY_ABORT_S for it
==========  ========  ==========  ================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from harpy.config import Deadlines
from harpy.gang.events import (
    AbortRun,
    CommAsked,
    CommitRun,
    Committed,
    Expel,
    Reported,
    SendPeers,
    StartRun,
    Step,
    TellDriver,
)
from harpy.gang.membership import Loss, Membership
from harpy.wire import to_driver
from harpy.wire.failure import Failure
from harpy.wire.run_spec import RunSpec


class RunState(Enum):
    """How far a run has got; DONE and FAILED are final."""

    OFFERED = auto()
    BEGUN = auto()
    FORMING = auto()
    FORMED = auto()
    COMMITTING = auto()
    RESTARTING = auto()
    FAILING = auto()
    FAILED = auto()
    DONE = auto()


class RunTrigger(Enum):
    """What moves a run from one state to another."""

    BEGIN = auto()
    ASK = auto()
    WITHDRAW = auto()
    FORM = auto()
    FINISH = auto()
    COMMIT = auto()
    BREAK = auto()
    RESTART = auto()
    FAIL = auto()
    STOP = auto()


RUN_TRANSITIONS = {
    (RunState.OFFERED, RunTrigger.BEGIN): RunState.BEGUN,
    (RunState.BEGUN, RunTrigger.ASK): RunState.FORMING,
    (RunState.FORMING, RunTrigger.WITHDRAW): RunState.BEGUN,
    (RunState.FORMING, RunTrigger.FORM): RunState.FORMED,
    (RunState.BEGUN, RunTrigger.FINISH): RunState.COMMITTING,
    (RunState.FORMED, RunTrigger.FINISH): RunState.COMMITTING,
    (RunState.COMMITTING, RunTrigger.FINISH): RunState.COMMITTING,
    (RunState.COMMITTING, RunTrigger.ASK): RunState.FORMING,
    (RunState.COMMITTING, RunTrigger.COMMIT): RunState.DONE,
    (RunState.BEGUN, RunTrigger.BREAK): RunState.RESTARTING,
    (RunState.FORMING, RunTrigger.BREAK): RunState.RESTARTING,
    (RunState.FORMED, RunTrigger.BREAK): RunState.RESTARTING,
    (RunState.COMMITTING, RunTrigger.BREAK): RunState.RESTARTING,
    (RunState.RESTARTING, RunTrigger.RESTART): RunState.BEGUN,
    (RunState.BEGUN, RunTrigger.FAIL): RunState.FAILING,
    (RunState.FORMING, RunTrigger.FAIL): RunState.FAILING,
    (RunState.FORMED, RunTrigger.FAIL): RunState.FAILING,
    (RunState.COMMITTING, RunTrigger.FAIL): RunState.FAILING,
    (RunState.RESTARTING, RunTrigger.FAIL): RunState.FAILING,
    (RunState.FAILING, RunTrigger.STOP): RunState.FAILED,
}
ACTIVE_STATES = {RunState.BEGUN, RunState.FORMING, RunState.FORMED, RunState.COMMITTING}


@dataclass
class _Epoch:
    """One beginning of a run, and what is known of it."""

    number: int
    driver_absent: bool = False  # for a while no driver was connected to receive what it delivers
    started: set[int] = field(default_factory=set)  # ranks to which it was sent
    done: set[int] = field(default_factory=set)
    stopped: set[int] = field(default_factory=set)  # ranks whose programs failed, or were stopped
    asked: set[int] = field(default_factory=set)  # ranks that wait for the communicator, or have it
    asked_at: float = 0.0
    has_communicator: bool = False
    broken_at: float | None = None
    broken_by: Failure | None = None  # the echo, where no worker is known to be lost
    break_explained: bool = False  # what broke it has been counted as a loss, or does not count

    def forget(self, rank: int) -> None:
        """Treat this rank as if it had not begun."""
        for ranks in (self.started, self.done, self.stopped, self.asked):
            ranks.discard(rank)


class Run:
    """One run from its offer to its end, as the hub sees it.

    Parameters
    ----------
    spec : RunSpec
    membership : Membership
        Of the session; says who is present, and counts broken connections as losses.
    deadlines : Deadlines

    Attributes
    ----------
    cause : Failure or None
        Why it fails.
    outcome : TellDriver or None
        How it ended, for a driver that connects later; None where results went to the driver.
    stuck : tuple of int
        Ranks that did not stop in time when it failed.
    """

    def __init__(self, spec: RunSpec, membership: Membership, deadlines: Deadlines) -> None:
        self.spec = spec
        self.state = RunState.OFFERED
        self.cause: Failure | None = None
        self.outcome: TellDriver | None = None
        self.stuck: tuple[int, ...] = ()
        self._membership = membership
        self._deadlines = deadlines
        self._failed_at = 0.0
        self._epoch = _Epoch(0)

    # -- questions ---------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Of its last beginning; all messages about the run carry this number."""
        return self._epoch.number

    @property
    def active(self) -> bool:
        """Whether it has begun and no rank was told to stop."""
        return self.state in ACTIVE_STATES

    @property
    def failing(self) -> bool:
        """Whether it has failed and its programs are being stopped."""
        return self.state is RunState.FAILING

    @property
    def over(self) -> bool:
        """Whether it is done or has failed, and nothing of it goes on."""
        return self.state in (RunState.DONE, RunState.FAILED)

    @property
    def counts_losses(self) -> bool:
        """Whether a further loss counts; workers that are lost together count once."""
        return not self._epoch.break_explained

    def is_meant(self, event: CommAsked | Reported | Committed) -> bool:
        """Whether a worker's event is about this run in this epoch."""
        return (self.spec.run, self.epoch) == (event.run, event.epoch)

    def outstanding(self) -> tuple[int, ...]:
        """Ranks that are present and have not reported."""
        started = self._epoch.started & self._membership.members.keys()
        return tuple(sorted(started - self._epoch.done - self._epoch.stopped))

    # -- beginning ---------------------------------------------------------------------------------

    def begin(self, epoch: int, driver_absent: bool, step: Step) -> None:
        """Start it on all ranks that are present."""
        self._move(RunTrigger.BEGIN)
        self._start(epoch, driver_absent, step)

    def restart(self, epoch: int, driver_absent: bool, step: Step) -> None:
        """Start it again, from its last checkpoint."""
        self._move(RunTrigger.RESTART)
        self._start(epoch, driver_absent, step)
        step.do(TellDriver(to_driver.BegunAnew(self.spec.run, epoch)))

    def _start(self, epoch: int, driver_absent: bool, step: Step) -> None:
        self._epoch = _Epoch(epoch, driver_absent)
        for rank in sorted(self._membership.members):
            self.start_on(rank, step)

    def start_on(self, rank: int, step: Step) -> None:
        """Start it on one rank."""
        self._epoch.started.add(rank)
        step.do(StartRun(rank, self.spec, self.epoch))

    # -- events of workers
    # --------------------------------------------------------------------------

    def ask_for_communicator(self, event: CommAsked, step: Step) -> None:
        """A rank waits for the communicator, which forms when all ranks do."""
        if self._epoch.has_communicator or not self.active:
            return
        if not self._epoch.asked:
            self._epoch.asked_at = step.now
        self._epoch.asked.add(event.rank)
        if self.state is not RunState.FORMING:
            self._move(RunTrigger.ASK)
        self._fail_if_one_returned(step)
        if self.state is RunState.FORMING and len(self._epoch.asked) == self._membership.n_node:
            self._move(RunTrigger.FORM)
            self._epoch.has_communicator = True
            members = tuple(member for _, member in sorted(self._membership.members.items()))
            step.do(SendPeers(self.spec.run, self.epoch, members))

    def _fail_if_one_returned(self, step: Step) -> None:
        """A rank that returned without a communicator leaves the others waiting for it."""
        absent = self._epoch.done - self._epoch.asked
        if self._epoch.has_communicator or not self._epoch.asked or not absent or not self.active:
            return
        rank = min(absent)
        message = (
            f"rank {rank} returned from the program without using ctx.comm, for which "
            f"rank {min(self._epoch.asked)} waits; every rank must make the same collective calls"
        )
        self.fail(Failure("ProtocolError", message, rank, self._membership.host(rank)), step)

    def report(self, event: Reported, step: Step) -> None:
        """A program ended."""
        failure = event.failure
        if failure is None:
            self._report_done(event.rank, step)
            return
        self._epoch.done.discard(event.rank)
        self._epoch.stopped.add(event.rank)
        if not failure.echo:
            self.fail(failure, step)
        elif self.active:
            # The lost peer will be missed, unless only the connection to it broke.
            self._break(failure.message, step)
            self._epoch.broken_by = failure

    def _report_done(self, rank: int, step: Step) -> None:
        self._epoch.done.add(rank)
        self._fail_if_one_returned(step)
        if self.active and len(self._epoch.done) == self._membership.n_node:
            self._move(RunTrigger.FINISH)
            step.do(CommitRun(self.spec.run, self.epoch))

    def commit(self, event: Committed, step: Step) -> None:
        """Rank 0 has made the results final."""
        if self.state is not RunState.COMMITTING:
            return
        self._move(RunTrigger.COMMIT)
        told = TellDriver(to_driver.RunCommitted(event.run, self.spec.deliver, event.result))
        # What was sent over a lost connection of the driver is lost: the driver offers the run
        # again.
        if not (self.spec.deliver and self._epoch.driver_absent):
            step.do(told)
        self.outcome = None if self.spec.deliver else told

    # -- losses ------------------------------------------------------------------------------------

    def lose(self, loss: Loss, step: Step) -> None:
        """A rank is gone. While there is no communicator, it counts as not begun."""
        if self.failing:
            return
        self._epoch.forget(loss.rank)
        if self._membership.lost_too_many:
            self.fail(self._membership.too_many_losses(), step)
        elif self.state is RunState.RESTARTING:
            self._epoch.break_explained = True
        elif self._epoch.has_communicator:
            self._break(loss.cause.message, step)
            self._epoch.break_explained = True
        elif self.state is RunState.FORMING and not self._epoch.asked:
            self._move(RunTrigger.WITHDRAW)

    def miss_driver(self) -> None:
        """No driver is connected: what the run delivers may be lost."""
        self._epoch.driver_absent = True

    def repeat_delivery(self, step: Step) -> None:
        """The driver offers the run again, after it had lost its connection."""
        if self._epoch.driver_absent and self.active:
            self._break("the driver may have missed what it delivered", step)
            self._epoch.break_explained = True

    def _break(self, why: str, step: Step) -> None:
        """Stop all ranks, to begin anew once they have stopped and no rank is missing."""
        self._move(RunTrigger.BREAK)
        self._epoch.broken_at = step.now
        step.do(AbortRun(self.spec.run, self.epoch, self.outstanding(), why))

    def can_restart(self, step: Step) -> bool:
        """Whether the run can begin anew now; after one loss too many it fails instead."""
        if self.state is not RunState.RESTARTING:
            return False
        if self.outstanding() or not self._membership.complete:
            return False
        if not self._epoch.break_explained:
            assert self._epoch.broken_by is not None
            self._membership.count_loss(self._epoch.broken_by)
            if self._membership.lost_too_many:
                self.fail(self._membership.too_many_losses(), step)
                return False
        return True

    # -- failure -----------------------------------------------------------------------------------

    def fail(self, cause: Failure, step: Step) -> None:
        """Stop all ranks for good; the first cause counts, and the driver gets it at once."""
        if self.failing:
            return
        self._move(RunTrigger.FAIL)
        self.cause, self._failed_at = cause, step.now
        self.outcome = TellDriver(to_driver.RunFailed(self.spec.run, cause))
        where = f"rank {cause.rank} failed: " if cause.rank is not None else ""
        reason = f"{where}{cause.message}"
        step.do(self.outcome, AbortRun(self.spec.run, self.epoch, self.outstanding(), reason))

    def wind_down(self, step: Step) -> None:
        """End a failing run once all ranks have stopped, or have had time to."""
        if not self.failing:
            return
        outstanding = self.outstanding()
        if outstanding and step.now - self._failed_at <= self._deadlines.abort_s:
            return
        self._move(RunTrigger.STOP)
        self.stuck = outstanding

    def check_deadlines(self, step: Step) -> None:
        """Expel ranks that do not stop; fail the run if a rank keeps others waiting for the
        communicator."""
        deadlines = self._deadlines
        if (
            self._epoch.broken_at is not None
            and step.now - self._epoch.broken_at > deadlines.abort_s
        ):
            reason = f"it did not stop within {deadlines.abort_s:g} s (HARPY_ABORT_S)"
            for rank in self.outstanding():
                step.do(Expel(rank, self._membership.members[rank].attempt, reason))
        waits = self.state is RunState.FORMING and self._membership.complete
        if waits and step.now - self._epoch.asked_at > deadlines.collective_s:
            rank = min(set(range(self._membership.n_node)) - self._epoch.asked)
            message = (
                f"rank {min(self._epoch.asked)} waited {deadlines.collective_s:g} s "
                f"(HARPY_COLLECTIVE_S) in ctx.comm for rank {rank}"
            )
            self.fail(Failure("RunTimeout", message, rank, self._membership.host(rank)), step)

    def _move(self, trigger: RunTrigger) -> None:
        self.state = RUN_TRANSITIONS[self.state, trigger]
