"""Where the embedded cluster lives on this machine: the jar cache and the state directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

HADOOP_VERSION = "3.5.0"
STATE_FILE = "cluster.json"

# Root's own cache and state lie below /root, which is closed to everybody else; a cluster started
# by root is there for all users of the machine, so its files lie where they can be read.
SYSTEM_CACHE = Path("/var/cache/harpy")
SYSTEM_HOME = Path("/var/lib/harpy/cluster")


def cache_dir() -> Path:
    """Return where this user keeps fetched jars: HARPY_CACHE, or the platform's cache."""
    given = os.environ.get("HARPY_CACHE")
    if given:
        return Path(given).absolute()
    if os.geteuid() == 0:
        return SYSTEM_CACHE
    return Path(platformdirs.user_cache_dir("harpy"))


def caches() -> list[Path]:
    """Return where to look: this user's cache, then the one root filled for the whole machine."""
    own = cache_dir()
    return [own] if os.environ.get("HARPY_CACHE") else [own, SYSTEM_CACHE]


def own_home() -> Path:
    """Return where this user's cluster lives: HARPY_CLUSTER_HOME, or the platform's state."""
    given = os.environ.get("HARPY_CLUSTER_HOME")
    if given:
        return Path(given).absolute()
    if os.geteuid() == 0:
        return SYSTEM_HOME
    return Path(platformdirs.user_state_dir("harpy")) / "cluster"


def find_home(given: Path | None = None) -> Path:
    """Return the cluster to talk to: the given one, this user's own, else the one root started."""
    if given is not None:
        return given.absolute()
    own = own_home()
    if not (own / STATE_FILE).exists() and (SYSTEM_HOME / STATE_FILE).exists():
        return SYSTEM_HOME
    return own


def open_directory(directory: Path) -> None:
    """Make a directory and its missing parents readable by all, whatever the umask.

    Containers and clients of other users read the configuration, the shims and the jars.
    """
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


@dataclass(frozen=True)
class Layout:
    """Every path below a cluster's state directory."""

    home: Path

    @property
    def state(self) -> Path:
        """The file that says what runs."""
        return self.home / STATE_FILE

    @property
    def lock(self) -> Path:
        """The file that a command holds while it changes the cluster."""
        return self.home / "lock"

    @property
    def conf(self) -> Path:
        """What clients and all daemons but the node managers read."""
        return self.home / "conf"

    @property
    def bin(self) -> Path:
        """Hadoop's commands for this cluster."""
        return self.home / "bin"

    @property
    def logs(self) -> Path:
        """One file for each daemon, of its latest start."""
        return self.home / "logs"

    @property
    def pids(self) -> Path:
        """One file for each daemon."""
        return self.home / "pids"

    @property
    def hdfs(self) -> Path:
        """The file system's own data: what `down` keeps unless told to delete it."""
        return self.home / "hdfs"

    @property
    def formatted(self) -> Path:
        """There once the NameNode has been formatted to the end."""
        return self.hdfs / "formatted"

    @property
    def name_lock(self) -> Path:
        """Locked by the NameNode as long as it runs, wherever that is."""
        return self.hdfs / "name" / "in_use.lock"

    @property
    def work(self) -> Path:
        """The resource manager's store, container directories: worthless once it is down."""
        return self.home / "work"

    @property
    def temporary(self) -> Path:
        """What the daemons' web servers unpack; the machine's own folder need not be ours."""
        return self.work / "tmp"

    def node_conf(self, node: int) -> Path:
        """The configuration of one node manager."""
        return self.home / f"nm{node}" / "conf"

    def node_local(self, node: int) -> Path:
        """The containers' folders of one node manager."""
        return self.work / f"nm{node}-local"

    def node_logs(self, node: int) -> Path:
        """The containers' logs of one node manager."""
        return self.work / f"nm{node}-logs"

    def log(self, daemon: str) -> Path:
        """The log of one daemon."""
        return self.logs / f"{daemon}.log"

    def everything(self) -> list[Path]:
        """Return what a cluster has written into its state directory; the lock comes last."""
        shared = [self.state, self.conf, self.bin, self.logs, self.pids, self.hdfs, self.work]
        return [*shared, *self.home.glob("nm[0-9]*"), self.lock]
