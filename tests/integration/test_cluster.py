"""A running embedded cluster as its users meet it: shells, Hadoop's commands, other users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from harpy.cluster import daemons
from harpy.cluster.embedded import EmbeddedCluster
from harpy.cluster.layout import Layout
from harpy.cluster.spec import Shape
from harpy.errors import ConfigError
from tests.support import ROOT
from tests.support.cluster.running import RunningCluster, becoming

COMMAND_S = 90  # a JVM's start on a busy machine


def run(
    cluster: RunningCluster, *command: str, user: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a client's command with the cluster's environment."""
    return subprocess.run(
        command,
        env={**cluster.env, "HOME": "/", "HADOOP_USER_NAME": user or cluster.user},
        **becoming(user),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("hdfs dfs -ls /", "/user"),
        ("hadoop fs -ls /", "/tmp"),
        ("hdfs dfsadmin -safemode get", "Safe mode is OFF"),
        ("hdfs getconf -confKey dfs.replication", "1"),
        ("yarn application -list", "Total number of applications"),
        ("yarn node -list", "RUNNING"),
        ("mapred job -list", "Total jobs:0"),
        ("hadoop version", "Hadoop 3.5.0"),
    ],
)
def test_hadoops_commands_work(cluster: RunningCluster, command: str, says: str) -> None:
    done = run(cluster, *command.split())
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_hadoop_classpath_names_the_client_and_its_configuration(cluster: RunningCluster) -> None:
    entries = run(cluster, "hadoop", "classpath").stdout.strip().split(":")
    assert str(cluster.conf_dir) in entries
    folders = [Path(entry[:-2]) for entry in entries if entry.endswith("/*")]
    assert any(list(folder.glob("hadoop-mapreduce-client-jobclient-*.jar")) for folder in folders)


def test_an_unknown_subcommand_lists_the_known(cluster: RunningCluster) -> None:
    done = run(cluster, "hdfs", "frobnicate")
    assert done.returncode == 2
    assert "dfsadmin" in done.stderr


