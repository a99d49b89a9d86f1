"""The YARN launcher on a real cluster: how workers end, how jobs are killed, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from harpy.config import Deadlines, HadoopConf
from harpy.errors import (
    ClusterUnreachable,
    DemandRefused,
    JobNotFound,
    LaunchError,
    SubmissionRefused,
)
from harpy.launch.base import Demand, GangSpec, Grant, JobState, LaunchStatus
from harpy.launch.yarn.launcher import (
    YarnLauncher,
    application_logs,
    application_states,
    kill_application,
    list_applications,
)
from harpy.storage.fs.factory import filesystem
from harpy.wire.failure import Failure
from tests.support import ROOT
from tests.support.cluster.running import RunningCluster

pytestmark = pytest.mark.timeout(240)

STAND_IN = ROOT / "tests" / "support" / "programs" / "stand_in_worker.py"
JOB_S = 120.0
SECRET = bytes(range(7, 39))


@dataclass
class Bench:
    """A launcher of one test: a cluster, a stand-in worker and a place for what it reports."""

    cluster: RunningCluster
    folder: Path
    python: Path
    overrides: dict[str, str] = field(default_factory=dict)

    @property
    def conf(self) -> HadoopConf:
        return HadoopConf.load(self.cluster.conf_dir, self.overrides)

    def launcher(self, **deadlines: float) -> YarnLauncher:
        return YarnLauncher(self.conf, Deadlines(**deadlines))

    def spec(self, behaviours: str, n_node: int, **more: Any) -> GangSpec:
        return GangSpec(
            job_id="test-job",
            job_url=f"{self.cluster.user_home}/harpy-work/test-job",
            grant=Grant(n_node=n_node, n_thread=1, n_mem=512),
            secret=SECRET,
            python=more.pop("python", str(self.python)),
            name="harpy launcher test",
            env={"STAND_IN": behaviours, "STAND_IN_OUT": str(self.folder), "EXTRA": "a b=c"},
            **more,
        )

    def reported(self, rank: int) -> dict[str, Any]:
        path = self.folder / f"rank-{rank}.json"
        eventually(path.exists, 60, f"rank {rank} never started")
        return json.loads(path.read_text())

    def staging(self, application_id: str) -> str:
        job = application_id.replace("application", "job")
        return f"{self.cluster.user_home}/.staging/{job}"


def eventually(condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


@contextmanager
def submitted(
    bench: Bench, spec: GangSpec, **deadlines: float
) -> Iterator[tuple[YarnLauncher, str]]:
    launcher = bench.launcher(**deadlines)
    launcher.open()
    try:
        application_id = launcher.submit(spec)
        yield launcher, application_id
    finally:
        if not launcher.status().state.ended:
            launcher.kill("the test is over")
        launcher.close()


def finished(bench: Bench, spec: GangSpec, **deadlines: float) -> LaunchStatus:
    with submitted(bench, spec, **deadlines) as (launcher, _):
        status = launcher.wait(JOB_S)
        assert status.state.ended, status
        return status


def state_of(bench: Bench, application_id: str) -> JobState:
    return application_states(bench.conf, [application_id])[application_id].state


def make_bench(cluster: RunningCluster) -> Bench:
    # Not pytest's own folders: those are closed to the containers of another unix user.
    folder = Path(tempfile.mkdtemp(prefix="harpy-stand-in-"))
    folder.chmod(0o777)
    python = folder / "python"
    shutil.copy(STAND_IN, python)
    python.chmod(0o755)
    return Bench(cluster, folder, python)


@pytest.fixture
def bench(on_cluster: RunningCluster) -> Iterator[Bench]:
    made = make_bench(on_cluster)
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture(scope="module")
def endings(cluster: RunningCluster) -> Iterator[Mapping[int, Failure]]:
    """One job in which each rank ends badly in its own way, all of them allowed to."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HADOOP_HOME", "HADOOP_CONF_DIR", "HADOOP_USER_NAME", "JAVA_HOME", "PATH"):
            patch.setenv(name, cluster.env[name])
        bench = make_bench(cluster)
        spec = bench.spec(
            "raises,exits,killed,silent,stopped,echo,unimportable",
            7,
            hadoop_conf={"mapreduce.map.failures.maxpercent": "100"},
        )
        status = finished(bench, spec, silence_s=4.0)
        for failed in status.failures:
            assert failed.attempt.endswith(f"_m_{failed.failure.rank:06d}_0")
        yield {f.failure.rank: f.failure for f in status.failures if f.failure.rank is not None}
        shutil.rmtree(bench.folder)


