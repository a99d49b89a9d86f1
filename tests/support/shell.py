"""A user's shell for tests: a home of its own, drivers as real processes, `harpy` commands."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster.running import RunningCluster, becoming, can_become
from tests.support.traces import HdfsEntry, Traces, hdfs_files, traces

PROGRAMS = Path(__file__).with_name("programs")
STEPS = str(PROGRAMS / "steps.py")
HARPY = (sys.executable, "-m", "harpy.cli")

# Bounds, not expectations: several times what a busy machine needs.
COMMAND_S = 120
END_S = 60  # for a driver to end and clean up
SETTLE_S = 20  # for containers and masters to go after their job has ended
POLL_S = 0.02

LAUNCHERS = pytest.mark.parametrize("launcher", ["local", "yarn"])
# For what other tests see on YARN, too.
YARN_SLOWLY = pytest.mark.parametrize(
    "launcher", ["local", pytest.param("yarn", marks=pytest.mark.slow)]
)


def eventually(condition: Callable[[], Any], timeout_s: float, otherwise: str) -> Any:
    """Wait until the condition gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(POLL_S)
    return found


@dataclass
class Driver:
    """A driver's process."""

    process: subprocess.Popen[str]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def sigkill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=END_S)

    def end(self, timeout_s: float = END_S) -> tuple[int, str, str]:
        """Wait for its end: exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

    def says(self, line: str) -> None:
        """Wait until it prints this line."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            if said.strip() == line:
                return
        raise AssertionError(f"the driver ended: {self.end()}")


@dataclass
class Shell:
    """Where a user's commands run. `launcher` says how its jobs come to be."""

    launcher: str
    home: Path
    cluster: RunningCluster | None
    user: str
    become: str | None = None  # another user than ours, for its processes
    before: Traces = field(init=False)
    _extra: dict[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before = self.traces()

    @property
    def env(self) -> dict[str, str]:
        base: Mapping[str, str] = self.cluster.env if self.cluster else os.environ
        env = {k: v for k, v in base.items() if not k.startswith(("HARPY_STATE", "XDG_"))}
        env.update(HOME=str(self.home), TMPDIR=str(self.home / "tmp"))
        if self.become and self.user == self.become:
            env.pop("HADOOP_USER_NAME", None)  # the unix user says it
        return {**env, **self._extra}

    def set(self, **variables: str) -> None:
        """Set environment variables for what is started from now on."""
        self._extra.update(variables)

    def traces(self) -> Traces:
        return traces(self.home, self.cluster, self.user)

    def nothing_left(self, apart_from: str = "a job that goes on") -> None:
        """Fail if there is more than before: files at once, processes after a moment."""
        left = self.traces().beyond(self.before)
        files = [f for f in left.get("files", ()) if "/.staging/" not in f and apart_from not in f]
        assert not files, files
        deadline = time.monotonic() + SETTLE_S
        while left := self.traces().beyond(self.before):
            left = {
                k: rest for k, v in left.items() if (rest := [w for w in v if apart_from not in w])
            }
            if not left:
                return
            assert time.monotonic() < deadline, left
            time.sleep(POLL_S)

    # -- processes -------------------------------------------------------------------------------

    def start(self, *command: str) -> Driver:
        process = subprocess.Popen(
            command,
            env=self.env,
            **becoming(self.become),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests may run where Ctrl-C is ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self._started.append(process)
        return Driver(process)

    def harpy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one `harpy` command to its end."""
        driver = self.start(*HARPY, *arguments)
        code, out, err = driver.end(COMMAND_S)
        return subprocess.CompletedProcess(arguments, code, out, err)

    def run_steps(self, *options: str, n_node: int = 2, **params: Any) -> Driver:
        """Start `harpy run steps.py`."""
        given = [f"--param={name}={json.dumps(value)}" for name, value in params.items()]
        return self.start(*HARPY, "run", STEPS, *self.session(n_node), *given, *options)

    def session(self, n_node: int = 2) -> list[str]:
        """Options of a session of this shell's launcher."""
        return [f"--launcher={self.launcher}", f"--n-node={n_node}", "--n-mem=512"]

    def stop_all(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate(timeout=END_S)

    # -- points in a job's life ------------------------------------------------------------------

    @property
    def reached(self) -> str:
        """Where steps.py says that it is under way (a prefix of file names)."""
        return str(self.home / "tmp" / "reached")

    def under_way(self, driver: Driver, n_node: int = 2) -> None:
        """Wait until every rank is in the loop of steps.py, and forget that it said so."""
        marks = [Path(f"{self.reached}.{rank}") for rank in range(n_node)]
        self.while_alive(
            driver, lambda: all(mark.exists() for mark in marks), "no worker got there"
        )
        for mark in marks:
            mark.unlink()

    def while_alive(self, driver: Driver, condition: Callable[[], Any], otherwise: str) -> Any:
        def look() -> Any:
            assert driver.process.poll() is None, f"the driver ended: {driver.end()}"
            return condition()

        return eventually(look, COMMAND_S, otherwise)

    def records(self) -> list[dict[str, Any]]:
        """The registry's files."""
        folder = self.home / ".local/state/harpy/jobs"
        return [json.loads(path.read_text()) for path in folder.glob("*.json")]

    def job(self, driver: Driver) -> str:
        """Wait until the driver's job is known; its id."""

        def found() -> Any:
            return next((r for r in self.records() if r["driver_pid"] == driver.process.pid), None)

        return str(self.while_alive(driver, found, "no job was recorded")["job_id"])

    def files_of(self, job: str) -> list[HdfsEntry]:
        """The job directory with all that is in it, on HDFS."""
        assert self.cluster is not None
        entries = hdfs_files(self.cluster, f"/user/{self.user}")
        return [entry for entry in entries if job in entry.path.split("/")]

    def jobs(self) -> list[dict[str, Any]]:
        """What `harpy jobs --json` says."""
        done = self.harpy("jobs", "--json")
        assert done.returncode == 0, done.stderr
        listed: list[dict[str, Any]] = json.loads(done.stdout)
        return listed


@contextmanager
def user_shell(
    launcher: str, cluster: RunningCluster | None, become: str | None = None
) -> Iterator[Shell]:
    """A shell in a fresh home; its processes are gone at the end. On a cluster it is the user's
    whose jobs the tests run, where we may become that one, or `become`'s."""
    if cluster and become is None and not can_become(cluster.user):
        become = cluster.user
    # Not below pytest's own temporary directories: those are closed to other users.
    home = Path(tempfile.mkdtemp(prefix="harpy-test-home-"))
    (home / "tmp").mkdir()
    if become:
        for folder in (home, home / "tmp"):
            shutil.chown(folder, become)
    # The workers, which are the node manager's user's, leave their marks there.
    home.chmod(0o755)
    (home / "tmp").chmod(0o777)
    user = become or (cluster.user if cluster else getpass.getuser())
    shell = Shell(launcher, home, cluster, user, become)
    try:
        yield shell
    finally:
        shell.stop_all()
        shutil.rmtree(home)