def test_another_shell_finds_it_and_can_use_it(cluster: RunningCluster) -> None:
    printed = cluster.manage("env")
    assert printed.returncode == 0, printed.stderr
    shell = subprocess.run(
        ["bash", "-euc", f"{printed.stdout}\nhdfs dfs -test -d /user && echo $HADOOP_CONF_DIR"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert shell.stdout.strip() == str(cluster.conf_dir), shell.stderr


def test_status_for_programs_is_json(cluster: RunningCluster) -> None:
    done = cluster.manage("status --json")
    content = json.loads(done.stdout)
    assert done.returncode == 0
    assert content["healthy"] is True
    assert content["ports"] == cluster.state.ports
    names = {daemon["name"] for daemon in content["daemons"]}
    assert names == {"namenode", "datanode", "resourcemanager", "nm0", "historyserver"}


def test_up_twice_changes_nothing(cluster: RunningCluster) -> None:
    before = EmbeddedCluster(cluster.home).status().state
    done = cluster.manage("up")
    assert done.returncode == 0, done.stderr
    assert "already up" in done.stderr
    assert EmbeddedCluster(cluster.home).status().state == before


def test_up_with_another_shape_is_refused(cluster: RunningCluster) -> None:
    with pytest.raises(ConfigError, match="harpy cluster down, then"):
        EmbeddedCluster(cluster.home).up(Shape(nodes=3))


def test_nothing_that_hadoop_lets_one_bind_listens_beyond_loopback(
    cluster: RunningCluster,
) -> None:
    pids = {process.pid for process in daemons.recorded(Layout(cluster.home))}
    shown = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    mine = [line for line in shown.splitlines() if any(f"pid={pid}," in line for pid in pids)]
    assert len(mine) >= len(cluster.state.ports)
    # MapReduce's shuffle has no setting for its address.
    shuffle = str(cluster.state.ports["nm0.shuffle"])
    open_to_all = [line.split()[3] for line in mine if "127.0.0.1" not in line.split()[3]]
    assert [address.rsplit(":", 1)[1] for address in open_to_all] == [shuffle]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_user_owns_what_it_writes_and_is_kept_out_of_the_rest(
    cluster: RunningCluster,
) -> None:
    made = run(cluster, "hdfs", "dfs", "-mkdir", "/user/nobody/mine", user="nobody")
    assert made.returncode == 0, made.stderr
    owner = run(cluster, "hdfs", "dfs", "-stat", "%u", "/user/nobody/mine", user="nobody")
    refused = run(cluster, "hdfs", "dfs", "-ls", f"/user/{cluster.state.owner}", user="nobody")
    assert owner.stdout.strip() == "nobody"
    assert "Permission denied" in refused.stderr


def test_the_one_who_started_it_is_not_hdfs_superuser(cluster: RunningCluster) -> None:
    owner = cluster.state.owner
    done = run(cluster, "hdfs", "dfs", "-rm", "-r", "/user/history", user=owner)
    assert "Permission denied" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_user_cannot_stop_it(cluster: RunningCluster) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harpy.cluster.cli", "down", "--home", str(cluster.home)],
        env={**cluster.env, "HOME": "/", "PYTHONPATH": str(ROOT)},
        **becoming("nobody"),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert "belongs to another user" in done.stderr
    assert done.returncode != 0


@pytest.fixture(scope="module")
def finished_job(cluster: RunningCluster) -> tuple[RunningCluster, str]:
    """A MapReduce job of Hadoop's own classes by another user, and its application's id."""
    user = "nobody" if os.geteuid() == 0 else None
    name = user or cluster.user
    class_path = run(cluster, "hadoop", "classpath").stdout.strip()
    java = f"{cluster.env['JAVA_HOME']}/bin/java"
    # Not below pytest's own temporary directories: those are closed to other users.
    with tempfile.TemporaryDirectory(prefix="harpy-test-job-") as folder:
        source = Path(folder) / "Identity.java"
        source.write_text(IDENTITY_JOB)
        Path(folder).chmod(0o755)
        target = f"/user/{name}/input"
        put = run(cluster, "hdfs", "dfs", "-put", str(source), target, user=user)
        assert put.returncode == 0, put.stderr
        job = run(cluster, java, "-cp", class_path, str(source), target, user=user)
        assert job.returncode == 0, job.stderr
    return cluster, job.stdout.split()[-1].replace("job_", "application_")


@pytest.mark.slow
def test_a_job_of_another_user_succeeds_and_is_its_own(
    finished_job: tuple[RunningCluster, str],
) -> None:
    cluster, application = finished_job
    shown = run(cluster, "yarn", "application", "-status", application).stdout
    assert "Final-State : SUCCEEDED" in shown
    assert ("User : nobody" in shown) == (os.geteuid() == 0)


@pytest.mark.slow
def test_masters_and_tasks_use_the_archived_classes(
    finished_job: tuple[RunningCluster, str],
) -> None:
    cluster, application = finished_job
    archive = EmbeddedCluster(cluster.home).environment()["HARPY_CLASS_ARCHIVE"]
    logs = application_logs(cluster, application)
    # Each maps the archive, and says so in what IDENTITY_JOB makes it print.
    assert logs.count(f"Opened archive {archive}") == 2


@pytest.mark.slow
def test_logs_of_a_finished_job_are_shown(finished_job: tuple[RunningCluster, str]) -> None:
    assert "Created MRAppMaster for application" in application_logs(*finished_job)


@pytest.mark.slow
def test_the_history_server_knows_a_finished_job(
    finished_job: tuple[RunningCluster, str],
) -> None:
    cluster, application = finished_job
    job = application.replace("application_", "job_")
    assert "SUCCEEDED" in run(cluster, "mapred", "job", "-status", job).stdout


def application_logs(cluster: RunningCluster, application: str) -> str:
    """Return a finished application's logs once they are aggregated."""
    user = "nobody" if os.geteuid() == 0 else None
    deadline = time.monotonic() + COMMAND_S
    while True:
        shown = run(cluster, "yarn", "logs", "-applicationId", application, user=user)
        if "MRAppMaster" in shown.stdout or time.monotonic() > deadline:
            return shown.stdout
        time.sleep(1)


IDENTITY_JOB = """
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.lib.input.FileInputFormat;
import org.apache.hadoop.mapreduce.lib.output.NullOutputFormat;

public class Identity {
    public static void main(String[] args) throws Exception {
        Configuration conf = new Configuration();
        conf.set("yarn.app.mapreduce.am.command-opts", "-Xmx256m -Xlog:cds=info");
        conf.set("mapreduce.map.java.opts", "-Xmx128m -Xlog:cds=info");
        Job job = Job.getInstance(conf, "identity");
        FileInputFormat.addInputPath(job, new Path(args[0]));
        job.setOutputFormatClass(NullOutputFormat.class);
        job.setNumReduceTasks(0);
        boolean succeeded = job.waitForCompletion(false);
        System.out.println(job.getJobID());
        System.exit(succeeded ? 0 : 1);
    }
}
"""
