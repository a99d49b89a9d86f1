"""What is refused or fails on YARN: one clear error each, in time, and nothing is left."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harpy import DAALKMeans, Session
from harpy.errors import (
    ClusterUnreachable,
    ConfigError,
    DemandRefused,
    DiskFull,
    FileSystemUnreachable,
    GangError,
    HadoopNotFound,
    HarpyError,
    InterpreterMissing,
    JavaNotFound,
    PathExists,
    QuotaError,
    SafeModeError,
    StoragePermissionError,
)
from tests.support.cluster.running import STRANGER, RunningCluster
from tests.support.runs.failing import driver_here, program, session, told
from tests.support.shell import LAUNCHERS, Shell
from tests.support.traces import applications_of

pytestmark = pytest.mark.timeout(240)

DEAD = "127.0.0.1:9"  # the discard port: nobody listens
CONTACT_S = 2.0
X = np.random.default_rng(3).normal(size=(60, 4))
_numbers = itertools.count()


@pytest.fixture
def shell(cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    with driver_here("yarn", cluster) as opened:
        monkeypatch.setenv("HARPY_FIRST_CONTACT_S", str(CONTACT_S))
        yield opened


def fit(X: Any = X, **parameters: Any) -> DAALKMeans:
    chosen = {"n_clusters": 3, "n_thread": 1, "n_mem": 512, "launcher": "yarn", **parameters}
    return DAALKMeans(**chosen).fit(X)


# -- no Hadoop, no Java ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Surroundings:
    """Variables that are set or, with None, taken away; `{home}` is an empty folder."""

    name: str
    variables: Mapping[str, str | None]
    kind: type[HarpyError]
    words: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)  # path below home -> content


NO_CLIENT = {"HADOOP_HOME": None, "PATH": "/usr/bin:/bin"}
NEXT = ("export HADOOP_CONF_DIR", "harpy cluster up", 'launcher="local"')
OLD_JAVA = "#!/bin/sh\necho 'openjdk version \"1.7.0_80\"' >&2\n"
# As a Java 11 answers when it is given the classes of Hadoop 3.5.
JAVA_11 = """#!/bin/sh
[ "$1" = -version ] && echo 'openjdk version "11.0.2"' >&2 && exit 0
echo 'Error: LinkageError occurred while loading main class' >&2
echo 'java.lang.UnsupportedClassVersionError: org/apache/hadoop/conf/Configuration has been' \\
  'compiled by a more recent version (class file version 61.0), this version of the Java Runtime' \\
  'only recognizes class file versions up to 55.0' >&2
