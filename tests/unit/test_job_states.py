"""Absence is no answer: what a cluster does not say of a job is unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harpy.config import HadoopConf
from harpy.errors import ClusterUnreachable, JobNotFound
from harpy.launch.base import JobState
from harpy.launch.yarn.applications import Application
from harpy.session import job_control, job_states, registry
from harpy.session.cleaning import clean
from harpy.session.job_states import Clusters, find_application
from harpy.session.registry import JobRecord

HERE = "application_1_0001"


def application(**changes: Any) -> Application:
    facts: dict[str, Any] = {
        "application_id": HERE,
        "name": "any name",
        "user": "me",
        "queue": "root.default",
        "tags": ("harpy", "km-a1"),
        "state": JobState.RUNNING,
        "tracking_url": "",
        "progress": 0.0,
        "started_s": 0.0,
        "finished_s": 0.0,
        "diagnostics": "",
    }
    return Application(**{**facts, **changes})


def record(**changes: Any) -> JobRecord:
    """Of a job on YARN whose driver is dead."""
    made = JobRecord.of_this_process("km-A1", "hdfs://nn/user/me/km-A1", "yarn", 0.0)
    facts = {"driver_pid": 2**22 + 1, "conf_dir": "/conf", "submission_began": True}
    return replace(made, **{**facts, **changes})


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> dict[str, Any]:
    """One ResourceManager: what it knows, and how often it was asked."""
    said: dict[str, Any] = {"known": [], "asked": 0, "error": None}

    def states(conf: HadoopConf, ids: list[str]) -> dict[str, Application]:
        said["asked"] += 1
        if said["error"]:
            raise said["error"]
        return {a.application_id: a for a in said["known"] if a.application_id in ids}

    def listed(conf: HadoopConf) -> list[Application]:
        states(conf, [])
        return list(said["known"])

    monkeypatch.setenv("HARPY_STATE", str(tmp_path))
    monkeypatch.setattr(job_states, "application_states", states)
    monkeypatch.setattr(job_states, "list_applications", listed)
    monkeypatch.setattr(job_states, "hadoop_conf", lambda record: HadoopConf())
    monkeypatch.setattr(job_states, "load_hadoop_conf", HadoopConf)
    return said


def test_a_job_is_what_its_application_is(manager: dict[str, Any]) -> None:
    manager["known"] = [application()]
    mine = record(application_id=HERE)
    assert Clusters([mine]).look_up(mine).state is JobState.RUNNING


@pytest.mark.parametrize("application_id", [HERE, None], ids=["not found", "never told"])
def test_what_the_cluster_does_not_know_is_unknown(
    manager: dict[str, Any], application_id: str | None
) -> None:
    mine = record(application_id=application_id)
    standing = Clusters([mine]).look_up(mine)
    assert standing.state is JobState.UNKNOWN
    assert not standing.state.ended
    assert "the ResourceManager of /conf" in standing.why


def test_one_silent_cluster_is_asked_once_and_all_its_jobs_are_unknown(
    manager: dict[str, Any],
) -> None:
    manager["error"] = ClusterUnreachable("nobody there")
    jobs = [record(job_id=f"km-{i}", application_id=f"application_1_000{i}") for i in range(3)]
    clusters = Clusters(jobs)
    standings = [clusters.look_up(job) for job in jobs]
    assert {s.state for s in standings} == {JobState.UNKNOWN}
    assert {s.why for s in standings} == {"nobody there"}
    assert manager["asked"] == 1


def test_a_driver_that_died_before_it_submitted_left_no_application(
    manager: dict[str, Any],
) -> None:
    mine = record(submission_began=False)
    assert Clusters([mine]).look_up(mine).state is JobState.NEW
    assert manager["asked"] == 0


def test_a_driver_that_died_while_it_submitted_is_found_by_its_tag(manager: dict[str, Any]) -> None:
    manager["known"] = [application(tags=("harpy", "other")), application()]
    mine = record()
    standing = Clusters([mine]).look_up(mine)
    assert (standing.state, standing.record.application_id) == (JobState.RUNNING, HERE)
    assert registry.find("km-A1").application_id == HERE


def test_an_end_that_its_driver_was_told_needs_no_cluster(manager: dict[str, Any]) -> None:
    mine = record(application_id=HERE, ended=True, final_state="failed")
    assert Clusters([mine]).look_up(mine).state is JobState.FAILED
    assert manager["asked"] == 0


def test_a_job_without_a_record_is_found_by_its_cluster(manager: dict[str, Any]) -> None:
    manager["known"] = [application()]
    for name in ("km-A1", HERE):
        assert find_application(name).application_id == HERE
    with pytest.raises(JobNotFound, match="no job 'km-B2' was started from this machine"):
        find_application("km-B2")


@pytest.mark.parametrize(
    ("state", "removed"),
    [(JobState.RUNNING, []), (JobState.SUBMITTED, []), (JobState.FAILED, ["km-A1"])],
)
def test_of_a_dead_drivers_job_nothing_is_removed_before_its_end(
    manager: dict[str, Any], tmp_path: Path, state: JobState, removed: list[str]
) -> None:
    directory = tmp_path / "km-A1"
    directory.mkdir()
    registry.record(record(application_id=HERE, job_url=f"file://{directory}"))
    manager["known"] = [application(state=state)]
    assert [job.job_id for job in clean()] == removed
    assert directory.exists() == (not removed)
    assert len(list(registry.all_jobs())) == 1 - len(removed)


def test_kill_ends_what_an_interrupted_driver_had_submitted(
    manager: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = JobRecord.of_this_process("km-A1", "hdfs://nn/user/me/km-A1", "yarn", 0.0)
    registry.record(replace(mine, conf_dir="/conf"))
    done: list[str] = []

    def interrupt(record: JobRecord) -> None:
        registry.record(replace(record, driver_pid=2**22 + 1, submission_began=True))
        manager["known"] = [application()]

    monkeypatch.setattr(job_control, "_interrupt", interrupt)
    monkeypatch.setattr(job_control, "hadoop_conf", lambda record: HadoopConf())
    monkeypatch.setattr(
        "harpy.launch.yarn.applications.kill_application", lambda c, i, why: done.append(i)
    )
    monkeypatch.setattr(job_control, "remove_job", lambda record: done.append("removed"))
    assert job_control.kill("km-A1") == "km-A1"
    assert done == [HERE, "removed"]


def test_no_process_of_this_container_is_interrupted_for_a_driver_in_another(
    manager: dict[str, Any],
) -> None:
    mine = JobRecord.of_this_process("km-A1", "hdfs://nn/user/me/km-A1", "local", 0.0)
    registry.record(replace(mine, pid_namespace="pid:[1]"))
    with pytest.raises(JobNotFound, match="is driven from"):
        job_control.kill("km-A1")
