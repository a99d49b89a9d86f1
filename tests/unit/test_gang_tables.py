"""The state machine's tables of transitions: as documented, each taken, nothing beside them."""

from __future__ import annotations

import random
import re
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

from harpy.gang import membership, run_state
from harpy.gang.events import (
    CancelAsked,
    CloseAsked,
    CommAsked,
    Committed,
    DriverJoined,
    DriverLeft,
    Event,
    Joined,
    Left,
    Reported,
    RunOffered,
    Tick,
)
from harpy.gang.membership import RANK_TRANSITIONS, Membership, RankState, RankTrigger
from harpy.gang.run_state import RUN_TRANSITIONS, Run, RunState, RunTrigger
from harpy.wire.failure import Failure
from harpy.wire.run_spec import RunSpec
from tests.support.gangs.fake import BOOM, ECHO, Play, complete, formed, lost, member, run, running

DELIVERED = RunSpec(run=1, module="m", deliver=True)
DISK_FULL = Failure("DiskFull", "no space", 0, "host-0")


def reported(*ranks: int, epoch: int = 1, failure: Any = None) -> list[Event]:
    return [Reported(rank, 1, epoch, failure) for rank in ranks]


def asked(*ranks: int, epoch: int = 1) -> list[Event]:
    return [CommAsked(rank, 1, epoch) for rank in ranks]


def after(play: Play, *events: Event) -> Play:
    play(*events)
    return play


def forming() -> Play:
    return after(running(max_losses=1), *asked(0))


def committing(**options: Any) -> Play:
    return after(formed(**options), *reported(0, 1, 2))


def committing_alone() -> Play:
    """Without a communicator, and without rank 1, whose replacement has begun."""
    done = after(running(max_losses=1), *reported(0, 1, 2), Left(1, 0, "it crashed"))
    return after(done, Joined(member(1, attempt=1)))


def failing() -> Play:
    return after(running(), *reported(1, failure=BOOM))


def all_but_one() -> Play:
    return after(lost(), *reported(0, 2, failure=ECHO))


# For each transition: where a gang stands before it, and the event that brings it about.
RUN_EXAMPLES = {
    (RunState.OFFERED, RunTrigger.BEGIN): (complete, RunOffered(run(1))),
    (RunState.BEGUN, RunTrigger.ASK): (running, CommAsked(0, 1, 1)),
    (RunState.FORMING, RunTrigger.WITHDRAW): (forming, Left(0, 0, "it crashed")),
    (RunState.FORMING, RunTrigger.FORM): (lambda: after(forming(), *asked(1)), CommAsked(2, 1, 1)),
    (RunState.BEGUN, RunTrigger.FINISH): (
        lambda: after(running(), *reported(0, 1)),
        Reported(2, 1, 1),
    ),
    (RunState.FORMED, RunTrigger.FINISH): (
        lambda: after(formed(), *reported(0, 1)),
        Reported(2, 1, 1),
    ),
    (RunState.COMMITTING, RunTrigger.FINISH): (committing_alone, Reported(1, 1, 1)),
    (RunState.COMMITTING, RunTrigger.ASK): (committing_alone, CommAsked(1, 1, 1)),
    (RunState.COMMITTING, RunTrigger.COMMIT): (committing, Committed(1, 1)),
    (RunState.BEGUN, RunTrigger.BREAK): (running, Reported(0, 1, 1, ECHO)),
    (RunState.FORMING, RunTrigger.BREAK): (forming, Reported(1, 1, 1, ECHO)),
    (RunState.FORMED, RunTrigger.BREAK): (formed, Left(1, 0, "it crashed")),
    (RunState.COMMITTING, RunTrigger.BREAK): (committing, Left(1, 0, "it crashed")),
    (RunState.RESTARTING, RunTrigger.RESTART): (all_but_one, Joined(member(1, attempt=1))),
    (RunState.BEGUN, RunTrigger.FAIL): (running, Reported(1, 1, 1, BOOM)),
    (RunState.FORMING, RunTrigger.FAIL): (forming, Reported(1, 1, 1)),
    (RunState.FORMED, RunTrigger.FAIL): (formed, CancelAsked(1, "cancelled by the driver")),
    (RunState.COMMITTING, RunTrigger.FAIL): (committing, Reported(0, 1, 1, DISK_FULL)),
    (RunState.RESTARTING, RunTrigger.FAIL): (lost, CloseAsked()),
    (RunState.FAILING, RunTrigger.STOP): (
        lambda: after(failing(), *reported(0, failure=ECHO)),
        Reported(2, 1, 1, ECHO),
    ),
}
RANK_EXAMPLES = {
    (RankState.AWAITED, RankTrigger.JOIN): (Play, Joined(member(1))),
    (RankState.PRESENT, RankTrigger.REPLACE): (complete, Joined(member(1, attempt=1))),
    (RankState.PRESENT, RankTrigger.FENCE): (
        lambda: after(complete(), Joined(member(1, attempt=5))),
        Joined(member(1, attempt=4)),
    ),
    (RankState.PRESENT, RankTrigger.LEAVE): (complete, Left(1, 0, "it crashed")),
    (RankState.LOST, RankTrigger.JOIN): (lost, Joined(member(1, attempt=1))),
    (RankState.LOST, RankTrigger.FENCE): (
        lambda: after(lost(), Joined(member(1, attempt=5)), Left(1, 5, "it crashed")),
        Joined(member(1, attempt=4)),
    ),
}


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Enum, Enum, Enum]]:
    """The transitions that any gang takes, as they are taken."""
    taken: list[tuple[Enum, Enum, Enum]] = []
    move_run, move_rank = Run._move, Membership._move

    def moving_run(self: Run, trigger: RunTrigger) -> None:
        before = self.state
        move_run(self, trigger)
        taken.append((before, trigger, self.state))

    def moving_rank(self: Membership, rank: int, trigger: RankTrigger) -> None:
        before = self.state(rank)
        move_rank(self, rank, trigger)
        taken.append((before, trigger, self.state(rank)))

    monkeypatch.setattr(Run, "_move", moving_run)
    monkeypatch.setattr(Membership, "_move", moving_rank)
    return taken


