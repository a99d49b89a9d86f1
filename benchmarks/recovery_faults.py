"""The faults of recovery.py: each a way to hurt a run of k-means on a cluster, and what is asked.

A strike returns the moment of the fault in seconds since the epoch; of a peer that falls silent the
moment at which its deadline has passed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from harpy import Session
from harpy.config import Deadlines
from tests.support.cluster.disturbed import (
    daemon,
    master,
    node_of,
    running,
    slowed,
    started_again,
    task_jvm,
)
from tests.support.cluster.hosts import Host
from tests.support.cluster.running import RunningCluster
from tests.support.cluster.two_queues import OTHER_QUEUE
from tests.support.runs.disturbed import PROGRAMS, Disturbed
from tests.support.shell import Shell, eventually

STRUCK_S = 60.0


@dataclass
class Scene:
    """A run under way, and the cluster below it."""

    cluster: RunningCluster
    shell: Shell
    session: Session
    run: Disturbed
    after: ExitStack  # undone when the run is over
    hosts: Sequence[Host] = ()
    victims: list[int] = field(default_factory=list)  # worker processes that are to be gone

    def worker(self, rank: int) -> int:
        """A worker's process, which from now on is a victim."""
        pid = self.run.pids()[rank]
        self.victims.append(pid)
        return pid

    def far_rank(self) -> int:
        """A rank on another node than the application master."""
        near = node_of(master(self.session))
        return next(r for r, pid in enumerate(self.run.pids()) if node_of(pid) != near)

    def host(self, pid: int) -> Host:
        """On which a worker runs."""
        number = int(node_of(pid).removeprefix("nm")) - self.cluster.state.shape.nodes
        return self.hosts[number]

    def start_again(self) -> None:
        self.cluster = self.shell.cluster = started_again(self.cluster)


@dataclass(frozen=True)
class Fault:
    """One line of the table.

    Attributes
    ----------
    strike : callable
        From the scene to the moment of the fault.
    target_s : float or None
        What is asked: seconds from that moment to the next iteration of all ranks.
    cluster : str
        Which of recovery.CLUSTERS it needs.
    goes_on : bool
        The run is to go on as if nothing had been.
    error : str or None
        The class of the error with which the run is to end instead.
    loss : str or None
        The class of the one loss of which the cluster is to tell.
    at_once : bool
        Strike as soon as the run is on its way, not after its third iteration.
    single : bool
        In a session of this one run, which ends with it.
    """

    name: str
    strike: Callable[[Scene], float]
    target_s: float | None = None
    cluster: str = "plain"
    goes_on: bool = False
    error: str | None = None
    loss: str | None = None
    at_once: bool = False
    single: bool = False
    pause_s: float = 0.1  # in each iteration
    waits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


def now() -> float:
    return time.time()


def kill(pid: int) -> float:
    os.kill(pid, signal.SIGKILL)
    return now()


# -- workers ---------------------------------------------------------------------------------------


def kill_rank(rank: int) -> Callable[[Scene], float]:
    return lambda scene: kill(scene.worker(rank))


def kill_jvm(scene: Scene) -> float:
    return kill(task_jvm(scene.worker(1)))


def kill_both(scene: Scene) -> float:
    return max([kill(pid) for pid in [scene.worker(0), scene.worker(1)]])


def stop_worker(scene: Scene) -> float:
    os.kill(scene.worker(1), signal.SIGSTOP)
    return now() + Deadlines.from_environment().silence_s


def kill_joining(scene: Scene) -> float:
    """Rank 0, when it has told where it is and before any rank has begun."""
    from harpy.config import load_hadoop_conf
    from harpy.storage import JobDirectory, filesystem

    url = scene.session.job.url
    assert url is not None
    directory = JobDirectory(filesystem(url, hadoop_conf=load_hadoop_conf()), url)
    eventually(directory.rank0_addresses, STRUCK_S, "rank 0 did not publish its address")
    pid = eventually(lambda: _worker_of(scene, "000000"), STRUCK_S, "rank 0 has no process")
    scene.victims.append(pid)
    return kill(pid)


def _worker_of(scene: Scene, task: str) -> int | None:
    """The worker's process of a map task: the child of the JVM that names its attempt."""
    import psutil

    assert scene.session.job.application_id is not None
    attempt = scene.session.job.application_id.replace("application", "attempt") + f"_m_{task}_"
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if "org.apache.hadoop.mapred.YarnChild" in words and any(
                word.startswith(attempt) for word in words
            ):
                children = process.children()
                return int(children[0].pid) if children else None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return None


