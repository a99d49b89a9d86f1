"""How many processors this process may keep busy: what an untouched `n_thread` is lowered to."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath


def available_cpus(proc: Path = Path("/proc/self")) -> int:
    """Processors of the affinity mask, or as many as the cgroups' CPU quota pays for if fewer.

    A quota of 1.5 processors counts as 2: two threads use all of it, one does not. Neither
    `os.cpu_count` nor `os.process_cpu_count` reads quotas. They are read once a process: that takes
    longer than a small fit.

    Parameters
    ----------
    proc : Path, default /proc/self
        Of the process, as Linux shows it.

    Returns
    -------
    int
    """
    return min(len(os.sched_getaffinity(0)), _paid_cpus(proc))


@cache
def _paid_cpus(proc: Path) -> int:
    return min((max(1, math.ceil(quota)) for quota in _quotas(proc)), default=sys.maxsize)


def _quotas(proc: Path) -> Iterator[float]:
    """Quotas, in processors, of the process's cgroups and of all above them: each of them binds."""
    groups = {}  # the process's cgroup by type of file system; version 1 has one per controller
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            groups["cgroup2"] = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            groups["cgroup"] = PurePosixPath(path)
    for line in _lines(proc / "mountinfo"):
        mount, _, file_system = line.partition(" - ")
        root, point = mount.split()[3:5]
        kind, _, options = file_system.split(" ", 2)
        if kind not in groups or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        # A container may see only a part of the tree, which then begins at its own cgroup.
        group = groups[kind]
        visible = group.is_relative_to(root) and ".." not in group.parts
        below = group.relative_to(root).parts if visible else ()
        for depth in range(len(below) + 1):
            yield from _quota(Path(point, *below[:depth]))


def _quota(group: Path) -> Iterator[float]:
    for limit in _lines(group / "cpu.max"):  # "max 100000" without a quota
        quota, period = limit.split()
        if quota != "max":
            yield int(quota) / int(period)
    for quota, period in zip(
        _lines(group / "cpu.cfs_quota_us"), _lines(group / "cpu.cfs_period_us"), strict=True
    ):
        if int(quota) > 0:  # -1 without a quota
            yield int(quota) / int(period)


def _lines(path: Path) -> list[str]:
    """The file's lines; none where there is no such limit, or not for us to read."""
    try:
        return path.read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []
