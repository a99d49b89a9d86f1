"""A job is what its cluster says of it, by the application's id. What nobody says is unknown, and
of an unknown job nothing is removed, whoever asks, from whichever shell."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import harpy
from harpy.cluster.spec import Shape
from harpy.errors import InterpreterMissing
from tests.support.cluster.disturbed import daemon, running
from tests.support.cluster.running import STRANGER, RunningCluster, can_become, running_cluster
from tests.support.runs.failing import program
from tests.support.shell import END_S, Shell, eventually, user_shell
from tests.support.traces import RUNNING, applications_of, hdfs_files

pytestmark = pytest.mark.timeout(300)

ENDLESS = {"steps": 100_000, "pause_s": 0.05}
NOT_KNOWN = "application_1_0001"
COMMANDS = (("fetch",), ("resume",), ("kill",), ("clean",))


@pytest.fixture
def shell(cluster: RunningCluster) -> Iterator[Shell]:
    with user_shell("yarn", cluster) as opened:
        yield opened


@dataclass(frozen=True)
class Running:
    """A job that runs under tags of the user's."""

    shell: Shell
    job: str
    driver_alive: bool


@pytest.fixture(
    scope="module",
    params=[False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["driver killed", "driver alive"],
)
def running_job(cluster: RunningCluster, request: pytest.FixtureRequest) -> Iterator[Running]:
    with user_shell("yarn", cluster) as shell:
        driver = shell.run_steps(
            "-D", "mapreduce.job.tags=Mine,urgent", reached=shell.reached, **ENDLESS
        )
        shell.under_way(driver)
        job = shell.job(driver)
        if not request.param:
            driver.sigkill()
        yield Running(shell, job, request.param)
        killed = shell.harpy("kill", job)
        assert killed.returncode == 0, killed.stderr
        assert shell.records() == []


def runs_untouched(shell: Shell, job: str) -> None:
    """Fail unless the job runs, and its directory is whole."""
    running = applications_of(shell.cluster, RUNNING)
    assert any(job.lower() in a["applicationTags"].split(",") for a in running)
    home = f"/user/{shell.user}/harpy-work/{job}"
    assert f"{home}/job.json" in {e.path for e in hdfs_files(shell.cluster, home)}


def rewrite(shell: Shell, **changes: Any) -> None:
    """Change the one record of a shell."""
    (path,) = (shell.home / ".local/state/harpy/jobs").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_job_runs_whatever_its_users_name_and_tags(running_job: Running) -> None:
    shell, job = running_job.shell, running_job.job
    (application,) = (a for a in applications_of(shell.cluster, RUNNING) if a["name"] == job)
    tags = set(application["applicationTags"].split(","))
    assert tags == {"harpy", job, "mine", "urgent"}
    assert (application["user"], application["queue"]) == (shell.user, "root.default")
    (listed,) = shell.jobs()
    assert (listed["state"], listed["driver_alive"]) == ("running", running_job.driver_alive)
    assert shell.harpy("clean").stdout == ""
    resumed = shell.harpy("resume", job)
    assert resumed.returncode == 6
    assert f"job {job} is running" in resumed.stderr
    assert shell.harpy("clean", "--force", job).stdout == ""
    assert shell.harpy("fetch", job, "--timeout=1").returncode == 6
    runs_untouched(shell, job)


def test_a_shell_with_another_state_folder_takes_nothing_away(
    running_job: Running, shell: Shell
) -> None:
    owner, job = running_job.shell, running_job.job
    assert shell.jobs() == []
    for command in COMMANDS:
        done = shell.harpy(*command, job)
        assert (done.returncode, done.stdout) == (8, ""), command
        assert f"no job '{job}' was started from this machine" in done.stderr
    assert shell.harpy("clean", "--kept", "--force").stdout == ""
    # Its cluster knows it by its id.
    shown = shell.harpy("logs", job)
    assert shown.returncode == 0, shown.stderr
    assert "container_" in shown.stdout
    runs_untouched(owner, job)


@pytest.mark.skipif(bool(can_become(STRANGER)), reason=can_become(STRANGER))
def test_a_stranger_takes_nothing_away(running_job: Running, cluster: RunningCluster) -> None:
    owner, job = running_job.shell, running_job.job
    with user_shell("yarn", cluster, become=STRANGER) as stranger:
        assert stranger.jobs() == []
        for command in (*COMMANDS, ("logs",)):
            done = stranger.harpy(*command, job)
            assert (done.returncode, done.stdout) == (8, ""), command
        # Even with the record of it in hand.
        folder = stranger.home / ".local/state/harpy/jobs"
        folder.mkdir(parents=True)
        (record,) = (owner.home / ".local/state/harpy/jobs").glob("*.json")
        (folder / record.name).write_text(record.read_text())
        for command in (("fetch", job, "--timeout=1"), ("resume", job)):
            done = stranger.harpy(*command)
            assert done.returncode == 3, done.stderr
            assert "Permission denied" in done.stderr
        assert stranger.harpy("clean", "--kept", "--force").stdout == ""
    runs_untouched(owner, job)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"application_id": NOT_KNOWN}, f"does not know {NOT_KNOWN}"),
        ({"application_id": None, "job_id": "harpy-x"}, "knows no application of it"),
        (
            {"hadoop_conf": {"yarn.resourcemanager.address": "127.0.0.1:1"}},
            "the ResourceManager at 127.0.0.1:1 does not answer",
        ),
    ],
    ids=["not known", "never told", "no answer"],
)
def test_of_an_unknown_job_nothing_is_removed(
    running_job: Running, shell: Shell, changes: dict[str, Any], says: str
) -> None:
    owner, job = running_job.shell, running_job.job
    folder = shell.home / ".local/state/harpy/jobs"
    folder.mkdir(parents=True)
    (record,) = (owner.home / ".local/state/harpy/jobs").glob("*.json")
    (folder / record.name).write_text(record.read_text())
    rewrite(shell, driver_pid=2**22 + 1, **changes)
    shell.set(HARPY_FIRST_CONTACT_S="1")
    name = changes.get("job_id", job)
    listed = shell.harpy("jobs", "--json")
    assert json.loads(listed.stdout)[0]["state"] == "unknown"
    assert says in listed.stderr
    for command in COMMANDS:
        done = shell.harpy(*command, name)
        assert (done.returncode, done.stdout) == (4, ""), (command, done.stderr)
        assert says in done.stderr
        assert "--force" in done.stderr
    runs_untouched(owner, job)
    assert [r["job_id"] for r in shell.records()] == [name]