def documented(module: ModuleType) -> set[tuple[str, str, str]]:
    """The rows of the table in a module's docstring."""
    row = re.compile(r"^([A-Z]+) +([A-Z]+) +([A-Z]+) ", re.MULTILINE)
    return set(row.findall(module.__doc__ or ""))


@pytest.mark.parametrize(
    ("module", "transitions"), [(membership, RANK_TRANSITIONS), (run_state, RUN_TRANSITIONS)]
)
def test_the_docstring_shows_the_transitions(module: ModuleType, transitions: Any) -> None:
    names = {(state.name, trigger.name, to.name) for (state, trigger), to in transitions.items()}
    assert documented(module) == names


@pytest.mark.parametrize(
    "key", [*RUN_TRANSITIONS, *RANK_TRANSITIONS], ids=lambda key: "-".join(e.name for e in key)
)
def test_every_transition_is_taken(key: Any, moves: list[tuple[Enum, Enum, Enum]]) -> None:
    begin, event = {**RUN_EXAMPLES, **RANK_EXAMPLES}[key]
    play = begin()
    moves.clear()
    play(event)
    assert (*key, {**RUN_TRANSITIONS, **RANK_TRANSITIONS}[key]) in moves


def test_final_states_are_left_by_nothing() -> None:
    finals = set(RunState) - {state for state, _ in RUN_TRANSITIONS}
    assert finals == {RunState.DONE, RunState.FAILED}


def random_event(play: Play, rng: random.Random) -> Event:
    """Anything that workers or a driver may say at this point, sensible or not."""
    gang = play.gang
    rank = rng.randrange(3)
    here = gang.membership.members.get(rank)
    number = gang.run.spec.run if gang.run else 1
    epoch = gang.run.epoch if gang.run else 1
    likely: list[tuple[float, Event]] = [
        (2, Joined(member(rank, attempt=here.attempt if here else rng.randrange(4)))),
        (0.5, Joined(member(rank, attempt=rng.randrange(4)))),
        (0.5, DriverJoined()),
        (0.5, DriverLeft()),
        (2, RunOffered(RunSpec(run=number, module="m", deliver=rng.random() < 0.5))),
        (3, Committed(number, epoch)),
        (3, Tick()),
    ]
    if here is not None:
        likely += [
            (9, CommAsked(rank, number, epoch)),
            (9, Reported(rank, number, epoch)),
            (3, Reported(rank, number, epoch, ECHO)),
            (0.3, Reported(rank, number, epoch, BOOM)),
            (1.5, Left(rank, here.attempt, "it crashed", counts=rng.random() < 0.2)),
        ]
        likely[0] = (0.2, likely[0][1])
    weights, events = zip(*likely, strict=True)
    return rng.choices(events, weights)[0]


def test_no_order_of_events_leaves_the_tables(moves: list[tuple[Enum, Enum, Enum]]) -> None:
    rng = random.Random(7)
    for _ in range(400):
        play = running(max_losses=20)
        for _ in range(60):
            play(random_event(play, rng), after=rng.choice([0, 0, 0, 1, 10]))  # no KeyError
    taken = {(state, trigger) for state, trigger, _ in moves}
    assert taken == {*RUN_TRANSITIONS, *RANK_TRANSITIONS}
