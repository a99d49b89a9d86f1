"""The cluster's own HTTP interfaces: is it ready, and the directories every user needs."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from harpy.cluster.spec import State
from harpy.errors import ClusterError

ANSWER_S = 5.0
# What asking a daemon that is starting or dying can raise.
NO_ANSWER = (OSError, ValueError, KeyError, IndexError, http.client.HTTPException)

# Addresses of this machine: a proxy for the world outside must not be asked for them.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_json(url: str) -> Any:
    """Return the parsed answer; OSError when there is none, ValueError when it is not JSON."""
    with _opener.open(url, timeout=ANSWER_S) as answer:
        return json.load(answer)


def active_nodes(state: State) -> int:
    """Return how many node managers the resource manager counts as active."""
    metrics = get_json(f"{state.url('resourcemanager.http')}/ws/v1/cluster/metrics")
    return int(metrics["clusterMetrics"]["activeNodes"])


def hdfs_ready(state: State) -> bool:
    """Whether the NameNode is out of safe mode and has a live DataNode."""
    query = "Hadoop:service=NameNode,name=FSNamesystemState"
    bean = get_json(f"{state.url('namenode.http')}/jmx?qry={query}")["beans"][0]
    return bean["NumLiveDataNodes"] >= 1 and bean["FSState"] == "Operational"


def history_ready(state: State) -> bool:
    """Whether the history server answers."""
    return "historyInfo" in get_json(f"{state.url('historyserver.http')}/ws/v1/history/info")


def make_directories(state: State, users: Sequence[str]) -> None:
    """Make what every user needs in HDFS: a home, and shared folders open to all.

    Otherwise another user's submission ends in a Java stack trace, and the application master
    cannot write its history.
    """
    owned = [
        ("/", "1777", "hdfs", "supergroup"),
        ("/tmp", "1777", "hdfs", "supergroup"),
        ("/tmp/logs", "1777", "yarn", "hadoop"),
        ("/user", "755", "hdfs", "supergroup"),
        # The history server moves what masters leave in done_intermediate to done.
        ("/user/history", "755", "mapred", "hadoop"),
        ("/user/history/done_intermediate", "1777", "mapred", "hadoop"),
        ("/user/history/done", "770", "mapred", "hadoop"),
        *((f"/user/{user}", "750", user, user) for user in users),
    ]
    for path, mode, owner, group in owned:
        if path != "/":
            _webhdfs(state, path, op="MKDIRS")
        _webhdfs(state, path, op="SETOWNER", owner=owner, group=group)
        _webhdfs(state, path, op="SETPERMISSION", permission=mode)


def _webhdfs(state: State, path: str, **query: str) -> None:
    arguments = urllib.parse.urlencode({"user.name": "hdfs", **query})
    url = f"{state.url('namenode.http')}/webhdfs/v1{urllib.parse.quote(path)}?{arguments}"
    try:
        with _opener.open(urllib.request.Request(url, method="PUT"), timeout=30):
            return
    except urllib.error.HTTPError as exc:
        said = exc.read().decode(errors="replace")[:500]
        raise ClusterError(f"the NameNode refused {query['op']} of {path}: {said}") from exc
    except OSError as exc:
        raise ClusterError(f"the NameNode did not answer {query['op']} of {path}: {exc}") from exc
