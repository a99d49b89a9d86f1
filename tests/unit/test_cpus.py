"""The processors a process may keep busy: affinity, and quotas of both versions of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harpy.cpus import available_cpus


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


class Machine:
    """A /proc/self and cgroup file systems below a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proc = folder / "proc"
        self.proc.mkdir()

    def be_in(self, *lines: str) -> None:
        (self.proc / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def mount(self, kind: str, name: str, root: str = "/", options: str = "rw") -> Path:
        point = self.folder / name
        point.mkdir()
        with (self.proc / "mountinfo").open("a") as mounts:
            mounts.write(f"31 23 0:28 {root} {point} rw,nosuid shared:9 - {kind} none {options}\n")
        return point

    def limit(self, group: Path, quota: str, period: int = 100000) -> None:
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpu.max").write_text(f"{quota} {period}\n")

    def limit_v1(self, group: Path, quota: int, period: int = 100000) -> None:
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (group / "cpu.cfs_period_us").write_text(f"{period}\n")

    def available_cpus(self) -> int:
        return available_cpus(self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_affinity_alone_counts_where_there_are_no_cgroups(machine):
    assert machine.available_cpus() == 8


def test_the_real_one_counts_at_least_one_and_no_more_than_the_affinity(monkeypatch):
    monkeypatch.undo()
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        ("max", 100000, 8),
        ("1200000", 100000, 8),
        ("300000", 100000, 3),
        ("150000", 100000, 2),
        ("5000", 50000, 1),
    ],
)
def test_a_quota_of_version_2_lowers_the_count_rounded_up(machine, quota, period, expected):
    machine.be_in("0::/jobs/mine")
    machine.limit(machine.mount("cgroup2", "unified") / "jobs/mine", quota, period)
    assert machine.available_cpus() == expected


@pytest.mark.parametrize("tight", ["jobs", "jobs/mine"])
def test_the_tightest_quota_on_the_way_to_the_root_binds(machine, tight):
    machine.be_in("0::/jobs/mine")
    point = machine.mount("cgroup2", "unified")
    for group in ("jobs", "jobs/mine", "jobs/of-others"):
        machine.limit(point / group, "200000" if group == tight else "max")
    machine.limit(point / "jobs/of-others", "100000")
    assert machine.available_cpus() == 2


@pytest.mark.parametrize(("quota", "expected"), [(-1, 8), (250000, 3)])
def test_a_quota_of_version_1_is_found_at_its_controller(machine, quota, expected):
    machine.be_in("5:memory:/elsewhere", "3:cpu,cpuacct:/jobs/mine", "0::/")
    point = machine.mount("cgroup", "cpu,cpuacct", options="rw,cpu,cpuacct")
    machine.limit_v1(machine.mount("cgroup", "memory", options="rw,memory") / "jobs/mine", 100000)
    machine.limit_v1(point / "jobs/mine", quota)
    assert machine.available_cpus() == expected


def test_a_container_finds_its_quota_where_its_part_of_the_tree_is_mounted(machine):
    machine.be_in("3:cpu:/docker/0123/inner")
    point = machine.mount("cgroup", "cpu", root="/docker/0123", options="rw,cpu")
    machine.limit_v1(point, 400000)
    machine.limit_v1(point / "inner", -1)
    assert machine.available_cpus() == 4


@pytest.mark.parametrize("group", ["/../other", "/docker/elsewhere"])
def test_a_cgroup_outside_the_visible_part_leaves_the_quota_of_that_part(machine, group):
    machine.be_in(f"0::{group}")
    point = machine.mount("cgroup2", "unified", root="/docker/0123")
    machine.limit(point, "200000")
    machine.limit(point.parent / "other", "100000")
    assert machine.available_cpus() == 2
