"""The embedded cluster's life on the real thing: started, interrupted, broken, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harpy.cluster import daemons
from harpy.cluster.embedded import EmbeddedCluster
from harpy.cluster.layout import Layout
from harpy.cluster.ports import port_names
from harpy.cluster.spec import Shape, State
from harpy.errors import ClusterError, DiskFull
from tests.support import ROOT
from tests.support.cluster.running import RunningCluster, guarded_home

COMMAND_S = 150
DEFAULTS = port_names(2)  # somebody else may use those once we have stopped

pytestmark = pytest.mark.cluster


@pytest.fixture
def home() -> Iterator[Path]:
    """A state directory whose cluster is gone at the end."""
    with guarded_home() as directory:
        yield directory


def begin_up(home: Path) -> subprocess.Popen[str]:
    """Begin `harpy cluster up` in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", "harpy.cluster.cli", "up", "--home", str(home)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def listens(number: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", number)) == 0


def kill(state: State, name: str) -> None:
    """Kill a daemon without a chance to clean up, and wait until it is gone."""
    known = next(process for process in state.daemons if process.name == name)
    os.kill(known.pid, signal.SIGKILL)
    wait_until(lambda: not daemons.alive(known))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_start_leaves_nothing_running(home: Path, number: signal.Signals) -> None:
    layout = Layout(home)
    starting = begin_up(home)
    # The NameNode comes up after the format; the resource manager is half-way by then.
    wait_until(lambda: (layout.pids / "namenode").exists())
    begun = daemons.recorded(layout)
    starting.send_signal(number)
    _, said = starting.communicate(timeout=COMMAND_S)
    assert starting.returncode != 0, said
    assert len(begun) >= 2
    assert daemons.leftovers(layout) == []
    assert list(layout.pids.iterdir()) == []
    assert not layout.state.exists()


@pytest.mark.slow
def test_a_start_that_was_killed_is_cleared_by_the_next(home: Path) -> None:
    layout = Layout(home)
    starting = begin_up(home)
    wait_until(lambda: bool(daemons.recorded(layout)))
    starting.kill()
    starting.communicate()
    orphans = daemons.leftovers(layout)
    state = EmbeddedCluster(home).up(default_ports=False)
    assert orphans
    assert not any(process.is_running() for process in orphans)
    assert EmbeddedCluster(home).status().healthy
    assert {p.pid for p in daemons.leftovers(layout)} == {d.pid for d in state.daemons}


def test_a_daemon_that_does_not_start_is_reported_with_its_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = daemons.Daemon("datanode", "org.example.NoSuchClass", 64)
    monkeypatch.setattr(daemons, "DATANODE", broken)
    with pytest.raises(ClusterError, match=r"datanode .* is dead(?s:.*)org\.example\.NoSuchClass"):
        EmbeddedCluster(home).up(default_ports=False)
    assert daemons.leftovers(Layout(home)) == []


def test_a_dead_daemon_is_reported_with_its_log_and_started_again(
    cluster: RunningCluster,
) -> None:
    embedded = EmbeddedCluster(cluster.home)
    before = embedded.status().state
    assert before is not None
    kill(before, "historyserver")
    shown = cluster.manage("status")
    log = embedded.layout.log("historyserver").read_text().splitlines()
    again = cluster.manage("up")
    assert again.returncode == 0, again.stderr
    after = embedded.status().state
    assert after is not None
    assert shown.returncode == 1
    assert "historyserver of the cluster" in shown.stdout
    assert log[-1] in shown.stdout
    assert embedded.status().healthy
    untouched = {p for p in before.daemons if p.name != "historyserver"}
    assert untouched < set(after.daemons)


@dataclass(frozen=True)
class Stopped:
    """A cluster of two nodes that got a file, then was stopped; what was seen meanwhile."""

    home: Path
    state: State
    was_healthy: bool


@pytest.fixture(scope="module")
def stopped() -> Iterator[Stopped]:
    with guarded_home() as directory, socket.socket() as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not listens(8088):  # else somebody's cluster has it, which serves as well
            mine.bind(("127.0.0.1", 8088))
            mine.listen()
        embedded = EmbeddedCluster(directory)
        state = embedded.up(Shape(nodes=2))
        healthy = embedded.status().healthy
        hdfs(directory, "-touchz", "/tmp/precious")
        assert embedded.down()
        mine.close()
        yield Stopped(directory, state, healthy)


def hdfs(home: Path, *command: str) -> None:
    subprocess.run([home / "bin" / "hdfs", "dfs", *command], check=True, timeout=COMMAND_S)


def test_two_nodes_start_beside_a_taken_default_port(stopped: Stopped) -> None:
    assert stopped.state.ports["resourcemanager.http"] != 8088
    assert stopped.was_healthy


def test_down_leaves_no_process_and_no_port(stopped: Stopped) -> None:
    ours = [n for name, n in stopped.state.ports.items() if n != DEFAULTS.get(name)]
    assert daemons.leftovers(Layout(stopped.home)) == []
    assert not any(daemons.alive(process) for process in stopped.state.daemons)
    assert [number for number in ours if listens(number)] == []


def test_down_leaves_only_data_logs_and_configuration(stopped: Stopped) -> None:
    left = {path.name for path in stopped.home.iterdir()}
    assert left == {"bin", "conf", "hdfs", "lock", "logs", "nm0", "nm1", "pids"}
    assert list((stopped.home / "pids").iterdir()) == []


@pytest.mark.slow
def test_up_after_down_has_what_was_in_hdfs(stopped: Stopped) -> None:
    embedded = EmbeddedCluster(stopped.home)
    embedded.up(default_ports=False)
    hdfs(stopped.home, "-test", "-e", "/tmp/precious")
    embedded.down()


def test_down_where_nothing_runs_says_so(home: Path) -> None:
    assert EmbeddedCluster(home).down() is False


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harpy.cluster.embedded.NEEDED_MB", 0)
    with tempfile.TemporaryDirectory(prefix="harpy-test-disk-") as disk:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("this machine's root may not mount")
        try:
            with pytest.raises(DiskFull, match="no space left"):
                EmbeddedCluster(Path(disk) / "home").up(default_ports=False)
        finally:
            subprocess.run(["umount", disk], check=True)
