"""What Hadoop and the submitting JVM say becomes an error for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harpy.config import Deadlines, HadoopConf
from harpy.errors import ClusterUnreachable, JavaNotFound, LaunchError, SubmissionRefused
from harpy.launch.base import FileRange, GangSpec, Grant
from harpy.launch.yarn.diagnostics import attempt_failure, attempt_taken_back
from harpy.launch.yarn.job_settings import job_settings
from harpy.launch.yarn.launch_errors import jvm_died, launch_error

ATTEMPT = "attempt_1_0001_m_000001_0"


def event(diagnostics: str) -> dict[str, Any]:
    return {"attempt": ATTEMPT, "task": 1, "node": "http://n1:8042", "diagnostics": diagnostics}


def ours(**told: Any) -> dict[str, Any]:
    """The event of an attempt whose failure line the task's JVM wrote, as the master has it."""
    facts = {
        "kind": "WorkerLost",
        "rank": 1,
        "attempt": ATTEMPT,
        "host": "n1",
        "exit_code": 1,
        "greeted": True,
        "killed_because": None,
        "echo": False,
        "error": None,
        "python": "/opt/python",
        "stderr": "",
        **told,
    }
    line = f"Error: org.harpy.launch.WorkerFailure: harpy-failure {json.dumps(facts)}"
    return event(f"[2026-01-01 10:00:00.1]{line}\n\tat org.harpy.launch.X.y(X.java:1)\n\n")


@pytest.mark.parametrize(
    ("told", "kind", "words"),
    [
        ({"exit_code": 3}, "WorkerLost", "rank 1 on n1 ended with exit code 3 without a word"),
        ({"exit_code": 137}, "WorkerKilled", "rank 1 on n1 was killed by SIGKILL"),
        ({"exit_code": 128 + 99}, "WorkerLost", "was killed by signal 99"),
        ({"exit_code": 2, "greeted": False}, "WorkerLost", "2 without a word before its first"),
        ({"exit_code": 137, "killed_because": "was silent"}, "WorkerLost", "n1 was silent"),
    ],
)
def test_how_a_worker_ended_is_said(told: dict[str, Any], kind: str, words: str) -> None:
    failure = attempt_failure(ours(**told)).failure
    assert words in failure.message
    assert (failure.kind, failure.rank, failure.host) == (kind, 1, "n1")


def test_the_workers_own_error_wins_over_its_exit_code() -> None:
    error = {"kind": "DataError", "message": "too short", "host": "n1", "detail": "Traceback …"}
    failure = attempt_failure(ours(error=json.dumps(error))).failure
    assert (failure.kind, failure.message, failure.detail) == (
        "DataError",
        "too short",
        "Traceback …",
    )


def test_without_a_line_of_ours_hadoops_words_are_kept() -> None:
    failure = attempt_failure(event("[2026-01-01 10:00:00.1]Something new.\nat\nlength")).failure
    assert failure.kind == "WorkerLost"
    assert failure.host == "n1"
    assert failure.message == "rank 1 on n1: Something new."
    assert "length" in failure.detail


def test_an_attempt_without_any_words_is_still_named() -> None:
    failure = attempt_failure(
        {"attempt": ATTEMPT, "task": 1, "node": None, "diagnostics": None}
    ).failure
    assert failure.message == "rank 1 on an unknown node: Hadoop gives no reason"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Container preempted by scheduler", "Preempted"),
        ("TaskAttempt killed because it ran on unusable node n1:45454", "NodeLost"),
    ],
)
def test_a_worker_that_the_cluster_took_back_is_a_loss(words: str, kind: str) -> None:
    lost = attempt_taken_back(event(words))
    assert lost is not None
    assert (lost.failure.kind, lost.failure.rank, lost.failure.host) == (kind, 1, "n1")
    assert lost.replaceable


@pytest.mark.parametrize(
    "words",
    [
        "Container killed by the ApplicationMaster.\nContainer killed on request. Exit code is 143",
        "",
    ],
)
def test_a_worker_that_the_master_ended_with_the_job_is_none(words: str) -> None:
    assert attempt_taken_back(event(words)) is None


def test_a_client_that_needs_a_newer_java_says_which() -> None:
    words = (
        "Error: java.lang.UnsupportedClassVersionError: org/apache/hadoop/mapred/JobConf has been "
        "compiled by a more recent version of the Java Runtime (class file version 61.0), this "
        "version of the Java Runtime only recognizes class file versions up to 55.0"
    )
    error = jvm_died({"code": 1, "stderr": [words]}, None)
    assert isinstance(error, JavaNotFound)
    assert "needs Java 17, found Java 11" in str(error)


def test_a_dead_jvm_shows_its_last_words_and_names_the_job_it_leaves() -> None:
    error = jvm_died({"code": -9, "stderr": ["OutOfMemoryError"]}, "application_1_1")
    assert isinstance(error, LaunchError)
    assert "code -9; application_1_1 goes on without it" in str(error)
    assert "OutOfMemoryError" in str(error)