def test_force_removes_an_unknown_job_and_says_what_is_lost(shell: Shell) -> None:
    code, _, err = shell.run_steps("--keep", steps=1).end()
    assert code == 0, err
    rewrite(shell, application_id=NOT_KNOWN, ended=False, final_state=None)
    (record,) = shell.records()
    left = shell.harpy("clean", record["job_id"])
    assert (left.returncode, left.stdout) == (4, "")
    assert f"harpy clean --force {record['job_id']}" in left.stderr
    # Results are there and may be taken; the rest stays.
    fetched = shell.harpy("fetch", record["job_id"], "--output=result")
    assert fetched.returncode == 0, fetched.stderr
    assert "Nothing of it was removed" in fetched.stderr
    assert shell.records() == [record]
    gone = shell.harpy("clean", "--force", record["job_id"])
    assert (gone.returncode, gone.stdout) == (0, f"removed {record['job_id']}\n")
    assert f"lost: {record['job_url']} with 1 finished run and all checkpoints" in gone.stderr
    for path in (shell.home / "result").iterdir():
        path.unlink()
    shell.nothing_left()


def test_a_missing_interpreter_ends_the_job_at_its_first_attempt(
    cluster: RunningCluster, on_cluster: RunningCluster
) -> None:
    opened = harpy.Session(
        n_node=2, n_mem=512, launcher="yarn", python="/nowhere/python", progress=False
    )
    with pytest.raises(InterpreterMissing, match="/nowhere/python does not start"), opened:
        opened.run(program("well"))
    attempts = [failure.attempt for failure in opened.job.failures]
    assert 1 <= len(attempts) <= 2, attempts
    assert all(attempt.endswith("_0") for attempt in attempts), attempts


@pytest.fixture
def forgetful() -> Iterator[RunningCluster]:
    """A cluster whose ResourceManager remembers nothing once it is started again."""
    settings = {
        "yarn.resourcemanager.recovery.enabled": "false",
        # Its node manager keeps the containers, as one that cannot be reached would.
        "yarn.nodemanager.recovery.enabled": "false",
    }
    with running_cluster(Shape(settings=settings)) as started:
        yield started


@pytest.mark.slow
def test_a_resourcemanager_that_forgot_a_running_job_costs_nothing(
    forgetful: RunningCluster,
) -> None:
    with user_shell("yarn", forgetful) as shell:
        driver = shell.run_steps(reached=shell.reached, **ENDLESS)
        shell.under_way(driver)
        job = shell.job(driver)
        manager = daemon(forgetful, "resourcemanager")
        os.kill(manager, signal.SIGKILL)
        eventually(lambda: not running(manager), END_S, "it lives")
        again = forgetful.manage("up")
        assert again.returncode == 0, again.stderr
        code, _, err = driver.end(120)
        assert code == 4, err
        assert "no longer knows the application" in err
        assert [r["job_id"] for r in shell.records()] == [job]
        assert shell.files_of(job)
        assert shell.jobs()[0]["state"] == "unknown"
        assert shell.harpy("clean").returncode == 4
        assert shell.files_of(job)
        assert shell.harpy("clean", "--force").stdout == f"removed {job}\n"
