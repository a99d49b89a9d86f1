"""Who belongs to the gang: the attempt that stands for each rank, losses, the wait for missing
ranks.

Pure: the clock is passed in with each step. What a loss means for the run that goes on is
run_state.py's.

A rank is in one of three states:

========  =======  =======  ======================================================================
state     trigger  becomes  when, and what is done
========  =======  =======  ======================================================================
AWAITED   JOIN     PRESENT  its first attempt comes: admitted
PRESENT   REPLACE  PRESENT  a higher attempt comes, or the same over a new connection: the older is
                            superseded and lost, which does not count; the newer is admitted
PRESENT   FENCE    PRESENT  a lower attempt comes: refused
PRESENT   LEAVE    LOST     its connection closed, or no heartbeat came for too long
LOST      JOIN     PRESENT  the same or a higher attempt comes: admitted
LOST      FENCE    LOST     a lower attempt comes, whether or not the higher still lives: refused
========  =======  =======  ======================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from harpy.gang.events import Admit, Joined, Left, Refuse, Step, Supersede, TellDriver
from harpy.wire import to_driver
from harpy.wire.failure import Failure
from harpy.wire.member import Member


class RankState(Enum):
    """What the gang knows of a rank."""

    AWAITED = auto()
    PRESENT = auto()
    LOST = auto()


class RankTrigger(Enum):
    """What can happen to a rank."""

    JOIN = auto()
    REPLACE = auto()
    FENCE = auto()
    LEAVE = auto()


RANK_TRANSITIONS = {
    (RankState.AWAITED, RankTrigger.JOIN): RankState.PRESENT,
    (RankState.PRESENT, RankTrigger.REPLACE): RankState.PRESENT,
    (RankState.PRESENT, RankTrigger.FENCE): RankState.PRESENT,
    (RankState.PRESENT, RankTrigger.LEAVE): RankState.LOST,
    (RankState.LOST, RankTrigger.JOIN): RankState.PRESENT,
    (RankState.LOST, RankTrigger.FENCE): RankState.LOST,
}


@dataclass(frozen=True)
class Loss:
    """A member that is gone. It counts unless something outside ended or silenced the worker, or
    the worker itself joined again."""

    rank: int
    cause: Failure
    counts: bool


class Membership:
    """The ranks of one session.

    Parameters
    ----------
    n_node : int
        Ranks that make the gang complete.
    max_losses : int
        Workers that may be lost, or connections between them that may break, before the session
        ends.
    allocate_s : float
        Seconds for which a rank may be missing.
    now : float
        Monotonic seconds; the wait for the first members begins here.

    Attributes
    ----------
    members : dict of int to Member
        The members that are present, by rank.
    incomplete_since : float or None
        None while all ranks are present.
    """

    def __init__(self, n_node: int, max_losses: int, allocate_s: float, now: float) -> None:
        self.n_node = n_node
        self.members: dict[int, Member] = {}
        self.incomplete_since: float | None = now
        self._max_losses = max_losses
        self._allocate_s = allocate_s
        self._states = dict.fromkeys(range(n_node), RankState.AWAITED)
        self._highest: dict[int, int] = {}  # attempt by rank, present or not
        self._was_complete = False
        self._n_losses = 0
        self._first_loss: Failure | None = None

    # -- questions ---------------------------------------------------------------------------------

    def state(self, rank: int) -> RankState:
        """What the gang knows of a rank."""
        return self._states[rank]

    @property
    def complete(self) -> bool:
        """Whether all ranks are present."""
        return len(self.members) == self.n_node

    @property
    def lost_too_many(self) -> bool:
        """Whether more workers were lost than the session may lose."""
        return self._n_losses > self._max_losses

    def host(self, rank: int) -> str:
        """The host of a rank; empty if the rank is not present."""
        member = self.members.get(rank)
        return member.host if member else ""

    # -- joining -----------------------------------------------------------------------------------

    def refuses(self, event: Joined, step: Step) -> bool:
        """Refuse a worker whose rank does not exist, or has a higher attempt; whether it was
        refused."""
        rank, attempt = event.member.rank, event.member.attempt
        if not 0 <= rank < self.n_node:
            step.do(Refuse(rank, attempt, f"the gang has ranks 0 to {self.n_node - 1}"))
            return True
        highest = self._highest.get(rank, -1)
        if attempt < highest:
            self._move(rank, RankTrigger.FENCE)
            reason = f"attempt {highest} of rank {rank} has taken its place"
            step.do(Refuse(rank, attempt, reason, superseded=True))
            return True
        return False

    def replace(self, event: Joined, step: Step) -> Loss | None:
        """Remove the older member that a joining worker replaces; None if there is none."""
        rank, attempt = event.member.rank, event.member.attempt
        older = self.members.get(rank)
        if older is None:
            return None
        self._move(rank, RankTrigger.REPLACE)
        if older.attempt < attempt:
            step.do(Supersede(rank, older.attempt))
        return self._remove(rank, f"attempt {attempt} took its place", step, counts=False)

    def admit(self, event: Joined, step: Step) -> None:
        """Make a joining worker the member that stands for its rank."""
        rank, attempt = event.member.rank, event.member.attempt
        if self._states[rank] is not RankState.PRESENT:  # else it replaces an older member
            self._move(rank, RankTrigger.JOIN)
        self._highest[rank] = attempt
        self.members[rank] = event.member
        step.do(Admit(rank, attempt))
        if self.complete:
            self.incomplete_since, self._was_complete = None, True

    # -- losses ------------------------------------------------------------------------------------

    def leave(self, event: Left, step: Step) -> Loss | None:
        """Remove a member that is gone; None if another has replaced it already."""
        member = self.members.get(event.rank)
        if member is None or member.attempt != event.attempt:
            return None
        self._move(event.rank, RankTrigger.LEAVE)
        # Where no worker is replaced, any loss ends the session.
        return self._remove(event.rank, event.how, step, event.counts or self._max_losses == 0)

    def _remove(self, rank: int, how: str, step: Step, counts: bool) -> Loss:
        member = self.members.pop(rank)
        if self.incomplete_since is None:
            self.incomplete_since = step.now
        message = (
            f"rank {rank} on {member.host} (process {member.pid}, attempt {member.attempt}) "
            f"is gone: {how}"
        )
        cause = Failure("WorkerLost", message, rank, member.host)
        step.do(TellDriver(to_driver.Lost(cause)))
        return Loss(rank, cause, counts)

    def count_loss(self, cause: Failure) -> None:
        """Count a loss, or a broken connection, against what the session may lose."""
        self._n_losses += 1
        self._first_loss = self._first_loss or cause

    def too_many_losses(self) -> Failure:
        """The first loss, with the number of further losses."""
        first = self._first_loss
        assert first is not None
        more = self._n_losses - 1
        allowed = f"HARPY_MAX_LOSSES={self._max_losses}"
        words = f"\n  and {more} more in this session ({allowed})" if more else f" ({allowed})"
        return replace(first, message=first.message + words)

    # -- deadlines ---------------------------------------------------------------------------------

    def overdue(self, now: float) -> Failure | None:
        """The failure of a session whose missing ranks have not joined in time; None before
        that."""
        since, limit = self.incomplete_since, self._allocate_s
        if since is None or now - since <= limit:
            return None
        missing = ", ".join(str(r) for r in range(self.n_node) if r not in self.members)
        what = "was not replaced" if self._was_complete else "did not join"
        message = (
            f"rank {missing} of {self.n_node} {what} within {limit:g} s "
            "(HARPY_ALLOCATE_S); their containers did not start, or their hosts cannot reach this "
            "one"
        )
        return Failure("RendezvousTimeout", message, 0, self.host(0))

    def _move(self, rank: int, trigger: RankTrigger) -> None:
        self._states[rank] = RANK_TRANSITIONS[self._states[rank], trigger]
