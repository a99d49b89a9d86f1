"""The embedded cluster's life: up, status, down. Each is safe to repeat and to interrupt."""

from __future__ import annotations

import errno
import fcntl
import getpass
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from harpy.cluster import daemons, web
from harpy.cluster.class_archive import class_archive
from harpy.cluster.daemons import Runtime
from harpy.cluster.jars import Report, distribution
from harpy.cluster.java import find_java
from harpy.cluster.layout import HADOOP_VERSION, Layout, find_home, open_directory, own_home
from harpy.cluster.ports import choose_ports, port_names
from harpy.cluster.shims import write_shims
from harpy.cluster.site_files import write_configuration
from harpy.cluster.spec import Shape, State
from harpy.cluster.start import Start, problems
from harpy.errors import ClusterError, ConfigError, DiskFull

NEEDED_MB = 1024  # a NameNode refuses to write with less than 100 MB; jobs need some as well


@dataclass(frozen=True)
class Status:
    """What a cluster is right now."""

    home: Path
    state: State | None  # None: no cluster here
    dead: tuple[str, ...] = ()  # daemons that should run and do not
    problems: tuple[str, ...] = ()  # what runs but does not answer

    @property
    def healthy(self) -> bool:
        """Whether every daemon lives and answers."""
        return self.state is not None and not self.dead and not self.problems


