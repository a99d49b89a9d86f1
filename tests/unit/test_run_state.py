"""A run from its beginning to its end, under a fake clock, whatever happens to its workers."""

from __future__ import annotations

from harpy.gang.events import (
    AbortRun,
    CommAsked,
    CommitRun,
    Committed,
    DriverJoined,
    EndSession,
    Expel,
    Joined,
    Left,
    Reported,
    RunOffered,
    SendPeers,
    StartRun,
    Supersede,
    Tick,
)
from harpy.wire import to_driver
from harpy.wire.failure import Failure
from harpy.wire.to_hub import Delivered
from tests.support.gangs.fake import BOOM, ECHO, Play, formed, lost, member, run, running


def test_a_first_run_starts_on_each_rank_as_it_joins():
    play = Play(keep_open=False, first_run=run(1))
    play(Joined(member(2)))
    assert play.of(StartRun) == [StartRun(2, run(1), 1)]
    play(Joined(member(0)))
    assert play.of(StartRun) == [StartRun(0, run(1), 1)]


def test_an_offered_run_starts_on_all_who_are_there_and_on_later_joiners():
    play = Play()
    play(DriverJoined(), Joined(member(0)), RunOffered(run(1)))
    assert play.of(StartRun) == [StartRun(0, run(1), 1)]
    play(Joined(member(1)))
    assert play.of(StartRun) == [StartRun(1, run(1), 1)]


def test_addresses_are_sent_when_the_last_rank_asks_and_every_formation_has_its_epoch():
    play = running()
    play(CommAsked(0, 1, 1), CommAsked(2, 1, 1))
    assert play.of(SendPeers) == []
    play(CommAsked(1, 1, 1))
    assert play.of(SendPeers) == [SendPeers(1, 1, (member(0), member(1), member(2)))]
    play(*(Reported(r, 1, 1) for r in range(3)), Committed(1, 1), RunOffered(run(2)))
    play(*(CommAsked(r, 2, 2) for r in range(3)))
    assert play.of(SendPeers)[0].epoch == 2


def test_results_are_committed_when_all_are_done_and_then_the_driver_hears():
    play = running()
    assert play(Reported(0, 1, 1), Reported(1, 1, 1)) == []
    assert play(Reported(2, 1, 1)) == [CommitRun(1, 1)]
    play(Committed(1, 1, Delivered(in_file=False, value=7)))
    assert play.told("run_done") == [
        to_driver.RunCommitted(1, delivered=False, result=Delivered(in_file=False, value=7))
    ]
    assert play.of(EndSession) == []


def test_the_first_failure_aborts_the_others_and_is_told_at_once():
    play = running()
    play(Reported(1, 1, 1, BOOM))
    assert play.of(AbortRun) == [AbortRun(1, 1, (0, 2), "rank 1 failed: ValueError: boom")]
    (failed,) = play.told("run_failed")
    assert failed.failure == BOOM


def test_the_first_cause_counts_though_its_echo_came_before():
    play = running(max_losses=3)
    play(Reported(0, 1, 1, ECHO))
    assert play.told("run_failed") == []
    assert play.of(AbortRun)
    play(Reported(1, 1, 1, BOOM), after=1)
    assert [m.failure.kind for m in play.told("run_failed")] == ["ProgramFailed"]


def test_a_rank_that_does_not_stop_ends_the_session():
    play = running()
    play(Reported(1, 1, 1, BOOM), Reported(0, 1, 1, BOOM))
    assert play(Tick(), after=19) == []
    play(Tick(), after=2)
    assert play.end.reason == "rank 2 did not stop within 20 s"
    assert play.end.cause == BOOM


def test_a_rank_that_returns_without_the_communicator_others_wait_for_is_the_cause():
    play = running()
    play(CommAsked(0, 1, 1), Reported(2, 1, 1))
    (failed,) = play.told("run_failed")
    assert (failed.failure.kind, failed.failure.rank) == ("ProtocolError", 2)
    assert "rank 2 returned from the program without using ctx.comm" in failed.failure.message


def test_a_rank_that_never_asks_for_the_communicator_is_named_at_the_deadline():
    play = running()
    play(CommAsked(0, 1, 1), CommAsked(2, 1, 1))
    play(Tick(), after=49)
    assert play.told("run_failed") == []
    play(Tick(), after=2)
    (failed,) = play.told("run_failed")
    assert (failed.failure.kind, failed.failure.rank) == ("RunTimeout", 1)


def test_the_wait_for_the_communicator_does_not_count_while_workers_are_still_to_join():
    play = Play(first_run=run(1), keep_open=False)
    play(Joined(member(0)), CommAsked(0, 1, 1))
    assert play(Tick(), after=60) == []


