"""What the driver decides while it follows a run, every row of the follower's table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harpy.config import Deadlines
from harpy.errors import (
    PeerLost,
    ProgramFailed,
    RendezvousTimeout,
    RunTimeout,
    SessionClosed,
    WorkerLost,
)
from harpy.launch.base import AttemptFailure, JobState, LaunchStatus
from harpy.session.allocation import GiveBack
from harpy.session.control import RunDone
from harpy.session.decisions import (
    ApplicationEnded,
    Connect,
    Connected,
    Decision,
    Done,
    EndApplication,
    Event,
    FindCause,
    HangUp,
    HubLost,
    Listen,
    NotConnected,
    Offer,
    Offered,
    Raise,
    StartAnew,
    Submitted,
    View,
    Wait,
)
from harpy.session.follower import POLL_S, FollowedRun, Follower, Phase
from harpy.session.succession import Succession
from harpy.wire.failure import Failure
from harpy.wire.to_driver import (
    BegunAnew,
    Joined,
    Lost,
    Paced,
    Progressed,
    RunFailed,
    SessionEnded,
)

N_NODE = 4
DEADLINES = Deadlines(allocate_s=100.0, give_back_s=10.0, master_s=30.0)
GONE = PeerLost("rank 0 closed the connection")
LISTEN = Listen(POLL_S)
FINAL = AttemptFailure("1", Failure("ProgramFailed", "ValueError: no", 1, "n1"))


class Play:
    """A follower on a clock that only the test moves."""

    def __init__(self, connected: bool = False, **run: Any) -> None:
        self.now = 1000.0
        self.status = LaunchStatus(JobState.RUNNING, workers_running=N_NODE)
        self.finished = False
        give_back = GiveBack(N_NODE, DEADLINES.give_back_s, uniform=lambda low, high: high)
        self.succession = Succession(N_NODE, DEADLINES, give_back)
        self.follower = Follower(
            FollowedRun("job-1", 1, **run), DEADLINES, self.succession, connected
        )

    @property
    def view(self) -> View:
        return View(self.status, self.finished)

    def begin(self) -> Decision:
        return self.follower.begin(self.view, self.now)

    def hear(self, event: Event, after_s: float = 0.0) -> Decision:
        self.now += after_s
        return self.follower.step(event, self.view, self.now)

    def quiet(self, after_s: float = POLL_S) -> Decision:
        """Time passes, and nothing comes."""
        return self.hear(None, after_s)

    def see(self, **changes: Any) -> None:
        """The launcher has news."""
        self.status = replace(self.status, **changes)


@pytest.fixture
def following() -> Play:
    """Connected, and the run is offered."""
    play = Play(connected=True)
    assert play.begin() == Offer()
    assert play.hear(Offered()) == LISTEN
    return play


# -- connecting ------------------------------------------------------------------------------------


def test_the_hub_is_looked_for_saying_what_is_waited_for() -> None:
    play = Play()
    play.see(message="2 of 4 workers running")
    assert play.begin() == Connect("2 of 4 workers running")
    play.see(message="")
    assert play.hear(NotConnected()) == Wait(POLL_S)
    assert play.quiet() == Connect("waiting for workers")


def test_a_hub_that_is_reached_is_told_of_the_run() -> None:
    play = Play()
    play.begin()
    assert play.hear(Connected()) == Offer()
    assert play.follower.phase is Phase.FOLLOWING


def test_of_a_run_in_job_json_nobody_is_told() -> None:
    play = Play(with_the_job=True)
    play.begin()
    assert play.hear(Connected()) == LISTEN


def test_workers_that_do_not_come_are_not_waited_for_for_ever() -> None:
    play = Play()
    play.begin()
    assert play.hear(NotConnected(ConnectionRefusedError("refused")), 99.0) == Wait(POLL_S)
    decision = play.hear(NotConnected(), 1.1)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, RendezvousTimeout)
    assert str(decision.error) == (
        "no worker of job job-1 could be reached within 100 s (HARPY_ALLOCATE_S): refused"
    )
    assert isinstance(decision.problem, ConnectionRefusedError)


def test_the_launcher_says_what_is_missing_where_no_hub_was_tried() -> None:
    play = Play()
    play.see(message="waiting in YARN (queue default is at 98 %)")
    play.begin()
    decision = play.hear(NotConnected(), 100.1)
    assert isinstance(decision, Raise)
    assert str(decision.error).endswith("waiting in YARN (queue default is at 98 %)")


def test_a_run_that_finished_before_anybody_connected_is_done() -> None:
    play = Play(with_the_job=True)
    play.begin()
    play.see(state=JobState.SUCCEEDED)
    play.finished = True
    assert play.quiet() == Done(RunDone(1))


@pytest.mark.parametrize(
    "news",
    [{"state": JobState.FAILED}, {"state": JobState.UNKNOWN}, {"failures": (FINAL,)}],
    ids=["ended", "unknown", "lost for good"],
)
@pytest.mark.parametrize("connected", [False, True])
def test_a_job_that_gets_nowhere_is_asked_for_its_cause(
    connected: bool, news: dict[str, Any]
) -> None:
    play = Play(connected)
    play.begin()
    if connected:
        play.hear(Offered())
    play.see(**news)
    assert play.quiet() == FindCause()


# -- following -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        Joined(2, 4),
        Progressed(1, 0, 0.5, {}),
        Paced(1, 0, "n0", 0.9),
        RunDone(7),
        RunFailed(7, Failure("ProgramFailed", "of another run")),
    ],
    ids=lambda event: type(event).__name__,
)
def test_news_that_decides_nothing_is_followed_by_more(following: Play, event: Event) -> None:
    assert following.hear(event) == LISTEN
    assert following.quiet() == LISTEN


def test_a_run_that_is_done_is_done_though_its_time_has_just_passed() -> None:
    play = Play(connected=True, ends_at=1010.0)
    play.begin()
    play.hear(Offered())
    done = RunDone(1, delivered=True)
    assert play.hear(done, 10.1) == Done(done)


@pytest.mark.parametrize("event", [None, Progressed(1, 0, 0.5, {})], ids=["silent", "chatty"])
def test_a_timeout_ends_a_run_whether_or_not_it_speaks(event: Event) -> None:
    play = Play(connected=True, ends_at=1010.0)
    play.begin()
    play.hear(Offered())
    assert play.hear(event, 10.0) == LISTEN
    decision = play.hear(event, 0.1)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, RunTimeout)
    assert str(decision.error) == "run 1 of job job-1 passed its timeout_s"
    assert not decision.gang_stands


def test_a_timeout_counts_while_workers_are_waited_for() -> None:
    play = Play(ends_at=1010.0)
    play.begin()
    decision = play.hear(NotConnected(), 10.1)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, RunTimeout)


def test_a_failed_program_leaves_its_gang_to_the_next_run(following: Play) -> None:
    decision = following.hear(
        RunFailed(1, Failure("ProgramFailed", "ValueError: no", 2, "n2", "at line 1"))
    )
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, ProgramFailed)
    assert (decision.error.rank, decision.error.host) == (2, "n2")
    assert decision.error.detail == "at line 1"
    assert decision.gang_stands
    assert not decision.reports_due


@pytest.mark.parametrize(
    ("run", "kind"),
    [({"single_run": True}, "ProgramFailed"), ({}, "RendezvousTimeout")],
    ids=["single run", "never formed"],
)
@pytest.mark.parametrize("keep", [False, True])
def test_a_gang_that_ends_with_its_run_may_still_write_reports(
    run: dict[str, Any], kind: str, keep: bool
) -> None:
    play = Play(connected=True, keep=keep, **run)
    play.begin()
    decision = play.hear(RunFailed(1, Failure(kind, "no")))
    assert isinstance(decision, Raise)
    assert not decision.gang_stands
    assert decision.reports_due is keep


def test_how_a_silent_worker_died_is_asked_of_the_launcher(following: Play) -> None:
    decision = following.hear(RunFailed(1, Failure("WorkerLost", "rank 1 said nothing", 1, "n1")))
    assert isinstance(decision, FindCause)
    assert isinstance(decision.seen, WorkerLost)
    assert decision.seen.rank == 1
    assert decision.problem is None


def test_a_session_that_ended_says_why(following: Play) -> None:
    decision = following.hear(SessionEnded("no run for 600 s (HARPY_IDLE_S)", None))
    assert isinstance(decision, FindCause)
    assert isinstance(decision.seen, SessionClosed)
    assert "no run for 600 s" in str(decision.seen)


def test_a_session_that_ended_after_a_failure_is_not_said_to_have_that_cause() -> None:
    play = Play(connected=True, failed_before=True)
    play.begin()
    decision = play.hear(SessionEnded("closed", None))
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, SessionClosed)


def test_the_last_words_of_a_hub_are_read_before_the_launcher_is_asked() -> None:
    play = Play(connected=True)
    play.begin()
    play.see(state=JobState.FAILED)
    assert play.hear(Offered()) == LISTEN
    assert isinstance(play.hear(RunFailed(1, Failure("ProgramFailed", "no"))), Raise)


# -- rank 0 is lost --------------------------------------------------------------------------------


def test_the_hub_of_a_replacement_is_looked_for_and_told_of_the_run(following: Play) -> None:
    assert following.hear(HubLost(GONE)) == HangUp(
        f"lost rank 0 ({GONE}); waiting for its replacement"
    )
    assert following.succession.waits_for_replacement
    assert following.quiet(0.0) == Connect("waiting for workers")
    assert following.hear(NotConnected(GONE)) == Wait(POLL_S)
    following.quiet()
    assert following.hear(Connected()) == Offer()
    assert not following.succession.waits_for_replacement


def test_a_replacement_has_all_the_time_of_an_allocation(following: Play) -> None:
    following.quiet(500.0)
    following.hear(HubLost(GONE))
    following.quiet(0.0)
    assert following.hear(NotConnected(), 99.0) == Wait(POLL_S)
    assert isinstance(following.hear(NotConnected(), 1.1), Raise)


def test_a_hub_that_left_after_its_work_was_done_is_no_loss(following: Play) -> None:
    following.see(state=JobState.SUCCEEDED)
    following.finished = True
    assert following.hear(HubLost(GONE)) == Done(RunDone(1))


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.UNKNOWN])
def test_a_hub_that_left_with_its_gang_is_not_waited_for(following: Play, state: JobState) -> None:
    following.see(state=state)
    assert following.hear(HubLost(GONE)) == FindCause(GONE, GONE)


def test_where_no_loss_is_allowed_the_first_is_the_end() -> None:
    play = Play(connected=True, replaces_workers=False)
    play.begin()
    assert play.hear(HubLost(GONE)) == FindCause(GONE, GONE)


# -- another application in its place --------------------------------------------------------------


def test_a_part_of_the_workers_is_given_back_and_asked_for_again_after_a_pause() -> None:
    play = Play()
    play.see(workers_running=2)
    play.begin()
    assert play.hear(NotConnected(), 20.0) == Wait(POLL_S)
    decision = play.quiet()
    assert isinstance(decision, EndApplication)
    assert decision.why.startswith("2 of 4 workers run while the others wait")
    play.see(state=JobState.KILLED)
    assert play.hear(ApplicationEnded(), 0.5) == Wait(POLL_S, "leaving room to others for 2 s")
    assert isinstance(play.quiet(1.9), Wait)
    last = play.quiet(0.08)
    assert isinstance(last, Wait)
    assert last.timeout_s == pytest.approx(0.02)
    assert play.quiet(0.02) == StartAnew()
    play.see(state=JobState.SUBMITTED, workers_running=0)
    assert play.hear(Submitted(), 3.0) == Connect("waiting for workers")


def paused(**run: Any) -> Play:
    """The room is given back, and a pause of 2 s begins 20.1 s after the start."""
    play = Play(**run)
    play.see(workers_running=2)
    play.begin()
    assert isinstance(play.quiet(20.1), EndApplication)
    play.see(state=JobState.KILLED)
    assert isinstance(play.hear(ApplicationEnded()), Wait)
    return play


def test_a_pause_does_not_outlast_the_timeout_of_the_run() -> None:
    play = paused(ends_at=1021.0)
    assert isinstance(play.quiet(0.8), Wait)
    decision = play.quiet(0.2)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, RunTimeout)


def test_a_pause_does_not_outlast_the_time_for_an_allocation() -> None:
    play = Play()
    play.see(workers_running=0)
    play.begin()
    play.hear(NotConnected(), 79.0)
    play.see(workers_running=2)
    play.quiet()
    assert isinstance(play.quiet(20.1), EndApplication)  # 99 of 100 s have passed
    assert isinstance(play.hear(ApplicationEnded()), Wait)
    decision = play.quiet(1.0)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, RendezvousTimeout)


def test_several_applications_share_the_time_for_an_allocation() -> None:
    play = paused()
    assert play.quiet(2.0) == StartAnew()
    play.see(state=JobState.SUBMITTED, workers_running=0)
    assert isinstance(play.hear(Submitted()), Connect)
    assert isinstance(play.hear(NotConnected(), 77.0), Wait)
    assert isinstance(play.hear(NotConnected(), 1.0), Raise)


def test_a_run_that_ended_well_while_it_was_killed_is_done() -> None:
    play = Play(with_the_job=True)
    play.see(workers_running=2)
    play.begin()
    play.quiet(20.1)
    play.see(state=JobState.SUCCEEDED)
    play.finished = True
    assert play.hear(ApplicationEnded()) == Done(RunDone(1))


def test_a_silent_master_is_replaced_at_once_where_a_worker_is_missing(following: Play) -> None:
    following.see(master_silent_s=31.0)
    assert following.quiet() == LISTEN, "it misses nobody"
    assert following.hear(Lost(Failure("WorkerLost", "lost rank 1", 1))) == LISTEN
    decision = following.quiet()
    assert decision == EndApplication(
        "the application master has not answered for 31 s (HARPY_MASTER_S)"
    )
    following.see(state=JobState.KILLED)
    assert following.hear(ApplicationEnded()) == StartAnew()
    following.see(state=JobState.SUBMITTED, master_silent_s=0.0)
    assert following.hear(Submitted()) == Connect("waiting for workers")
    assert not following.succession.waits_for_replacement
    assert following.hear(NotConnected(), 99.0) == Wait(POLL_S), "time of a new allocation"


def test_a_silent_master_does_not_matter_once_all_are_there_again(following: Play) -> None:
    following.see(master_silent_s=31.0)
    following.hear(Lost(Failure("WorkerLost", "lost rank 1", 1)))
    assert following.hear(BegunAnew(1, 2)) == LISTEN
    assert following.quiet() == LISTEN


# -- staging ---------------------------------------------------------------------------------------


def test_staging_goes_on_while_the_gang_comes_up() -> None:
    play = Play()
    assert play.follower.while_staging(play.view, play.now) is None


def test_staging_ends_with_the_gang_but_not_with_its_run() -> None:
    play = Play(with_the_job=True)
    play.see(state=JobState.SUCCEEDED)
    assert play.follower.while_staging(play.view, play.now) == FindCause()
    play.finished = True
    assert play.follower.while_staging(play.view, play.now) is None


def test_staging_ends_at_the_timeout() -> None:
    play = Play(ends_at=1010.0)
    failure = play.follower.while_staging(play.view, 1010.1)
    assert isinstance(failure, Raise)
    assert isinstance(failure.error, RunTimeout)
