"""A cluster whose daemons and containers are hurt: which process is what, and starting again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from harpy import Session
from harpy.cluster import web
from harpy.cluster.daemons import alive
from harpy.cluster.embedded import EmbeddedCluster
from tests.support.cluster.running import RunningCluster
from tests.support.shell import eventually

SEEN_S = 60.0
MASTER_CLASS = "org.apache.hadoop.mapreduce.v2.app.MRAppMaster"


def task_jvm(worker: int) -> int:
    """The process that started a worker."""
    parent = psutil.Process(worker).parent()
    assert parent is not None and "java" in parent.name(), parent
    return int(parent.pid)


def master(session: Session) -> int:
    """The process of a session's application master that lives, once there is one."""
    application_id = session.job.application_id
    assert application_id is not None
    container = application_id.replace("application", "container")

    def found() -> int | None:
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                # Its shell has the same words on its command line, in one argument.
                is_master = process.cmdline()[-1:] == [MASTER_CLASS]
                if is_master and container in process.environ().get("CONTAINER_ID", ""):
                    return int(process.pid)
        return None

    return int(eventually(found, SEEN_S, f"{application_id} has no application master"))


def node_of(pid: int) -> str:
    """The node manager in whose container a process is: "nm0"."""
    place = Path(psutil.Process(pid).environ()["LOCAL_DIRS"])
    return next(part.removesuffix("-local") for part in place.parts if part.endswith("-local"))


def daemon(cluster: RunningCluster, name: str) -> int:
    return next(known.pid for known in cluster.state.daemons if known.name == name)


def started_again(cluster: RunningCluster) -> RunningCluster:
    """The cluster once what is dead of it has been started again and all node managers are back."""
    names = [known.name for known in cluster.state.daemons if not alive(known)]
    if names:
        done = cluster.manage("up")
        assert done.returncode == 0, done.stderr
    state = EmbeddedCluster(cluster.home).status().state
    assert state is not None
    eventually(lambda: _nodes_back(cluster), SEEN_S, "node managers did not come back")
    return replace(cluster, state=state)


def _nodes_back(cluster: RunningCluster) -> bool:
    try:
        return web.active_nodes(cluster.state) >= cluster.state.shape.nodes
    except web.NO_ANSWER:
        return False


def running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Farewell:
    """Notes in the background when processes end."""

    def __init__(self, pids: list[int], limit_s: float = 300.0) -> None:
        self.at: dict[int, float] = {}  # seconds since the epoch
        self._pids, self._deadline = pids, time.monotonic() + limit_s
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while len(self.at) < len(self._pids) and time.monotonic() < self._deadline:
            for pid in self._pids:
                if pid not in self.at and not running(pid):
                    self.at[pid] = time.time()
            time.sleep(0.05)


@contextmanager
def slowed(pid: int, stopped_s: float, running_s: float) -> Iterator[None]:
    """A process that is stopped again and again for a moment."""
    over = threading.Event()

    def torment() -> None:
        with suppress(ProcessLookupError):
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                over.wait(stopped_s)
                os.kill(pid, signal.SIGCONT)
                over.wait(running_s)

    thread = threading.Thread(target=torment, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