def test_a_failure_to_commit_fails_the_run():
    play = running()
    play(*(Reported(r, 1, 1) for r in range(3)))
    play(Reported(0, 1, 1, Failure("DiskFull", "no space", 0, "host-0")))
    assert [m.failure.kind for m in play.told("run_failed")] == ["DiskFull"]
    play(Committed(1, 1))
    assert play.last == []


def test_reports_of_another_run_are_ignored():
    play = running(number=2)
    assert play(Reported(1, 1, 1, BOOM), CommAsked(0, 1, 1), Committed(1, 1)) == []


def test_the_survivors_stop_and_the_driver_hears_who_is_gone():
    play = lost()
    assert [(a.epoch, a.ranks) for a in play.of(AbortRun)] == [(1, (0, 2))]
    assert [m.failure.rank for m in play.told("lost")] == [1]
    assert play.told("run_failed") == []


def test_the_run_begins_anew_when_all_have_stopped_and_nobody_is_missing():
    play = lost()
    assert play(Reported(0, 1, 1, ECHO), Reported(2, 1, 1, ECHO)) == []
    play(Joined(member(1, attempt=1)))
    assert play.of(StartRun) == [StartRun(r, run(1), 2) for r in range(3)]
    assert play.told("begun_anew") == [to_driver.BegunAnew(1, 2)]
    play(*(CommAsked(r, 1, 2) for r in range(3)))
    assert [(a.epoch, a.members[1].attempt) for a in play.of(SendPeers)] == [(2, 1)]


def test_a_replacement_waits_for_those_who_still_stop():
    play = lost()
    play(Joined(member(1, attempt=1)), Reported(0, 1, 1, ECHO))
    assert play.of(StartRun) == []
    play(Reported(2, 1, 1, ECHO))
    assert len(play.of(StartRun)) == 3


def test_words_about_an_epoch_that_is_over_are_ignored():
    play = lost()
    play(*(Reported(r, 1, 1, ECHO) for r in (0, 2)), Joined(member(1, attempt=1)))
    assert (
        play(Reported(0, 1, 1), CommAsked(0, 1, 1), Committed(1, 1), Reported(2, 1, 1, BOOM)) == []
    )


def test_before_its_collectives_only_the_replacement_begins():
    play = running(max_losses=1)
    play(CommAsked(0, 1, 1), Left(1, 0, "its connection closed"))
    assert play.of(AbortRun) == []
    play(Joined(member(1, attempt=1)))
    assert play.of(StartRun) == [StartRun(1, run(1), 1)]
    play(CommAsked(1, 1, 1), CommAsked(2, 1, 1))
    assert len(play.of(SendPeers)) == 1


def test_a_rank_lost_after_its_report_is_replaced_too():
    play = formed()
    play(Reported(1, 1, 1), Left(1, 0, "its connection closed"))
    assert play.of(AbortRun)[0].ranks == (0, 2)
    play(Reported(0, 1, 1), Reported(2, 1, 1))  # they came to the end, but nobody commits
    assert play.of(CommitRun) == []
    play(Joined(member(1, attempt=1)))
    assert len(play.of(StartRun)) == 3


def test_a_broken_connection_between_two_ranks_begins_anew_without_a_loss():
    play = formed()
    play(Reported(0, 1, 1, ECHO))
    assert play.of(AbortRun)[0].ranks == (1, 2)
    play(Reported(1, 1, 1, ECHO), Reported(2, 1, 1, ECHO))
    assert [start.epoch for start in play.of(StartRun)] == [2, 2, 2]


def test_a_superseded_member_breaks_its_run_and_its_successor_goes_on():
    play = formed()
    play(Joined(member(1, attempt=1)))
    assert play.of(Supersede) == [Supersede(1, 0)]
    play(Reported(0, 1, 1, ECHO), Reported(2, 1, 1, ECHO))
    assert len(play.of(StartRun)) == 3


def test_a_survivor_that_does_not_stop_is_expelled():
    play = lost()
    play(Joined(member(1, attempt=1)), Reported(0, 1, 1, ECHO), Tick(), after=19)
    assert play.of(Expel) == []
    play(Tick(), after=2)
    assert [(e.rank, e.attempt) for e in play.of(Expel)] == [(2, 0)]


def test_a_program_that_fails_while_others_are_replaced_is_the_cause():
    play = lost(max_losses=3)
    play(Reported(0, 1, 1, BOOM))
    assert [m.failure.kind for m in play.told("run_failed")] == ["ProgramFailed"]
