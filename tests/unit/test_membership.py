"""Who belongs to a gang, under a fake clock: joining, fencing, losses and how many there may be."""

from __future__ import annotations

import pytest

from harpy.gang.events import (
    Admit,
    CommAsked,
    DriverJoined,
    EndSession,
    Joined,
    Left,
    Refuse,
    Reported,
    RunOffered,
    SendPeers,
    StartRun,
    Supersede,
    Tick,
)
from harpy.wire import to_driver
from tests.support.gangs.fake import ECHO, Play, complete, formed, lost, member, run


def test_joiners_are_admitted_and_counted_for_the_driver():
    play = Play()
    play(DriverJoined())
    assert play.told("joined") == [to_driver.Joined(0, 3)]
    play(Joined(member(2)))
    assert play.of(Admit) == [Admit(2, 0)]
    assert play.told("joined") == [to_driver.Joined(1, 3)]


@pytest.mark.parametrize("rank", [-1, 3])
def test_a_rank_outside_the_gang_is_refused(rank):
    play = Play()
    play(Joined(member(rank)))
    assert [r.reason for r in play.of(Refuse)] == ["the gang has ranks 0 to 2"]


def test_a_lower_attempt_is_refused_as_superseded_even_when_the_higher_is_gone():
    play = Play(first_run=run(1))
    play(Joined(member(1, attempt=1000)))
    play(Joined(member(1, attempt=3)))
    assert play.of(Refuse) == [
        Refuse(1, 3, "attempt 1000 of rank 1 has taken its place", superseded=True)
    ]


def test_the_same_attempt_may_join_anew_after_its_connection_broke():
    play = complete(max_losses=1)
    play(Left(1, 0, "its connection closed"), Joined(member(1)))
    assert play.of(Refuse) == []
    assert play.gang.membership.members[1] == member(1)


def test_a_higher_attempt_supersedes_a_living_member():
    play = Play()
    play(Joined(member(1)))
    play(Joined(member(1, attempt=1)))
    assert play.of(Supersede) == [Supersede(1, 0)]
    assert play.gang.membership.members[1].attempt == 1


def test_the_departure_of_a_superseded_attempt_is_no_loss():
    play = complete()
    before = dict(play.gang.membership.members)
    play(Left(1, attempt=-1, how="closed"))
    assert play.last == []
    assert play.gang.membership.members == before


def test_who_is_missing_at_the_deadline_is_named():
    play = Play(n_node=4)
    play(DriverJoined(), Joined(member(0)), Joined(member(2)))
    assert play(Tick(), after=99) == []
    play(Tick(), after=2)
    cause = play.end.cause
    assert (cause.kind, cause.rank) == ("RendezvousTimeout", 0)
    assert "rank 1, 3 of 4 did not join within 100 s (HARPY_ALLOCATE_S)" in cause.message
    assert play.told("session_ended")


def test_nobody_is_missed_once_all_have_been_there():
    play = complete()
    assert play(Tick(), after=101) == []


def test_an_echo_and_the_loss_behind_it_count_once():
    play = formed()
    play(Reported(0, 1, 1, ECHO), Left(1, 0, "its connection closed"), Reported(2, 1, 1, ECHO))
    play(Joined(member(1, attempt=1)))
    assert len(play.of(StartRun)) == 3


def test_two_workers_lost_at_once_count_once():
    play = lost()
    play(Left(2, 0, "its connection closed"), Reported(0, 1, 1, ECHO))
    play(Joined(member(1, attempt=1)), Joined(member(2, attempt=1)))
    assert len(play.of(StartRun)) == 3


def test_more_losses_than_allowed_end_with_the_first():
    play = lost()
    play(*(Reported(r, 1, 1, ECHO) for r in (0, 2)), Joined(member(1, attempt=1)))
    play(Left(2, 0, "it crashed"))
    (failed,) = play.told("run_failed")
    assert (failed.failure.kind, failed.failure.rank) == ("WorkerLost", 1)
    assert "and 1 more in this session (HARPY_MAX_LOSSES=1)" in failed.failure.message
    play(Reported(0, 1, 2, ECHO), Reported(1, 1, 2, ECHO))
    assert play.end.cause.rank == 1


def test_connections_that_break_again_and_again_end_the_session():
    play = formed()
    play(*(Reported(r, 1, 1, ECHO) for r in range(3)))
    play(*(CommAsked(r, 1, 2) for r in range(3)), *(Reported(r, 1, 2, ECHO) for r in range(3)))
    assert [m.failure.kind for m in play.told("run_failed")] == ["PeerLost"]


@pytest.mark.parametrize("number", range(2, 6))
def test_a_superseded_or_silenced_worker_is_no_loss_that_counts(number):
    play = formed(max_losses=1)
    for epoch in range(1, number):
        play(Left(1, epoch - 1, "silence", counts=False))
        play(*(Reported(r, 1, epoch, ECHO) for r in (0, 2)), Joined(member(1, attempt=epoch)))
        play(*(CommAsked(r, 1, epoch + 1) for r in range(3)))
        assert len(play.of(SendPeers)) == 1


def test_a_worker_that_is_not_replaced_in_time_is_named():
    play = lost()
    play(Reported(0, 1, 1, ECHO), Reported(2, 1, 1, ECHO))
    play(Tick(), after=101)
    assert [m.failure.kind for m in play.told("run_failed")] == ["RendezvousTimeout"]
    assert "rank 1 of 3 was not replaced within 100 s" in play.end.cause.message


def test_a_worker_lost_between_runs_is_there_for_the_next():
    play = complete(max_losses=1)
    play(Left(1, 0, "its connection closed"))
    assert play.of(EndSession) == []
    play(RunOffered(run(1)), Joined(member(1, attempt=1)))
    assert sorted(s.rank for s in play.of(StartRun)) == [0, 1, 2]
