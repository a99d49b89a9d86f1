"""Promise 7: however a job ends, nothing of it is left: no process, no listening port, no file in
the work directory, the staging area or the registry, no running application."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.cluster.running import RunningCluster
from tests.support.shell import (
    HARPY,
    LAUNCHERS,
    PROGRAMS,
    YARN_SLOWLY,
    Driver,
    Shell,
    eventually,
    user_shell,
)

pytestmark = pytest.mark.timeout(240)

INTERRUPTED = 130
ENDLESS = {"steps": 100_000, "pause_s": 0.05}


@pytest.fixture
def shell(launcher: str, cluster: RunningCluster) -> Iterator[Shell]:
    with user_shell(launcher, cluster if launcher == "yarn" else None) as opened:
        yield opened


@pytest.fixture
def yarn(cluster: RunningCluster) -> Iterator[Shell]:
    with user_shell("yarn", cluster) as opened:
        yield opened


def endless(shell: Shell, *options: str) -> Driver:
    """A run that does not end by itself, when all its workers are in the middle of it."""
    driver = shell.run_steps(*options, reached=shell.reached, **ENDLESS)
    shell.under_way(driver)
    assert shell.traces().beyond(shell.before).keys() >= {"processes", "ports", "files"}
    return driver


@LAUNCHERS
def test_success(shell: Shell) -> None:
    code, out, err = shell.run_steps(steps=3).end()
    assert (code, json.loads(out)["total"]) == (0, [3.0, 9.0, 15.0]), err
    shell.nothing_left()


@YARN_SLOWLY
def test_a_program_that_raises(shell: Shell) -> None:
    code, out, err = shell.run_steps(steps=3, raise_at=1).end()
    assert (code, out) == (6, "")
    assert "rank 1" in err
    assert "this program raises on purpose" in err
    shell.nothing_left()


@YARN_SLOWLY
def test_ctrl_c_while_iterating(shell: Shell) -> None:
    driver = endless(shell)
    driver.signal(signal.SIGINT)
    code, out, err = driver.end()
    assert (code, out) == (INTERRUPTED, ""), err
    assert "Traceback" not in err
    shell.nothing_left()


@YARN_SLOWLY
def test_ctrl_c_in_an_idle_kept_session(shell: Shell) -> None:
    params = json.dumps({"steps": 1})
    driver = shell.start(sys.executable, str(PROGRAMS / "kept_session.py"), shell.launcher, params)
    driver.says("idle")
    driver.signal(signal.SIGINT)
    code, _, err = driver.end()
    assert code == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    shell.nothing_left()


@LAUNCHERS
def test_kill_from_another_shell(shell: Shell) -> None:
    driver = endless(shell)
    killed = shell.harpy("kill", shell.job(driver))
    assert killed.returncode == 0, killed.stderr
    shell.nothing_left()
    code, out, err = driver.end()
    assert out == ""
    if shell.launcher == "yarn":
        assert (code, "killed" in err) == (7, True), err
    else:
        assert code == INTERRUPTED, err


@YARN_SLOWLY
def test_sigterm_to_harpy_run(shell: Shell) -> None:
    driver = endless(shell)
    driver.signal(signal.SIGTERM)
    assert driver.end()[0] == INTERRUPTED
    shell.nothing_left()


@YARN_SLOWLY
def test_sigterm_to_harpy_kmeans_fit(shell: Shell) -> None:
    rows = shell.home / "rows.npy"
    np.save(rows, np.random.default_rng(0).normal(size=(200_000, 16)))
    shell.before = shell.traces()
    options = ["--n-clusters=200", "--max-iter=100000", "--tol=0", "--random-state=0"]
    options += ["--n-thread=1", "--progress"]
    driver = shell.start(*HARPY, "kmeans", "fit", str(rows), *options, *shell.session())
    shell.job(driver)
    assert driver.process.stderr is not None
    said = iter(driver.process.stderr.readline, "")
    assert any("2 of 2 workers running" in line for line in said), driver.end()
    driver.signal(signal.SIGTERM)
    assert driver.end()[0] == INTERRUPTED
    shell.nothing_left()


def test_ctrl_c_while_waiting_for_containers(yarn: Shell) -> None:
    occupant = yarn.run_steps("--n-mem=7000", n_node=1, reached=yarn.reached, **ENDLESS)
    yarn.under_way(occupant, n_node=1)
    yarn.before = yarn.traces()
    driver = yarn.run_steps("--n-mem=7000", n_node=1, steps=1)
    eventually(lambda: masters(yarn) == 2, 60, "the second master did not start")
    driver.signal(signal.SIGINT)
    code, _, err = driver.end()
    assert code == INTERRUPTED, err
    yarn.nothing_left(apart_from=yarn.job(occupant))
    occupant.signal(signal.SIGINT)
    occupant.end()


def masters(shell: Shell) -> int:
    """Application masters that run."""
    return sum("MRAppMaster" in process for process in shell.traces().processes)
