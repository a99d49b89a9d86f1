"""The embedded cluster as its users meet it: started, found, used, broken, stopped."""

from __future__ import annotations

import subprocess

from running_cluster import RunningCluster


def test_shim_lists_hdfs(cluster: RunningCluster) -> None:
    done = subprocess.run(
        ["hdfs", "dfs", "-ls", "/"], env=cluster.env, capture_output=True, text=True, timeout=60
    )
    assert "/user" in done.stdout
