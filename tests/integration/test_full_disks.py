"""Disks that are full below a running cluster: a node's local one, and the one of HDFS."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from harpy.cluster import web
from harpy.cluster.layout import Layout
from harpy.cluster.spec import Shape
from harpy.errors import DiskFull
from tests.support.cluster.disturbed import daemon, started_again
from tests.support.cluster.running import RunningCluster, running_cluster
from tests.support.runs.disturbed import Disturbed
from tests.support.runs.failing import driver_here, program, session, told
from tests.support.shell import Shell, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting disks of their own needs root"),
]
DISK_MB = 64
BLOCK_BYTES = 1 << 20
SEEN_S = 60.0
SETTINGS = {
    # A DataNode without room for a whole block, and by default 1 GB beside it, is full.
    "dfs.blocksize": str(BLOCK_BYTES),
    "dfs.datanode.round-robin-volume-choosing-policy.additional-available-space": "0",
    # The node manager is to meet the full disk itself, before its health check does.
    "yarn.nodemanager.disk-health-checker.interval-ms": "3600000",
}


@dataclass(frozen=True)
class Cramped:
    """A cluster, and the small disks below its node manager and its DataNode."""

    cluster: RunningCluster
    node_disk: Path
    hdfs_disk: Path


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cramped]:
    hdfs_disk = tmp_path_factory.mktemp("hdfs")
    settings = {**SETTINGS, "dfs.datanode.data.dir": hdfs_disk.as_uri()}
    with small_disk(hdfs_disk), running_cluster(Shape(settings=settings)) as cluster:
        node_disk = Layout(cluster.home).node_local(0)
        os.kill(daemon(cluster, "nm0"), signal.SIGKILL)
        eventually(lambda: web.active_nodes(cluster.state) == 0, SEEN_S, "the node is not missed")
        with small_disk(node_disk):
            yield Cramped(started_again(cluster), node_disk, hdfs_disk)


@pytest.fixture
def shell(cramped: Cramped) -> Iterator[Shell]:
    with driver_here("yarn", cramped.cluster) as opened:
        yield opened


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A disk of DISK_MB is mounted there; at the end its processes may still hold it."""
    size = f"size={DISK_MB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def filled(disk: Path, left_bytes: int = 0) -> Iterator[None]:
    """No more than so much can be written to it for a while, whatever is removed meanwhile."""
    ballast, over = disk / "ballast", threading.Event()

    def fill() -> None:
        with ballast.open("wb") as file:
            size = 0
            while not over.wait(0.01):
                more = shutil.disk_usage(disk).free - left_bytes
                if more > 0:
                    with suppress(OSError):  # somebody was faster
                        os.posix_fallocate(file.fileno(), size, more)
                        size += more

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        eventually(
            lambda: shutil.disk_usage(disk).free <= left_bytes, SEEN_S, f"{disk} is not full"
        )
        yield
    finally:
        over.set()
        thread.join()
        ballast.unlink()


def test_a_worker_on_a_node_whose_local_disk_is_full_is_named(
    shell: Shell, cramped: Cramped, tmp_path: Path
) -> None:
    words = (
        r"^rank 1 on (localhost|127\.0\.0\.1) found no usable local disk",
        r"yarn\.nodemanager\.local-dirs",
    )
    with told(DiskFull, *words, within_s=120), session(shell) as opened:
        running = Disturbed(opened, "counts", tmp_path, params={"n_iter": 600, "pause_s": 0.1})
        running.wait()
        with filled(cramped.node_disk):
            os.kill(running.pids()[1], signal.SIGKILL)
            running.end()


def test_a_full_hdfs_is_named(shell: Shell, cramped: Cramped) -> None:
    def room() -> int:
        query = "Hadoop:service=NameNode,name=FSNamesystemState"
        url = f"{cramped.cluster.state.url('namenode.http')}/jmx?qry={query}"
        return int(web.get_json(url)["beans"][0]["CapacityRemaining"])

    # A DataNode that cannot write a byte takes its disk for broken, and ends.
    with filled(cramped.hdfs_disk, left_bytes=BLOCK_BYTES // 2):
        eventually(lambda: room() < BLOCK_BYTES, SEEN_S, "the NameNode did not learn of it")
        words = (r"cannot write hdfs://\S+", "as user", "hdfs dfsadmin -report")
        with told(DiskFull, *words, within_s=120), session(shell) as opened:
            opened.run(program("well"), timeout_s=100)
    eventually(lambda: room() >= BLOCK_BYTES, SEEN_S, "the NameNode did not learn of the room")
