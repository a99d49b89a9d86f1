"""The demo and the tutorial on a real cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harpy.storage import filesystem
from tests.support import ROOT
from tests.support.cluster.running import RunningCluster

pytest.importorskip("matplotlib", reason="needs matplotlib, of the demo extra")


def test_demo_runs_two_workers_and_leaves_nothing_on_hdfs(
    on_cluster: RunningCluster, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harpy.cli", "demo", "--json", "--output", str(tmp_path)],
        env=dict(on_cluster.env),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["placement"] == {"launcher": "yarn", "n_node": 2, "n_thread": 1}
    assert report["job"]["application_id"].startswith("application_")
    ours, theirs = report["results"]["DAALKMeans"], report["results"]["scikit-learn"]
    assert ours["inertia"] == pytest.approx(theirs["inertia"], rel=1e-6)
    assert (tmp_path / "contact-sheet.png").stat().st_size > 10_000
    workdir = f"{on_cluster.user_home}/kmeans-work"
    assert filesystem(workdir).list(workdir) == []


@pytest.mark.slow
def test_tutorial_script_runs_daal_on_the_cluster_of_the_shell(on_cluster: RunningCluster) -> None:
    done = subprocess.run(
        [str(ROOT / "scripts" / "run_kmeans.sh"), "daal"],
        env=dict(on_cluster.env),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[0] == "DAALKMeans"
