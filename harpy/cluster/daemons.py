"""The cluster's daemons as processes: started, recognised for sure, and stopped until gone."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harpy.cluster.class_archive import options as archive_options
from harpy.cluster.jars import Distribution
from harpy.cluster.layout import Layout
from harpy.cluster.spec import Process, write_atomically
from harpy.errors import ClusterError

# Hadoop on Java 17 reflects into these.
OPENINGS = (
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-exports=java.base/sun.net.dns=ALL-UNNAMED",
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
)
# Daemons of one machine's cluster do little: start fast, stay small.
JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xss512k", "-XX:-UsePerfData")

TERM_S = 10.0  # a daemon that has not ended itself by then is killed
KILL_S = 10.0  # the kernel's time to reap a killed one


@dataclass(frozen=True)
class Daemon:
    """How one daemon is started."""

    name: str
    main_class: str
    heap_mb: int
    hadoop_user: str | None = None  # who it is to HDFS; None: the unix user


NAMENODE = Daemon(
    "namenode",
    "org.apache.hadoop.hdfs.server.namenode.NameNode",
    256,
    # Its user is HDFS's superuser: nobody's unix name, so that neither the node managers'
    # containers nor drivers can write where they should not.
    hadoop_user="hdfs",
)
DATANODE = Daemon("datanode", "org.apache.hadoop.hdfs.server.datanode.DataNode", 256)
RESOURCEMANAGER = Daemon(
    "resourcemanager",
    "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
    384,
    hadoop_user="yarn",
)
HISTORYSERVER = Daemon(
    "historyserver",
    "org.apache.hadoop.mapreduce.v2.hs.JobHistoryServer",
    256,
    hadoop_user="mapred",
)


def nodemanager(node: int) -> Daemon:
    """The daemon that is the node manager of that number."""
    main_class = "org.apache.hadoop.yarn.server.nodemanager.NodeManager"
    return Daemon(f"nm{node}", main_class, 256)


def all_daemons(nodes: int) -> list[Daemon]:
    """Return every daemon of a cluster of so many nodes."""
    workers = [nodemanager(node) for node in range(nodes)]
    return [RESOURCEMANAGER, NAMENODE, DATANODE, *workers, HISTORYSERVER]


def conf_dir(layout: Layout, daemon: str) -> Path:
    """Return the configuration a daemon reads: node managers have their own."""
    return layout.node_conf(int(daemon[2:])) if daemon.startswith("nm") else layout.conf


@dataclass(frozen=True)
class Runtime:
    """What runs Hadoop's programs here: Java, the jars, and the archive of their classes."""

    java_home: Path
    hadoop: Distribution
    archive: Path | None

    @property
    def java(self) -> Path:
        """The Java program that runs the daemons."""
        return self.java_home / "bin" / "java"

    def command(self, conf: Path, heap_mb: int, extra: Sequence[str] = ()) -> list[str]:
        """Return the start of a command line for a Hadoop class, up to the class's name."""
        flags = [*OPENINGS, *JVM_OPTIONS, f"-Xmx{heap_mb}m", *archive_options(self.archive), *extra]
        return [str(self.java), *flags, "-cp", f"{self.hadoop.class_path}:{conf}"]


def environment(java_home: Path, home: Path, conf: Path) -> dict[str, str]:
    """Return the environment of daemons and, through the node managers, of all containers."""
    # The caller's own Hadoop settings must not reach this cluster.
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("HADOOP_", "YARN_"))}
    mine.update(JAVA_HOME=str(java_home), HADOOP_HOME=str(home), HADOOP_CONF_DIR=str(conf))
    return mine


def spawn(
    layout: Layout, daemon: Daemon, runtime: Runtime, arguments: Sequence[str] = ()
) -> tuple[subprocess.Popen[bytes], Process]:
    """Start a daemon in a session of its own, logging to logs/<name>.log, and note its pid."""
    conf = conf_dir(layout, daemon.name)
    # `mark` finds processes whose starter was killed before it could write the pid file.
    folders = {
        "hadoop.log.dir": layout.logs,
        "yarn.log.dir": layout.logs,
        "java.io.tmpdir": layout.temporary,
    }
    extra = [mark(layout), *(f"-D{key}={folder}" for key, folder in folders.items())]
    command = runtime.command(conf, daemon.heap_mb, extra)
    env = environment(runtime.java_home, layout.home, conf)
    if daemon.hadoop_user:
        env["HADOOP_USER_NAME"] = daemon.hadoop_user
    with layout.log(daemon.name).open("wb") as log:
        process = subprocess.Popen(
            [*command, daemon.main_class, *arguments],
            env=env,
            cwd=layout.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,  # containers of other users read what is localised for them
        )
    known = Process(daemon.name, process.pid, psutil.Process(process.pid).create_time())
    write_atomically(layout.pids / daemon.name, f"{known.pid} {known.started!r}\n")
    return process, known


