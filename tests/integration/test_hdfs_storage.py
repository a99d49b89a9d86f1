"""HDFS: the contract on a real cluster, and every way in which it says no."""

from __future__ import annotations

import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hdfs_native
import numpy as np
import pytest

import harpy
from harpy import DAALKMeans
from harpy.cluster.spec import Shape
from harpy.config import Deadlines
from harpy.errors import (
    ConfigError,
    FileSystemUnreachable,
    HarpyError,
    LeaseConflict,
    QuotaError,
    SafeModeError,
    StoragePermissionError,
    TokenExpired,
)
from harpy.storage import FileSystem, JobDirectory, filesystem, open_staged, stage_array
from tests.support.cluster.running import RunningCluster, running_cluster
from tests.support.storage_contract import FileSystemContract

_numbers = itertools.count()


@pytest.fixture
def fs(on_cluster: RunningCluster) -> FileSystem:
    return filesystem(on_cluster.namenode)


@pytest.fixture
def base(fs: FileSystem, on_cluster: RunningCluster) -> Iterator[str]:
    # Below /tmp, where others may look, too: a home is closed to them.
    url = f"{on_cluster.namenode}/tmp/storage-test-{next(_numbers)}"
    fs.mkdirs(url)
    yield url
    fs.delete(url, recursive=True)


class TestHdfsFileSystem(FileSystemContract):
    pass


