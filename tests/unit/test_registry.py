"""The registry finds jobs again from another shell, also when their driver is gone."""

import time

import pytest

from harpy.errors import ConfigError, JobNotFound
from harpy.session import registry
from harpy.session.registry import JobRecord

NAME = "application_1_0001"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HARPY_STATE", str(tmp_path))
    return tmp_path


def job(name: str, created: float = 0.0) -> JobRecord:
    return JobRecord.of_this_process(name, f"hdfs://nn/user/me/{name}", "yarn", created)


def test_recorded_job_is_found_by_id_beginning_and_application():
    registry.update(job("km-1"), application_id="application_1_0001")
    registry.record(job("other-2"))
    for key in ("km-1", "km", "application_1_0001"):
        assert registry.find(key).job_id == "km-1"


def test_jobs_come_oldest_first_and_forgotten_ones_are_gone():
    registry.record(job("b", created=2.0))
    registry.record(job("a", created=3.0))
    assert [j.job_id for j in registry.all_jobs()] == ["b", "a"]
    registry.forget("b")
    assert [j.job_id for j in registry.all_jobs()] == ["a"]


def test_unknown_and_ambiguous_ids_name_the_candidates():
    registry.record(job("km-1"))
    registry.record(job("km-2"))
    with pytest.raises(JobNotFound, match="km-1, km-2"):
        registry.find("km")
    with pytest.raises(JobNotFound, match=r"no job 'x'.*km-1, km-2"):
        registry.find("x")


def test_driver_is_alive_only_while_its_very_process_is():
    mine = job("mine")
    assert mine.driver_alive()
    reused = JobRecord(**{**vars(mine), "driver_started": mine.driver_started - 100})
    assert not reused.driver_alive()
    gone = JobRecord(**{**vars(mine), "driver_pid": 2**22 + 1})
    assert not gone.driver_alive()


def test_an_ended_job_has_no_driver_even_if_its_process_lives_on():
    mine = job("mine")
    assert not JobRecord(**{**vars(mine), "ended": True}).driver_alive()


def test_record_is_private_to_the_user(state):
    registry.record(job("km"))
    assert (state / "jobs").stat().st_mode & 0o077 == 0


def test_state_directory_that_cannot_be_written_is_said_not_fatal(monkeypatch, caplog):
    monkeypatch.setenv("HARPY_STATE", "/proc/nowhere")
    registry.record(job("km", created=time.time()))
    assert "cannot record job=km" in caplog.text


def test_damaged_record_names_its_file(state):
    (state / "jobs").mkdir()
    (state / "jobs" / "x.json").write_text("{")
    with pytest.raises(ConfigError, match=r"x\.json is not a job record"):
        list(registry.all_jobs())


def test_a_driver_in_another_container_of_this_host_counts_as_alive():
    elsewhere = JobRecord(
        **{**vars(job("mine")), "driver_pid": 2**22 + 1, "pid_namespace": "pid:[1]"}
    )
    assert elsewhere.driver_alive()


def test_a_record_of_a_newer_harpy_is_read(state):
    registry.record(job("km"))
    path = registry.path_of("km")
    path.write_text(path.read_text().replace("{", '{"added_later": 1, ', 1))
    assert [j.job_id for j in registry.all_jobs()] == ["km"]


def test_a_new_driver_has_no_application_yet():
    old = JobRecord(
        **{**vars(job("km")), "application_id": NAME, "ended": True, "final_state": "killed"}
    )
    new = old.of_new_driver()
    assert (new.application_id, new.submission_began, new.ended) == (None, False, False)
    assert new.final_state is None
