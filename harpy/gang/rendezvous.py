"""The gang as a state machine: who has joined, which run goes on, what failed first, when it ends.

Pure: events in, actions out, the clock passed in. Sockets, threads and files are the hub's.

A member is known by rank and attempt; a higher attempt of a rank supersedes a lower one and a lower
one is refused, whether or not the higher still lives.

A worker that is lost is replaced by its launcher. If the run's communicator has been formed, the
survivors stop, keeping their rows, and when all ranks are there the run begins anew, in a new
epoch, from its last checkpoint; before that only the replacement begins. A gang that lost more
workers than it may ends with the first loss as its cause.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harpy.config import Deadlines
from harpy.gang.events import (
    AbortRun,
    Action,
    Admit,
    CancelAsked,
    CloseAsked,
    CommAsked,
    CommitRun,
    Committed,
    DriverJoined,
    DriverLeft,
    EndSession,
    Event,
    Expel,
    Joined,
    Left,
    Refuse,
    Reported,
    RunOffered,
    SendPeers,
    StartRun,
    Supersede,
    TellDriver,
    Tick,
)
from harpy.wire import to_driver
from harpy.wire.failure import Failure
from harpy.wire.member import Member
from harpy.wire.run_spec import RunSpec

DRIVER_GRACE_S = 3.0  # for a driver that lost its connection to come back
EPOCHS_PER_HUB = 1 << 20  # so that a hub that takes another's place counts on from above


@dataclass
class _Run:
    """A run in one epoch. With `broken_at` set it stops, to begin anew in the next one; with
    `failed_at` it stops for good."""

    spec: RunSpec
    epoch: int
    started: set[int] = field(default_factory=set)  # ranks that were told
    done: set[int] = field(default_factory=set)
    stopped: set[int] = field(default_factory=set)  # their programs failed, or were stopped
    asked: set[int] = field(default_factory=set)  # ranks that wait for the communicator
    asked_at: float = 0.0
    formed: bool = False
    committing: bool = False
    unheard: bool = False  # for a while there was no driver to hear what it delivers
    broken_at: float | None = None
    broken_by: Failure | None = None  # the echo, where nobody is known to be lost
    break_settled: bool = False  # whether the break has been counted as a loss, or is none
    cause: Failure | None = None
    failed_at: float | None = None

    @property
    def goes_on(self) -> bool:
        return self.failed_at is None and self.broken_at is None

    def outstanding(self, members: dict[int, Member]) -> tuple[int, ...]:
        """Ranks that live and have not reported."""
        return tuple(sorted((self.started & members.keys()) - self.done - self.stopped))

    def forget(self, rank: int) -> None:
        """As if this rank had not begun."""
        for ranks in (self.started, self.done, self.stopped, self.asked):
            ranks.discard(rank)


class Gang:
    """One session as rank 0's hub sees it.

    Parameters
    ----------
    n_node : int
        Ranks that make the gang complete.
    keep_open : bool
        Wait for more runs after the first.
    first_run : RunSpec or None
        Started without a driver, on each rank as it joins.
    deadlines : Deadlines
    now : float
        Monotonic seconds; the wait for joiners counts from here.
    max_losses : int
        So many workers may be lost, or connections between them break, and the session goes on.
    first_epoch : int
        Above all epochs of the hub before.
    """

    def __init__(
        self,
        n_node: int,
        keep_open: bool,
        first_run: RunSpec | None,
        deadlines: Deadlines,
        now: float,
        max_losses: int = 0,
        first_epoch: int = 1,
    ) -> None:
        self.n_node = n_node
        self.members: dict[int, Member] = {}
        self.ended: EndSession | None = None
        self._keep_open = keep_open or first_run is None
        self._deadlines = deadlines
        self._max_losses = max_losses
        self._idle_since = now
        self.incomplete_since: float | None = now  # None while all ranks are here
        self._been_complete = False
        self._highest: dict[int, int] = {}  # attempt, by rank, living or not
        self._epoch = first_epoch - 1
        self._driver = False
        self._run = self._new_run(first_run) if first_run else None
        self._next: RunSpec | None = None  # offered while the last one winds down
        self._driver_gone_at: float | None = None
        self._closing = False
        self._n_losses = 0
        self._first_loss: Failure | None = None
        self._last_word: TellDriver | None = None  # for a driver that comes late

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event; return what to do, in order."""
        actions: list[Action] = []
        if self.ended is not None:
            if isinstance(event, Joined):
                reason = f"the session has ended: {self.ended.reason}"
                actions.append(self._refusal(event.member, reason))
            return actions
        match event:
            case Joined(member):
                self._joined(member, now, actions)
            case Left():
                self._left(event, now, actions)
            case DriverJoined():
                self._driver_joined(actions)
            case DriverLeft():
                self._driver, self._driver_gone_at = False, now
                self._miss_driver()
            case RunOffered(spec):
                self._run_offered(spec, now, actions)
            case CancelAsked(run, reason):
                if self._run is not None and self._run.spec.run == run:
                    self._fail(Failure("RunError", reason), now, actions)
            case CloseAsked():
                self._closing = True
                if self._run is not None:
                    self._fail(Failure("RunError", "the session was closed"), now, actions)
            case CommAsked():
                self._comm_asked(event, now, actions)
            case Reported():
                self._reported(event, now, actions)
            case Committed():
                self._committed(event, now, actions)
            case Tick():
                self._check_deadlines(now, actions)
        self._begin_anew(now, actions)
        self._wind_down(now, actions)
        self._go_on(now, actions)
        return actions

    # -- who is there ------------------------------------------------------------------------------

    def _joined(self, member: Member, now: float, actions: list[Action]) -> None:
        rank, attempt = member.rank, member.attempt
        if not 0 <= rank < self.n_node:
            actions.append(self._refusal(member, f"the gang has ranks 0 to {self.n_node - 1}"))
            return
        highest = self._highest.get(rank, -1)
        if attempt < highest:
            reason = f"attempt {highest} of rank {rank} has taken its place"
            actions.append(self._refusal(member, reason, superseded=True))
            return
        older = self.members.get(rank)
        if older is not None:
            if older.attempt < attempt:
                actions.append(Supersede(rank, older.attempt))
            self._lose(rank, f"attempt {attempt} took its place", now, actions, counts=False)
        self._highest[rank] = attempt
        self.members[rank] = member
        actions.append(Admit(rank, attempt))
        actions.append(self._joined_message())
        if len(self.members) == self.n_node:
            self.incomplete_since, self._been_complete = None, True
        run = self._run
        if run is not None and run.goes_on:
            run.started.add(rank)
            actions.append(StartRun(rank, run.spec, run.epoch))

    def _left(self, event: Left, now: float, actions: list[Action]) -> None:
        member = self.members.get(event.rank)
        if member is not None and member.attempt == event.attempt:
            # Where nobody is replaced any loss is the end.
            counts = event.counts or self._max_losses == 0
            self._lose(event.rank, event.how, now, actions, counts)

    def _lose(
        self, rank: int, how: str, now: float, actions: list[Action], counts: bool = True
    ) -> None:
        """A worker is gone. Its run breaks if it was in the middle of its collectives."""
        member = self.members.pop(rank)
        if self.incomplete_since is None:
            self.incomplete_since = now
        cause = Failure(
            "WorkerLost",
            f"rank {rank} on {member.host} (process {member.pid}, attempt {member.attempt}) "
            f"is gone: {how}",
            rank,
            member.host,
        )
        actions.append(TellDriver(to_driver.Lost(cause)))
        run = self._run
        settled = run is not None and run.break_settled
        if counts and not settled:
            self._count(cause)
        if run is None or run.failed_at is not None:
            return
        run.forget(rank)
        if self._n_losses > self._max_losses:
            self._fail(self._too_many(), now, actions)
        elif run.broken_at is not None:
            run.break_settled = True
        elif run.formed:
            self._break(cause.message, now, actions)
            run.break_settled = True

    def _count(self, cause: Failure) -> None:
        self._n_losses += 1
        self._first_loss = self._first_loss or cause

    def _too_many(self) -> Failure:
        """The first loss, with the number that came after it."""
        first = self._first_loss
        assert first is not None
        more = self._n_losses - 1
        allowed = f"HARPY_MAX_LOSSES={self._max_losses}"
        words = f"\n  and {more} more in this session ({allowed})" if more else f" ({allowed})"
        return replace(first, message=first.message + words)

    def _driver_joined(self, actions: list[Action]) -> None:
        if self._driver:
            self._miss_driver()  # this is a new connection of it
        self._driver, self._driver_gone_at = True, None
        actions.append(self._joined_message())
        if self._last_word is not None:
            actions.append(self._last_word)

    def _miss_driver(self) -> None:
        """What the current run delivers may have gone nowhere."""
        if self._run is not None:
            self._run.unheard = True

    # -- a run -------------------------------------------------------------------------------------

    def _run_offered(self, spec: RunSpec, now: float, actions: list[Action]) -> None:
        run = self._run
        if run is not None and run.failed_at is None and run.spec.run == spec.run:
            # The driver lost its connection meanwhile, and offers it again.
            if spec.deliver and run.unheard and run.goes_on:
                self._break("the driver may have missed what it delivered", now, actions)
                run.break_settled = True
            return
        if self._closing or self._next is not None or (run is not None and run.failed_at is None):
            busy = f"run {run.spec.run} is still going on" if run else "the session is closing"
            actions.append(
                TellDriver(to_driver.RunFailed(spec.run, Failure("ProtocolError", busy)))
            )
        elif run is not None:
            self._next = spec
        else:
            self._start(spec, actions)

    def _new_run(self, spec: RunSpec) -> _Run:
        self._epoch += 1
        return _Run(spec, self._epoch, unheard=not self._driver)

    def _start(self, spec: RunSpec, actions: list[Action]) -> None:
        run = self._run = self._new_run(spec)
        run.started = set(self.members)
        actions.extend(StartRun(rank, spec, run.epoch) for rank in sorted(self.members))

    def _comm_asked(self, event: CommAsked, now: float, actions: list[Action]) -> None:
        run = self._current(event)
        if run is None or run.formed or not run.goes_on:
            return
        run.asked_at = now if not run.asked else run.asked_at
        run.asked.add(event.rank)
        self._check_nobody_left(run, now, actions)
        if len(run.asked) == self.n_node and run.goes_on:
            run.formed = True
            members = tuple(self.members[r] for r in range(self.n_node))
            actions.append(SendPeers(run.spec.run, run.epoch, members))

    def _check_nobody_left(self, run: _Run, now: float, actions: list[Action]) -> None:
        """A rank that returned without a communicator leaves the others waiting for it."""
        absent = run.done - run.asked
        if run.asked and absent and run.goes_on:
            rank = min(absent)
            message = (
                f"rank {rank} returned from the program without using ctx.comm, for which "
                f"rank {min(run.asked)} waits; every rank must make the same collective calls"
            )
            self._fail(Failure("ProtocolError", message, rank, self._host(rank)), now, actions)

    def _reported(self, event: Reported, now: float, actions: list[Action]) -> None:
        run = self._current(event)
        if run is None:
            return
        failure = event.failure
        if failure is not None:
            run.done.discard(event.rank)
            run.stopped.add(event.rank)
            if not failure.echo:
                self._fail(failure, now, actions)
            elif run.goes_on:
                # Whoever it lost will be missed; or only the connection between them broke.
                self._break(failure.message, now, actions)
                run.broken_by = failure
            return
        run.done.add(event.rank)
        if not run.formed:
            self._check_nobody_left(run, now, actions)
        if run.goes_on and len(run.done) == self.n_node:
            run.committing = True
            actions.append(CommitRun(run.spec.run, run.epoch))

    def _committed(self, event: Committed, now: float, actions: list[Action]) -> None:
        run = self._current(event)
        if run is None or not run.committing or run.failed_at is not None:
            return
        told = TellDriver(to_driver.RunCommitted(event.run, run.spec.deliver, event.result))
        # What went through the driver's connection is gone with it: such a run is offered again.
        if not (run.spec.deliver and run.unheard):
            actions.append(told)
        self._last_word = None if run.spec.deliver else told
        self._run = None
        self._idle_since = now
        if not self._keep_open:
            self._end("its run is done", None, actions)

    # -- beginning anew ----------------------------------------------------------------------------

    def _break(self, why: str, now: float, actions: list[Action]) -> None:
        """Have all stop, to begin the run anew once they have and nobody is missing."""
        run = self._run
        assert run is not None
        run.broken_at = now
        run.committing = False
        ranks = run.outstanding(self.members)
        actions.append(AbortRun(run.spec.run, run.epoch, ranks, why))

    def _begin_anew(self, now: float, actions: list[Action]) -> None:
        run = self._run
        if run is None or run.broken_at is None or run.failed_at is not None or self.ended:
            return
        if run.outstanding(self.members) or len(self.members) < self.n_node:
            return
        if not run.break_settled:
            assert run.broken_by is not None
            self._count(run.broken_by)
            if self._n_losses > self._max_losses:
                self._fail(self._too_many(), now, actions)
                return
        self._start(run.spec, actions)
        epoch = self._run.epoch if self._run else 0
        actions.append(TellDriver(to_driver.BegunAnew(run.spec.run, epoch)))

    # -- failure -----------------------------------------------------------------------------------

    def _fail(self, cause: Failure, now: float, actions: list[Action]) -> None:
        """Note that the current run fails for good; the first cause counts, and is told at once."""
        run = self._run
        assert run is not None
        if run.failed_at is not None:
            return
        run.cause, run.failed_at = cause, now
        self._say(to_driver.RunFailed(run.spec.run, cause), actions)
        where = f"rank {cause.rank} failed: " if cause.rank is not None else ""
        ranks = run.outstanding(self.members)
        reason = f"{where}{cause.message}"
        actions.append(AbortRun(run.spec.run, run.epoch, ranks, reason))

    def _wind_down(self, now: float, actions: list[Action]) -> None:
        """Let go of a failed run once all have stopped."""
        run = self._run
        if run is None or run.failed_at is None or self.ended is not None:
            return
        assert run.cause is not None
        outstanding = run.outstanding(self.members)
        stuck = bool(outstanding) and now - run.failed_at > self._deadlines.abort_s
        if outstanding and not stuck:
            return
        self._run = None
        self._idle_since = now
        if self._closing:
            return
        if stuck:
            ranks = ", ".join(map(str, outstanding))
            reason = f"rank {ranks} did not stop within {self._deadlines.abort_s:g} s"
            self._end(reason, run.cause, actions)
        elif self._lost_too_many or not self._keep_open:
            self._end(f"run {run.spec.run} failed", run.cause, actions)

    @property
    def _lost_too_many(self) -> bool:
        return self._n_losses > self._max_losses

    def _check_deadlines(self, now: float, actions: list[Action]) -> None:
        self._check_complete(now, actions)
        run = self._run
        if run is None:
            here = self.incomplete_since is None
            if here and now - self._idle_since > self._deadlines.idle_s:
                self._end(f"no run for {self._deadlines.idle_s:g} s (HARPY_IDLE_S)", None, actions)
            return
        if run.broken_at is not None and now - run.broken_at > self._deadlines.abort_s:
            for rank in run.outstanding(self.members):
                reason = f"it did not stop within {self._deadlines.abort_s:g} s (HARPY_ABORT_S)"
                actions.append(Expel(rank, self.members[rank].attempt, reason))
        late = run.asked and not run.formed and run.goes_on and self.incomplete_since is None
        if late and now - run.asked_at > self._deadlines.collective_s:
            rank = min(set(range(self.n_node)) - run.asked)
            message = (
                f"rank {min(run.asked)} waited {self._deadlines.collective_s:g} s "
                f"(HARPY_COLLECTIVE_S) in ctx.comm for rank {rank}"
            )
            self._fail(Failure("RunTimeout", message, rank, self._host(rank)), now, actions)

    def _check_complete(self, now: float, actions: list[Action]) -> None:
        """End a session whose missing ranks have not come in time."""
        since, limit = self.incomplete_since, self._deadlines.allocate_s
        if since is None or now - since <= limit or self.ended is not None:
            return
        missing = [str(r) for r in range(self.n_node) if r not in self.members]
        what = "was not replaced" if self._been_complete else "did not join"
        message = (
            f"rank {', '.join(missing)} of {self.n_node} {what} within {limit:g} s "
            "(HARPY_ALLOCATE_S); their containers did not start, or their hosts cannot reach this "
            "one"
        )
        cause = Failure("RendezvousTimeout", message, 0, self._host(0))
        if self._run is not None:
            self._fail(cause, now, actions)
        self._end(message, cause, actions)

    # -- between runs and the end ------------------------------------------------------------------

    def _go_on(self, now: float, actions: list[Action]) -> None:
        """With no run going on: the next one, or the end."""
        if self._run is not None or self.ended is not None:
            return
        if self._closing:
            self._end("closed by the driver", None, actions)
        elif self._lost_too_many:
            cause = self._too_many()
            self._end(cause.message, cause, actions)
        elif self._next is not None:
            spec, self._next = self._next, None
            self._start(spec, actions)
        elif self._driver_gone_at is not None and now - self._driver_gone_at > DRIVER_GRACE_S:
            self._end("the driver is gone", None, actions)

    def _end(self, reason: str, cause: Failure | None, actions: list[Action]) -> None:
        actions.append(TellDriver(to_driver.SessionEnded(reason, cause)))
        self.ended = EndSession(reason, cause)
        actions.append(self.ended)

    def _say(self, message: to_driver.ToDriver, actions: list[Action]) -> None:
        self._last_word = TellDriver(message)
        actions.append(self._last_word)

    # -- small things ------------------------------------------------------------------------------

    def _current(self, event: CommAsked | Reported | Committed) -> _Run | None:
        """The run that a worker speaks of, if it is the one that goes on, in this epoch."""
        run = self._run
        same = run is not None and (run.spec.run, run.epoch) == (event.run, event.epoch)
        return run if same else None

    def _host(self, rank: int) -> str:
        member = self.members.get(rank)
        return member.host if member else ""

    def _joined_message(self) -> TellDriver:
        return TellDriver(to_driver.Joined(len(self.members), self.n_node))

    @staticmethod
    def _refusal(member: Member, reason: str, superseded: bool = False) -> Refuse:
        return Refuse(member.rank, member.attempt, reason, superseded)
