"""A cluster with Hadoop's own limits: what it can never hold is refused, untouched defaults run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from harpy import DAALKMeans
from harpy.errors import DemandRefused
from tests.support.cluster.running import RunningCluster
from tests.support.runs.failing import driver_here, told
from tests.support.shell import Shell
from tests.support.traces import applications_of

pytestmark = pytest.mark.timeout(240)

X = np.random.default_rng(4).normal(size=(200, 5))


@pytest.fixture
def shell(stock_cluster: RunningCluster) -> Iterator[Shell]:
    with driver_here("yarn", stock_cluster) as opened:
        yield opened


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"n_mem": 8193}, ("asked 8193 MB, available 8192 MB: the largest container",)),
        # It fits alone, but not beside its master, which stock YARN rounds up to 1024 MB.
        (
            {"n_mem": 8192},
            ("1 worker of 8192 MB.*room for 0: 1 node with 8192 MB", "1024 MB of it for the appl"),
        ),
        ({"n_thread": 5}, ("asked 5 vcores, available 4 vcores: the largest container",)),
        ({"n_node": 8, "n_mem": 1024}, ("asked 8 workers of 1024 MB, available room for 7",)),
        ({"n_node": 8}, ("run n_node=8: asked 8 workers of .* MB, available room for 7",)),
        ({"queue": "analysts"}, ("no queue 'analysts'; the cluster has: root.default",)),
    ],
    ids=["n_mem", "n_mem beside the master", "n_thread", "n_node", "n_node of any size", "queue"],
)
def test_what_can_never_be_met_is_refused_before_anything_is_submitted(
    shell: Shell, stock_cluster: RunningCluster, asked: dict[str, Any], words: tuple[str, ...]
) -> None:
    submitted = {app["id"] for app in applications_of(stock_cluster)}
    with told(DemandRefused, *words, "Ask for less|the cluster has"):
        DAALKMeans(n_clusters=3, launcher="yarn", **asked).fit(X)
    assert {app["id"] for app in applications_of(stock_cluster)} == submitted


@pytest.mark.parametrize("n_node", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_untouched_defaults_run_and_say_what_was_lowered(
    shell: Shell, n_node: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="harpy"):
        model = DAALKMeans(n_clusters=10, n_node=n_node, random_state=0).fit(X)
    assert model.job_ is not None
    assert model.job_.launcher == "yarn"
    assert model.job_.n_thread == 4
    assert model.job_.n_mem == {1: 7168, 2: 3072}[n_node]
    assert model.job_.url.startswith(f"{shell.cluster.user_home}/kmeans-work/")
    assert "n_thread lowered from 8 to 4" in caplog.text
    assert "n_mem lowered from 10240" in caplog.text
    here = DAALKMeans(n_clusters=10, launcher="local", random_state=0).fit(X)
    np.testing.assert_array_equal(model.labels_, here.labels_)
    np.testing.assert_array_equal(model.cluster_centers_, here.cluster_centers_)
