"""A cluster that was set up by Hadoop's own advice: what its site files say of containers holds for
harpy's, and where it does not suffice the error quotes the process that missed it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import harpy
from harpy.errors import MasterLost
from tests.support.cluster.running import RunningCluster
from tests.support.runs.failing import driver_here, program, session, told
from tests.support.shell import Shell

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def shell(stock_cluster: RunningCluster) -> Iterator[Shell]:
    with driver_here("yarn", stock_cluster) as opened:
        yield opened


def test_a_session_runs_fits_and_runs_again(shell: Shell) -> None:
    X = np.random.default_rng(3).normal(size=(500, 4))
    with session(shell) as opened:
        assert opened.run(program("well"), timeout_s=120).value is not None
        model = harpy.DAALKMeans(n_clusters=5, random_state=0, session=opened).fit(X)
        assert opened.run(program("well"), timeout_s=60).value is not None
    here = harpy.DAALKMeans(n_clusters=5, random_state=0, launcher="local").fit(X)
    assert model.cluster_centers_.tobytes() == here.cluster_centers_.tobytes()


def test_a_master_without_mapreduce_is_quoted_and_its_logs_are_found(shell: Shell) -> None:
    conf = {"yarn.app.mapreduce.am.env": "HADOOP_MAPRED_HOME=/nowhere"}
    words = (
        "its class path lacks MapReduce",
        "HADOOP_MAPRED_HOME in yarn.app.mapreduce.am.env",
        "Hadoop says: Error: Could not find or load main class",
    )
    with (
        told(MasterLost, *words, within_s=120) as caught,
        session(shell, hadoop_conf=conf) as opened,
    ):
        opened.run(program("well"), timeout_s=120)
    job = re.search(r"harpy logs (\S+)", str(caught.value))
    assert job is not None
    # Nothing of it is left on this machine; the cluster knows it by its id.
    shown = shell.harpy("logs", job[1])
    assert shown.returncode == 0, shown.stderr
    assert "Could not find or load main class" in shown.stdout