def test_submitter_errors_become_harpys() -> None:
    conf = HadoopConf({"yarn.resourcemanager.hostname": "rm1"}, Path("/etc/hadoop"))
    refused = launch_error({"kind": "SubmissionRefused", "message": "queue full"}, conf)
    assert isinstance(refused, SubmissionRefused)
    assert str(refused) == "Hadoop refused the job: queue full"
    lost = launch_error({"kind": "ClusterUnreachable", "message": "refused"}, conf)
    assert isinstance(lost, ClusterUnreachable)
    assert "ResourceManager at rm1:8032 does not answer" in str(lost)
    assert "/etc/hadoop/yarn-site.xml" in str(lost)


def spec(**more: Any) -> GangSpec:
    chosen: dict[str, Any] = {
        "job_id": "j1",
        "job_url": "hdfs://nn:8020/user/me/harpy-work/j1",
        "grant": Grant(2, 4, 2048, queue="q", vcores=3),
        "secret": b"\x01" * 32,
        "python": "/opt/python",
        "name": "harpy j1",
        **more,
    }
    return GangSpec(**chosen)


def test_job_settings_carry_the_grant_and_the_work_directorys_file_system() -> None:
    settings = job_settings(spec(), {}, Deadlines())
    assert settings["harpy.n-node"] == "2"
    assert settings["harpy.n-thread"] == "4"
    assert settings["mapreduce.map.memory.mb"] == "2048"
    assert settings["mapreduce.map.cpu.vcores"] == "3"
    assert settings["mapreduce.job.queuename"] == "q"
    assert settings["mapreduce.job.hdfs-servers"] == "hdfs://nn:8020"
    assert settings["mapreduce.map.maxattempts"] == "1"


def test_job_settings_say_what_each_rank_reads_and_ask_for_tokens_there() -> None:
    shares = (
        (FileRange("hdfs://nn:8020/a b", 0, 10), FileRange("hdfs://other/c", 5, 1)),
        (FileRange("hdfs://other/c", 6, 4),),
    )
    settings = job_settings(spec(shares=shares), {}, Deadlines())
    assert settings["harpy.share.0"] == "0 10 hdfs://nn:8020/a b\n5 1 hdfs://other/c"
    assert settings["harpy.share.1"] == "6 4 hdfs://other/c"
    assert settings["mapreduce.job.hdfs-servers"] == "hdfs://nn:8020,hdfs://other"


def test_job_settings_of_the_user_win_and_never_hold_the_secret() -> None:
    settings = job_settings(spec(hadoop_conf={"mapreduce.task.timeout": "9"}), {}, Deadlines())
    assert settings["mapreduce.task.timeout"] == "9"
    assert not any((b"\x01" * 32).hex() in value for value in settings.values())


def test_what_the_site_sets_is_added_to() -> None:
    site = {
        "yarn.app.mapreduce.am.env": "HADOOP_MAPRED_HOME=/opt/hadoop",
        "mapreduce.map.env": "HADOOP_MAPRED_HOME=/opt/hadoop,MALLOC_ARENA_MAX=4",
        "mapreduce.map.java.opts": "-Xmx1638m -Xms512m -XX:+UseG1GC -Djava.security.krb5.conf=/k",
        "yarn.app.mapreduce.am.command-opts": "-Xmx1024m -Djava.security.krb5.conf=/k",
        "mapreduce.job.tags": "of-the-site",
    }
    settings = job_settings(spec(), site, Deadlines())
    assert not {"yarn.app.mapreduce.am.env", "mapreduce.map.env"} & settings.keys()
    assert settings["yarn.app.mapreduce.am.env.MALLOC_ARENA_MAX"] == "2"
    assert "mapreduce.map.env.MALLOC_ARENA_MAX" not in settings  # the site's own
    task = settings["mapreduce.map.java.opts"].split()
    assert task[0] == "-Djava.security.krb5.conf=/k"
    assert [option for option in task if option.startswith("-Xm")] == ["-Xmx64m"]
    assert [option for option in task if option.endswith("GC")] == ["-XX:+UseSerialGC"]
    master = settings["yarn.app.mapreduce.am.command-opts"].split()
    assert master[:2] == ["-Djava.security.krb5.conf=/k", "-Xmx320m"]
    assert settings["mapreduce.job.tags"] == f"harpy,{spec().job_id},of-the-site"


def test_the_users_tags_stand_beside_those_by_which_the_job_is_found() -> None:
    given = {"mapreduce.job.tags": "mine, urgent,harpy"}
    settings = job_settings(spec(hadoop_conf=given), given, Deadlines())
    assert settings["mapreduce.job.tags"] == f"harpy,{spec().job_id},mine,urgent"