def check_what_a_worker_got(bench: Bench, rank: int) -> None:
    facts = bench.reported(rank)
    hello = facts["hello"]
    assert (hello["protocol"], hello["rank"], hello["n_node"]) == (1, rank, 2)
    assert (hello["attempt"], hello["n_thread"]) == (0, 1)
    assert hello["job_url"].endswith("/harpy-work/test-job")
    assert hello["bind"] == "127.0.0.1"
    assert hello["port_range"] == [0, 0]
    assert facts["secret_length"] == 2 * len(SECRET)
    assert facts["env"] == {
        "HADOOP_USER_NAME": bench.cluster.user,
        "OMP_NUM_THREADS": "1",
        "EXTRA": "a b=c",
    }
    assert bench.cluster.namenode in facts["client_conf"]
    # The node manager kills process groups: a worker outside of it would stay.
    assert facts["process_group"] == facts["parent_group"]


def test_two_workers_get_their_hello_end_well_and_leave_nothing(bench: Bench) -> None:
    threads, children = threading.active_count(), psutil.Process().children()
    with submitted(bench, bench.spec("garbage", 2)) as (launcher, application_id):
        status = launcher.wait(JOB_S)
    assert status.state is JobState.SUCCEEDED, status
    for rank in (0, 1):
        check_what_a_worker_got(bench, rank)
    assert status.progress == 1.0
    assert not status.failures
    assert status.application_id == application_id
    assert {"submitted", "master_running", "all_workers", "ended"} <= status.timings.keys()
    assert threading.active_count() == threads
    assert psutil.Process().children() == children
    files = filesystem(bench.cluster.namenode, hadoop_conf=bench.conf, deadlines=Deadlines())
    eventually(lambda: not files.exists(bench.staging(application_id)), 10, "staging left behind")


def test_raising_worker_tells_its_own_cause(endings: Mapping[int, Failure]) -> None:
    failure = endings[0]
    assert failure.kind == "ProgramFailed"
    assert failure.message == "ValueError: no such thing"
    assert failure.host == "here"
    assert failure.detail.endswith('ValueError: "no" €')
    assert not failure.echo


def test_exit_without_a_word_shows_code_and_last_lines(
    endings: Mapping[int, Failure],
) -> None:
    failure = endings[1]
    assert failure.kind == "WorkerLost"
    assert "exit code 3" in failure.message
    assert failure.detail.splitlines()[-1] == "line 39 of the worker's own words"


def test_killed_worker_names_the_signal(endings: Mapping[int, Failure]) -> None:
    assert endings[2].kind == "WorkerKilled"
    assert "SIGKILL" in endings[2].message


@pytest.mark.parametrize("rank", [3, 4], ids=["silent", "stopped"])
def test_silent_worker_is_killed_by_the_watchdog(endings: Mapping[int, Failure], rank: int) -> None:
    assert "silent for 4 s" in endings[rank].message
    assert endings[rank].kind == "WorkerLost"


def test_echo_is_marked(endings: Mapping[int, Failure]) -> None:
    assert [rank for rank, failure in sorted(endings.items()) if failure.echo] == [5]


@pytest.mark.slow
def test_grandchild_that_holds_the_pipe_does_not_hang_the_job(bench: Bench) -> None:
    status = finished(bench, bench.spec("grandchild", 1))
    assert status.state is JobState.SUCCEEDED, status
    pid = int((bench.folder / "grandchild").read_text())
    # The node manager ends what is left of the container.
    eventually(lambda: not psutil.pid_exists(pid), 20, "the grandchild is still there")


def test_missing_interpreter_names_path_node_and_user(bench: Bench) -> None:
    status = finished(bench, bench.spec("well", 1, python="/no/such/python"))
    assert status.state is JobState.FAILED
    failure = status.failures[0].failure
    assert failure.kind == "InterpreterMissing"
    user = bench.cluster.state.owner
    for word in ("/no/such/python", failure.host, f"user {user}", "No such file"):
        assert word in failure.message


def test_interpreter_without_harpy_is_named(endings: Mapping[int, Failure]) -> None:
    assert endings[6].kind == "InterpreterMissing"
    assert "cannot import harpy" in endings[6].message


