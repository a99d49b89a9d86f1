"""`harpy resume`: new workers go on where those of a job that was killed had come to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.running import RunningCluster
from tests.support.runs.disturbed import PROGRAMS, read_marks
from tests.support.shell import HARPY, LAUNCHERS, Driver, Shell, user_shell

pytestmark = pytest.mark.timeout(240)
N_ITER = 60
SUM = 2.0 * sum(range(N_ITER))


@pytest.fixture
def shell(launcher: str, cluster: RunningCluster) -> Iterator[Shell]:
    with user_shell(launcher, cluster if launcher == "yarn" else None) as opened:
        yield opened


def counting(shell: Shell, folder: Path, *options: str) -> Driver:
    """A driver whose workers have written checkpoints."""
    shell.set(HARPY_CHECKPOINT_S="0.2")
    # On YARN most of the run has to outlast the start of `harpy kill`.
    pause_s = 0.25 if shell.launcher == "yarn" else 0.1
    params = {"folder": str(folder), "n_iter": N_ITER, "pause_s": pause_s}
    given = [f"--param={name}={json.dumps(value)}" for name, value in params.items()]
    program = f"{PROGRAMS}:counts"
    driver = shell.start(*HARPY, "run", program, *shell.session(), *given, *options)
    shell.while_alive(
        driver,
        lambda: all(len(read_marks(folder, rank)) > 10 for rank in range(2)),
        "the workers did not iterate",
    )
    return driver


@LAUNCHERS
def test_a_killed_job_goes_on_from_its_checkpoint(shell: Shell, tmp_path: Path) -> None:
    driver = counting(shell, tmp_path, "--keep")
    job = shell.job(driver)
    if shell.launcher == "yarn":
        killed = shell.harpy("kill", job)
        assert killed.returncode == 0, killed.stderr
        driver.end()
    else:
        driver.sigkill()
    resumed = shell.harpy("resume", job)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{job} is done; next: harpy fetch {job}" in resumed.stderr
    for rank in range(2):
        begun = [mark.iteration for mark in read_marks(tmp_path, rank) if mark.what == "begin"]
        assert begun[0] == 0
        assert begun[1] > 0, "it began at its beginning"
    again = shell.harpy("resume", job)
    assert again.returncode != 0
    assert f"job {job} has finished; next: harpy fetch {job}" in again.stderr
    fetched = shell.harpy("fetch", job, "--output", "result")
    assert fetched.returncode == 0, fetched.stderr
    result = shell.home / "result"
    assert json.loads((result / "result.json").read_text())["sum"] == SUM
    for path in result.iterdir():
        path.unlink()
    result.rmdir()
    shell.nothing_left()


@pytest.mark.parametrize("launcher", ["local"])
def test_a_job_that_runs_is_not_resumed(shell: Shell, tmp_path: Path) -> None:
    driver = counting(shell, tmp_path)
    job = shell.job(driver)
    refused = shell.harpy("resume", job)
    assert refused.returncode != 0
    assert f"job {job} is running; to begin anew: harpy kill {job}" in refused.stderr
    code, out, err = driver.end()
    assert code == 0, err
    assert json.loads(out)["sum"] == SUM


@pytest.mark.parametrize("launcher", ["local"])
def test_an_unknown_job_is_named(shell: Shell) -> None:
    refused = shell.harpy("resume", "nobodys-job")
    assert refused.returncode != 0
    assert "no job 'nobodys-job' was started from this machine" in refused.stderr