def kill_when(what: str, rank: int = 1, delay_s: float = 0.2) -> Callable[[Scene], float]:
    """Kill a rank a moment after it has come to a place."""

    def strike(scene: Scene) -> float:
        pid = scene.run.wait_for(what, rank)
        scene.victims.append(pid)
        time.sleep(delay_s)
        return kill(pid)

    return strike


def kill_reported(scene: Scene) -> float:
    """Rank 1 after its program has returned, while rank 0 has not: all collectives are over."""
    scene.run.wait_for("returning", 0)
    scene.run.wait_for("returning", 1)
    time.sleep(0.5)
    return kill(scene.worker(1))


def kill_too_often(scene: Scene) -> float:
    """With HARPY_MAX_LOSSES=2."""
    for _ in range(2):
        kill(scene.worker(1))
        scene.run.wait()
    return kill(scene.worker(1))


# -- the application master ------------------------------------------------------------------------


def kill_master(scene: Scene) -> float:
    scene.victims.extend(scene.run.pids())
    return kill(master(scene.session))


def kill_master_late(scene: Scene) -> float:
    """When rank 0's task has succeeded and rank 1's has not: its JVM is stopped meanwhile."""
    jvms = [task_jvm(pid) for pid in scene.run.pids()]
    am = master(scene.session)
    os.kill(jvms[1], signal.SIGSTOP)
    scene.after.callback(_continue, jvms[1])
    eventually(lambda: not running(jvms[0]), STRUCK_S, "rank 0's task did not end")
    return kill(am)