def admin(cluster: RunningCluster, *arguments: str) -> None:
    """hdfs dfsadmin, as HDFS's superuser."""
    subprocess.run(
        ["hdfs", "dfsadmin", *arguments],
        env={**cluster.env, "HADOOP_USER_NAME": "hdfs"},
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture
def stranger(on_cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileSystem]:
    """The same HDFS as another user, who has no home there."""
    with monkeypatch.context() as patch:
        patch.setenv("HADOOP_USER_NAME", "mallory")
        fs = filesystem(on_cluster.namenode)
        fs.stat("/")  # the connection keeps the user it was made for
    yield fs
    fs.close()


def test_files_have_the_replicas_that_were_asked_for(on_cluster: RunningCluster, base: str) -> None:
    asked = filesystem(on_cluster.namenode, {"dfs.replication": "3"})
    configured = filesystem(on_cluster.namenode)
    stage_array(asked, f"{base}/staged", np.ones((10, 2)), n_parts=2)
    with asked.create(f"{base}/streamed") as file:
        file.write(b"x")
    configured.write_bytes(f"{base}/by-default", b"x")
    paths = ["staged/part-00000", "staged/part-00001", "staged/manifest.json", "streamed"]
    replicas = [replicas_of(on_cluster, f"{base}/{path}") for path in (*paths, "by-default")]
    assert replicas == [3, 3, 3, 3, 1]
    for wrong in ("0", "many", "-1", "99999"):
        with pytest.raises(ConfigError, match=r"^dfs\.replication must be a number from 1"):
            filesystem(on_cluster.namenode, {"dfs.replication": wrong})


def test_a_session_stages_with_the_replicas_that_were_asked_for(
    on_cluster: RunningCluster, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_STATE", str(tmp_path))  # what is kept stays on record
    settings = {"dfs.replication": "2"}
    with harpy.Session(
        n_mem=1024, launcher="yarn", workdir=base, keep=True, hadoop_conf=settings
    ) as session:
        DAALKMeans(n_clusters=3, session=session).fit(np.random.default_rng(0).random((50, 2)))
        data = f"{session.job.url}/data"
    (staged,) = filesystem(data).list(data)
    assert replicas_of(on_cluster, f"{staged.path}/part-00000") == 2


def replicas_of(cluster: RunningCluster, path: str) -> int:
    said = subprocess.run(
        ["hdfs", "dfs", "-stat", "%r", path],
        env=dict(cluster.env),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return int(said.stdout)


def test_files_belong_to_the_user_of_the_connection(
    fs: FileSystem, stranger: FileSystem, base: str, on_cluster: RunningCluster
) -> None:
    fs.set_permission(base, 0o777)
    stranger.write_bytes(f"{base}/theirs", b"x")
    fs.write_bytes(f"{base}/ours", b"x")
    owners = {entry.name: entry.owner for entry in fs.list(base)}
    assert owners == {"theirs": "mallory", "ours": on_cluster.user}


def test_permission_denied_names_user_and_path(stranger: FileSystem, base: str) -> None:
    with pytest.raises(StoragePermissionError, match="as user mallory: Permission denied") as err:
        stranger.write_bytes(f"{base}/f", b"x")
    assert err.value.path == f"{base}/f"


def test_user_without_home_is_told_who_makes_one(
    stranger: FileSystem, on_cluster: RunningCluster
) -> None:
    directory = JobDirectory(stranger, f"{stranger.home()}/harpy-work/job-1")
    with pytest.raises(StoragePermissionError, match="hdfs dfs -mkdir /user/mallory"):
        directory.create()


def test_foreign_work_directory_is_refused_with_a_way_out(
    fs: FileSystem, stranger: FileSystem, base: str
) -> None:
    with pytest.raises(StoragePermissionError, match="is not writable") as err:
        JobDirectory(stranger, f"{base}/job-1").create()
    assert err.value.path == base
    assert fs.list(base) == []


def test_space_quota_is_named_and_nothing_stays(
    fs: FileSystem, base: str, on_cluster: RunningCluster
) -> None:
    admin(on_cluster, "-setSpaceQuota", "1m", fs.path_of(base))
    with pytest.raises(QuotaError, match=r"(?s)DiskSpace quota .*hdfs dfs -count -q"):
        stage_array(fs, f"{base}/x", np.zeros((1000, 10)), n_parts=2)
    assert fs.list(base) == []


def test_namespace_quota_is_named(fs: FileSystem, base: str, on_cluster: RunningCluster) -> None:
    admin(on_cluster, "-setQuota", "1", fs.path_of(base))
    with pytest.raises(QuotaError, match="NameSpace quota"):
        JobDirectory(fs, f"{base}/job-1").create()


def test_safe_mode_is_named_at_once(fs: FileSystem, base: str, on_cluster: RunningCluster) -> None:
    admin(on_cluster, "-safemode", "enter")
    try:
        began = time.monotonic()
        with pytest.raises(SafeModeError, match=r"(?s)safe mode.*hdfs dfsadmin -safemode get"):
            JobDirectory(fs, f"{base}/job-1").create()
        assert time.monotonic() - began < 10
        assert fs.list(base) == []
    finally:
        admin(on_cluster, "-safemode", "leave")


def test_a_file_that_another_client_has_taken_is_named(
    fs: FileSystem, base: str, on_cluster: RunningCluster
) -> None:
    other = hdfs_native.Client(on_cluster.namenode)
    with (
        pytest.raises(
            LeaseConflict, match=r"(?s)somebody else writes.*hdfs debug recoverLease"
        ) as err,
        fs.create(f"{base}/f") as file,
    ):
        file.write(b"ours")
        (unfinished,) = fs.list(base)
        theirs = other.create(fs.path_of(unfinished.path), hdfs_native.WriteOptions(overwrite=True))
    assert err.value.path == f"{base}/f"
    with pytest.raises(FileNotFoundError):  # it was removed in the place of ours
        theirs.close()


@pytest.fixture
def token_cluster() -> Iterator[RunningCluster]:
    """A NameNode that gives out tokens, and takes them, without Kerberos."""
    always = {"dfs.namenode.delegation.token.always-use": "true"}
    with running_cluster(Shape(settings=always)) as started:
        yield started


def fetch_token(cluster: RunningCluster, *arguments: str) -> None:
    """`hdfs fetchdt`, which the embedded cluster's commands leave out."""
    command = ["hdfs", "classpath"]
    classes = subprocess.run(command, env=dict(cluster.env), check=True, capture_output=True)
    java = [f"{cluster.env['JAVA_HOME']}/bin/java", "-cp", classes.stdout.decode().strip()]
    java.append("org.apache.hadoop.hdfs.tools.DelegationTokenFetcher")
    subprocess.run(
        [*java, *arguments], env=dict(cluster.env), check=True, capture_output=True, timeout=60
    )


@pytest.mark.slow
@pytest.mark.cluster
def test_a_token_that_was_cancelled_is_named(
    token_cluster: RunningCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = str(tmp_path / "token")
    fetch_token(token_cluster, "--renewer", str(token_cluster.state.owner), token)
    monkeypatch.setenv("HADOOP_CONF_DIR", str(token_cluster.conf_dir))
    monkeypatch.setenv("HADOOP_TOKEN_FILE_LOCATION", token)
    secured = {"hadoop.security.authentication": "kerberos"}  # the client's word alone
    assert filesystem(token_cluster.namenode, secured).stat("/").is_dir
    fetch_token(token_cluster, "--cancel", token)
    words = r"(?s)can't be found in cache.*token\.max-lifetime"
    with pytest.raises(TokenExpired, match=words):
        filesystem(token_cluster.namenode, secured).stat("/")


@contextmanager
def listener() -> Iterator[str]:
    """An address where somebody listens but never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_namenode_that_refuses_is_given_up_within_seconds() -> None:
    with listener() as address:
        pass  # closed again: refused from now on
    began = time.monotonic()
    with pytest.raises(FileSystemUnreachable, match=f"{address} does not answer") as err:
        filesystem(f"hdfs://{address}").list("/")
    assert time.monotonic() - began < 10
    assert "harpy cluster status" in str(err.value)


def test_namenode_that_never_answers_is_given_up_at_the_deadline() -> None:
    with listener() as address:
        fs = filesystem(f"hdfs://{address}", deadlines=Deadlines(first_contact_s=1))
        began = time.monotonic()
        with pytest.raises(FileSystemUnreachable, match=r"no answer from .* for 1 s"):
            fs.list("/")
        assert time.monotonic() - began < 10


class Gate:
    """A door before the NameNode that can be shut (connections refused) and opened again."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._connections: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return  # shut
            upstream = socket.create_connection(self._target)
            self._connections += [client, upstream]
            for one, other in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            return  # shut

    def shut(self) -> None:
        for connection in (self._server, *self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the other side was faster
            finally:
                connection.close()
        self._connections.clear()

    def open(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._serve()


@pytest.fixture
def gate(on_cluster: RunningCluster) -> Iterator[Gate]:
    host, _, port = on_cluster.namenode.removeprefix("hdfs://").partition(":")
    gate = Gate((host, int(port)))
    yield gate
    gate.shut()


def test_namenode_away_for_a_while_is_survived(gate: Gate, fs: FileSystem, base: str) -> None:
    behind = filesystem(f"hdfs://127.0.0.1:{gate.port}")
    place = fs.path_of(base)
    behind.write_bytes(f"{place}/before", b"1")
    gate.shut()
    reopen = threading.Timer(2.0, gate.open)
    reopen.start()
    try:
        behind.write_bytes(f"{place}/during", b"2")
        behind.rename(f"{place}/before", f"{place}/renamed")
    finally:
        reopen.join()
    assert behind.read_bytes(f"{place}/during") == b"2"
    assert [entry.name for entry in fs.list(base)] == ["during", "renamed"]


def test_namenode_away_for_good_is_named_at_the_deadline(
    gate: Gate, fs: FileSystem, base: str
) -> None:
    behind = filesystem(f"hdfs://127.0.0.1:{gate.port}", deadlines=Deadlines(storage_s=2))
    place = fs.path_of(base)
    behind.stat(place)
    gate.shut()
    began = time.monotonic()
    with pytest.raises(FileSystemUnreachable, match=f"127.0.0.1:{gate.port} does not answer"):
        behind.mkdirs(f"{place}/d")
    assert 1.0 < time.monotonic() - began < 20
    with pytest.raises(HarpyError):
        open_staged(behind, f"{place}/x", timeout_s=1)
