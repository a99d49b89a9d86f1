"""Workers as processes of this machine, over the same child protocol as on YARN.

Owns the processes and their pipes; what workers do is left to harpy.gang.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from harpy.config import Deadlines
from harpy.cpus import available_cpus
from harpy.errors import InterpreterMissing, LaunchError
from harpy.launch.base import (
    AttemptFailure,
    Demand,
    GangSpec,
    Grant,
    JobState,
    Launcher,
    LaunchStatus,
)
from harpy.launch.local.child import LocalChild
from harpy.wire.hello import Hello

logger = logging.getLogger(__name__)

BIND = "127.0.0.1"
POLL_S = 0.02
FOLLOW_S = 5.0  # after the first failure, for the others to end by themselves
ECHO_S = 1.0  # for the first cause to end after its echo
TERMINATE_S = 0.25  # between SIGTERM and SIGKILL, as YARN does it


class LocalLauncher(Launcher):
    """`n_node` processes of this machine. They end when this process ends, since their stdin
    closes."""

    kind = "local"

    def __init__(self, deadlines: Deadlines | None = None) -> None:
        self._deadlines = deadlines or Deadlines.from_environment()
        self._children: list[LocalChild] = []
        self._lock = threading.Lock()
        self._status = LaunchStatus()
        self._opened_at = time.monotonic()
        self._timings: dict[str, float] = {}
        self._killed: str | None = None
        self._follower: threading.Thread | None = None

    def open(self) -> None:
        """As `Launcher.open`."""
        self._opened_at = time.monotonic()

    def preflight(self, demand: Demand) -> Grant:
        """Grant what is asked. More than this machine has is slow, not impossible: it gives
        warnings."""
        notes, warnings = [], []
        cores, n_thread = available_cpus(), demand.n_thread
        if "n_thread" in demand.wishes:
            n_thread = max(1, min(n_thread, cores // demand.n_node))
        if n_thread < demand.n_thread:
            notes.append(
                f"n_thread lowered from {demand.n_thread} to {n_thread}: "
                f"{demand.n_node} workers on {cores} cores of this machine"
            )
        if demand.n_node * n_thread > cores:
            warnings.append(
                f"{demand.n_node} workers x {n_thread} threads on {cores} cores of this "
                "machine: they will take turns"
            )
        total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
        if "n_mem" not in demand.wishes and demand.n_node * demand.n_mem > total_mb:
            warnings.append(
                f"{demand.n_node} workers x {demand.n_mem} MB on a machine of {total_mb} MB"
            )
        return Grant(
            demand.n_node,
            n_thread,
            demand.n_mem,
            vcores=n_thread,
            python_mb=None if "n_mem" in demand.wishes else demand.n_mem,
            notes=tuple(notes),
            warnings=tuple(warnings),
        )

    def submit(self, spec: GangSpec) -> str | None:
        """Start the processes and send each its hello.

        Raises
        ------
        InterpreterMissing
            `spec.python` does not exist or may not be executed.
        LaunchError
            The system refused to start a process.
        """
        if self._children:
            raise LaunchError("this launcher has started its workers already")
        try:
            for rank in range(spec.grant.n_node):
                self._children.append(_start(rank, spec, spec.first_attempt))
        except BaseException:
            self._kill_all(signal.SIGKILL)
            raise
        self._timings["submitted"] = self._elapsed()
        self._status = LaunchStatus(JobState.SUBMITTED, message="workers are starting")
        self._follower = threading.Thread(
            target=self._follow, args=(spec,), name="harpy-local-launcher", daemon=True
        )
        self._follower.start()
        return None

    def status(self) -> LaunchStatus:
        """As `Launcher.status`."""
        with self._lock:
            return self._status

    def kill(self, reason: str) -> None:
        """As `Launcher.kill`."""
        if self._follower is None:
            return
        with self._lock:
            if self._status.state.ended:
                return
            self._killed = reason
        self._kill_all(signal.SIGTERM)
        self._follower.join(TERMINATE_S)
        self._kill_all(signal.SIGKILL)
        self._follower.join(self._deadlines.kill_s)

    def wait(self, timeout_s: float) -> LaunchStatus:
        """As `Launcher.wait`."""
        if self._follower is not None:
            self._follower.join(timeout_s)
        return self.status()

    def close(self) -> None:
        """Close the pipes; workers that still run then end themselves."""
        for child in self._children:
            child.hang_up()
        if self._follower is not None:
            self._follower.join(self._deadlines.kill_s)

    # -- following ---------------------------------------------------------------------------------

    def _follow(self, spec: GangSpec) -> None:
        """Watch the children until all are gone, and replace those that are lost. Only this thread
        writes the status."""
        failures: list[AttemptFailure] = []
        ended: set[LocalChild] = set()
        failed_at: float | None = None  # the first failure that no other attempt makes good
        while True:
            for child in self._children:
                if child in ended or child.alive():
                    continue
                ended.add(child)
                failure = child.failure()
                if failure is None:
                    continue
                failures.append(failure)
                if not (failed_at is None and self._replace(child, failure, spec)):
                    failed_at = failed_at or time.monotonic()
            alive = [child for child in self._children if child not in ended]
            self._publish(alive, failures, failed_at is not None)
            if not alive:
                return
            for child in alive:
                if child.said_hello and child.silent_for() > self._deadlines.silence_s:
                    child.kill_silent("HARPY_SILENCE_S")
                elif child.silent_for() > self._deadlines.rendezvous_s:
                    # Its interpreter starts slowly, on a busy machine or a slow disk.
                    child.kill_silent("HARPY_RENDEZVOUS_S")
            if failed_at is not None and time.monotonic() - failed_at > FOLLOW_S:
                # As MapReduce does when a task has failed: the others cannot succeed any more.
                for child in alive:
                    child.kill_as_follower()
            time.sleep(POLL_S)

    def _replace(self, child: LocalChild, failure: AttemptFailure, spec: GangSpec) -> bool:
        """Start the next attempt of a lost worker, if there may be one."""
        attempt = child.attempt + 1
        if not child.replaceable or attempt >= spec.first_attempt + spec.max_attempts:
            return False
        if failure.failure.echo and self._somebody_failed():
            return False
        with self._lock:
            if self._killed is not None:
                return False
            try:
                self._children[child.rank] = _start(child.rank, spec, attempt)
            except LaunchError as exc:
                logger.warning("rank %d was not replaced: %s", child.rank, exc)
                return False
        return True

    def _somebody_failed(self) -> bool:
        """Whether a worker that has ended reported a failure: an echo may have come before its
        cause."""
        deadline = time.monotonic() + ECHO_S
        while time.monotonic() < deadline:
            if any(not child.alive() and not child.replaceable for child in self._children):
                return True
            time.sleep(POLL_S)
        return False

    def _publish(
        self, alive: list[LocalChild], failures: list[AttemptFailure], failed: bool
    ) -> None:
        n = len(self._children)
        running = [child for child in alive if child.said_hello]
        if len(running) == n:
            self._timings.setdefault("running", self._elapsed())
        with self._lock:
            if alive:
                state = JobState.RUNNING if running else JobState.SUBMITTED
                message = f"{len(running)} of {n} workers running"
            elif self._killed is not None:
                state, message = JobState.KILLED, f"killed: {self._killed}"
            else:
                state = JobState.FAILED if failed else JobState.SUCCEEDED
                message = f"{len(failures)} workers failed, of {n}" if failed else ""
            self._status = replace(
                self._status,
                state=state,
                message=message,
                progress=max(child.progress for child in self._children),
                failures=tuple(failures) if self._killed is None else (),
                diagnostics=self._killed or "",
                timings=dict(self._timings),
            )

    def _kill_all(self, number: signal.Signals) -> None:
        with self._lock:
            children = list(self._children)
        for child in children:
            child.signal_group(number)

    def _elapsed(self) -> float:
        return time.monotonic() - self._opened_at


def _start(rank: int, spec: GangSpec, attempt: int) -> LocalChild:
    """Start one worker and send its hello."""
    command = [spec.python, "-m", "harpy.gang.worker"]
    # A neutral directory: `python -m` puts the current one first in sys.path.
    path = spec.job_url.removeprefix("file://")
    directory = path if path.startswith("/") else "/"
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(spec.env),
            cwd=directory,
            # A group of its own: the driver handles Ctrl-C, and the processes that a worker forks
            # can be ended with it.
            process_group=0,
        )
    except FileNotFoundError as exc:
        raise InterpreterMissing(
            f"the workers' Python {spec.python} does not exist (or the job directory {directory})"
        ) from exc
    except PermissionError as exc:
        raise InterpreterMissing(f"the workers' Python {spec.python} may not be executed") from exc
    except OSError as exc:
        raise LaunchError(f"cannot start worker {rank}: {exc}") from exc
    child = LocalChild(rank, attempt, process)
    hello = Hello(
        rank=rank,
        n_node=spec.grant.n_node,
        attempt=attempt,
        n_thread=spec.grant.n_thread,
        memory_mb=spec.grant.python_mb,
        job_url=spec.job_url,
        secret=spec.secret,
        bind=BIND,
        hadoop_conf_dir=os.environ.get("HADOOP_CONF_DIR") or None,
        hadoop_conf=spec.hadoop_conf,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended at once: its exit code says why
        process.stdin.write(hello.to_line())
        process.stdin.flush()
    return child


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **extra}