def mark(layout: Layout) -> str:
    """Return the argument by which a daemon's command line shows whose it is."""
    return f"-Dharpy.cluster.home={layout.home}"


def alive(process: Process) -> bool:
    """Whether this very process runs: a recycled pid has another start time."""
    try:
        found = psutil.Process(process.pid)
        return abs(found.create_time() - process.started) < 0.1 and _running(found)
    except psutil.NoSuchProcess:
        return False


def recorded(layout: Layout) -> list[Process]:
    """Return the daemons whose pid files are there, alive or not."""
    found = []
    for file in sorted(layout.pids.glob("[!.]*")):  # others are being written
        try:
            words = file.read_text().split()
        except FileNotFoundError:
            continue  # stopped meanwhile
        if len(words) == 2:
            found.append(Process(file.name, int(words[0]), float(words[1])))
    return found


def leftovers(layout: Layout) -> list[psutil.Process]:
    """Return this cluster's live processes, recorded or not: daemons and what runs in containers.

    A daemon carries its mark on the command line; everything in a container has LOCAL_DIRS in
    its environment, below the cluster's own directory.
    """
    wanted, below = mark(layout), f"{layout.work}/"
    found = []
    for process in psutil.process_iter():
        try:
            if wanted in process.cmdline() or (
                process.environ().get("LOCAL_DIRS", "").startswith(below)
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # ended meanwhile, or another user's: not ours
    return found


def stop(layout: Layout) -> None:
    """End every process of this cluster and return when all are gone.

    Raises
    ------
    ClusterError
        Something outlived SIGKILL; names it.
    """
    # Node managers first: they end their containers, and sign off from the resource manager,
    # for which they would wait in vain once it is gone.
    nodes = {known.pid for known in recorded(layout) if known.name.startswith("nm")}
    everything = leftovers(layout)
    for group in ([p for p in everything if p.pid in nodes], everything):
        for process in group:
            _signal(process, kill=False)
        _gone(group, TERM_S)
    # Also what a node manager had started in its last moments.
    left = leftovers(layout)
    for process in left:
        _signal(process, kill=True)
    left = _gone(left, KILL_S)
    if left:
        names = ", ".join(str(p.pid) for p in left)
        raise ClusterError(f"processes {names} of the cluster in {layout.home} outlived SIGKILL")
    for known in recorded(layout):
        (layout.pids / known.name).unlink(missing_ok=True)


def _gone(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for processes to end, at most timeout_s; return those that have not."""
    deadline = time.monotonic() + timeout_s
    while True:
        # A zombie has ended; its parent (perhaps the caller's own process) has not noticed yet.
        processes = [p for p in processes if _running(p)]
        if not processes or time.monotonic() > deadline:
            return processes
        time.sleep(0.05)


def _running(process: psutil.Process) -> bool:
    try:
        # Its first thread may be a zombie while others still close files and ports.
        ended = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return process.is_running() and not ended
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as exc:
        raise ClusterError(
            f"process {process.pid} of the cluster belongs to another user: stop it as that user"
        ) from exc


def log_tail(layout: Layout, daemon: str, lines: int = 20) -> str:
    """Return the end of a daemon's log, indented, or why there is none."""
    path = layout.log(daemon)
    if not path.is_file():
        return f"  (no log at {path})"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64_000))
        text = file.read().decode(errors="replace")
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])


def report_of_death(layout: Layout, names: Sequence[str]) -> str:
    """Return which daemons are dead, each with the end of its log."""
    parts = [
        f"{name} of the cluster in {layout.home} is dead; the end of {layout.log(name)}:\n"
        f"{log_tail(layout, name)}"
        for name in names
    ]
    return "\n".join(parts)
