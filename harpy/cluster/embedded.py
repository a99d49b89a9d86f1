"""The embedded cluster's life: up, status, down. Each is safe to repeat and to interrupt."""

from __future__ import annotations

import errno
import fcntl
import getpass
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harpy.cluster import daemons, web
from harpy.cluster.class_archive import class_archive
from harpy.cluster.daemons import Daemon, Runtime, nodemanager
from harpy.cluster.jars import Report, distribution
from harpy.cluster.java import find_java
from harpy.cluster.places import HADOOP_VERSION, Layout, find_home, own_home
from harpy.cluster.ports import choose_ports, port_names
from harpy.cluster.shims import write_shims
from harpy.cluster.site_files import write_configuration
from harpy.cluster.spec import Process, Shape, State
from harpy.errors import ClusterError, ConfigError, DiskFull

START_S = 120.0  # for each stage of the start: minutes of a slow disk, not seconds of a good one
POLL_S = 0.1
NEEDED_MB = 1024  # a NameNode refuses to write with less than 100 MB; jobs want room, too


@dataclass(frozen=True)
class Status:
    """What a cluster is right now."""

    home: Path
    state: State | None  # None: no cluster here
    dead: tuple[str, ...] = ()  # daemons that should run and do not
    problems: tuple[str, ...] = field(default=())  # what runs but does not answer

    @property
    def healthy(self) -> bool:
        return self.state is not None and not self.dead and not self.problems


