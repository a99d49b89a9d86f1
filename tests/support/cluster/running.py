"""A real cluster for tests, in a temporary directory on free ports, that never outlives them.

Its users are three: the owner of its daemons and containers, the one whose jobs the tests run, and
strangers. None of them is root, nor has the name of a queue.
"""

from __future__ import annotations

import getpass
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harpy.cluster.class_archive import class_archive
from harpy.cluster.embedded import EmbeddedCluster
from harpy.cluster.jars import distribution
from harpy.cluster.java import find_java
from harpy.cluster.spec import Shape, State
from tests.support import ROOT

# Users of every Linux. Where the tests do not run as root, the cluster is that user's own.
OWNER, USER, STRANGER = "daemon", "nobody", "mail"
MANAGE_S = 90  # for a cluster to start, on a busy machine

# Ends a cluster when its standard input closes, hence also when the tests are killed; starts it
# first if it is told a shape.
GUARDIAN = """
import json, sys
from pathlib import Path
from harpy.cluster.embedded import EmbeddedCluster
from harpy.cluster.spec import Shape
home, users = Path(sys.argv[1]), sys.argv[2:]
shape = sys.stdin.readline()
if shape.strip():
    EmbeddedCluster(home).up(Shape(**json.loads(shape)), users=users, default_ports=False)
    print("up", flush=True)
sys.stdin.read()
EmbeddedCluster(home).down(delete=True)
if home.exists():  # no cluster was ever started there
    for path in home.iterdir():
        path.unlink()
    home.rmdir()
"""


def becoming(user: str | None) -> dict[str, Any]:
    """Arguments of subprocess.Popen by which a process is that user's; none for our own."""
    if user is None or user == getpass.getuser():
        return {}
    group = pwd.getpwnam(user).pw_gid
    return {"user": user, "group": group, "extra_groups": []}


@cache
def can_become(user: str) -> str:
    """Empty if we may start harpy as that user, else why not."""
    if os.geteuid() != 0:
        return "becoming another user needs root"
    asked = subprocess.run(
        [sys.executable, "-c", "import harpy.session"],
        **becoming(user),
        cwd="/",
        env={"HOME": "/"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    words = asked.stderr.strip().splitlines()
    if asked.returncode == 0:
        return ""
    last = words[-1] if words else asked.returncode
    return f"user {user} cannot run {sys.executable} with harpy in {ROOT}: {last}"


@dataclass(frozen=True)
class RunningCluster:
    """A cluster for tests: what a client needs to know, and the state it was started with."""

    home: Path
    env: Mapping[str, str]  # a complete environment for a client's process
    state: State
    user: str = USER  # whose jobs the tests run

    @property
    def conf_dir(self) -> Path:
        return Path(self.env["HADOOP_CONF_DIR"])

    @property
    def namenode(self) -> str:
        """hdfs://host:port"""
        return self.state.namenode

    @property
    def user_home(self) -> str:
        """The user's home directory in HDFS, as a URL."""
        return f"{self.namenode}/user/{self.user}"

    @property
    def resource_manager(self) -> str:
        """http://host:port"""
        return self.state.url("resourcemanager.http")

    def manage(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run `harpy cluster COMMAND` as another shell of its owner would."""
        return subprocess.run(
            [sys.executable, "-m", "harpy.cluster.cli", *command.split(), f"--home={self.home}"],
            **becoming(self.state.owner),
            cwd="/",
            env={**os.environ, "HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=MANAGE_S,
            check=False,
        )


@contextmanager
def guarded_home(owner: str | None = None, shape: Shape | None = None) -> Iterator[Path]:
    """Make a state directory, readable by all; cluster and directory are gone at the end. With a
    shape there is a cluster in it, of which every daemon is the owner's."""
    # Not below pytest's own temporary directories: those are closed to other users.
    home = Path(tempfile.mkdtemp(prefix="harpy-test-cluster-"))
    home.chmod(0o755)
    if owner:
        shutil.chown(home, owner)
    guardian = subprocess.Popen(
        [sys.executable, "-c", GUARDIAN, str(home), USER, STRANGER],
        **becoming(owner),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, "HOME": str(home)} if owner else None,
        start_new_session=True,  # a Ctrl-C for the tests is not for it
    )
    assert guardian.stdin and guardian.stdout
    try:
        guardian.stdin.write(f"{json.dumps(asdict(shape)) if shape else ''}\n")
        guardian.stdin.flush()
        if shape:
            assert guardian.stdout.readline() == "up\n", guardian.communicate(timeout=60)
        yield home
    finally:
        _, words = guardian.communicate(timeout=60)
        assert guardian.returncode == 0, f"the cluster in {home} could not be stopped: {words}"
        assert not home.exists()


@contextmanager
def running_cluster(shape: Shape, owner: str | None = None) -> Iterator[RunningCluster]:
    """Run a cluster on free ports, apart from any that a user of this machine may have.

    Parameters
    ----------
    shape : Shape
    owner : str, optional
        The unix user of its daemons and containers; ours if we may not become that one.
    """
    owner = None if owner is None or can_become(owner) else owner
    if owner:
        # What root has fetched everybody may read; the owner has no cache of its own.
        hadoop, java = distribution(print), find_java()
        class_archive(hadoop, java, print)
    with guarded_home(owner, shape if owner else None) as home:
        embedded = EmbeddedCluster(home)
        if owner is None:
            embedded.up(shape, users=[USER, STRANGER], default_ports=False)
        state = embedded.status().state
        assert state is not None
        path = f"{embedded.layout.bin}{os.pathsep}{os.environ['PATH']}"
        settings = {**embedded.environment(), "PATH": path, "HADOOP_USER_NAME": USER}
        yield RunningCluster(home, {**os.environ, **settings}, state)
