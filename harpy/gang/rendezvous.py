"""The gang as a state machine: who has joined, which run goes on, what failed first, when it ends.

Pure: events in, actions out, the clock passed in. Sockets, threads and files are the hub's.

A member is known by rank and attempt; a higher attempt of a rank supersedes a lower one and a lower
one is refused, whether or not the higher still lives. Every formed communicator has an epoch of its
own. A lost worker fails its run and ends the session: this is where recovery will take over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harpy.config import Deadlines
from harpy.gang.cause import Cause
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
    Joined,
    Left,
    Member,
    Refuse,
    Reported,
    RunOffered,
    SendPeers,
    StartRun,
    Supersede,
    TellDriver,
    Tick,
)
from harpy.gang.run_spec import RunSpec

ECHO_GRACE_S = 3.0  # how long an echo waits for word of the first cause


@dataclass
class _Run:
    """The run that goes on. `failed_at` is set by the first failure; then it only winds down."""

    spec: RunSpec
    started: set[int] = field(default_factory=set)  # ranks that were told
    done: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    asked: set[int] = field(default_factory=set)  # ranks that wait for the communicator
    asked_at: float = 0.0
    formed: bool = False
    committing: bool = False
    cause: Cause | None = None
    failed_at: float | None = None
    told: bool = False  # the driver knows the cause

    def outstanding(self, members: dict[int, Member]) -> set[int]:
        """Ranks that live and have not reported."""
        return (self.started & members.keys()) - self.done - self.failed


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
    """

    def __init__(
        self,
        n_node: int,
        keep_open: bool,
        first_run: RunSpec | None,
        deadlines: Deadlines,
        now: float,
    ) -> None:
        self.n_node = n_node
        self.members: dict[int, Member] = {}
        self.ended: EndSession | None = None
        self._keep_open = keep_open or first_run is None
        self._deadlines = deadlines
        self._started_at = now
        self._idle_since = now
        self.complete = False  # all ranks have been here at once
        self._highest: dict[int, int] = {}  # attempt, by rank, living or not
        self._epoch = 0
        self._run = _Run(first_run) if first_run else None
        self._next: RunSpec | None = None  # offered while the last one winds down
        self._driver = False
        self._driver_gone = False
        self._closing = False
        self._lost: Cause | None = None
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
                self._driver, self._driver_gone = False, True
            case RunOffered(spec):
                self._run_offered(spec, now, actions)
            case CancelAsked(run, reason):
                if self._run is not None and self._run.spec.run == run:
                    self._fail(Cause("RunError", reason), now, actions)
            case CloseAsked():
                self._closing = True
                if self._run is not None:
                    self._fail(Cause("RunError", "the session was closed"), now, actions)
            case CommAsked(rank, run):
                self._comm_asked(rank, run, now, actions)
            case Reported():
                self._reported(event, now, actions)
            case Committed():
                self._committed(event, now, actions)
            case Tick():
                self._check_deadlines(now, actions)
        self._wind_down(now, actions)
        self._go_on(now, actions)
        return actions

    # -- who is there ------------------------------------------------------------------------------

    def _joined(self, member: Member, now: float, actions: list[Action]) -> None:
        rank, attempt = member.rank, member.attempt
        highest = self._highest.get(rank, -1)
        if not 0 <= rank < self.n_node:
            actions.append(self._refusal(member, f"the gang has ranks 0 to {self.n_node - 1}"))
            return
        if attempt < highest:
            reason = f"attempt {highest} of rank {rank} has taken its place"
            actions.append(self._refusal(member, reason, superseded=True))
            return
        if attempt == highest:
            actions.append(self._refusal(member, f"attempt {attempt} of rank {rank} came before"))
            return
        self._highest[rank] = attempt
        older = self.members.get(rank)
        if older is not None:
            actions.append(Supersede(rank, older.attempt))
            self._lose(rank, f"attempt {attempt} took its place", now, actions)
        self.members[rank] = member
        actions.append(Admit(rank, attempt))
        actions.append(self._joined_message())
        self.complete |= len(self.members) == self.n_node
        run = self._run
        if run is not None and run.failed_at is None:
            run.started.add(rank)
            actions.append(StartRun(rank, run.spec))

    def _left(self, event: Left, now: float, actions: list[Action]) -> None:
        member = self.members.get(event.rank)
        if member is not None and member.attempt == event.attempt:
            self._lose(event.rank, event.how, now, actions)

    def _lose(self, rank: int, how: str, now: float, actions: list[Action]) -> None:
        member = self.members.pop(rank)
        cause = Cause(
            "WorkerLost",
            f"rank {rank} on {member.host} (process {member.pid}, attempt {member.attempt}) "
            f"is gone: {how}",
            rank,
            member.host,
        )
        self._lost = self._lost or cause
        if self._run is not None:
            self._fail(cause, now, actions)

    def _driver_joined(self, actions: list[Action]) -> None:
        self._driver, self._driver_gone = True, False
        actions.append(self._joined_message())
        if self._last_word is not None:
            actions.append(self._last_word)

    # -- a run -------------------------------------------------------------------------------------

    def _run_offered(self, spec: RunSpec, now: float, actions: list[Action]) -> None:
        run = self._run
        if self._closing or self._next is not None or (run is not None and run.failed_at is None):
            busy = f"run {run.spec.run} is still going on" if run else "the session is closing"
            actions.append(_run_failed(spec.run, Cause("ProtocolError", busy)))
        elif run is not None:
            self._next = spec
        else:
            self._start(spec, actions)

    def _start(self, spec: RunSpec, actions: list[Action]) -> None:
        self._run = _Run(spec, started=set(self.members))
        actions.extend(StartRun(rank, spec) for rank in sorted(self.members))

    def _comm_asked(self, rank: int, run_number: int, now: float, actions: list[Action]) -> None:
        run = self._current(run_number)
        if run is None or run.formed or run.failed_at is not None:
            return
        run.asked_at = now if not run.asked else run.asked_at
        run.asked.add(rank)
        self._check_nobody_left(run, now, actions)
        if len(run.asked) == self.n_node and run.failed_at is None:
            self._epoch += 1
            run.formed = True
            members = tuple(self.members[r] for r in range(self.n_node))
            actions.append(SendPeers(run.spec.run, self._epoch, members))

    def _check_nobody_left(self, run: _Run, now: float, actions: list[Action]) -> None:
        """A rank that returned without a communicator leaves the others waiting for it."""
        absent = run.done - run.asked
        if run.asked and absent and run.failed_at is None:
            rank = min(absent)
            message = (
                f"rank {rank} returned from the program without using ctx.comm, for which "
                f"rank {min(run.asked)} waits; every rank must make the same collective calls"
            )
            self._fail(Cause("ProtocolError", message, rank, self._host(rank)), now, actions)

    def _reported(self, event: Reported, now: float, actions: list[Action]) -> None:
        run = self._current(event.run)
        if run is None:
            return
        if event.failure is not None:
            run.done.discard(event.rank)
            run.failed.add(event.rank)
            self._fail(event.failure, now, actions)
            return
        run.done.add(event.rank)
        if not run.formed:
            self._check_nobody_left(run, now, actions)
        if run.failed_at is None and len(run.done) == self.n_node:
            run.committing = True
            actions.append(CommitRun(run.spec.run))

    def _committed(self, event: Committed, now: float, actions: list[Action]) -> None:
        run = self._current(event.run)
        if run is None or not run.committing or run.failed_at is not None:
            return
        message = {"type": "run_done", "run": event.run, "result": event.result}
        self._say({**message, "delivered": run.spec.deliver}, actions)
        self._run = None
        self._idle_since = now
        if not self._keep_open:
            self._end("its run is done", None, actions)

    # -- failure -----------------------------------------------------------------------------------

    def _fail(self, cause: Cause, now: float, actions: list[Action]) -> None:
        """Note a failure of the current run; the first that is no echo is the cause."""
        run = self._run
        assert run is not None
        if run.cause is None or (run.cause.echo and not cause.echo):
            run.cause = cause
        if run.failed_at is None:
            run.failed_at = now
            ranks = tuple(sorted(run.outstanding(self.members)))
            where = f"rank {cause.rank} failed: " if cause.rank is not None else ""
            actions.append(AbortRun(run.spec.run, ranks, f"{where}{cause.message}"))

    def _wind_down(self, now: float, actions: list[Action]) -> None:
        """Tell the driver the cause once it is sure; let go of the run once all have stopped."""
        run = self._run
        if run is None or run.failed_at is None or self.ended is not None:
            return
        assert run.cause is not None
        outstanding = run.outstanding(self.members)
        elapsed = now - run.failed_at
        if not run.told and (not run.cause.echo or not outstanding or elapsed > ECHO_GRACE_S):
            run.told = True
            self._say(_run_failed(run.spec.run, run.cause).message, actions)
        stuck = bool(outstanding) and elapsed > self._deadlines.abort_s
        if outstanding and not stuck:
            return
        self._run = None
        self._idle_since = now
        if self._closing:
            return
        if stuck:
            ranks = ", ".join(map(str, sorted(outstanding)))
            reason = f"rank {ranks} did not stop within {self._deadlines.abort_s:g} s"
            self._end(reason, run.cause, actions)
        elif self._lost is not None or not self._keep_open or self._driver_gone:
            self._end(f"run {run.spec.run} failed", self._lost or run.cause, actions)

    def _check_deadlines(self, now: float, actions: list[Action]) -> None:
        missing = tuple(r for r in range(self.n_node) if r not in self.members)
        waited = now - self._started_at
        if not self.complete and waited > self._deadlines.allocate_s:
            message = (
                f"rank {', '.join(map(str, missing))} of {self.n_node} did not join within "
                f"{self._deadlines.allocate_s:g} s (HARPY_ALLOCATE_S); their containers did not "
                "start, or their hosts cannot reach this one"
            )
            cause = Cause("RendezvousTimeout", message, 0, self._host(0))
            if self._run is not None:
                self._fail(cause, now, actions)
                self._say(_run_failed(self._run.spec.run, cause).message, actions)
            self._end(message, cause, actions)
            return
        run = self._run
        if run is not None:
            late = run.asked and not run.formed and run.failed_at is None and self.complete
            if late and now - run.asked_at > self._deadlines.collective_s:
                rank = min(set(range(self.n_node)) - run.asked)
                message = (
                    f"rank {min(run.asked)} waited {self._deadlines.collective_s:g} s "
                    f"(HARPY_COLLECTIVE_S) in ctx.comm for rank {rank}"
                )
                self._fail(Cause("RunTimeout", message, rank, self._host(rank)), now, actions)
        elif self.complete and now - self._idle_since > self._deadlines.idle_s:
            self._end(f"no run for {self._deadlines.idle_s:g} s (HARPY_IDLE_S)", None, actions)

    # -- between runs and the end ------------------------------------------------------------------

    def _go_on(self, now: float, actions: list[Action]) -> None:
        """With no run going on: the next one, or the end."""
        if self._run is not None or self.ended is not None:
            return
        if self._closing:
            self._end("closed by the driver", None, actions)
        elif self._lost is not None:
            self._end(self._lost.message, self._lost, actions)
        elif self._next is not None:
            spec, self._next = self._next, None
            self._start(spec, actions)
        elif self._driver_gone:
            self._end("the driver is gone", None, actions)

    def _end(self, reason: str, cause: Cause | None, actions: list[Action]) -> None:
        message = {"type": "session_ended", "reason": reason}
        actions.append(TellDriver({**message, "cause": cause.to_json() if cause else None}))
        self.ended = EndSession(reason, cause)
        actions.append(self.ended)

    def _say(self, message: dict[str, object], actions: list[Action]) -> None:
        self._last_word = TellDriver(dict(message))
        actions.append(self._last_word)

    # -- small things ------------------------------------------------------------------------------

    def _current(self, run_number: int) -> _Run | None:
        run = self._run
        return run if run is not None and run.spec.run == run_number else None

    def _host(self, rank: int) -> str:
        member = self.members.get(rank)
        return member.host if member else ""

    def _joined_message(self) -> TellDriver:
        return TellDriver({"type": "joined", "n": len(self.members), "of": self.n_node})

    @staticmethod
    def _refusal(member: Member, reason: str, superseded: bool = False) -> Refuse:
        return Refuse(member.rank, member.attempt, reason, superseded)


def _run_failed(run: int, cause: Cause) -> TellDriver:
    return TellDriver({"type": "run_failed", "run": run, **cause.to_json()})