class EmbeddedCluster:
    """One single-machine Hadoop, known by its state directory.

    Parameters
    ----------
    home : Path, optional
        State directory. Default: the one this user's shells find, see `places.find_home`.
    report : callable, optional
        Takes one line of progress.
    """

    def __init__(self, home: Path | None = None, report: Report = lambda line: None) -> None:
        self._given = home
        self.layout = Layout(find_home(home))
        self._report = report

    def up(
        self, shape: Shape | None = None, users: Sequence[str] = (), *, default_ports: bool = True
    ) -> State:
        """Start the cluster unless it runs; return when it answers.

        Parameters
        ----------
        shape : Shape, optional
            What it shall be; None accepts whatever already runs, else the default.
        users : sequence of str
            HDFS homes to make besides the caller's.
        default_ports : bool
            Use Hadoop's default ports where they are free; False takes any free ones.

        Raises
        ------
        ConfigError
            One of another shape runs, or the shape is impossible.
        JavaNotFound, ClusterError, DiskFull
            It did not start; whatever had started is gone again.
        """
        # Starting never touches another user's cluster, even if that is what `status` finds.
        self.layout = Layout((self._given or own_home()).absolute())
        users = tuple(dict.fromkeys([getpass.getuser(), *users]))
        with _disk_errors(self.layout.home), self._locked():
            running = self._running(shape)
            if running is not None:
                web.make_directories(running, users)
                self._report(f"the cluster in {self.layout.home} is already up")
                return running
            runtime = self._runtime()
            _check_disk(self.layout.home)
            try:
                return self._start(shape or Shape(), users, runtime, default_ports)
            except BaseException:
                daemons.stop(self.layout)
                self.layout.state.unlink(missing_ok=True)
                raise

    def status(self) -> Status:
        """Look at every daemon and ask those that answer; starts and stops nothing."""
        home = self.layout.home
        if not self.layout.state.exists():
            return Status(home, None)
        state = State.load(self.layout.state)
        dead = tuple(p.name for p in state.daemons if not daemons.alive(p))
        return Status(home, state, dead, () if dead else tuple(_problems(state)))

    def down(self, *, delete: bool = False) -> bool:
        """Stop the cluster's processes and return when all are gone; False if nothing ran.

        What is in HDFS is kept for the next `up`, unless `delete`: then the whole state
        directory goes.
        """
        if not self.layout.home.is_dir():
            return False
        with self._locked():
            ran = bool(daemons.leftovers(self.layout))
            daemons.stop(self.layout)
            self.layout.state.unlink(missing_ok=True)
            shutil.rmtree(self.layout.work, ignore_errors=True)
            if delete:
                shutil.rmtree(self.layout.home)
        return ran

    def environment(self) -> dict[str, str]:
        """Return what a client's shell needs; ClusterError when there is no cluster."""
        if not self.layout.state.exists():
            raise ClusterError(
                f"no embedded cluster in {self.layout.home}.\n  next: harpy cluster up"
            )
        state = State.load(self.layout.state)
        variables = {
            "HADOOP_HOME": str(self.layout.home),
            "HADOOP_CONF_DIR": str(self.layout.conf),
            "JAVA_HOME": state.java_home,
        }
        if state.archive:
            variables["HARPY_CLASS_ARCHIVE"] = state.archive  # for the submitting JVM
        return variables

    def _runtime(self) -> Runtime:
        java = find_java()
        hadoop = distribution(self._report)
        return Runtime(java, hadoop, class_archive(hadoop, java, self._report))

    def _running(self, shape: Shape | None) -> State | None:
        """Return the state of the cluster if it runs in full; clear what is left if it does not."""
        status = self.status()
        if status.state is None or status.dead:
            if status.dead:
                self._report(f"dead: {', '.join(status.dead)}; starting the cluster again")
            daemons.stop(self.layout)
            self.layout.state.unlink(missing_ok=True)
            return None
        if shape is not None and shape != status.state.shape:
            raise ConfigError(
                f"the cluster in {self.layout.home} runs as {status.state.shape}, "
                f"asked for was {shape}.\n"
                "  next: harpy cluster down, then harpy cluster up again"
            )
        return status.state

    def _start(
        self, shape: Shape, users: tuple[str, ...], runtime: Runtime, default_ports: bool
    ) -> State:
        layout = self.layout
        shutil.rmtree(layout.work, ignore_errors=True)
        for directory in (layout.logs, layout.pids, layout.hdfs, layout.work):
            directory.mkdir(exist_ok=True)
        names = port_names(shape.nodes)
        wanted = names if default_ports else dict.fromkeys(names, 0)
        ports = choose_ports(wanted, shape.bind)
        write_configuration(layout, shape, ports, runtime)
        write_shims(layout, runtime)
        state = State(
            layout.home,
            shape,
            ports,
            str(runtime.hadoop.directory),
            str(runtime.java_home),
            str(runtime.archive) if runtime.archive else None,
            getpass.getuser(),
            HADOOP_VERSION,
            time.time(),
            users,
        )
        start = _Start(layout, runtime)
        start.run(state, users)
        state = replace(state, started=time.time(), daemons=tuple(start.started))
        state.save(layout.state)
        return state

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time change this cluster."""
        self.layout.home.mkdir(parents=True, exist_ok=True)
        try:
            file = self.layout.lock.open("w")
        except PermissionError as exc:
            raise ClusterError(
                f"the cluster in {self.layout.home} belongs to another user: "
                "only its owner starts and stops it"
            ) from exc
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._report("waiting for another `harpy cluster` command to finish")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


class _Start:
    """One start: what was spawned so far, and the waiting between the stages."""

    def __init__(self, layout: Layout, runtime: Runtime) -> None:
        self._layout, self._runtime = layout, runtime
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.started: list[Process] = []

    def run(self, state: State, users: tuple[str, ...]) -> None:
        """Start all daemons, each as soon as what it needs is there."""
        nodes = state.shape.nodes
        format_needed = not (self._layout.hdfs / "name" / "current" / "VERSION").exists()
        formatting = self._spawn_format() if format_needed else None
        # These need no HDFS to start, so they come up while the NameNode is formatted.
        self._spawn(daemons.RESOURCEMANAGER)
        if formatting is not None:
            self._wait("the NameNode to be formatted", lambda: formatting.poll() is not None)
            self._check_format(formatting)
        self._spawn(daemons.NAMENODE)
        self._spawn(daemons.DATANODE)
        for node in range(nodes):
            self._spawn(nodemanager(node))
        self._wait("HDFS to be ready", lambda: web.hdfs_ready(state))
        web.make_directories(state, users)
        self._spawn(daemons.HISTORYSERVER)
        self._wait(f"{nodes} node managers", lambda: web.active_nodes(state) >= nodes)
        self._wait("the history server", lambda: web.history_ready(state))

    def _spawn(self, daemon: Daemon) -> None:
        child, known = daemons.spawn(self._layout, daemon, self._runtime)
        self._children.append((daemon.name, child))
        self.started.append(known)

    def _spawn_format(self) -> subprocess.Popen[bytes]:
        once = replace(daemons.NAMENODE, name="format")
        arguments = ["-format", "-nonInteractive", "-force"]
        return daemons.spawn(self._layout, once, self._runtime, arguments)[0]

    def _check_format(self, formatting: subprocess.Popen[bytes]) -> None:
        (self._layout.pids / "format").unlink(missing_ok=True)
        if formatting.returncode != 0:
            raise ClusterError(
                f"the NameNode could not be formatted (exit {formatting.returncode}):\n"
                + daemons.log_tail(self._layout, "format")
            )

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        problem = ""
        while True:
            dead = [name for name, child in self._children if child.poll() is not None]
            if dead:
                raise ClusterError(daemons.report_of_death(self._layout, dead))
            try:
                if done():
                    return
            except (OSError, ValueError, KeyError, IndexError) as exc:
                problem = f" (last answer: {exc})"  # not listening yet, or not all there yet
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"waited {START_S:.0f} s for {what} in vain{problem}.\n"
                    f"  see the logs in {self._layout.logs}"
                )
            time.sleep(POLL_S)


def _problems(state: State) -> Iterator[str]:
    """Yield what runs but does not answer as it should."""
    nodes = state.shape.nodes
    for what, works in (
        (f"the resource manager has fewer than {nodes} active nodes", lambda: _nodes_ok(state)),
        ("HDFS is in safe mode or has no DataNode", lambda: web.hdfs_ready(state)),
        ("the history server does not answer", lambda: web.history_ready(state)),
    ):
        try:
            if not works():
                yield what
        except (OSError, ValueError, KeyError, IndexError) as exc:
            yield f"{what} ({exc})"


def _nodes_ok(state: State) -> bool:
    return web.active_nodes(state) >= state.shape.nodes


def _check_disk(home: Path) -> None:
    usage = shutil.disk_usage(home)
    free_mb = usage.free >> 20
    if free_mb < NEEDED_MB:
        raise DiskFull(
            f"the cluster's disk is full: {home} needs {NEEDED_MB} MB, {free_mb} MB are free.\n"
            "  make room, or choose another place with --home",
            path=str(home),
        )


@contextmanager
def _disk_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno != errno.ENOSPC or isinstance(exc, DiskFull):
            raise
        raise DiskFull(f"no space left on the disk of {home}", path=str(home)) from exc