exit 1
"""
SURROUNDINGS = [
    Surroundings(
        "no configuration",
        {"HADOOP_HOME": None, "HADOOP_CONF_DIR": None},
        HadoopNotFound,
        ("neither HADOOP_CONF_DIR nor HADOOP_HOME", *NEXT),
    ),
    Surroundings(
        "no such folder",
        {"HADOOP_CONF_DIR": "{home}/nowhere"},
        HadoopNotFound,
        ("HADOOP_CONF_DIR={home}/nowhere is not a directory", *NEXT),
    ),
    Surroundings(
        "no files in it",
        {"HADOOP_CONF_DIR": "{home}"},
        HadoopNotFound,
        ("no Hadoop configuration in {home}: expected one of core-site.xml", *NEXT),
    ),
    Surroundings(
        "broken XML",
        {"HADOOP_CONF_DIR": "{home}"},
        ConfigError,
        ("{home}/core-site.xml is not well-formed XML: .*line 1",),
        {"core-site.xml": "<configuration>"},
    ),
    Surroundings(
        "no file system in it",
        {"HADOOP_CONF_DIR": "{home}"},
        ConfigError,
        ("{home} names no file system .*fs.defaultFS", "Point HADOOP_CONF_DIR", "workdir"),
        {"core-site.xml": "<configuration/>"},
    ),
    Surroundings(
        "no hadoop command",
        NO_CLIENT,
        HadoopNotFound,
        ("HADOOP_HOME is not set and there is no 'hadoop' on PATH", "harpy cluster env"),
    ),
    Surroundings(
        "no client in HADOOP_HOME",
        {**NO_CLIENT, "HADOOP_HOME": "{home}"},
        HadoopNotFound,
        ("HADOOP_HOME={home} has neither bin/hadoop nor jars", "export HADOOP_HOME"),
    ),
    Surroundings(
        "no Java",
        {"JAVA_HOME": None, "PATH": "{home}"},
        JavaNotFound,
        ("JAVA_HOME is not set and there is no 'java' on PATH", "apt-get install openjdk-17"),
    ),
    Surroundings(
        "no Java in JAVA_HOME",
        {"JAVA_HOME": "{home}"},
        JavaNotFound,
        ("JAVA_HOME={home} holds no Java", "Point JAVA_HOME at"),
    ),
    Surroundings(
        "Java too old for harpy",
        {"JAVA_HOME": "{home}"},
        JavaNotFound,
        ("is Java 7; .* needs 8 or newer", "Point JAVA_HOME at"),
        {"bin/java": OLD_JAVA},
    ),
    Surroundings(
        "Java too old for Hadoop",
        {"JAVA_HOME": "{home}"},
        JavaNotFound,
        ("this Hadoop client needs Java 17, found Java 11", "Point JAVA_HOME at"),
        {"bin/java": JAVA_11},
    ),
]


@pytest.mark.parametrize("around", SURROUNDINGS, ids=lambda around: around.name)
def test_what_is_missing_here_is_named_at_once(
    shell: Shell, around: Surroundings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in around.files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for name, value in around.variables.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value.replace("{home}", str(tmp_path)))
    words = [word.replace("{home}", str(tmp_path)) for word in around.words]
    with told(around.kind, *words, within_s=20):
        fit()


# -- nobody answers --------------------------------------------------------------------------------


def test_a_namenode_that_is_down_is_named_in_time(shell: Shell) -> None:
    words = (f"the NameNode at hdfs://{DEAD} does not answer", "harpy cluster status")
    with told(FileSystemUnreachable, *words, within_s=20):
        fit(hadoop_conf={"fs.defaultFS": f"hdfs://{DEAD}"})


def test_a_resource_manager_that_is_down_is_named_in_time(shell: Shell) -> None:
    words = (f"the ResourceManager at {DEAD} does not answer", "harpy cluster status", "refused")
    with told(ClusterUnreachable, *words, within_s=30):
        fit(hadoop_conf={"yarn.resourcemanager.address": DEAD})


# -- demands ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"n_mem": 1 << 20}, ("asked 1048576 MB, available 12288 MB: the largest container",)),
        ({"n_thread": 64}, ("asked 64 vcores, available 16 vcores: the largest container",)),
        ({"n_node": 40}, ("asked 40 workers of 512 MB, available room for 23: 1 node with",)),
        ({"n_mem": 100}, ("asked 100 MB, needed 384 MB", "Ask for more n_mem")),
        ({"queue": "nowhere"}, ("no queue 'nowhere'; the cluster has: root.default",)),
        ({"queue": "root"}, ("'root.*takes no applications|no queue 'root'",)),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if value is dict else "",
)
def test_what_can_never_be_met_is_refused_before_anything_is_submitted(
    shell: Shell, asked: dict[str, Any], words: tuple[str, ...]
) -> None:
    submitted = applications(shell)
    with told(DemandRefused, *words):
        fit(**asked)
    assert applications(shell) == submitted


def applications(shell: Shell) -> int:
    assert shell.cluster is not None
    return len(applications_of(shell.cluster))


# -- input and parameters --------------------------------------------------------------------------


def with_value(value: float, dtype: Any = np.float64) -> np.ndarray:
    array = X.astype(dtype)
    array[7, 2] = value
    return array


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (with_value(np.nan), "X contains NaN"),
        (with_value(np.inf), "X contains infinity"),
        (with_value(1e200), "too large|overflow"),
        (with_value(1e30, np.float32), "too large|overflow"),
        (np.empty((0, 4)), r"0 sample\(s\)"),
        (np.empty((60, 0)), r"0 feature\(s\)"),
        (X[:, 0], "Expected 2D array, got 1D array"),
        (X[:2], "n_samples=2 should be >= n_clusters=3"),
    ],
    ids=["NaN", "infinity", "overflow", "float32 overflow", "no rows", "no columns", "1-d", "few"],
)
def test_rows_are_refused_before_anybody_is_asked(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, rows: np.ndarray, words: str
) -> None:
    no_cluster(monkeypatch)
    with pytest.raises(ValueError, match=words) as caught:
        fit(rows)
    assert not isinstance(caught.value, HadoopNotFound)


@pytest.mark.parametrize(
    "name", ["n_clusters", "max_iter", "n_init", "n_node", "n_thread", "n_mem"]
)
@pytest.mark.parametrize("value", [0, -1, 2.5, "many", None])
def test_numbers_are_refused_before_anybody_is_asked(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    no_cluster(monkeypatch)
    with pytest.raises((ValueError, TypeError), match=f"'{name}' parameter .* must be") as caught:
        fit(**{name: value})
    assert not isinstance(caught.value, HarpyError)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"tol": -1.0}, "'tol' parameter"),
        ({"init": "best"}, "'init' parameter"),
        ({"init": np.zeros((2, 4))}, "initial centers"),
        ({"algorithm": "fast"}, "'algorithm' parameter"),
        ({"launcher": "spark"}, "'launcher' parameter"),
        ({"workdir": 3}, "'workdir' parameter"),
        ({"hadoop_conf": "a=b"}, "'hadoop_conf' parameter"),
        ({"hadoop_conf": {"a": 1}}, "hadoop_conf must map str to str"),
        ({"random_state": "x"}, "'random_state' parameter"),
    ],
)
def test_other_parameters_are_refused_before_anybody_is_asked(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], words: str
) -> None:
    no_cluster(monkeypatch)
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        fit(**parameters)
    assert not isinstance(caught.value, HadoopNotFound)


def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a cluster now gets HadoopNotFound."""
    monkeypatch.setenv("HADOOP_CONF_DIR", "/nowhere")


