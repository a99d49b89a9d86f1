"""The driver of a gang, with real local workers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import harpy
from harpy.errors import JobStateUnknown, RunTimeout, StorageError
from harpy.launch.base import Demand, GangSpec, Grant, JobState, LaunchStatus
from harpy.launch.local.launcher import LocalLauncher
from harpy.session import registry, staging
from harpy.session.allocation import GiveBack
from harpy.session.gang_job import GangJob
from harpy.storage import FileRows, FileSystem, JobDirectory, stage_array
from harpy.storage.rows.dataset import Dataset


def returns_at_once(ctx: harpy.Context) -> int:
    return ctx.size


def test_a_run_that_is_over_while_its_rows_are_staged_is_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_STATE", str(tmp_path / "state"))

    def staged_late(
        fs: FileSystem, directory: str, X: np.ndarray, n_parts: int, watch: Callable[[float], Any]
    ) -> None:
        run = JobDirectory(fs, directory.split("/data/")[0]).run(1)
        deadline = time.monotonic() + 30
        while not run.finished():
            assert time.monotonic() < deadline, "the run did not finish without its rows"
            time.sleep(0.05)
        for _ in range(40):  # until the launcher knows, too, that its workers have left
            watch(0.5)
            time.sleep(0.05)
        stage_array(fs, directory, X, n_parts, watch)

    monkeypatch.setattr(staging, "stage_array", staged_late)
    options = {"launcher": "local", "workdir": str(tmp_path / "work"), "single_run": True}
    with harpy.Session(n_node=2, **options) as session:
        result = session.run(returns_at_once, data={"X": np.zeros((4, 2))})
    assert result.value == 2
    assert list((tmp_path / "work").iterdir()) == []


class TrackedLauncher(LocalLauncher):
    """Its cluster lowers a wish, names the application and has a page for it."""

    def preflight(self, demand: Demand) -> Grant:
        return replace(super().preflight(demand), notes=("n_mem lowered from 2 to 1 MB",))

    def submit(self, spec: GangSpec) -> str | None:
        super().submit(spec)
        return "application_1_0001"

    def status(self) -> LaunchStatus:
        return replace(super().status(), tracking_url="http://manager:8088/1")


def test_a_lowered_wish_and_the_page_of_the_application_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(GangJob, "_make_launcher", lambda self: TrackedLauncher(self._deadlines))
    with harpy.Session(n_node=2, n_mem=512, launcher="local", progress=True) as session:
        session.run(returns_at_once)
        job = session.job.id
    said = [line.split(" s  ")[1] for line in capsys.readouterr().err.splitlines()]
    assert "n_mem lowered from 2 to 1 MB" in said
    assert f"submitted {job} as application_1_0001, http://manager:8088/1" in said


class ForgottenLauncher(LocalLauncher):
    """Its cluster no longer knows the job, once this has been submitted."""

    def status(self) -> LaunchStatus:
        status = super().status()
        if status.state is JobState.NEW:
            return status
        return replace(status, state=JobState.UNKNOWN, diagnostics="nobody knows it")


def test_of_a_job_that_its_cluster_forgot_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(GangJob, "_make_launcher", lambda self: ForgottenLauncher(self._deadlines))
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(100, 2)))
    model = harpy.DAALKMeans(n_clusters=3, n_node=2, launcher="local", workdir=str(tmp_path / "w"))
    with pytest.raises(JobStateUnknown, match="Its job directory stays") as caught:
        model.fit(str(tmp_path / "rows.npy"), output=str(tmp_path / "labels"))
    (record,) = registry.all_jobs()
    assert str(tmp_path / "w" / record.job_id) in str(caught.value)
    assert (tmp_path / "w" / record.job_id / "job.json").exists()
    assert (tmp_path / "labels").is_dir()
    assert "labels stays as well" in caught.value.__notes__[0]


def loads_its_rows(ctx: harpy.Context) -> int:
    return len(ctx.data["X"].load())


def test_local_workers_know_the_name_service_that_only_their_session_was_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    monkeypatch.delenv("HADOOP_HOME", raising=False)
    monkeypatch.setenv("HARPY_FIRST_CONTACT_S", "5")
    np.save(tmp_path / "rows.npy", np.zeros((4, 2)))
    local = harpy.dataset(str(tmp_path / "rows.npy")).describe()

    def on_the_name_service(self: Dataset, hadoop_conf: Any = None) -> FileRows:
        (file,) = local.files
        return replace(local, files=(replace(file, path="hdfs://theirs/rows.npy"),))

    monkeypatch.setattr(Dataset, "describe", on_the_name_service)
    with socket.create_server(("127.0.0.1", 0)) as name_node:
        name_node.settimeout(5)
        address = f"127.0.0.1:{name_node.getsockname()[1]}"
        told = {
            "dfs.nameservices": "theirs",
            "dfs.ha.namenodes.theirs": "first",
            "dfs.namenode.rpc-address.theirs.first": address,
        }
        options: dict[str, Any] = {"launcher": "local", "workdir": str(tmp_path / "work")}
        with (
            harpy.Session(n_node=2, single_run=True, hadoop_conf=told, **options) as session,
            pytest.raises(StorageError, match="hdfs://theirs"),
        ):
            session.run(loads_its_rows, data={"X": harpy.dataset("hdfs://theirs/rows.npy")})
        name_node.accept()[0].close()  # a worker has asked it
    assert list((tmp_path / "work").iterdir()) == []


def waits_for_a_file(ctx: harpy.Context) -> int:
    deadline = time.monotonic() + 60
    while not Path(ctx.params["file"]).exists():
        assert time.monotonic() < deadline, "nobody made the file"
        time.sleep(0.02)
    return ctx.size


class PartialLauncher(LocalLauncher):
    """The first of its kind seems to have room for one worker of two."""

    made: ClassVar[list[PartialLauncher]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.made.append(self)

    def status(self) -> LaunchStatus:
        n_running = 1 if self is self.made[0] else 2
        return replace(super().status(), workers_running=n_running)


@pytest.fixture
def gives_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of a session whose first application is given back after half a second."""
    monkeypatch.setenv("HARPY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HARPY_GIVE_BACK_S", "0.5")
    monkeypatch.setattr(PartialLauncher, "made", [])
    monkeypatch.setattr(GangJob, "_make_launcher", lambda self: PartialLauncher(self._deadlines))
    found = JobDirectory.rank0_addresses

    def later(self: JobDirectory) -> Any:
        return found(self) if len(PartialLauncher.made) > 1 else []

    monkeypatch.setattr(JobDirectory, "rank0_addresses", later)
    return {"n_node": 2, "launcher": "local", "workdir": str(tmp_path / "work")}


