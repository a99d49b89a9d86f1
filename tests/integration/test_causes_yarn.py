"""Ends that Hadoop or a person brings about, on real clusters: each is told with its cause."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harpy import Session
from harpy.cluster.spec import Shape
from harpy.errors import (
    JobKilled,
    LocalizationFailed,
    MasterLost,
    MasterMemoryExceeded,
    MemoryExceeded,
    NodeLost,
    QueueStopped,
    WorkerKilled,
)
from tests.support.cluster.disturbed import daemon, master, node_of
from tests.support.cluster.memory_cgroup import MemoryCgroup, memory_cgroup, unavailable
from tests.support.cluster.running import RunningCluster, running_cluster
from tests.support.runs.failing import driver_here, program, session, told
from tests.support.shell import Shell, eventually

pytestmark = pytest.mark.timeout(300)
START_S = 120.0


@pytest.fixture
def shell(cluster: RunningCluster) -> Iterator[Shell]:
    with driver_here("yarn", cluster) as opened:
        yield opened


@pytest.fixture
def stock_shell(stock_cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    with driver_here("yarn", stock_cluster) as opened:
        monkeypatch.setenv("HARPY_MAX_LOSSES", "0")
        yield opened


def hadoop(cluster: RunningCluster, *command: str, user: str = "hdfs") -> None:
    env = {**cluster.env, "HADOOP_USER_NAME": user}
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)


@contextmanager
def stopped_queue(cluster: RunningCluster) -> Iterator[None]:
    """root.default takes no applications for a while, as an administrator does it."""
    settings = cluster.home / "conf" / "capacity-scheduler.xml"
    before = settings.read_text()
    name = "yarn.scheduler.capacity.root.default.state"
    stopped = f"<property><name>{name}</name><value>STOPPED</value></property></configuration>"
    settings.write_text(before.replace("</configuration>", stopped))
    try:
        hadoop(cluster, "yarn", "rmadmin", "-refreshQueues")
        yield
    finally:
        settings.write_text(
            before.replace("</configuration>", stopped.replace("STOPPED", "RUNNING"))
        )
        hadoop(cluster, "yarn", "rmadmin", "-refreshQueues")
        settings.write_text(before)


def test_a_stopped_queue_is_named(shell: Shell, cluster: RunningCluster) -> None:
    words = ("queue root.default takes no applications: it is STOPPED", r"default\.state")
    with stopped_queue(cluster), told(QueueStopped, *words), session(shell) as opened:
        opened.run(program("well"), timeout_s=60)


class Running:
    """A run in a thread of its own, to which somebody else does something."""

    def __init__(self, opened: Session, name: str, folder: Path) -> None:
        self._error: BaseException | None = None
        self._opened, self._name, self._folder = opened, name, folder
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        eventually(
            lambda: all((folder / f"rank-{rank}").exists() for rank in (0, 1)),
            START_S,
            "the workers never iterated",
        )

    def _run(self) -> None:
        params = {"folder": str(self._folder)}
        try:
            self._opened.run(program(self._name), params, timeout_s=START_S)
        except BaseException as exc:  # handed to the test's thread
            self._error = exc

    def end(self) -> None:
        self._thread.join(START_S)
        assert self._error is not None, "the run goes on"
        raise self._error


def test_a_job_that_somebody_killed_says_who(
    shell: Shell, cluster: RunningCluster, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    with session(shell) as opened:
        running = Running(opened, "iterates", tmp_path)
        application = str(opened.job.application_id)
        hadoop(cluster, "yarn", "application", "-kill", application)
        with told(JobKilled, r"was killed by user hdfs from [\d.]+$"):
            running.end()


def masters(application_id: str) -> list[int]:
    """Processes of the application's masters."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any("MRAppMaster" in word for word in process.info["cmdline"] or ())
        and any(application_id in word for word in process.info["cmdline"])
        and "java" in process.info["cmdline"][0]
    ]