def test_kill_leaves_no_process_and_no_staging(bench: Bench) -> None:
    with submitted(bench, bench.spec("waits", 2)) as (launcher, application_id):
        pids = [bench.reported(rank)["pid"] for rank in (0, 1)]
        launcher.kill("the test wants it")
        status = launcher.status()
    assert status.state is JobState.KILLED
    assert "the test wants it" in status.diagnostics
    eventually(lambda: not any(psutil.pid_exists(p) for p in pids), 5, "workers are left")
    files = filesystem(bench.cluster.namenode, hadoop_conf=bench.conf, deadlines=Deadlines())
    assert not files.exists(bench.staging(application_id))


@pytest.mark.slow
def test_job_outlives_its_submitter_and_other_shells_find_and_kill_it(bench: Bench) -> None:
    with submitted(bench, bench.spec("waits", 1)) as (launcher, application_id):
        pid = bench.reported(0)["pid"]
        launcher.close()
        assert state_of(bench, application_id) is JobState.RUNNING
        listed = {a.application_id: a for a in list_applications(bench.conf)}
        assert listed[application_id].name == "harpy launcher test"
        kill_application(bench.conf, application_id, "from another shell")
        killed = application_states(bench.conf, [application_id])[application_id]
        assert killed.state is JobState.KILLED
        assert "from another shell" in killed.diagnostics
        eventually(lambda: not psutil.pid_exists(pid), 5, "the worker is left")


def test_application_that_never_was_is_not_found(bench: Bench) -> None:
    assert application_states(bench.conf, ["application_1_0001"]) == {}
    with pytest.raises(JobNotFound, match="application_1_0001"):
        kill_application(bench.conf, "application_1_0001")


@pytest.mark.slow
def test_dead_submitter_is_an_error_and_the_job_can_still_be_killed(bench: Bench) -> None:
    with submitted(bench, bench.spec("waits", 1)) as (launcher, application_id):
        bench.reported(0)
        assert launcher._jvm is not None
        os.kill(launcher._jvm.pid, signal.SIGKILL)
        with pytest.raises(LaunchError, match=application_id):
            launcher.wait(20)
        launcher.kill("its submitter is dead")
        assert state_of(bench, application_id) is JobState.KILLED


@pytest.mark.slow
def test_workers_of_a_new_master_are_followed(bench: Bench) -> None:
    with submitted(bench, bench.spec("waits", 1)) as (launcher, application_id):
        assert bench.reported(0)["hello"]["attempt"] == 0
        (bench.folder / "rank-0.json").unlink()
        master_of(application_id).kill()
        second = bench.reported(0)
        # A higher number supersedes: (2 - 1) x 1000 for the second master's first try.
        assert second["hello"]["attempt"] == 1000
        os.kill(second["pid"], signal.SIGKILL)
        status = launcher.wait(JOB_S)
    assert status.state is JobState.FAILED
    assert "SIGKILL" in status.failures[-1].failure.message
    assert status.failures[-1].attempt.endswith("_m_000000_1000")


