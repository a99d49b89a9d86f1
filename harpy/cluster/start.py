"""Starts a configured cluster's daemons, each once what it needs is there, and waits for them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from harpy.cluster import daemons, web
from harpy.cluster.daemons import Daemon, Runtime
from harpy.cluster.layout import Layout
from harpy.cluster.spec import Process, State
from harpy.errors import ClusterError

START_S = 120.0  # for each stage of the start: minutes of a slow disk, not seconds of a good one
POLL_S = 0.1


class Start:
    """One start of some or all daemons. `started` is what was spawned so far."""

    def __init__(self, layout: Layout, runtime: Runtime, state: State) -> None:
        self._layout, self._runtime, self._state = layout, runtime, state
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.started: list[Process] = []

    def everything(self, users: Sequence[str]) -> None:
        """Start all daemons and wait until they answer."""
        formatting = self._begin_format()
        # Needs no HDFS to start, so it comes up while the NameNode is formatted.
        self._spawn(daemons.RESOURCEMANAGER)
        if formatting is not None:
            self._end_format(formatting)
        self._spawn(daemons.NAMENODE)
        self._spawn(daemons.DATANODE)
        for node in range(self._state.shape.nodes):
            self._spawn(daemons.nodemanager(node))
        self._wait("HDFS to be ready", lambda: web.hdfs_ready(self._state))
        # The history server gives up on a file system without its directories.
        web.make_directories(self._state, users)
        self._spawn(daemons.HISTORYSERVER)
        self._wait_for_all()

    def again(self, names: Sequence[str]) -> None:
        """Start the named daemons of a cluster that lost them."""
        for daemon in daemons.all_daemons(self._state.shape.nodes):
            if daemon.name in names:
                self._spawn(daemon)
        self._wait_for_all()

    def _spawn(self, daemon: Daemon) -> None:
        child, known = daemons.spawn(self._layout, daemon, self._runtime)
        self._children.append((daemon.name, child))
        self.started.append(known)

    def _begin_format(self) -> subprocess.Popen[bytes] | None:
        """Begin to format the NameNode, unless an earlier start has done so in full."""
        if self._layout.formatted.exists():
            return None
        shutil.rmtree(self._layout.hdfs, ignore_errors=True)
        self._layout.hdfs.mkdir()
        once = replace(daemons.NAMENODE, name="format")
        arguments = ["-format", "-nonInteractive", "-force"]
        return daemons.spawn(self._layout, once, self._runtime, arguments)[0]

    def _end_format(self, formatting: subprocess.Popen[bytes]) -> None:
        self._wait("the NameNode to be formatted", lambda: formatting.poll() is not None)
        (self._layout.pids / "format").unlink()
        if formatting.returncode != 0:
            raise ClusterError(
                f"the NameNode could not be formatted (exit {formatting.returncode}); "
                f"the end of {self._layout.log('format')}:\n"
                + daemons.log_tail(self._layout, "format")
            )
        self._layout.formatted.touch()

    def _wait_for_all(self) -> None:
        for problem, works in readiness(self._state):
            self._wait(f"the end of: {problem}", works)

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        last = ""
        while True:
            dead = [name for name, child in self._children if child.poll() is not None]
            if dead:
                raise ClusterError(daemons.report_of_death(self._layout, dead))
            try:
                if done():
                    return
            except web.NO_ANSWER as exc:
                last = f" (last answer: {exc})"  # does not listen yet, or is not complete yet
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"waited {START_S:.0f} s in vain for {what}{last}.\n"
                    f"  see the logs in {self._layout.logs}"
                )
            time.sleep(POLL_S)


def readiness(state: State) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Yield what a cluster must do to count as ready: how its absence is called, and a test."""
    nodes = state.shape.nodes
    yield "HDFS is in safe mode or has no DataNode", lambda: web.hdfs_ready(state)
    yield (
        f"the resource manager has fewer than {nodes} active nodes",
        lambda: web.active_nodes(state) >= nodes,
    )
    yield "the history server does not answer", lambda: web.history_ready(state)


def problems(state: State) -> Iterator[str]:
    """Yield what of a running cluster does not answer as it should."""
    for problem, works in readiness(state):
        try:
            if not works():
                yield problem
        except web.NO_ANSWER as exc:
            yield f"{problem} ({exc})"
