"""Workers that die, stop or meet strangers: rank, host and how in seconds, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harpy import Session
from harpy.config import Deadlines
from harpy.errors import AuthenticationError, InterpreterMissing, WorkerKilled, WorkerLost
from harpy.launch.base import GangSpec
from harpy.launch.local import launcher as local
from harpy.launch.local.child import LocalChild
from harpy.session.control import ControlChannel
from tests.support.cluster.running import RunningCluster
from tests.support.runs.failing import driver_here, program, session, told
from tests.support.shell import YARN_SLOWLY, Shell, eventually

pytestmark = pytest.mark.timeout(240)

RUN_S = 60.0
START_S = 120.0
NOTICED_S = 30.0  # about ten on an idle machine
SILENCE_S = 3.0


@pytest.fixture
def shell(
    launcher: str, cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    with driver_here(launcher, cluster) as opened:
        monkeypatch.setenv("HARPY_MAX_LOSSES", "0")  # test_recovery.py has them replaced
        yield opened


class Iterating:
    """A session whose program iterates until one of its workers is signalled."""

    def __init__(self, opened: Session, folder: Path) -> None:
        self._folder = folder
        self._opened = opened
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._opened.run(program("iterates"), {"folder": str(self._folder)}, timeout_s=START_S)
        except BaseException as exc:  # handed to the test's thread
            self._error = exc

    def pid(self, rank: int) -> int:
        """The process of a rank, once it is in the middle of its iterations."""
        marks = [self._folder / f"rank-{r}" for r in (0, 1)]

        def there() -> bool:
            assert self._thread.is_alive(), self._error
            return all(mark.exists() for mark in marks)

        eventually(there, START_S, "the workers never iterated")
        pids = [int(mark.read_text()) for mark in marks]
        for mark in marks:
            mark.unlink()
        return pids[rank]

    def end(self, timeout_s: float) -> None:
        """Raise what the run raised."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the run goes on"
        assert self._error is not None
        raise self._error


@YARN_SLOWLY
@pytest.mark.parametrize("rank", [1, 0])
def test_a_killed_worker_is_named_with_its_signal(shell: Shell, rank: int) -> None:
    with session(shell) as opened:
        running = Iterating(opened, shell.home / "tmp")
        os.kill(running.pid(rank), signal.SIGKILL)
        with told(WorkerKilled, "was killed by SIGKILL", "ran out of memory .*n_mem") as caught:
            running.end(NOTICED_S)
    error = caught.value
    assert error.rank == rank
    assert str(error).startswith(f"rank {rank} on {error.host} ")


@YARN_SLOWLY
def test_a_stopped_worker_is_named_after_its_silence(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_SILENCE_S", str(SILENCE_S))
    with session(shell) as opened:
        running = Iterating(opened, shell.home / "tmp")
        os.kill(running.pid(1), signal.SIGSTOP)
        with told(WorkerLost, r"^rank 1 on \S+ .*(silent|said nothing) for \d s") as caught:
            running.end(NOTICED_S)
    assert caught.value.rank == 1


@pytest.mark.parametrize("launcher", ["local"])
def test_strangers_do_no_harm_to_a_running_gang(shell: Shell) -> None:
    deadlines = Deadlines(handshake_s=5.0)
    with session(shell) as opened:
        assert opened.run(program("well"), timeout_s=RUN_S).value["total"] == 3.0
        job = opened.job
        folder = Path(str(job.url).removeprefix("file://")) / "gang"
        (name,) = [path.name for path in folder.iterdir()]
        address, port = name.split("@")[1], int(name.split("@")[2])
        for secret, job_id in ((bytes(32), job.id), (os.urandom(32), job.id), (bytes(32), "else")):
            with pytest.raises((AuthenticationError, ConnectionError)):
                ControlChannel.connect(address, port, secret, job_id, deadlines)
        silent = socket.create_connection((address, port))
        for noise in (b"GET / HTTP/1.1\r\n\r\n" * 20, os.urandom(4096), b"\0" * 100_000):
            with socket.create_connection((address, port)) as stranger:
                stranger.sendall(noise)
        assert opened.run(program("well"), timeout_s=RUN_S).value["total"] == 3.0
        silent.close()


@pytest.mark.parametrize("launcher", ["local"])
def test_a_worker_with_another_secret_is_not_let_in(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = local._start

    def start_a_liar(rank: int, spec: GangSpec, *rest: Any) -> LocalChild:
        return start(rank, replace(spec, secret=os.urandom(32)) if rank == 1 else spec, *rest)

    monkeypatch.setattr(local, "_start", start_a_liar)
    words = ("^rank 1 on", "does not know the secret of this job")
    with told(AuthenticationError, *words), session(shell) as opened:
        opened.run(program("well"), timeout_s=RUN_S)


def _missing(home: Path) -> Path:
    return home / "nowhere" / "python"


def _not_a_program(home: Path) -> Path:
    path = home / "python"
    path.write_text("not a program")
    return path


def _without_harpy(home: Path) -> Path:
    path = home / "python"
    path.write_text(
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'harpy'\" >&2\nexit 1\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("launcher", ["local"])
@pytest.mark.parametrize(
    ("python", "words"),
    [
        (_missing, "does not exist"),
        (_not_a_program, "may not be executed"),
        (_without_harpy, "cannot import harpy"),
    ],
)
def test_an_interpreter_that_cannot_be_used_is_named(
    shell: Shell, python: Callable[[Path], Path], words: str
) -> None:
    path = python(shell.home)
    shell.before = shell.traces()
    with told(InterpreterMissing, str(path), words), session(shell, python=str(path)) as opened:
        opened.run(program("well"), timeout_s=RUN_S)