class EmbeddedCluster:
    """One single-machine Hadoop, known by its state directory.

    Parameters
    ----------
    home : Path, optional
        State directory. Default: the one this user's shells find, see `layout.find_home`.
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
        """Start the cluster, or what of it is dead; return when it answers.

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
        with _disk_errors(self.layout.home):
            self._make_home()
            with self._locked():
                status = self.status()
                if status.state is None or len(status.dead) == len(status.state.daemons):
                    return self._start(shape or Shape(), users, default_ports)
                _same_shape(status.state, shape)
                return self._complete(status.state, status.dead, users)

    def status(self) -> Status:
        """Check every daemon and query those that answer; starts and stops nothing."""
        home = self.layout.home
        if not self.layout.state.exists():
            return Status(home, None)
        state = State.load(self.layout.state)
        dead = tuple(p.name for p in state.daemons if not daemons.alive(p))
        return Status(home, state, dead, () if dead else tuple(problems(state)))

    def down(self, *, delete: bool = False) -> bool:
        """Stop the cluster's processes and return when all are gone; False if nothing ran.

        What is in HDFS and the logs are kept for the next `up`, unless `delete`.
        """
        if not self.layout.lock.exists():
            return False
        with self._locked():
            ran = bool(daemons.leftovers(self.layout))
            self._stop()
            shutil.rmtree(self.layout.work, ignore_errors=True)
            if delete:
                self._delete()
        return ran

    def environment(self) -> dict[str, str]:
        """Return what a client's shell needs; ClusterError when no cluster runs."""
        home = self.layout.home
        if not self.layout.state.exists():
            raise ClusterError(f"no embedded cluster in {home}.\n  next: harpy cluster up")
        state = State.load(self.layout.state)
        if not any(daemons.alive(process) for process in state.daemons):
            raise ClusterError(f"the cluster in {home} is dead.\n  next: harpy cluster up")
        variables = {
            "HADOOP_HOME": str(self.layout.home),
            "HADOOP_CONF_DIR": str(self.layout.conf),
            "JAVA_HOME": state.java_home,
        }
        if state.archive:
            variables["HARPY_CLASS_ARCHIVE"] = state.archive  # for the submitting JVM
        return variables

    def _start(self, shape: Shape, users: tuple[str, ...], default_ports: bool) -> State:
        layout = self.layout
        self._stop()  # what an earlier start left that was killed half-way
        runtime = self._runtime()
        _check_disk(layout.home)
        shutil.rmtree(layout.work, ignore_errors=True)
        for directory in (layout.logs, layout.pids, layout.hdfs, layout.temporary):
            open_directory(directory)
        names = port_names(shape.nodes)
        state = State(
            home=layout.home,
            shape=shape,
            ports=choose_ports(names if default_ports else dict.fromkeys(names, 0), shape.bind),
            distribution=str(runtime.hadoop.directory),
            java_home=str(runtime.java_home),
            archive=str(runtime.archive) if runtime.archive else None,
            owner=getpass.getuser(),
            hadoop=HADOOP_VERSION,
            started=time.time(),
            users=users,
        )
        self._report(f"starting Hadoop {HADOOP_VERSION} in {layout.home}")
        write_configuration(layout, shape, state.ports, runtime)
        write_shims(layout, runtime)
        start = Start(layout, runtime, state)
        try:
            start.everything(users)
            state = replace(state, started=time.time(), daemons=tuple(start.started))
            state.save(layout.state)
        except BaseException:
            self._stop()
            raise
        return state

    def _complete(self, state: State, dead: tuple[str, ...], users: tuple[str, ...]) -> State:
        """Start what is dead of a running cluster; make the homes of more users."""
        if dead:
            self._report(f"starting again what was dead: {', '.join(dead)}")
            start = Start(self.layout, self._runtime(), state)
            try:
                start.again(dead)
            finally:
                # Also after a failure: `down` must know whatever runs now.
                fresh = {process.name: process for process in start.started}
                alive = tuple(fresh.get(known.name, known) for known in state.daemons)
                state = replace(state, daemons=alive)
                state.save(self.layout.state)
        else:
            self._report(f"the cluster in {self.layout.home} is already up")
        web.make_directories(state, users)
        return state

    def _runtime(self) -> Runtime:
        java = find_java()
        hadoop = distribution(self._report)
        return Runtime(java, hadoop, class_archive(hadoop, java, self._report))

    def _stop(self) -> None:
        if not daemons.leftovers(self.layout):
            self._refuse_unseen()
        daemons.stop(self.layout)
        self.layout.state.unlink(missing_ok=True)

    def _refuse_unseen(self) -> None:
        """Refuse to touch what processes use that cannot be seen from here, as from another
        container with the same home."""
        try:
            with self.layout.name_lock.open("r+") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return
        except BlockingIOError as exc:
            raise ClusterError(
                f"the cluster in {self.layout.home} runs where this command cannot see it (another "
                "container of this machine?): nothing of it was removed.\n"
                "  next: harpy cluster down where it was started"
            ) from exc

    def _delete(self) -> None:
        for path in self.layout.everything():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not any(self.layout.home.iterdir()):  # what else lies there is not ours
            self.layout.home.rmdir()

    def _make_home(self) -> None:
        home = self.layout.home
        if home.is_dir() and not self.layout.lock.exists() and any(home.iterdir()):
            raise ConfigError(
                f"{home} is neither empty nor an embedded cluster's state directory.\n"
                "  next: name another one with --home"
            )
        open_directory(home)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time change this cluster."""
        while True:
            open_directory(self.layout.home)
            with self._open_lock() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._report("waiting for another `harpy cluster` command to finish")
                    fcntl.flock(file, fcntl.LOCK_EX)
                # What was waited for may have been a `down --delete`: then this locks nothing.
                if os.fstat(file.fileno()).st_nlink > 0:
                    yield
                    return

    def _open_lock(self) -> IO[str]:
        try:
            return self.layout.lock.open("w")
        except PermissionError as exc:
            raise ClusterError(
                f"the cluster in {self.layout.home} belongs to another user: "
                "only its owner starts and stops it"
            ) from exc


def _same_shape(running: State, asked: Shape | None) -> None:
    if asked is not None and asked != running.shape:
        raise ConfigError(
            f"the cluster in {running.home} is up as {running.shape},\n"
            f"  asked for was {asked}.\n"
            "  next: harpy cluster down, then harpy cluster up again"
        )


def _check_disk(home: Path) -> None:
    free_mb = shutil.disk_usage(home).free >> 20
    if free_mb < NEEDED_MB:
        raise DiskFull(
            f"the disk is too full for a cluster: {home} needs {NEEDED_MB} MB, "
            f"{free_mb} MB are free.\n"
            "  next: make room, or choose another place with --home",
            path=str(home),
        )


@contextmanager
def _disk_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except DiskFull:
        raise
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise
        raise DiskFull(f"no space left on the disk of {home}", path=str(home)) from exc
