"""The gang's state machine under a fake clock: what it does about everything that can happen."""

from __future__ import annotations

import pytest

from harpy.config import Deadlines
from harpy.gang.events import (
    AbortRun,
    Admit,
    CancelAsked,
    CloseAsked,
    CommAsked,
    CommitRun,
    Committed,
    DriverJoined,
    DriverLeft,
    EndSession,
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
from harpy.gang.rendezvous import DRIVER_GRACE_S, Gang
from harpy.wire import to_driver
from harpy.wire.failure import Failure
from harpy.wire.member import Member
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_hub import Delivered

DEADLINES = Deadlines(allocate_s=100, collective_s=50, abort_s=20, idle_s=600)
BOOM = Failure("ProgramFailed", "ValueError: boom", 1, "host-1")


ECHO = Failure("PeerLost", "aborted", 0, "host-0", echo=True)


def run(number: int) -> RunSpec:
    return RunSpec(run=number, module="m")


def member(rank: int, attempt: int = 0) -> Member:
    return Member(rank, attempt, f"host-{rank}", "10.0.0.1", 5000 + rank, 100 + rank)


class Play:
    """A gang, its clock, and what it did last."""

    def __init__(self, n_node=3, keep_open=True, first_run=None, max_losses=0, first_epoch=1):
        self.now = 1000.0
        self.gang = Gang(n_node, keep_open, first_run, DEADLINES, self.now, max_losses, first_epoch)
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
    play(DriverJoined(), *(Joined(member(r)) for r in range(play.gang.n_node)))
    return play


def running(number=1, **options) -> Play:
    play = complete(**options)
    play(RunOffered(run(number)))
    return play


# -- joining -------------------------------------------------------------------------------------


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
    assert play.gang.members[1] == member(1)


def test_a_higher_attempt_supersedes_a_living_member():
    play = Play()
    play(Joined(member(1)))
    play(Joined(member(1, attempt=1)))
    assert play.of(Supersede) == [Supersede(1, 0)]
    assert play.gang.members[1].attempt == 1


def test_the_departure_of_a_superseded_attempt_is_no_loss():
    play = complete()
    before = dict(play.gang.members)
    play(Left(1, attempt=-1, how="closed"))
    assert play.last == []
    assert play.gang.members == before


def test_who_is_missing_at_the_deadline_is_named():
    play = Play(n_node=4)
    play(DriverJoined(), Joined(member(0)), Joined(member(2)))
    assert play(Tick(), after=99) == []
    play(Tick(), after=2)
    cause = play.end.cause
    assert (cause.kind, cause.rank) == ("RendezvousTimeout", 0)
    assert "rank 1, 3 of 4 did not join within 100 s (HARPY_ALLOCATE_S)" in cause.message
    assert play.told("session_ended")


def test_a_waiting_first_run_fails_with_the_rendezvous():
    play = Play(keep_open=False, first_run=run(1))
    play(DriverJoined(), Joined(member(0)))
    play(Tick(), after=101)
    assert [m.failure.kind for m in play.told("run_failed")] == ["RendezvousTimeout"]
    assert play.of(AbortRun)[0].ranks == (0,)


def test_nobody_is_missed_once_all_have_been_there():
    play = complete()
    assert play(Tick(), after=101) == []


def test_nobody_joins_a_session_that_has_ended():
    play = complete()
    play(CloseAsked())
    play(Joined(member(1, attempt=1)))
    assert "the session has ended: closed by the driver" in play.of(Refuse)[0].reason


# -- a run that goes well ------------------------------------------------------------------------


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


def test_a_single_run_session_ends_well_after_its_run():
    play = complete(keep_open=False, first_run=run(1))
    play(*(Reported(r, 1, 1) for r in range(3)), Committed(1, 1))
    assert play.end == EndSession("its run is done")


def test_a_driver_that_comes_late_hears_how_the_run_ended():
    play = Play(first_run=run(1), keep_open=True)
    play(*(Joined(member(r)) for r in range(3)))
    play(*(Reported(r, 1, 1) for r in range(3)), Committed(1, 1))
    play(DriverJoined())
    assert [m.run for m in play.told("run_done")] == [1]


def test_a_second_run_at_the_same_time_is_refused():
    play = running()
    play(RunOffered(run(2)))
    (failed,) = play.told("run_failed")
    assert (failed.run, failed.failure.message) == (2, "run 1 is still going on")
    assert play.of(AbortRun) == []


# -- failures ------------------------------------------------------------------------------------


def test_the_first_failure_aborts_the_others_and_is_told_at_once():
    play = running()
    play(Reported(1, 1, 1, BOOM))
    assert play.of(AbortRun) == [AbortRun(1, 1, (0, 2), "rank 1 failed: ValueError: boom")]
    (failed,) = play.told("run_failed")
    assert failed.failure == BOOM


def test_a_kept_session_survives_a_failed_program():
    play = running()
    echo = Failure("PeerLost", "aborted", 0, "host-0", echo=True)
    play(Reported(1, 1, 1, BOOM), Reported(0, 1, 1, echo), Reported(2, 1, 1, echo))
    assert play.of(EndSession) == []
    assert len(play.told("run_failed")) == 1
    play(RunOffered(run(2)))
    assert [s.rank for s in play.of(StartRun)] == [0, 1, 2]


def test_a_run_offered_while_the_last_one_stops_starts_when_it_has_stopped():
    play = running()
    play(Reported(1, 1, 1, BOOM), RunOffered(run(2)))
    assert play.of(StartRun) == []
    play(Reported(0, 1, 1, BOOM), Reported(2, 1, 1, BOOM))
    assert [s.spec.run for s in play.of(StartRun)] == [2, 2, 2]


def test_a_single_run_session_ends_with_the_first_cause():
    play = complete(keep_open=False, first_run=run(1))
    play(Reported(1, 1, 1, BOOM))
    assert play.of(EndSession) == []  # the others are still stopping
    play(Reported(0, 1, 1, BOOM), Reported(2, 1, 1, BOOM))
    assert play.end.cause == BOOM


def test_the_first_cause_counts_though_its_echo_came_before():
    play = running(max_losses=3)
    play(Reported(0, 1, 1, ECHO))
    assert play.told("run_failed") == []
    assert play.of(AbortRun)
    play(Reported(1, 1, 1, BOOM), after=1)
    assert [m.failure.kind for m in play.told("run_failed")] == ["ProgramFailed"]


def test_a_lost_worker_is_the_cause_and_ends_a_session_that_may_lose_none():
    play = running()
    play(Left(1, 0, "its connection closed"))
    (failed,) = play.told("run_failed")
    failure = failed.failure
    assert (failure.kind, failure.rank, failure.host) == ("WorkerLost", 1, "host-1")
    assert "rank 1 on host-1 (process 101, attempt 0) is gone" in failed.failure.message
    play(Reported(0, 1, 1, ECHO), Reported(2, 1, 1, ECHO))
    assert play.end.cause.kind == "WorkerLost"


def test_a_worker_lost_between_runs_ends_a_session_that_may_lose_none():
    play = complete()
    play(Left(2, 0, "its connection closed"))
    assert play.end.cause.rank == 2


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


def test_a_cancelled_run_fails_and_the_session_lives():
    play = running()
    play(CancelAsked(1, "cancelled by the driver"))
    assert play.of(AbortRun)[0].ranks == (0, 1, 2)
    play(*(Reported(r, 1, 1, BOOM) for r in range(3)))
    assert play.of(EndSession) == []


# -- lost workers --------------------------------------------------------------------------------


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


def test_a_worker_that_is_not_replaced_in_time_is_named():
    play = lost()
    play(Reported(0, 1, 1, ECHO), Reported(2, 1, 1, ECHO))
    play(Tick(), after=101)
    assert [m.failure.kind for m in play.told("run_failed")] == ["RendezvousTimeout"]
    assert "rank 1 of 3 was not replaced within 100 s" in play.end.cause.message


def test_a_program_that_fails_while_others_are_replaced_is_the_cause():
    play = lost(max_losses=3)
    play(Reported(0, 1, 1, BOOM))
    assert [m.failure.kind for m in play.told("run_failed")] == ["ProgramFailed"]


def test_a_worker_lost_between_runs_is_there_for_the_next():
    play = complete(max_losses=1)
    play(Left(1, 0, "its connection closed"))
    assert play.of(EndSession) == []
    play(RunOffered(run(1)), Joined(member(1, attempt=1)))
    assert sorted(s.rank for s in play.of(StartRun)) == [0, 1, 2]


def test_a_new_hub_counts_its_epochs_on_from_above():
    play = Play(first_run=run(1), first_epoch=1 << 20)
    play(Joined(member(1)))
    assert [start.epoch for start in play.of(StartRun)] == [1 << 20]


def test_a_run_that_is_offered_again_by_a_driver_that_came_back_goes_on():
    play = running()
    assert play(RunOffered(run(1))) == []


def test_a_run_whose_deliveries_may_be_lost_begins_anew_for_the_driver():
    spec = RunSpec(run=1, module="m", deliver=True)
    play = complete()
    play(RunOffered(spec), *(CommAsked(r, 1, 1) for r in range(3)), DriverLeft(), DriverJoined())
    play(RunOffered(spec))
    assert play.of(AbortRun)[0].ranks == (0, 1, 2)
    play(*(Reported(r, 1, 1, ECHO) for r in range(3)))
    assert [start.epoch for start in play.of(StartRun)] == [2, 2, 2]


# -- the end -------------------------------------------------------------------------------------


def test_close_ends_an_idle_session_well():
    play = complete()
    play(CloseAsked())
    assert play.end == EndSession("closed by the driver")


def test_close_stops_the_run_that_goes_on_first():
    play = running()
    play(CloseAsked())
    assert play.of(AbortRun)
    assert play.of(EndSession) == []
    play(*(Reported(r, 1, 1, BOOM) for r in range(3)))
    assert play.end == EndSession("closed by the driver")


def test_without_a_driver_the_run_is_finished_and_then_the_session_ends():
    play = running()
    assert play(DriverLeft()) == []
    play(*(Reported(r, 1, 1) for r in range(3)))
    assert play.of(CommitRun)
    play(Committed(1, 1), Tick(), after=DRIVER_GRACE_S + 0.1)
    assert play.end == EndSession("the driver is gone")


def test_a_driver_that_leaves_an_idle_session_ends_it():
    play = complete()
    assert play(DriverLeft()) == []
    play(Tick(), after=DRIVER_GRACE_S + 0.1)
    assert play.end == EndSession("the driver is gone")


def test_a_driver_that_comes_back_finds_its_session():
    play = running()
    play(DriverLeft(), DriverJoined(), *(Reported(r, 1, 1) for r in range(3)), Committed(1, 1))
    assert play.told("run_done")
    assert play.of(EndSession) == []


def test_an_idle_session_ends_itself():
    play = complete()
    assert play(Tick(), after=599) == []
    play(Tick(), after=2)
    assert play.end == EndSession("no run for 600 s (HARPY_IDLE_S)")


def test_a_run_stops_the_idle_clock():
    play = running()
    assert play(Tick(), after=700) == []
    play(*(Reported(r, 1, 1) for r in range(3)), Committed(1, 1))
    assert play(Tick(), after=599) == []


def test_nothing_happens_after_the_end():
    play = complete()
    play(CloseAsked())
    assert play(RunOffered(run(1)), Left(0, 0, "closed"), DriverLeft(), Tick(), after=9999) == []