@pytest.mark.parametrize("single_run", [True, False])
def test_room_that_was_given_back_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives_back: dict[str, Any], single_run: bool
) -> None:
    def begins_now(self: GiveBack) -> float:
        (tmp_path / "go").touch()
        return 0.1

    monkeypatch.setattr(GiveBack, "pause_s", begins_now)
    with harpy.Session(single_run=single_run, **gives_back) as session:
        result = session.run(waits_for_a_file, {"file": str(tmp_path / "go")}, timeout_s=60)
    assert result.value == 2
    assert len(PartialLauncher.made) == 2
    assert PartialLauncher.made[0].status().state is JobState.KILLED
    assert list((tmp_path / "work").iterdir()) == []


def test_a_timeout_ends_the_pause_before_room_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives_back: dict[str, Any]
) -> None:
    monkeypatch.setattr(GiveBack, "pause_s", lambda self: 60.0)
    started = time.monotonic()
    with (
        harpy.Session(single_run=True, **gives_back) as session,
        pytest.raises(RunTimeout, match="passed its timeout_s"),
    ):
        session.run(waits_for_a_file, {"file": str(tmp_path / "go")}, timeout_s=3)
    assert time.monotonic() - started < 30
    assert len(PartialLauncher.made) == 1
    assert list((tmp_path / "work").iterdir()) == []
    assert list(registry.all_jobs()) == []
