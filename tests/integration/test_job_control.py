"""Jobs as other shells meet them: listed, read, killed, fetched, cleaned; and promise 7 for drivers
that were killed without a chance to clean up."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import harpy
from tests.support.cluster.running import RunningCluster
from tests.support.shell import (
    END_S,
    HARPY,
    LAUNCHERS,
    PROGRAMS,
    STEPS,
    Driver,
    Shell,
    eventually,
    user_shell,
)
from tests.support.traces import RUNNING, applications_of, hdfs_files

pytestmark = pytest.mark.timeout(240)

ENDLESS = {"steps": 100_000, "pause_s": 0.05}
# What 40 steps of steps.py give with two ranks, worked out by hand: each adds (1, 3, 5).
TOTAL = [40.0, 120.0, 200.0]


@pytest.fixture
def shell(cluster: RunningCluster) -> Iterator[Shell]:
    """Whose jobs run on the cluster."""
    with user_shell("yarn", cluster) as opened:
        yield opened


@pytest.fixture
def local() -> Iterator[Shell]:
    """Whose jobs are processes of this machine."""
    with user_shell("local", None) as opened:
        yield opened


def killed_in_the_middle(shell: Shell) -> str:
    """The id of a job whose driver got SIGKILL while its program was under way; the program goes
    on until `let_it_end`."""
    driver = shell.run_steps(steps=40, reached=shell.reached, release=f"{shell.reached}.release")
    shell.under_way(driver)
    job = shell.job(driver)
    driver.sigkill()
    return job


def let_it_end(shell: Shell) -> None:
    Path(f"{shell.reached}.release").touch()


def removed(shell: Shell, *options: str) -> list[str]:
    """The ids that `harpy clean` says it has removed."""
    done = shell.harpy("clean", *options)
    assert done.returncode == 0, done.stderr
    return [line.removeprefix("removed ") for line in done.stdout.splitlines()]


# -- drivers that got SIGKILL ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_outlives_its_driver_and_is_fetched(shell: Shell) -> None:
    job = killed_in_the_middle(shell)
    assert removed(shell) == []  # it runs
    let_it_end(shell)
    fetched = shell.harpy("fetch", job, "--output", "result")
    assert fetched.returncode == 0, fetched.stderr
    assert set(fetched.stdout.split()) == {
        "result/result.json",
        "result/rows.npy",
        "result/total.npy",
    }
    result = shell.home / "result"
    assert np.load(result / "total.npy").tolist() == TOTAL
    assert np.load(result / "rows.npy").tolist() == [
        *2 * [TOTAL],
        *2 * [[value + 1 for value in TOTAL]],
    ]
    assert json.loads((result / "result.json").read_text())["n_node"] == 2
    shutil.rmtree(result)
    Path(f"{shell.reached}.release").unlink()
    shell.nothing_left()


@pytest.mark.slow
def test_a_job_outlives_its_driver_and_is_cleaned(shell: Shell) -> None:
    job = killed_in_the_middle(shell)
    (listed,) = shell.jobs()
    assert (listed["job"], listed["state"], listed["driver_alive"]) == (job, "running", False)
    let_it_end(shell)

    def ended() -> bool:
        return not any(a["name"] == job for a in applications_of(shell.cluster, RUNNING))

    eventually(ended, END_S, "the job did not end by itself")
    (listed,) = shell.jobs()
    assert (listed["state"], listed["finished_runs"]) == ("succeeded", 1)
    Path(f"{shell.reached}.release").unlink()
    # Only its directory and its record are left.
    left = shell.traces().beyond(shell.before)["files"]
    assert all(f"/{job}" in path for path in left), left
    assert removed(shell) == [job]
    shell.nothing_left()


def test_a_fit_outlives_its_driver_with_the_same_bits(shell: Shell) -> None:
    rows = np.random.default_rng(5).normal(size=(20_000, 8)).astype(np.float32)
    np.save(shell.home / "rows.npy", rows)
    shell.before = shell.traces()
    options = ["--n-clusters=12", "--max-iter=30", "--random-state=3"]
    driver = shell.start(*HARPY, "kmeans", "fit", "rows.npy", *options, *shell.session())
    job = shell.job(driver)

    def staged() -> bool:
        return any(entry.path.endswith("/manifest.json") for entry in shell.files_of(job))

    shell.while_alive(driver, staged, "nothing was staged")
    driver.sigkill()
    fetched = shell.harpy("fetch", job, "--output", "model")
    assert fetched.returncode == 0, fetched.stderr
    expected = harpy.DAALKMeans(
        n_clusters=12, max_iter=30, random_state=3, launcher="local", n_thread=1
    ).fit(rows)
    model = shell.home / "model"
    facts = json.loads((model / "result.json").read_text())
    assert np.load(model / "cluster_centers.npy").tobytes() == expected.cluster_centers_.tobytes()
    assert np.load(model / "labels.npy").tobytes() == expected.labels_.tobytes()
    assert (facts["inertia"], facts["n_iter"]) == (expected.inertia_, expected.n_iter_)
    shutil.rmtree(model)
    shell.nothing_left()


def test_killed_before_it_submitted(shell: Shell) -> None:
    driver = shell.run_steps(steps=1)
    job = shell.job(driver)
    shell.while_alive(driver, lambda: shell.files_of(job), "no job directory")
    driver.sigkill()
    assert not [a for a in applications_of(shell.cluster) if a["name"] == job]
    (listed,) = shell.jobs()
    assert (listed["job"], listed["state"], listed["application"]) == (job, "new", None)
    assert removed(shell) == [job]
    shell.nothing_left()


def test_killed_while_it_submitted(shell: Shell) -> None:
    driver = shell.run_steps(steps=1)
    job = shell.job(driver)

    def submitting() -> bool:
        entries = hdfs_files(shell.cluster, f"/user/{shell.user}/.staging")
        new = {entry.path for entry in entries} - shell.before.files
        return any("/job_" in path for path in new)

    shell.while_alive(driver, submitting, "nothing was submitted")
    driver.sigkill()

    def withdrawn() -> bool:
        # Its submitting JVM outlives it for long enough to take the job back.
        return not [k for k in shell.traces().beyond(shell.before) if k != "files"]

    eventually(withdrawn, END_S, "the submission was not taken back")
    assert removed(shell) == [job]
    shell.nothing_left()


@pytest.mark.slow
def test_killed_before_it_knew_its_application(shell: Shell) -> None:
    driver = shell.run_steps(reached=shell.reached, **ENDLESS)
    job = shell.job(driver)

    def submitted() -> bool:
        if any(a["name"] == job for a in applications_of(shell.cluster)):
            driver.signal(signal.SIGSTOP)
            return True
        return False

    shell.while_alive(driver, submitted, "nothing was submitted")
    shell.under_way(driver)
    driver.sigkill()
    killed = shell.harpy("kill", job[:-2])
    assert (killed.returncode, killed.stderr) == (0, f"killed {job}\n")
    shell.nothing_left()


@LAUNCHERS
def test_workers_of_a_kept_session_leave_with_its_driver(
    launcher: str, cluster: RunningCluster
) -> None:
    with user_shell(launcher, cluster if launcher == "yarn" else None) as shell:
        params = json.dumps({"steps": 2})
        script = str(PROGRAMS / "kept_session.py")
        driver = shell.start(sys.executable, script, launcher, params)
        job = shell.job(driver)
        driver.says("idle")
        driver.sigkill()
        eventually(lambda: not workers(shell), END_S, "workers are left")
        if launcher == "yarn":
            eventually(lambda: shell.jobs()[0]["state"] != "running", END_S, "it did not end")
            assert shell.jobs()[0]["state"] == "succeeded"
        assert removed(shell) == [job]
        shell.nothing_left()


def test_local_workers_die_with_their_driver(local: Shell) -> None:
    job = killed_in_the_middle(local)
    eventually(lambda: not workers(local), 5, "workers are left")
    (listed,) = local.jobs()
    assert (listed["job"], listed["state"], listed["finished_runs"]) == (job, "failed", 0)
    refused = local.harpy("fetch", job)
    assert refused.returncode == 6
    assert "without a finished run" in refused.stderr
    assert removed(local) == [job]
    local.nothing_left()


def workers(shell: Shell) -> list[str]:
    found = shell.traces().beyond(shell.before).get("processes", [])
    return [process for process in found if "harpy.gang.worker" in process]


# -- a job that runs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(cluster: RunningCluster) -> Iterator[tuple[Shell, str, Driver]]:
    """A run that does not end by itself, and its id."""
    with user_shell("yarn", cluster) as shell:
        driver = shell.run_steps(reached=shell.reached, **ENDLESS)
        shell.under_way(driver)
        yield shell, shell.job(driver), driver
        driver.signal(signal.SIGINT)
        driver.end()


def test_a_running_job_is_listed(running: tuple[Shell, str, Driver]) -> None:
    shell, job, driver = running
    (listed,) = shell.jobs()
    (application,) = (a for a in applications_of(shell.cluster) if a["name"] == job)
    directory = listed.pop("directory")
    assert directory.endswith(f"/user/{shell.user}/harpy-work/{job}")
    assert directory.startswith(shell.cluster.namenode)
    assert listed == {
        "job": job,
        "state": "running",
        "launcher": "yarn",
        "application": application["id"],
        "created": pytest.approx(psutil.Process(driver.process.pid).create_time(), abs=60),
        "finished_runs": 0,
        "driver_alive": True,
        "keep": False,
    }
    shown = shell.harpy("jobs").stdout
    assert shown.count("\n") == 1
    assert {job, "running", application["id"], directory} <= set(shown.split())


def test_logs_of_a_running_job_by_its_applications_id(running: tuple[Shell, str, Driver]) -> None:
    shell, _, _ = running
    shown = shell.harpy("logs", shell.jobs()[0]["application"])
    assert shown.returncode == 0, shown.stderr
    assert "container_" in shown.stdout


def test_a_running_job_is_not_cleaned(running: tuple[Shell, str, Driver]) -> None:
    shell, job, _ = running
    assert removed(shell, "--kept") == []
    assert [record["job_id"] for record in shell.records()] == [job]


def test_fetch_waits_no_longer_than_it_may(running: tuple[Shell, str, Driver]) -> None:
    shell, job, _ = running
    done = shell.harpy("fetch", job, "--timeout", "1")
    assert done.returncode == 6
    assert f"job {job} has not finished a run after 1 s" in done.stderr


@pytest.mark.parametrize("command", ["logs", "kill", "fetch"])
def test_an_unknown_job_is_an_error_that_names_the_known(
    running: tuple[Shell, str, Driver], command: str
) -> None:
    shell, job, _ = running
    done = shell.harpy(command, "nonsense")
    assert (done.returncode, done.stdout) == (8, "")
    assert "no job 'nonsense'" in done.stderr
    assert job in done.stderr


# -- jobs that ended -------------------------------------------------------------------------------


def test_a_kept_directory_stays_until_it_is_asked_for(local: Shell) -> None:
    for _ in range(2):
        code, _, err = local.run_steps("--keep", steps=2).end()
        assert code == 0, err
    first, second = local.jobs()
    for listed in (first, second):
        assert (listed["state"], listed["keep"], listed["finished_runs"]) == ("succeeded", True, 1)
        assert Path(listed["directory"].removeprefix("file://"), "runs/0001/_SUCCESS").exists()
    common = first["job"][: len("harpy-2")]
    ambiguous = local.harpy("fetch", common)
    assert ambiguous.returncode == 8
    assert "the beginning of 2 jobs" in ambiguous.stderr
    assert removed(local) == []
    assert local.harpy("fetch", first["job"], "--keep").returncode == 0
    assert len(local.jobs()) == 2
    assert removed(local, "--kept", "--older-than", "1") == []
    assert removed(local, "--kept") == [first["job"], second["job"]]
    assert np.load(local.home / first["job"] / "total.npy").tolist() == [2.0, 6.0, 10.0]
    assert local.jobs() == []


def test_fetch_refuses_a_place_that_is_taken(local: Shell) -> None:
    code, _, err = local.run_steps("--keep", steps=1).end()
    assert code == 0, err
    (listed,) = local.jobs()
    taken = local.home / "taken"
    taken.mkdir()
    (taken / "mine").write_text("precious")
    done = local.harpy("fetch", listed["job"], "--output", "taken")
    assert done.returncode == 3
    assert "taken exists and is not an empty directory" in done.stderr
    assert [path.name for path in taken.iterdir()] == ["mine"]
    assert len(local.jobs()) == 1  # and nothing was removed


def test_logs_of_an_ended_job_are_its_reports(local: Shell) -> None:
    assert local.run_steps("--keep", steps=3, raise_at=1).end()[0] == 6
    (listed,) = local.jobs()
    assert listed["state"] == "failed"
    shown = local.harpy("logs", listed["job"])
    assert shown.returncode == 0, shown.stderr
    assert "this program raises on purpose" in shown.stdout


def test_no_jobs(local: Shell) -> None:
    assert local.jobs() == []
    assert local.harpy("jobs").stderr == "no jobs\n"
    assert removed(local) == []


def test_a_job_of_a_cluster_that_is_gone_does_not_hide_the_others(local: Shell) -> None:
    assert local.run_steps("--keep", steps=1).end()[0] == 0
    (mine,) = local.records()
    folder = local.home / ".local/state/harpy/jobs"
    gone = {
        **mine,
        "job_id": "gone-1",
        "launcher": "yarn",
        "keep": False,
        "created": 0.0,
        "conf_dir": "/no/such/cluster",
        "application_id": "application_1_0001",
    }
    (folder / "gone-1.json").write_text(json.dumps(gone))
    assert [(j["job"], j["state"]) for j in local.jobs()] == [
        ("gone-1", "unknown"),
        (mine["job_id"], "succeeded"),
    ]
    done = local.harpy("clean", "--kept")
    assert done.stdout == f"removed {mine['job_id']}\n"
    assert done.returncode == 2
    assert "gone-1: no Hadoop configuration in /no/such/cluster" in done.stderr
    assert "harpy clean --force gone-1" in done.stderr
    forced = local.harpy("clean", "--force", "gone-1")
    assert forced.stdout == "removed gone-1\n"
    assert f"lost: its record; {gone['job_url']} may remain" in forced.stderr


def test_kill_ends_a_local_driver_that_ignores_ctrl_c(local: Shell) -> None:
    # As a command of a script's background does.
    ignoring = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    ignoring += "from harpy.cli import main; main()"
    params = [f"--param={k}={json.dumps(v)}" for k, v in ENDLESS.items()]
    params.append(f'--param=reached="{local.reached}"')
    driver = local.start(sys.executable, "-c", ignoring, "run", STEPS, *local.session(), *params)
    local.under_way(driver)
    local.set(HARPY_KILL_S="2")
    killed = local.harpy("kill", local.job(driver))
    assert killed.returncode == 0, killed.stderr
    assert driver.end()[0] != 0
    local.nothing_left()
