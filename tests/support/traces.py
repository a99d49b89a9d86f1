"""What a job may leave behind, seen with other eyes than harpy's: /proc, Hadoop's web services."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import psutil

from tests.support.cluster.running import RunningCluster

WEB_S = 30
SUPERUSER = "hdfs"  # of the tests' clusters: sees every directory
RUNNING = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"
# A work directory and Hadoop's staging area themselves may stay; nothing below them may.
PLACES = frozenset({"harpy-work", "kmeans-work", ".staging"})


@dataclass(frozen=True)
class Traces:
    """Everything of a user's jobs outside their drivers, in words."""

    processes: frozenset[str]
    ports: frozenset[str]  # on which those processes listen
    applications: frozenset[str]  # that have not ended
    files: frozenset[str]  # below the user's homes on HDFS and here: work, staging, records

    def beyond(self, other: Traces) -> dict[str, list[str]]:
        """What is here and not in `other`, by kind; empty if there is nothing."""
        more = {
            f.name: sorted(getattr(self, f.name) - getattr(other, f.name)) for f in fields(self)
        }
        return {kind: found for kind, found in more.items() if found}


def traces(folder: Path, cluster: RunningCluster | None, user: str) -> Traces:
    """The traces of one user.

    Parameters
    ----------
    folder
        The user's home on this machine; drivers have it in their environment.
    cluster
        None for jobs without Hadoop.
    """
    found = list(_processes(folder, cluster))
    files = [str(path) for path in folder.rglob("*") if not path.is_dir()]
    # A job directory is a trace even if it is empty.
    files += [str(path) for path in folder.rglob("*-work/*")]
    applications: list[str] = []
    if cluster is not None:
        entries = hdfs_files(cluster, f"/user/{user}")
        files += [entry.path for entry in entries if not entry.is_place]
        applications = [f"{a['id']} {a['name']}" for a in applications_of(cluster, RUNNING)]
    return Traces(
        processes=frozenset(words for words, _ in found),
        ports=frozenset(port for _, ports in found for port in ports),
        applications=frozenset(applications),
        files=frozenset(files),
    )


def _processes(
    folder: Path, cluster: RunningCluster | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Drivers, workers and JVMs, which inherit the user's home or the cluster's; their ports."""
    marks = [str(folder)] + ([str(cluster.home)] if cluster else [])
    known = {os.getpid()} | ({d.pid for d in cluster.state.daemons} if cluster else set())
    for process in psutil.process_iter():
        try:
            environment = "\n".join(process.environ().values())
            if process.pid in known or not any(mark in environment for mark in marks):
                continue
            words = f"{process.pid} {' '.join(process.cmdline())[-200:]}"
            sockets = process.net_connections("tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone meanwhile (a zombie is), or not ours
        listening = [c.laddr.port for c in sockets if c.status == psutil.CONN_LISTEN]
        yield words, tuple(f"{process.pid} {port}" for port in listening)


@dataclass(frozen=True)
class HdfsEntry:
    """A file or directory as the NameNode knows it."""

    path: str
    owner: str
    mode: str  # octal digits
    is_dir: bool

    @property
    def is_place(self) -> bool:
        return self.is_dir and self.path.rpartition("/")[2] in PLACES


def hdfs_files(cluster: RunningCluster, folder: str) -> list[HdfsEntry]:
    """All that lies below a directory of HDFS; what vanishes meanwhile is left out."""
    found = []
    for status in _list(cluster, folder):
        path = f"{folder}/{status['pathSuffix']}"
        is_dir = status["type"] == "DIRECTORY"
        found.append(HdfsEntry(path, status["owner"], status["permission"], is_dir))
        if is_dir:
            found += hdfs_files(cluster, path)
    return found


def _list(cluster: RunningCluster, folder: str) -> list[dict[str, Any]]:
    query = urlencode({"op": "LISTSTATUS", "user.name": SUPERUSER})
    try:
        answer = _get(f"{cluster.state.url('namenode.http')}/webhdfs/v1{quote(folder)}?{query}")
    except FileNotFoundError:
        return []
    listed: list[dict[str, Any]] = answer["FileStatuses"]["FileStatus"]
    return listed


def applications_of(cluster: RunningCluster, states: str = "") -> list[dict[str, Any]]:
    """What the resource manager tells of its applications; `states` separated by commas."""
    query = f"?states={states}" if states else ""
    answer = _get(f"{cluster.resource_manager}/ws/v1/cluster/apps{query}")
    listed: list[dict[str, Any]] = (answer["apps"] or {}).get("app", [])
    return listed


def _get(url: str) -> Any:
    from urllib.error import HTTPError

    try:
        with urlopen(url, timeout=WEB_S) as answer:
            return json.load(answer)
    except HTTPError as exc:
        if exc.code == 404:
            raise FileNotFoundError(url) from exc
        raise
