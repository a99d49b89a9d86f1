"""A gang's state machine under a fake clock, at the points that its tests begin from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harpy.config import Deadlines
from harpy.gang.events import (
    CommAsked,
    DriverJoined,
    EndSession,
    Joined,
    Left,
    RunOffered,
    TellDriver,
)
from harpy.gang.gang import Gang
from harpy.wire.failure import Failure
from harpy.wire.job_spec import JobSpec
from harpy.wire.member import Member
from harpy.wire.run_spec import RunSpec

DEADLINES = Deadlines(allocate_s=100, collective_s=50, abort_s=20, idle_s=600)
BOOM = Failure("ProgramFailed", "ValueError: boom", 1, "host-1")
ECHO = Failure("PeerLost", "aborted", 0, "host-0", echo=True)


def run(number: int) -> RunSpec:
    return RunSpec(run=number, module="m")


def job_of(n_node: int, **others: Any) -> JobSpec:
    """What a session of so many workers was asked for."""
    spec = JobSpec(
        job_id="job-1",
        owner=None,
        created=0.0,
        launcher="local",
        n_node=n_node,
        n_thread=1,
        n_mem=1024,
        queue=None,
        wishes=frozenset(),
        keep_open=True,
        first_run=None,
        max_losses=0,
        deadlines=DEADLINES,
    )
    return replace(spec, **others)


def member(rank: int, attempt: int = 0) -> Member:
    return Member(rank, attempt, f"host-{rank}", "10.0.0.1", 5000 + rank, 100 + rank)


class Play:
    """A gang, its clock, and what it did last."""

    def __init__(self, n_node=3, first_epoch=1, **job):
        self.now = 1000.0
        self.gang = Gang(job_of(n_node, **job), self.now, first_epoch)
        self.last = []

    def __call__(self, *events, after=0.0):
        """Feed events; return all actions."""
        self.now += after
        self.last = [action for event in events for action in self.gang.handle(event, self.now)]
        return self.last

    def of(self, kind):
        return [action for action in self.last if isinstance(action, kind)]

    def told(self, kind):
        return [a.message for a in self.of(TellDriver) if kind == a.message.TYPE]

    @property
    def end(self):
        (end,) = self.of(EndSession)
        return end


def complete(**options) -> Play:
    play = Play(**options)
    play(DriverJoined(), *(Joined(member(r)) for r in range(play.gang.membership.n_node)))
    return play


def running(number=1, **options) -> Play:
    play = complete(**options)
    play(RunOffered(run(number)))
    return play


def formed(**options) -> Play:
    """A run in the middle of its collectives."""
    play = running(**{"max_losses": 1, **options})
    play(*(CommAsked(r, 1, 1) for r in range(3)))
    return play


def lost(**options) -> Play:
    """The same without rank 1, the others told to stop."""
    play = formed(**options)
    play(Left(1, 0, "its connection closed"))
    return play
