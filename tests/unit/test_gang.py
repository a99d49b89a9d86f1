"""A session under a fake clock: its driver, one run after another, and how it ends."""

from __future__ import annotations

from harpy.gang.events import (
    AbortRun,
    CancelAsked,
    CloseAsked,
    CommAsked,
    CommitRun,
    Committed,
    DriverJoined,
    DriverLeft,
    EndSession,
    Joined,
    Left,
    Refuse,
    Reported,
    RunOffered,
    StartRun,
    Tick,
)
from harpy.gang.gang import DRIVER_GRACE_S
from harpy.wire.failure import Failure
from harpy.wire.run_spec import RunSpec
from tests.support.gangs.fake import BOOM, ECHO, Play, complete, member, run, running


def test_a_waiting_first_run_fails_with_the_rendezvous():
    play = Play(keep_open=False, first_run=run(1))
    play(DriverJoined(), Joined(member(0)))
    play(Tick(), after=101)
    assert [m.failure.kind for m in play.told("run_failed")] == ["RendezvousTimeout"]
    assert play.of(AbortRun)[0].ranks == (0,)


def test_nobody_joins_a_session_that_has_ended():
    play = complete()
    play(CloseAsked())
    play(Joined(member(1, attempt=1)))
    assert "the session has ended: closed by the driver" in play.of(Refuse)[0].reason


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


def test_a_lost_worker_is_the_cause_and_ends_a_session_that_may_lose_none():
    play = running()
    play(Left(1, 0, "its connection closed"))
    (failed,) = play.told("run_failed")
    failure = failed.failure
    assert (failure.kind, failure.rank, failure.host) == ("WorkerLost", 1, "host-1")
    assert "rank 1 on host-1 (process 101, attempt 0) is gone" in failure.message
    play(Reported(0, 1, 1, ECHO), Reported(2, 1, 1, ECHO))
    assert play.end.cause.kind == "WorkerLost"


def test_a_worker_lost_between_runs_ends_a_session_that_may_lose_none():
    play = complete()
    play(Left(2, 0, "its connection closed"))
    assert play.end.cause.rank == 2


def test_a_cancelled_run_fails_and_the_session_lives():
    play = running()
    play(CancelAsked(1, "cancelled by the driver"))
    assert play.of(AbortRun)[0].ranks == (0, 1, 2)
    play(*(Reported(r, 1, 1, BOOM) for r in range(3)))
    assert play.of(EndSession) == []


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
