"""Local disks: the contract, and what the operating system refuses."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harpy.errors import ConfigError, DiskFull, PathNotFound, QuotaError, StoragePermissionError
from harpy.storage import FileSystem, JobDirectory, filesystem, stage_array
from harpy.storage.fs.base import split_url
from harpy.storage.fs.local import map_os_error
from tests.support.storage_contract import FileSystemContract


@pytest.fixture
def fs() -> FileSystem:
    return filesystem("file:///")


@pytest.fixture
def base(tmp_path: Path) -> str:
    return f"file://{tmp_path}"


class TestLocalFileSystem(FileSystemContract):
    pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small file system, which only root may do here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_full_disk_is_said_and_nothing_stays(fs: FileSystem, small_disk: Path) -> None:
    with pytest.raises(DiskFull, match=r"No space left.*\n.*free some space") as caught:
        fs.write_bytes(str(small_disk / "f"), bytes(1 << 20))
    assert caught.value.path == f"file://{small_disk}/f"
    assert list(small_disk.iterdir()) == []


def test_staging_on_a_full_disk_removes_what_it_wrote(fs: FileSystem, small_disk: Path) -> None:
    with pytest.raises(DiskFull):
        stage_array(fs, str(small_disk / "x"), np.zeros((1 << 14, 8)), n_parts=4)
    assert list(small_disk.iterdir()) == []


def _create_as(uid: int, workdir: str, answer: multiprocessing.Queue[str]) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    try:
        JobDirectory(filesystem(workdir), f"{workdir}/job-1").create()
    except Exception as exc:
        answer.put(f"{type(exc).__name__}: {exc}")
    else:
        answer.put("created")


def test_work_directory_of_another_user_is_refused_with_names(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_create_as, args=(65534, str(tmp_path), answer))
    child.start()
    said = answer.get(timeout=30)
    child.join(30)
    assert said.startswith("StoragePermissionError: work directory")
    assert str(tmp_path) in said
    assert "user nobody" in said
    assert "belongs to root, mode 0755" in said
    assert "choose another" in said


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, QuotaError),
        (errno.EACCES, StoragePermissionError),
        (errno.EROFS, StoragePermissionError),
        (errno.ENOENT, PathNotFound),
    ],
)
def test_errno_becomes_the_error_a_caller_expects(number: int, kind: type[OSError]) -> None:
    error = map_os_error(OSError(number, os.strerror(number)), "write", "/some/where")
    assert type(error) is kind
    assert "cannot write /some/where" in str(error)
    assert error.path == "file:///some/where"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("/a/b", ("file", "", "/a/b")),
        ("file:///a/../b/", ("file", "", "/b")),
        ("file:/a", ("file", "", "/a")),
        ("hdfs://nn:8020/a%20b", ("hdfs", "nn:8020", "/a%20b")),
        ("hdfs://ns", ("hdfs", "ns", "/")),
        ("hdfs:///x//y", ("hdfs", "", "/x/y")),
    ],
)
def test_urls_are_split_as_hadoop_does(url: str, parts: tuple[str, str, str]) -> None:
    assert split_url(url) == parts


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("relative/path", "full URL or an absolute path"),
        ("s3a://bucket/x", "expected one of hdfs://"),
        ("file://otherhost/x", "no host"),
    ],
)
def test_unsupported_url_says_what_is_expected(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        filesystem(url)


def test_url_of_another_file_system_is_refused(fs: FileSystem) -> None:
    with pytest.raises(ConfigError, match="does not lie on file://"):
        fs.stat("hdfs://nn:8020/x")


def test_home_of_a_user_without_one_is_below_the_temporary_folder(
    fs: FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/1/nowhere")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert f"harpy-{os.geteuid()}" in fs.home()