def master_of(application_id: str) -> psutil.Process:
    container = application_id.replace("application", "container")
    for process in psutil.process_iter(["name", "cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if process.info["name"] == "java" and "MRAppMaster" in words and container in words:
            return process
    raise AssertionError(f"{application_id} has no master")


def test_secret_is_in_no_configuration_command_line_or_log(bench: Bench) -> None:
    with submitted(bench, bench.spec("waits", 1)) as (launcher, application_id):
        bench.reported(0)
        files = filesystem(bench.cluster.namenode, hadoop_conf=bench.conf, deadlines=Deadlines())
        job_xml = files.read_bytes(f"{bench.staging(application_id)}/job.xml")
        assert b"harpy.n-node" in job_xml
        assert SECRET.hex().encode() not in job_xml
        for process in psutil.process_iter(["cmdline", "environ"]):
            told = f"{process.info['cmdline']} {process.info['environ']}"
            assert SECRET.hex() not in told, process
        for path in bench.cluster.home.rglob("*"):
            # Token files are Hadoop's place for secrets; they hold it in binary, readable for none.
            if path.is_file():
                assert SECRET.hex().encode() not in path.read_bytes(), path
        launcher.kill("seen enough")
    eventually(lambda: "container_" in application_logs(bench.conf, application_id), 30, "no logs")
    assert SECRET.hex() not in application_logs(bench.conf, application_id)


@pytest.mark.slow
def test_worker_acts_as_the_submitting_user(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_USER_NAME", "nobody")
    assert finished(bench, bench.spec("well", 1)).state is JobState.SUCCEEDED
    assert bench.reported(0)["env"]["HADOOP_USER_NAME"] == "nobody"


def test_refused_submission_speaks_hadoops_words(bench: Bench) -> None:
    launcher = bench.launcher()
    launcher.open()
    try:
        spec = bench.spec("well", 1, hadoop_conf={"mapreduce.job.queuename": "nowhere"})
        with pytest.raises(SubmissionRefused, match="unknown queue: nowhere") as caught:
            launcher.submit(spec)
        assert "\tat " not in str(caught.value)
        launcher.kill("nothing there")
        assert launcher.status().state is JobState.NEW
    finally:
        launcher.close()


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        (Demand(1, 1, 1 << 20), r"1048576 MB.*12288 MB"),
        (Demand(1, 64, 1024), r"64 vcores.*16 vcores"),
        (Demand(40, 1, 1024), r"40 workers of 1024 MB.*room for 11"),
        (Demand(1, 1, 1024, queue="nowhere"), r"no queue 'nowhere'.*root.default"),
    ],
    ids=["n_mem", "n_thread", "n_node", "queue"],
)
def test_demand_that_can_never_be_met_is_refused_with_numbers(
    bench: Bench, demand: Demand, words: str
) -> None:
    launcher = bench.launcher()
    launcher.open()
    try:
        with pytest.raises(DemandRefused, match=words):
            launcher.preflight(demand)
    finally:
        launcher.close()


def test_resource_manager_that_is_down_is_named_within_the_deadline(bench: Bench) -> None:
    bench.overrides["yarn.resourcemanager.address"] = "127.0.0.1:9"
    launcher = bench.launcher(first_contact_s=2.0)
    launcher.open()
    try:
        began = time.monotonic()
        with pytest.raises(ClusterUnreachable) as caught:
            launcher.preflight(Demand(1, 1, 1024))
        assert time.monotonic() - began < 20
        for word in ("127.0.0.1:9", "harpy cluster status", "refused"):
            assert word in str(caught.value)
    finally:
        launcher.close()
    with pytest.raises(ClusterUnreachable, match=r"127\.0\.0\.1:9"):
        list_applications(bench.conf, Deadlines(first_contact_s=1.0))


@pytest.fixture
def stock_bench(stock_cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in ("HADOOP_HOME", "HADOOP_CONF_DIR", "JAVA_HOME", "PATH"):
        monkeypatch.setenv(name, stock_cluster.env[name])
    made = make_bench(stock_cluster)
    yield made
    shutil.rmtree(made.folder)


@pytest.mark.slow
def test_untouched_defaults_run_on_a_stock_cluster(stock_bench: Bench) -> None:
    launcher = stock_bench.launcher()
    launcher.open()
    try:
        wishes = frozenset({"n_thread", "n_mem"})
        grant = launcher.preflight(Demand(2, 8, 10240, wishes=wishes))
        # 8192 MB: 1024 for the master, two containers of whole steps of 1024 in the rest.
        assert (grant.n_mem, grant.n_thread, grant.vcores) == (3072, 4, 4)
        assert len(grant.notes) == 2
        launcher.submit(replace(stock_bench.spec("well", 2), grant=grant))
        assert launcher.wait(JOB_S).state is JobState.SUCCEEDED
    finally:
        launcher.close()


@pytest.mark.slow
def test_smallest_worker_passes_the_virtual_memory_check_and_a_hungry_one_is_explained(
    stock_bench: Bench,
) -> None:
    # The node manager looks every 3 s: rank 0 lives for a few looks and must be let be.
    spec = replace(stock_bench.spec("waits,hungry", 2), grant=Grant(2, 1, 1024))
    with submitted(stock_bench, spec) as (launcher, _):
        status = launcher.wait(JOB_S)
    assert status.state is JobState.FAILED
    assert [f.failure.rank for f in status.failures if not f.failure.echo] == [1]
    assert "'PHYSICAL' memory limit" in status.failures[0].failure.message
    assert "Raise n_mem" in status.failures[0].failure.message
