"""The local launcher starts, follows and ends processes, and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from harpy.errors import InterpreterMissing, LaunchError
from harpy.launch.base import Demand, GangSpec, JobState
from harpy.launch.local.launcher import LocalLauncher
from tests.support import ROOT
from tests.support.gangs.local import SOON_S, local_gang

SLEEP = "def main(ctx):\n    subprocess.Popen(['sleep', '1000'])\n    time.sleep(1000)"


def wait_for(condition, timeout_s: float = SOON_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


def test_states_from_new_to_succeeded(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        assert gang.launcher.status().state is JobState.NEW
        gang.submit(gang.program("def main(ctx): time.sleep(0.3)"))
        assert gang.launcher.status().state in (JobState.SUBMITTED, JobState.RUNNING)
        wait_for(lambda: gang.launcher.status().message == "2 of 2 workers running")
        status = gang.launcher.wait(SOON_S)
        assert status.state is JobState.SUCCEEDED
        assert status.failures == ()
        assert status.progress == 0.0  # the program said nothing
        assert 0 < status.timings["submitted"] <= status.timings["running"]


def test_kill_ends_workers_and_their_children(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        gang.submit(gang.program(SLEEP))
        wait_for(lambda: len(gang.processes()) == 4)
        started = time.monotonic()
        gang.launcher.kill("the test says so")
        assert time.monotonic() - started < 5
        status = gang.launcher.status()
        assert status.state is JobState.KILLED
        assert status.diagnostics == "the test says so"
        assert status.failures == ()
        assert gang.processes() == []
        gang.launcher.kill("again is harmless")
        assert gang.launcher.status().diagnostics == "the test says so"


def test_close_ends_workers_that_still_live(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        gang.submit(gang.program(SLEEP))
        wait_for(lambda: len(gang.processes()) == 4)
        gang.launcher.close()
        assert gang.processes() == []


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support.gangs.local import LocalGang
gang = LocalGang(Path({work!r}), 2)
gang.submit(gang.program({program!r}))
print(*(child._process.pid for child in gang.launcher._children), flush=True)
sys.stdin.read()
"""


def test_workers_and_their_children_die_with_a_killed_driver(tmp_path):
    text = DRIVER.format(root=str(ROOT), work=str(tmp_path), program=SLEEP)
    driver = subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert driver.stdout is not None
        workers = [int(pid) for pid in driver.stdout.readline().split()]
        assert len(workers) == 2

        def living() -> list[int]:
            pids = []
            for process in psutil.process_iter(["pid", "status"]):
                try:
                    group = os.getpgid(process.pid)
                except ProcessLookupError:
                    continue
                if group in workers and process.info["status"] != psutil.STATUS_ZOMBIE:
                    pids.append(process.pid)
            return pids

        wait_for(lambda: len(living()) == 4)
        driver.send_signal(signal.SIGKILL)
        driver.wait(SOON_S)
        wait_for(lambda: living() == [], timeout_s=5)
    finally:
        driver.kill()
        driver.wait()
        for pipe in (driver.stdin, driver.stdout):
            assert pipe is not None
            pipe.close()


def test_the_end_of_stderr_is_kept_for_a_death_without_a_word(tmp_path):
    text = """
def main(ctx):
    for number in range(1000):
        print("line", number, file=sys.stderr)
    sys.stderr.flush()
    os._exit(7)
"""
    with local_gang(tmp_path, 1) as gang:
        gang.submit(gang.program(text))
        failure = gang.failures()[0]
        assert "ended with exit code 7 without a word" in failure.message
        lines = failure.detail.splitlines()
        assert lines[-1] == "line 999"
        assert len(lines) <= 60


def test_a_worker_that_cannot_even_start_is_a_failure_with_its_words(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        broken = tmp_path / "python"
        broken.write_text("#!/bin/sh\necho no such thing here >&2\nexit 3\n")
        broken.chmod(0o755)
        gang.write_job(gang.program("def main(ctx): pass"))
        gang.launcher.open()
        grant = gang.launcher.preflight(Demand(2, 1, 256))
        spec = GangSpec("job-1", gang.directory.url, grant, gang.secret, str(broken), "job")
        gang.launcher.submit(spec)
        failures = gang.failures()
        assert "exit code 3" in failures[0].message
        assert failures[0].detail == "no such thing here"


@pytest.mark.parametrize(
    ("python", "words"),
    [("/no/such/python", "does not exist"), ("/etc/passwd", "may not be executed")],
)
def test_a_missing_interpreter_is_refused_at_once(tmp_path, python, words):
    with local_gang(tmp_path, 2) as gang:
        grant = gang.launcher.preflight(Demand(2, 1, 256))
        spec = GangSpec("job-1", gang.directory.url, grant, gang.secret, python, "job")
        with pytest.raises(InterpreterMissing, match=f"{python} .*{words}"):
            gang.launcher.submit(spec)


def test_a_launcher_starts_one_gang_only(tmp_path):
    with local_gang(tmp_path, 1) as gang:
        gang.submit(gang.program("def main(ctx): pass"))
        grant = gang.launcher.preflight(Demand(1, 1, 256))
        spec = GangSpec("job-1", gang.directory.url, grant, gang.secret, sys.executable, "job")
        with pytest.raises(LaunchError, match="already"):
            gang.launcher.submit(spec)
        gang.failures()


def test_more_than_the_machine_has_is_a_warning_not_a_refusal():
    launcher = LocalLauncher()
    asked = Demand(n_node=1000, n_thread=64, n_mem=10**7)
    grant = launcher.preflight(asked)
    assert (grant.n_node, grant.n_thread, grant.n_mem) == (1000, 64, 10**7)
    assert "1000 workers x 64 threads on" in grant.warnings[0]
    assert "1000 workers x 10000000 MB on a machine of" in grant.warnings[1]
    wish = launcher.preflight(replace(asked, n_node=1, n_thread=1, wishes=frozenset({"n_mem"})))
    assert wish.warnings == ()


def test_a_wish_for_threads_is_lowered_to_what_each_worker_finds_here(monkeypatch):
    monkeypatch.setattr("harpy.launch.local.launcher.available_cpus", lambda: 6)
    demand = Demand(n_node=2, n_thread=8, n_mem=256, wishes=frozenset({"n_thread"}))
    grant = LocalLauncher().preflight(demand)
    assert (grant.n_thread, grant.vcores, grant.warnings) == (3, 3, ())
    assert grant.notes == ("n_thread lowered from 8 to 3: 2 workers on 6 cores of this machine",)
    assert LocalLauncher().preflight(replace(demand, n_node=20)).n_thread == 1
    assert LocalLauncher().preflight(replace(demand, wishes=frozenset())).n_thread == 8


def test_nothing_is_left_in_the_temporary_directory(tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with local_gang(tmp_path, 2) as gang:
        gang.submit(gang.program("def main(ctx): ctx.comm.barrier()"))
        assert gang.failures() == {}
        assert list(temporary.iterdir()) == []
        assert not [path for path in gang.path.rglob("*") if path.suffix == ".tmp"]