def _continue(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return


# -- daemons ---------------------------------------------------------------------------------------


def kill_node_manager(scene: Scene) -> float:
    rank = scene.far_rank()
    node = node_of(scene.worker(rank))
    scene.after.callback(scene.start_again)
    return kill(daemon(scene.cluster, node))


def kill_and_restart(name: str, down_s: float) -> Callable[[Scene], float]:
    def strike(scene: Scene) -> float:
        begun = kill(daemon(scene.cluster, name))
        time.sleep(down_s)
        scene.start_again()
        return begun

    return strike


def slow_datanode(scene: Scene) -> float:
    """For the rest of the run it does something a fifth of the time only."""
    scene.after.enter_context(slowed(daemon(scene.cluster, "datanode"), 0.8, 0.2))
    return now()


def slow_worker(scene: Scene) -> float:
    scene.after.enter_context(slowed(scene.run.pids()[1], 0.4, 0.1))
    return now()


# -- hosts and what connects them ------------------------------------------------------------------


def lose_host(rank: int) -> Callable[[Scene], float]:
    """The cable of a rank's host is pulled until the run is over."""

    def strike(scene: Scene) -> float:
        host = scene.host(scene.worker(rank))
        host.plug(False)
        scene.after.callback(host.plug, True)
        return now() + Deadlines.from_environment().silence_s

    return strike


def lose_masters_host(scene: Scene) -> float:
    """And kill a worker elsewhere: without that nobody would miss it. The driver kills the
    application when its master has been silent for HARPY_MASTER_S, and starts another."""
    node = node_of(master(scene.session))
    host = scene.hosts[int(node.removeprefix("nm")) - scene.cluster.state.shape.nodes]
    host.plug(False)
    scene.after.callback(host.plug, True)
    return kill(scene.worker(1))


def partition_hosts(seconds: float) -> Callable[[Scene], float]:
    """The workers' hosts see everybody but each other for a while; the moment at which they do."""

    def strike(scene: Scene) -> float:
        one, other = (scene.host(pid) for pid in scene.run.pids())
        one.cut(other)
        time.sleep(seconds)
        one.join()
        return now()

    return strike


def partition_hosts_for_good(scene: Scene) -> float:
    """The hosts of rank 0 and rank 1 never see each other again; there is room on a third."""
    one, other = scene.host(scene.run.pids()[0]), scene.host(scene.worker(1))
    one.cut(other)
    scene.after.callback(one.join)
    return now() + Deadlines.from_environment().rendezvous_s


def throttle_host(scene: Scene) -> float:
    host = scene.host(scene.run.pids()[1])
    host.throttle("2mbit")
    scene.after.callback(host.release)
    return now()


def delay_hosts(seconds: float) -> Callable[[Scene], float]:
    """Whatever workers send each other arrives later; begun before they connect."""

    def strike(scene: Scene) -> float:
        for host in scene.hosts:
            others = [other for other in scene.hosts if other is not host]
            scene.after.enter_context(host.delayed(others, seconds))
        return now()

    return strike


# -- another queue ---------------------------------------------------------------------------------


def preempt(scene: Scene) -> float:
    """A job of the other queue claims its share for some seconds: YARN takes one worker for it."""
    own = scene.run.pids()
    claim = scene.after.enter_context(ThreadPoolExecutor(1)).submit(_claim, scene.session)
    scene.after.callback(claim.result)

    def taken() -> int | None:
        if claim.done():
            claim.result()
        return next((pid for pid in own if not running(pid)), None)

    scene.victims.append(eventually(taken, STRUCK_S, "no worker was taken"))
    return now()


def _claim(like: Session) -> None:
    with Session(
        n_node=1,
        n_thread=1,
        n_mem=like.options.n_mem,
        launcher="yarn",
        queue=OTHER_QUEUE,
        progress=False,
    ) as session:
        session.run(f"{PROGRAMS}:holds_its_place", {"seconds": 5.0}, timeout_s=STRUCK_S)


PLAIN = [
    Fault("SIGKILL of a worker", kill_rank(1), 4.0),
    Fault("SIGKILL of rank 0", kill_rank(0), 4.0),
    Fault("SIGKILL of a task's JVM", kill_jvm, 4.0),
    Fault("SIGKILL of two workers at once", kill_both, 4.0),
    Fault("SIGSTOP of a worker", stop_worker, 4.0),
    Fault("SIGKILL of the application master", kill_master, 10.0),
    Fault("SIGKILL of rank 0 during rendezvous", kill_joining, at_once=True),
    Fault(
        "SIGKILL of a worker while loading",
        kill_when("loading"),
        at_once=True,
        waits={"loading": {"1": 3.0}},
    ),
    Fault(
        "SIGKILL of a worker while writing results",
        kill_when("saving"),
        pause_s=0.02,
        waits={"saving": {"1": 3.0}},
    ),
    Fault(
        "SIGKILL of a worker after its last barrier",
        kill_reported,
        pause_s=0.02,
        waits={"returning": {"0": 3.0, "1": 0.01}},
    ),
    Fault(
        "SIGKILL of the application master after one rank has exited",
        kill_master_late,
        goes_on=True,
        pause_s=0.02,
        single=True,
    ),
    Fault(
        "SIGKILL of a worker, more often than allowed",
        kill_too_often,
        error="WorkerKilled",
        env={"HARPY_MAX_LOSSES": "2"},
    ),
    Fault("SIGKILL of a node manager, expiry 10 s", kill_node_manager, 20.0, pause_s=0.4),
    Fault(
        "SIGKILL of the DataNode, started again after 3 s",
        kill_and_restart("datanode", 3.0),
        goes_on=True,
        pause_s=0.2,
    ),
    Fault(
        "SIGKILL of the NameNode, started again after 3 s",
        kill_and_restart("namenode", 3.0),
        goes_on=True,
        pause_s=0.3,
    ),
    Fault(
        "SIGKILL of the resource manager, started again after 3 s",
        kill_and_restart("resourcemanager", 3.0),
        goes_on=True,
        pause_s=0.3,
    ),
    Fault("a slow DataNode", slow_datanode, goes_on=True, single=True),
    Fault("a slow worker", slow_worker, goes_on=True),
]
SLOW_EXPIRY = [
    Fault(
        "SIGKILL of a node manager, expiry 600 s",
        kill_node_manager,
        cluster="slow expiry",
        goes_on=True,
        pause_s=0.2,
    ),
]
HOSTS = [
    Fault("a silent host", lose_host(1), 60.0, cluster="hosts"),
    Fault("a silent host with rank 0", lose_host(0), 60.0, cluster="hosts"),
    Fault("network partition between the workers for 20 s", partition_hosts(20.0), cluster="hosts"),
    Fault(
        "lasting network partition between the workers",
        partition_hosts_for_good,
        cluster="hosts",
        loss="PeerUnreachable",
        env={"HARPY_RENDEZVOUS_S": "20"},
    ),
    Fault(
        "20 ms later between the workers",
        delay_hosts(0.02),
        cluster="hosts",
        goes_on=True,
        at_once=True,
        pause_s=0.02,
    ),
    Fault("2 Mbit/s to a worker's host", throttle_host, cluster="hosts", goes_on=True),
]
HOSTS_WITH_MASTER = [
    Fault(
        "a silent host with the application master",
        lose_masters_host,
        cluster="hosts with the master",
    )
]
TWO_QUEUES = [
    Fault(
        "preemption of a worker for another queue",
        preempt,
        cluster="two queues",
        loss="Preempted",
        pause_s=0.4,
    )
]
FAULTS = [*PLAIN, *SLOW_EXPIRY, *TWO_QUEUES, *HOSTS, *HOSTS_WITH_MASTER]