@pytest.mark.slow
def test_a_master_that_is_lost_twice_is_named(shell: Shell, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with session(shell) as opened:
        running = Running(opened, "iterates", tmp_path)
        application = str(opened.job.application_id)
        killed: set[int] = set()
        for _ in range(2):
            eventually(lambda: set(masters(application)) - killed, START_S, "no application master")
            for pid in set(masters(application)) - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        with told(MasterLost, "ended 2 times", "with exit code 137", within_s=90):
            running.end()


def test_files_that_a_node_cannot_fetch_are_named(
    shell: Shell, cluster: RunningCluster, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"no archive")
    user = cluster.user
    place = f"/user/{user}/broken.tar.gz"
    hadoop(cluster, "hdfs", "dfs", "-put", str(broken), place, user=user)
    shell.before = shell.traces()
    try:
        conf = {"mapreduce.job.cache.archives": f"{cluster.namenode}{place}"}
        words = ("could not fetch the files", "Hadoop says: (?!java)")
        failing = told(LocalizationFailed, *words, within_s=90)
        with failing, session(shell, hadoop_conf=conf) as opened:
            opened.run(program("well"), timeout_s=90)
    finally:
        hadoop(cluster, "hdfs", "dfs", "-rm", "-skipTrash", place, user=user)


def test_a_worker_that_takes_too_much_memory_is_named(stock_shell: Shell, tmp_path: Path) -> None:
    words = ("^rank 0 on", "more memory than its container has", "Raise n_mem", "PHYSICAL|VIRTUAL")
    failing = told(MemoryExceeded, *words, within_s=120)
    with failing as caught, session(stock_shell, n_node=1, n_mem=1024) as opened:
        opened.run(program("hogs"), timeout_s=90)
    assert caught.value.rank == 0
    assert isinstance(caught.value, MemoryError)


@pytest.mark.slow
def test_a_master_that_takes_too_much_memory_is_named(stock_shell: Shell) -> None:
    greedy = {"yarn.app.mapreduce.am.command-opts": "-Xms1600m -Xmx1600m -XX:+AlwaysPreTouch"}
    words = ("ended 2 times", "more memory than its container", "mapreduce.am.resource.mb")
    failing = told(MasterMemoryExceeded, *words, within_s=150)
    with failing, session(stock_shell, n_node=1, n_mem=1024, hadoop_conf=greedy) as opened:
        opened.run(program("well"), timeout_s=140)


@pytest.fixture
def oom_cgroup() -> Iterator[MemoryCgroup]:
    if reason := unavailable():
        pytest.skip(f"the kernel's OOM killer is not provoked: {reason}")
    with memory_cgroup(limit_mb=200) as made:
        yield made


def test_a_worker_that_the_kernel_killed_for_want_of_memory_is_named(
    shell: Shell, oom_cgroup: MemoryCgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_MAX_LOSSES", "0")
    told_by = tmp_path / "pid"

    def admit() -> None:
        eventually(lambda: told_by.exists() and told_by.read_text().endswith("\n"), 60, "no worker")
        oom_cgroup.members.write_text(told_by.read_text())

    words = ("^rank 1 on", "was killed by SIGKILL", "ran out of memory", "n_mem")
    with (
        ThreadPoolExecutor(1) as pool,
        told(WorkerKilled, *words, within_s=90),
        session(shell) as opened,
    ):
        admitted = pool.submit(admit)
        params = {"pid": str(told_by), "group": oom_cgroup.folder.name}
        opened.run(program("hogs_in_a_cgroup"), params, timeout_s=60)
    admitted.result()
    assert oom_cgroup.n_killed() == 1


@pytest.fixture
def two_full_nodes() -> Iterator[RunningCluster]:
    """The one has room for a worker and the application master, the other for a worker."""
    with running_cluster(Shape(nodes=2, memory_mb=1408)) as started:
        yield started


@pytest.mark.slow
@pytest.mark.cluster
def test_a_lost_node_is_named(
    two_full_nodes: RunningCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driver_here("yarn", two_full_nodes) as shell:
        monkeypatch.setenv("HARPY_MAX_LOSSES", "0")
        words = (
            r"^rank \d on (localhost|127.0.0.1) is lost: its node",
            "yarn node -list",
            "unusable node",
        )
        with told(NodeLost, *words, within_s=150), session(shell, n_mem=768) as opened:
            running = Running(opened, "iterates", tmp_path)
            pids = [int((tmp_path / f"rank-{rank}").read_text()) for rank in (0, 1)]
            near = node_of(master(opened))
            lost = next(node for node in map(node_of, pids) if node != near)
            os.kill(daemon(two_full_nodes, lost), signal.SIGKILL)
            # Its container runs on until the rest of that machine dies.
            eventually(lambda: opened.job.failures, START_S, "nobody misses the node")
            os.kill(next(pid for pid in pids if node_of(pid) == lost), signal.SIGKILL)
            running.end()
