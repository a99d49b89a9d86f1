"""The core of harpy with an eye on whose everything is: results, failures, kill, owners of files.

Where authentication is simple, containers run as the node manager's unix user: a worker that forgot
whom it works for would write as somebody else, here even as the cluster's owner.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import numpy as np
import pytest

import harpy
from tests.support.cluster.running import USER, RunningCluster, can_become
from tests.support.shell import Shell, user_shell

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(can_become(USER)), reason=can_become(USER)),
]


@pytest.fixture
def shell(cluster: RunningCluster) -> Iterator[Shell]:
    """A unix user's of their own, on a cluster of another's."""
    with user_shell("yarn", cluster, become=USER) as opened:
        yield opened


def test_a_fit_has_the_same_bits_and_every_file_is_the_users(shell: Shell) -> None:
    rows = np.random.default_rng(8).normal(size=(3_000, 6))
    np.save(shell.home / "rows.npy", rows)
    shell.before = shell.traces()
    options = ["--n-clusters=7", "--max-iter=20", "--random-state=1", "--keep"]
    options += ["--model=model", "--output=labels.npy"]
    fit = shell.harpy("kmeans", "fit", "rows.npy", *options, *shell.session())
    assert fit.returncode == 0, fit.stderr
    expected = harpy.DAALKMeans(
        n_clusters=7, max_iter=20, random_state=1, launcher="local", n_thread=1
    ).fit(rows)
    facts = json.loads(fit.stdout)
    model = shell.home / "model"
    assert np.load(model / "cluster_centers.npy").tobytes() == expected.cluster_centers_.tobytes()
    assert np.load(shell.home / "labels.npy").tobytes() == expected.labels_.tobytes()
    assert (facts["inertia"], facts["n_iter"]) == (expected.inertia_, expected.n_iter_)

    entries = {entry.path: entry for entry in shell.files_of(facts["job"])}
    directory = f"/user/{USER}/kmeans-work/{facts['job']}"
    assert entries[directory].mode == "700"
    inside = {path.removeprefix(f"{directory}/") for path in entries}
    # What the driver wrote, what each worker wrote, and the end.
    assert {"job.json", "runs/0001/params.json"} <= inside
    assert {f"runs/0001/reports/rank-000{rank}.json" for rank in (0, 1)} <= inside
    assert {f"runs/0001/output/labels/part-0000{rank}.npy" for rank in (0, 1)} <= inside
    assert "runs/0001/_SUCCESS" in inside
    assert {entry.owner for entry in entries.values()} == {USER}

    assert shell.harpy("clean", "--kept").stdout == f"removed {facts['job']}\n"
    for path in (*model.iterdir(), *shell.home.glob("*.npy")):
        path.unlink()
    shell.nothing_left()


@pytest.mark.slow
def test_a_program_of_ones_own_saves_its_rows(shell: Shell) -> None:
    driver = shell.run_steps("--output=result", steps=3)
    code, out, err = driver.end()
    assert (code, json.loads(out)["total"]) == (0, [3.0, 9.0, 15.0]), err
    assert np.load(shell.home / "result/rows.npy").tolist() == [
        *2 * [[3.0, 9.0, 15.0]],
        *2 * [[4.0, 10.0, 16.0]],
    ]
    assert (shell.home / "result").stat().st_uid == shell.home.stat().st_uid
    for path in (shell.home / "result").iterdir():
        path.unlink()
    shell.nothing_left()


@pytest.mark.slow
def test_a_program_that_raises(shell: Shell) -> None:
    code, out, err = shell.run_steps(steps=3, raise_at=1).end()
    assert (code, out) == (6, "")
    assert "this program raises on purpose" in err
    shell.nothing_left()


@pytest.mark.slow
def test_kill_from_another_shell(shell: Shell) -> None:
    driver = shell.run_steps(reached=shell.reached, steps=100_000, pause_s=0.05)
    shell.under_way(driver)
    killed = shell.harpy("kill", shell.job(driver))
    assert killed.returncode == 0, killed.stderr
    code, _, err = driver.end()
    assert code == 7, err
    shell.nothing_left()


@pytest.mark.slow
def test_ctrl_c(shell: Shell) -> None:
    driver = shell.run_steps(reached=shell.reached, steps=100_000, pause_s=0.05)
    shell.under_way(driver)
    driver.signal(signal.SIGINT)
    assert driver.end()[0] == 130
    shell.nothing_left()


def test_a_work_directory_of_somebody_else_is_refused(shell: Shell) -> None:
    theirs = f"/user/{shell.cluster.state.owner}/harpy-work"
    code, _, err = shell.run_steps(f"--workdir={theirs}", steps=1).end()
    assert code == 3, err
    assert f"{theirs} is not writable" in err
    assert f"/user/{USER}/harpy-work" in err  # what to do instead
    shell.nothing_left()


def test_without_a_home_on_the_cluster_says_what_to_ask_for(cluster: RunningCluster) -> None:
    with user_shell("yarn", cluster, become="games") as shell:
        code, _, err = shell.run_steps(steps=1).end()
        assert code == 3, err
        assert "hdfs dfs -mkdir /user/games && hdfs dfs -chown games /user/games" in err
        shell.nothing_left()
