"""Local disks: the contract, urls, and what an errno becomes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harpy.errors import ConfigError, DiskFull, PathNotFound, QuotaError, StoragePermissionError
from harpy.storage import FileSystem, filesystem
from harpy.storage.fs.local import map_os_error
from harpy.storage.fs.paths import split_url
from tests.support.storage_contract import FileSystemContract


@pytest.fixture
def fs() -> FileSystem:
    return filesystem("file:///")


@pytest.fixture
def base(tmp_path: Path) -> str:
    return f"file://{tmp_path}"


class TestLocalFileSystem(FileSystemContract):
    pass


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
