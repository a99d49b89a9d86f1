"""Programs that end badly: one clear first cause, and a kept session goes on; nothing is left."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psutil
import pytest

from harpy import Session
from harpy.errors import (
    DataError,
    HarpyError,
    PeerLost,
    ProgramFailed,
    ProtocolError,
    RunTimeout,
    SessionClosed,
    WorkerLost,
)
from tests.support.cluster.running import RunningCluster
from tests.support.runs.failing import driver_here, program, session, told
from tests.support.shell import YARN_SLOWLY, Shell, eventually

pytestmark = pytest.mark.timeout(240)

RUN_S = 60.0


@pytest.fixture(scope="module", params=["local", "yarn"])
def kept(request: pytest.FixtureRequest, cluster: RunningCluster) -> Iterator[Session]:
    """One session for all programs that do not take it down; driver_here looks what is left."""
    with driver_here(request.param, cluster) as shell, session(shell) as opened:
        yield opened


@pytest.fixture
def shell(
    launcher: str, cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    with driver_here(launcher, cluster) as opened:
        monkeypatch.setenv("HARPY_MAX_LOSSES", "0")  # test_recovery.py has them replaced
        yield opened


def worker_pids(kept: Session) -> int:
    return kept.run(program("well"), timeout_s=RUN_S).value["pid"]


@pytest.mark.parametrize(
    ("name", "kind", "rank", "words"),
    [
        ("raises", ProgramFailed, 1, ["KeyError: \"no column 'weight'\"", "in raises"]),
        ("raises_before_the_communicator", ProgramFailed, 1, ["RuntimeError: rank 1 gives up"]),
        ("raises_long", ProgramFailed, 1, ["ValueError: first line\nxxx"]),
        ("calls_exit", ProgramFailed, 1, [r"sys\.exit\('enough'\); return from it instead"]),
        ("returns_the_untravelling", DataError, 0, [r"value\['model'\]\[1\] is a set; expected"]),
        ("saves_objects", DataError, None, ["dtype object", "expected numbers"]),
        ("returns_early", ProtocolError, 1, ["rank 1 returned .*without .*ctx.comm.* rank 0"]),
        ("leaves_in_the_middle", ProtocolError, 0, ["rank 1 ended its program after 1 collective"]),
        ("differs", ProtocolError, None, ["sum of 3 float64", "sum of 4 float64"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failed_program_is_named_and_the_session_runs_the_next(
    kept: Session, name: str, kind: type[HarpyError], rank: int | None, words: list[str]
) -> None:
    before = worker_pids(kept)
    with told(kind, *words, within_s=RUN_S) as caught:
        kept.run(program(name), timeout_s=RUN_S)
    error = caught.value
    assert not isinstance(error, PeerLost)
    assert error.rank == rank or rank is None
    assert error.host == socket.gethostname()
    if kind is ProgramFailed:
        assert str(error).startswith(f"rank {rank} on {error.host}: ")
        assert "Traceback (most recent call last)" in error.detail
        assert "harpy/gang" not in error.detail, "only the program's own frames"
    assert worker_pids(kept) == before


@pytest.mark.parametrize("name", ["prints_garbage", "reads_stdin", "forks_and_leaves"])
def test_what_a_program_does_to_its_pipes_disturbs_nobody(kept: Session, name: str) -> None:
    before = worker_pids(kept)
    value = kept.run(program(name), timeout_s=RUN_S).value
    assert worker_pids(kept) == before
    if name == "prints_garbage":
        assert value == 2.0
    elif name == "reads_stdin":
        assert value == ""
    else:
        assert psutil.pid_exists(value)


@YARN_SLOWLY
def test_a_child_that_holds_the_pipes_does_not_outlive_the_session(shell: Shell) -> None:
    with session(shell, single_run=True) as opened:
        child = opened.run(program("forks_and_leaves"), timeout_s=RUN_S).value
    eventually(lambda: not psutil.pid_exists(child), 20, "the program's child is still there")


@YARN_SLOWLY
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("exits_at_once", [r"ended with exit code 3 without a word", "Likely: .*raise an error"]),
        ("segfaults", [r"was killed by SIGSEGV", "Likely: native code", "line .* in segfaults"]),
    ],
)
def test_a_process_that_dies_without_a_word_is_named(
    shell: Shell, name: str, words: list[str]
) -> None:
    with told(WorkerLost, *words) as caught, session(shell) as opened:
        opened.run(program(name), timeout_s=RUN_S)
    assert caught.value.rank == 1
    assert str(caught.value).startswith(f"rank 1 on {caught.value.host} ")
    with pytest.raises(SessionClosed, match="make a new one"):
        opened.run(program("well"))


@pytest.mark.parametrize("launcher", ["local"])
def test_a_program_that_cannot_be_stopped_costs_the_session(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_ABORT_S", "1")
    with session(shell) as opened:
        with told(ProgramFailed, "rank 1 gives up"):
            opened.run(program("ignores_the_end_of_others"), timeout_s=RUN_S)
        with pytest.raises(HarpyError, match=r"rank 0 did not stop within 1 s"):
            opened.run(program("well"), timeout_s=RUN_S)


@pytest.mark.parametrize("launcher", ["local"])
def test_a_run_beyond_its_time_ends_with_it(shell: Shell) -> None:
    with told(RunTimeout, r"run 1 of job .* timeout_s", within_s=20), session(shell) as opened:
        opened.run(program("sleeps"), timeout_s=1.0)


@pytest.mark.parametrize("launcher", ["local"])
def test_a_session_that_was_idle_too_long_says_so(shell: Shell) -> None:
    with session(shell, idle_timeout_s=1.0) as opened:
        opened.run(program("well"), timeout_s=RUN_S)
        eventually(lambda: not shell.traces().processes, 20, "the idle workers go on")
        with told(SessionClosed, r"no run for 1 s \(HARPY_IDLE_S\); open a new one"):
            opened.run(program("well"), timeout_s=RUN_S)
