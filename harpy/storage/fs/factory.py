"""Chooses the file system that holds a URL, and opens each one once."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from harpy.config import Deadlines
from harpy.errors import ConfigError
from harpy.storage.fs.base import FileSystem
from harpy.storage.fs.paths import HDFS_SCHEMES, split_url


def filesystem(
    url: str,
    hadoop_conf: Mapping[str, str] | None = None,
    hadoop_conf_dir: str | os.PathLike[str] | None = None,
    deadlines: Deadlines | None = None,
) -> FileSystem:
    """The file system that holds a URL.

    Parameters
    ----------
    url : str
        `hdfs://host:port/path`, `hdfs://nameservice/path`, `hdfs:///path` (fs.defaultFS),
        `viewfs://…`, `file:///path` or an absolute path of this machine.
    hadoop_conf : Mapping[str, str], optional
        Hadoop settings on top of the configuration files.
    hadoop_conf_dir : path, optional
        Where they lie; None: HADOOP_CONF_DIR, then $HADOOP_HOME/etc/hadoop, then none.
    deadlines : Deadlines, optional
        `first_contact_s` and `storage_s` count here; None: from the environment.

    Returns
    -------
    FileSystem

    Raises
    ------
    ConfigError
        The scheme is not supported, or no NameNode is known for it.
    """
    scheme, authority, _ = split_url(url)
    deadlines = deadlines or Deadlines.from_environment()
    if scheme == "file":
        if authority not in ("", "localhost"):
            raise ConfigError(f"{url}: a file URL has no host; write file:///path")
        from harpy.storage.fs.local import LocalFileSystem

        return LocalFileSystem()
    if scheme in HDFS_SCHEMES:
        from harpy.storage.fs.hdfs import HdfsFileSystem

        conf_dir = None if hadoop_conf_dir is None else os.fspath(hadoop_conf_dir)
        return HdfsFileSystem(scheme, authority, dict(hadoop_conf or {}), conf_dir, deadlines)
    raise ConfigError(f"{url}: expected one of hdfs://, viewfs://, file:// or an absolute path")


class FileSystems:
    """The file systems that files of a dataset lie on, each opened once; for several threads.

    Parameters
    ----------
    hadoop_conf : mapping of str to str, optional
        Hadoop settings on top of the configuration files.
    hadoop_conf_dir : path, optional
        Where these lie; None: as of `filesystem`.
    """

    def __init__(
        self,
        hadoop_conf: Mapping[str, str] | None = None,
        hadoop_conf_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self._hadoop_conf, self._conf_dir = hadoop_conf, hadoop_conf_dir
        self._open: dict[tuple[str, str], FileSystem] = {}
        self._lock = threading.Lock()

    def holding(self, url: str) -> FileSystem:
        """The file system that holds a URL: one of `filesystem`'s, else one that fsspec opens.

        Parameters
        ----------
        url : str
            Full, or an absolute path of this machine.

        Returns
        -------
        FileSystem
        """
        scheme, authority, _ = split_url(url)
        with self._lock:
            if (scheme, authority) not in self._open:
                self._open[scheme, authority] = self._connect(scheme, url)
            return self._open[scheme, authority]

    def locate(self, url: str) -> tuple[FileSystem, str]:
        """The file system that holds a URL, and the full URL there.

        Parameters
        ----------
        url : str
            Full, or an absolute path of this machine; `hdfs:///x` becomes `hdfs://host/x`.

        Returns
        -------
        (FileSystem, str)
        """
        fs = self.holding(url)
        return fs, fs.url + split_url(url)[2]

    def _connect(self, scheme: str, url: str) -> FileSystem:
        if scheme in ("file", *HDFS_SCHEMES):
            return filesystem(url, self._hadoop_conf, self._conf_dir)
        from harpy.storage.fs.foreign import ForeignFileSystem

        return ForeignFileSystem(url)
