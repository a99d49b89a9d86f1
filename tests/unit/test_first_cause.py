"""Of all that was seen of a failure the driver raises one: the cause, not what came of it."""

from __future__ import annotations

from typing import Any

import pytest

from harpy.errors import (
    HarpyError,
    JobKilled,
    MasterLost,
    PeerLost,
    Preempted,
    ProgramFailed,
    WorkerKilled,
    WorkerLost,
)
from harpy.launch.base import AttemptFailure, JobState, LaunchStatus
from harpy.session import first_cause as module
from harpy.session.first_cause import first_cause
from harpy.wire.failure import Failure

KILLED = AttemptFailure("1", Failure("WorkerKilled", "rank 1 on n1 was killed", 1, "n1"))
ECHO = AttemptFailure("0", Failure("PeerLost", "lost rank 1", 0, "n0", echo=True))
TAKEN = AttemptFailure("1", Failure("Preempted", "rank 1 on n1 was preempted", 1, "n1"))
RAISED = AttemptFailure("0", Failure("ProgramFailed", "ValueError: no", 0, "n0"))
MASTER = (
    "Application a failed 2 times due to AM Container for b exited with  exitCode: 137\nFailing "
    "this attempt.Diagnostics: Killed"
)


class Seen:
    """A launcher that knows this and will learn no more."""

    def __init__(self, **status: Any) -> None:
        self._status = LaunchStatus(**status)

    def status(self) -> LaunchStatus:
        return self._status


@pytest.mark.parametrize(
    ("failures", "state", "diagnostics", "kind"),
    [
        ((ECHO, KILLED), JobState.RUNNING, "", WorkerKilled),
        ((KILLED, RAISED), JobState.FAILED, "", ProgramFailed),  # the first was made good
        ((KILLED,), JobState.KILLED, "Application a was killed by user x", JobKilled),
        ((KILLED,), JobState.FAILED, MASTER, MasterLost),
        ((RAISED,), JobState.KILLED, "", ProgramFailed),
        ((), JobState.KILLED, "", JobKilled),
        ((ECHO,), JobState.FAILED, "", WorkerLost),
        ((TAKEN, ECHO), JobState.FAILED, "", Preempted),
        ((TAKEN, KILLED), JobState.RUNNING, "", WorkerKilled),  # the first did not count
        ((TAKEN,), JobState.FAILED, MASTER, MasterLost),
    ],
    ids=[
        "a loss",
        "a fault after a loss",
        "killed after a loss",
        "master after a loss",
        "killed after a fault",
        "killed",
        "only an echo",
        "taken back",
        "a loss after one was taken back",
        "master after one was taken back",
    ],
)
def test_the_cause_is_told_from_what_came_of_it(
    failures: tuple[AttemptFailure, ...],
    state: JobState,
    diagnostics: str,
    kind: type[HarpyError],
) -> None:
    launcher = Seen(failures=failures, state=state, diagnostics=diagnostics)
    assert type(first_cause(launcher, "job-1", PeerLost("gone"))) is kind  # type: ignore[arg-type]


def test_what_the_driver_saw_counts_where_nobody_knows_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CAUSE_S", 0.1)
    seen = WorkerLost("rank 1 said nothing")
    assert first_cause(Seen(state=JobState.RUNNING), "job-1", seen) is seen  # type: ignore[arg-type]


def test_a_loss_is_not_laid_to_another_rank_that_the_cluster_took_back_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CAUSE_S", 0.1)
    seen = WorkerLost("rank 0 said nothing", rank=0)
    launcher = Seen(state=JobState.RUNNING, failures=(TAKEN,))
    assert first_cause(launcher, "job-1", seen) is seen  # type: ignore[arg-type]


def test_an_error_says_where_it_happened_to_people_and_to_machines() -> None:
    launcher = Seen(failures=(ECHO, RAISED), state=JobState.FAILED)
    error = first_cause(launcher, "job-1", None)  # type: ignore[arg-type]
    assert (error.rank, error.host) == (0, "n0")
    assert str(error) == "rank 0 on n0: ValueError: no"
