"""Workers that are lost in the middle of a run: others take their places, and the bits are those of
a run that nobody disturbed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harpy import Session
from harpy.errors import WorkerLost
from tests.support.cluster.disturbed import master, task_jvm
from tests.support.cluster.running import RunningCluster
from tests.support.runs.disturbed import PROGRAMS, Disturbed, same_bits
from tests.support.runs.failing import driver_here, session, told
from tests.support.shell import LAUNCHERS, YARN_SLOWLY, Shell, eventually

pytestmark = pytest.mark.timeout(300)
N_ITER = 40
COUNTS = {"n_iter": N_ITER, "pause_s": 0.1}
EXPECTED = sum(range(N_ITER)) * 12.0
X = np.ones((12, 2))


@pytest.fixture
def shell(launcher: str, cluster: RunningCluster) -> Iterator[Shell]:
    with driver_here(launcher, cluster) as opened:
        yield opened


def counting(tmp_path: Path, opened: Session) -> Disturbed:
    running = Disturbed(opened, "counts", tmp_path, params=COUNTS, data={"X": X})
    running.wait()
    return running


@pytest.mark.parametrize("launcher", ["local"])
@pytest.mark.parametrize("rank", [1, 0])
def test_a_killed_worker_is_replaced_and_the_run_goes_on(
    shell: Shell, tmp_path: Path, rank: int
) -> None:
    with session(shell) as opened:
        running = counting(tmp_path, opened)
        before = running.pids()
        os.kill(before[rank], signal.SIGKILL)
        result = running.end()
        after = running.pids()
        assert (result.value["sum"], result.arrays["ranks"].tolist()) == (EXPECTED, [0, 1])
        assert after[1 - rank] == before[1 - rank]
        assert after[rank] != before[rank]
        begun = [mark.iteration for mark in running.marks(1 - rank) if mark.what == "begin"]
        assert begun[0] == 0 and begun[1] >= 3, "the run began at its beginning"
        again = Disturbed(opened, "counts", tmp_path, params=COUNTS, data={"X": X})
        assert again.end().value["sum"] == EXPECTED  # the session stands


@pytest.mark.parametrize("launcher", ["yarn"])
def test_whatever_of_a_job_is_killed_the_run_goes_on(shell: Shell, tmp_path: Path) -> None:
    with session(shell) as opened:
        running = counting(tmp_path, opened)
        workers, am = running.pids(), master(opened)
        os.kill(workers[1], signal.SIGKILL)
        running.wait()
        assert running.pids()[0] == workers[0], "a survivor was replaced"
        os.kill(task_jvm(running.pids()[1]), signal.SIGKILL)
        running.wait()
        os.kill(workers[0], signal.SIGKILL)
        running.wait()
        begun = [mark.iteration for mark in running.marks(1) if mark.what == "begin"]
        assert min(begun[1:]) >= 3, "the run began at its beginning"
        os.kill(am, signal.SIGKILL)
        result = running.end()
        assert (result.value["sum"], result.arrays["ranks"].tolist()) == (EXPECTED, [0, 1])
        assert master(opened) != am
        again = Disturbed(opened, "counts", tmp_path, params=COUNTS, data={"X": X})
        assert again.end().value["sum"] == EXPECTED  # the session stands


@pytest.mark.parametrize("launcher", ["local"])
def test_two_workers_at_once_are_replaced(shell: Shell, tmp_path: Path) -> None:
    with session(shell) as opened:
        running = counting(tmp_path, opened)
        for pid in running.pids():
            os.kill(pid, signal.SIGKILL)
        assert running.end().value["sum"] == EXPECTED


@LAUNCHERS
def test_a_stopped_worker_is_replaced_after_its_silence(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_SILENCE_S", "3")
    with session(shell) as opened:
        running = counting(tmp_path, opened)
        stopped = running.pids()[1]
        os.kill(stopped, signal.SIGSTOP)
        assert running.end().value["sum"] == EXPECTED
        assert running.pids()[1] != stopped


@YARN_SLOWLY
def test_a_crash_loop_ends_with_its_first_cause(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_MAX_LOSSES", "1")
    with told(WorkerLost, "^rank 1 on", "SIGSEGV|SIGKILL"), session(shell) as opened:
        running = counting(tmp_path, opened)
        os.kill(running.pids()[1], signal.SIGSEGV)
        running.wait()
        os.kill(running.pids()[1], signal.SIGKILL)
        running.end()


@pytest.mark.parametrize("launcher", ["local"])
@pytest.mark.parametrize("rank", [0, 1])
def test_kmeans_has_the_same_bits_after_a_loss(shell: Shell, tmp_path: Path, rank: int) -> None:
    rows = np.random.default_rng(4).normal(size=(4000, 8)).astype(np.float32)
    params = {"n_clusters": 20, "max_iter": 25, "tol": 0.0, "random_state": 3, "n_init": 2}
    with session(shell) as opened:

        def fit(pause_s: float) -> Disturbed:
            chosen = {**params, "pause_s": pause_s}
            return Disturbed(opened, "kmeans_slowly", tmp_path, params=chosen, data={"X": rows})

        expected = fit(0.0).end()
        running = fit(0.1)
        running.wait(30)  # in the second of two runs
        os.kill(running.pids()[rank], signal.SIGKILL)
        assert same_bits(running.end(), expected)


@pytest.mark.parametrize("launcher", ["local"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_holds_its_interpreter_is_busy_and_not_lost(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setenv("HARPY_SILENCE_S", "3")
    monkeypatch.setenv("HARPY_MAX_LOSSES", "0")
    with session(shell) as opened:
        params = {"rank": rank, "seconds": 6}
        result = opened.run(f"{PROGRAMS}:holds_the_interpreter", params, timeout_s=60)
        assert result.arrays["ranks"].tolist() == [0, 1]
        assert opened.job.failures == ()


@pytest.mark.parametrize("launcher", ["local"])
def test_a_worker_that_never_lets_go_of_its_interpreter_is_ended_for_good(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_ABORT_S", "2")
    with session(shell, n_node=3) as opened:
        running = Disturbed(opened, "rank_1_hangs_once", tmp_path, n_node=3)
        eventually(lambda: all(map(running.marks, range(3))), 60, "not all ranks began")
        hanging = running.marks(1)[-1].pid
        os.kill(running.marks(2)[-1].pid, signal.SIGKILL)
        assert running.end().value == 3
        assert hanging not in running.pids()
