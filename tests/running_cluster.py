"""A real cluster for tests, in a temporary directory on free ports, that never outlives them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harpy.cluster.embedded import EmbeddedCluster
from harpy.cluster.spec import Shape, State

ROOT = Path(__file__).resolve().parents[1]

# Ends a cluster when its standard input closes, hence also when the tests are killed.
GUARDIAN = """
import sys
from pathlib import Path
from harpy.cluster.embedded import EmbeddedCluster
home = Path(sys.argv[1])
sys.stdin.read()
EmbeddedCluster(home).down(delete=True)
if home.exists():  # no cluster was ever started there
    home.rmdir()
"""


@dataclass(frozen=True)
class RunningCluster:
    """A cluster for tests: what a client needs to know, and the state it was started with."""

    home: Path
    env: Mapping[str, str]  # a complete environment for a client's process
    state: State

    @property
    def conf_dir(self) -> Path:
        return Path(self.env["HADOOP_CONF_DIR"])

    @property
    def namenode(self) -> str:
        """hdfs://host:port"""
        return self.state.namenode

    @property
    def user_home(self) -> str:
        """The caller's home directory in HDFS, as a URL."""
        return f"{self.namenode}/user/{self.state.owner}"

    @property
    def resource_manager(self) -> str:
        """http://host:port"""
        return self.state.url("resourcemanager.http")


@contextmanager
def guarded_home() -> Iterator[Path]:
    """Make a state directory, readable by all; cluster and directory are gone at the end."""
    # Not below pytest's own temporary directories: those are closed to other users.
    home = Path(tempfile.mkdtemp(prefix="harpy-test-cluster-"))
    home.chmod(0o755)
    guardian = subprocess.Popen(
        [sys.executable, "-c", GUARDIAN, str(home)],
        stdin=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,  # a Ctrl-C for the tests is not for it
    )
    try:
        yield home
    finally:
        guardian.communicate(timeout=60)
        assert guardian.returncode == 0, f"the cluster in {home} could not be stopped"
        assert not home.exists()


@contextmanager
def running_cluster(shape: Shape) -> Iterator[RunningCluster]:
    """Run a cluster on free ports, apart from any that a user of this machine may have."""
    with guarded_home() as home:
        embedded = EmbeddedCluster(home)
        state = embedded.up(shape, users=["nobody"], default_ports=False)
        settings = embedded.environment()
        path = f"{embedded.layout.bin}{os.pathsep}{os.environ['PATH']}"
        yield RunningCluster(home, {**os.environ, **settings, "PATH": path}, state)