# -- HDFS says no ----------------------------------------------------------------------------------


@pytest.fixture
def folder(shell: Shell, cluster: RunningCluster) -> Iterator[str]:
    """A work directory that exists, for what an administrator may do to it."""
    path = f"/user/{cluster.user}/errors-{next(_numbers)}"
    hdfs(cluster, "dfs", "-mkdir", path, user=cluster.user)
    shell.before = shell.traces()
    yield path
    hdfs(cluster, "dfs", "-rm", "-r", "-skipTrash", path)


def hdfs(cluster: RunningCluster, *command: str, user: str = "hdfs") -> None:
    subprocess.run(
        ["hdfs", *command],
        env={**cluster.env, "HADOOP_USER_NAME": user},
        check=True,
        capture_output=True,
        timeout=60,
    )


def test_a_foreign_work_directory_is_refused(
    shell: Shell, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_USER_NAME", STRANGER)
    words = f"{folder} is not writable.*as user {STRANGER}: Permission denied"
    with told(StoragePermissionError, words, "choose another, e.g."):
        fit(workdir=folder)


def test_a_user_without_a_home_is_told_who_makes_one(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_USER_NAME", "mallory")
    with told(StoragePermissionError, "no home directory", "hdfs dfs -mkdir /user/mallory"):
        fit()


def test_a_work_directory_that_is_a_file_is_refused(shell: Shell, cluster: RunningCluster) -> None:
    path = f"/user/{cluster.user}/a-file"
    hdfs(cluster, "dfs", "-touchz", path, user=cluster.user)
    shell.before = shell.traces()
    try:
        with told(PathExists, f"work directory .*{path} cannot be made", "is a file; choose"):
            fit(workdir=path)
    finally:
        hdfs(cluster, "dfs", "-rm", "-skipTrash", path)


def test_a_directory_over_its_quota_of_names_is_refused(
    shell: Shell, folder: str, cluster: RunningCluster
) -> None:
    hdfs(cluster, "dfsadmin", "-setQuota", "2", folder)
    with told(QuotaError, "NameSpace quota", "hdfs dfs -count -q"):
        fit(workdir=folder)


def test_a_directory_over_its_quota_of_space_ends_the_job(
    shell: Shell, folder: str, cluster: RunningCluster
) -> None:
    hdfs(cluster, "dfsadmin", "-setSpaceQuota", "1m", folder)
    with told(QuotaError, "DiskSpace quota", "hdfs dfs -count -q"):
        fit(workdir=folder)


def test_safe_mode_is_named(shell: Shell, cluster: RunningCluster) -> None:
    hdfs(cluster, "dfsadmin", "-safemode", "enter")
    try:
        with told(SafeModeError, "safe mode", "hdfs dfsadmin -safemode get", within_s=30):
            fit()
    finally:
        hdfs(cluster, "dfsadmin", "-safemode", "leave")


# -- this machine's disk and ports, the nodes' Python ----------------------------------------------


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="harpy-small-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    try:
        if mounted.returncode != 0:
            pytest.skip(f"needs to mount a small tmpfs: {mounted.stderr.decode().strip()}")
        yield place
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(place)


@LAUNCHERS
def test_a_full_disk_under_the_work_directory_is_named(
    cluster: RunningCluster, launcher: str
) -> None:
    rows = np.zeros((100_000, 4))  # 3.2 MB
    with small_disk(2) as disk, driver_here(launcher, cluster):
        with told(DiskFull, str(disk), "No space left on device"):
            fit(rows, n_node=2, launcher=launcher, workdir=f"file://{disk}/work")
        assert not list((disk / "work").iterdir())


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run_well(opened: Session) -> None:
    opened.run(program("well"), timeout_s=60)


@pytest.mark.slow
def test_a_port_range_in_use_is_named(shell: Shell) -> None:
    with taken_port() as port, told(GangError, f"no free port on .* {port} to {port}", "widen"):
        conf = {"harpy.port-range": f"{port}-{port}"}
        with session(shell, n_node=1, hadoop_conf=conf) as opened:
            run_well(opened)


@pytest.mark.slow
def test_a_python_that_is_not_on_the_node_is_named(shell: Shell, cluster: RunningCluster) -> None:
    words = ("/nowhere/python does not start on node", f"unix user {cluster.state.owner}")
    words = (*words, "same path on every node")
    opened = session(shell, n_node=1, python="/nowhere/python")
    with told(InterpreterMissing, *words) as caught, opened:
        run_well(opened)
    assert caught.value.rank == 0
