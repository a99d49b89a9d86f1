"""Two gangs that each want more than half of a cluster, at the same time: both finish."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from failing_runs import program
from running_cluster import RunningCluster, running_cluster
from user_shell import user_shell

from harpy import Session
from harpy.cluster.spec import Shape

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
N_NODE = 4  # of 2,048 MB each: the cluster has room for 5, beside two application masters
# Room goes to both jobs in turn, so that each gets a part.
IN_TURN = {"yarn.scheduler.capacity.root.default.ordering-policy": "fair"}
BOTH_S = 400.0


@pytest.fixture
def fair_cluster() -> Iterator[RunningCluster]:
    with running_cluster(Shape(memory_mb=12_288, settings=IN_TURN)) as started:
        yield started


def test_both_finish(fair_cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with user_shell("yarn", fair_cluster) as shell:
        for name, value in {**shell.env, "HARPY_GIVE_BACK_S": "8"}.items():
            monkeypatch.setenv(name, value)
        results: dict[int, Any] = {}

        def run(number: int) -> None:
            try:
                with Session(
                    n_node=N_NODE,
                    n_thread=1,
                    n_mem=2048,
                    launcher="yarn",
                    single_run=True,
                    progress=True,
                ) as opened:
                    found = opened.run(program("well"), timeout_s=BOTH_S)
                    results[number] = (found.value["total"], opened.job.application_id)
            except BaseException as exc:  # told to the test's thread
                results[number] = exc

        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOTH_S)
        assert [results[number][0] for number in range(2)] == [10.0, 10.0], results
