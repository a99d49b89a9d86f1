"""HDFS as a FileSystem, through hdfs-native (Rust, no JVM). Errors are mapped in hdfs_errors.py.

Until the NameNode has answered once, a refusal is final within seconds; afterwards operations are
repeated until Deadlines.storage_s, so that its restart is survived.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harpy.config import SITE_FILES, Deadlines, HadoopConf, hadoop_conf_dir, hadoop_user
from harpy.errors import ConfigError, FileSystemUnreachable, HarpyError, PathNotFound, StorageError
from harpy.storage.fs.base import Entry, FileSystem, Writer, byte_view
from harpy.storage.fs.deadline import Stalled, WatchedCall
from harpy.storage.fs.file_errors import exists_error, short_read_error
from harpy.storage.fs.hdfs_errors import Failure, Operation, datanode_failure, map_hdfs_error
from harpy.storage.fs.paths import temporary_path

if TYPE_CHECKING:
    import hdfs_native

    from harpy.storage.fs.base import Buffer

T = TypeVar("T")

_SLICE = 4 << 20  # bytes handed to the native writer at once: bounds its copy and the GIL's hold
_DEFAULT_PORT = 8020  # as Hadoop's own clients take it
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class HdfsFileSystem(FileSystem):
    """One NameNode or name service, as the user HADOOP_USER_NAME (else the unix user).

    The user is read when the connection is made: the environment must not change later.
    """

    def __init__(
        self,
        scheme: str,
        authority: str,
        hadoop_conf: Mapping[str, str],
        conf_dir: str | None,
        deadlines: Deadlines,
    ) -> None:
        conf = {**_site_settings(conf_dir), **hadoop_conf}
        authority = authority or _default_authority(scheme, conf.get("fs.defaultFS", ""))
        self.url = f"{scheme}://{authority}"
        self.user = hadoop_user()
        self._home = f"{conf.get('dfs.user.home.dir.prefix', '/user').rstrip('/')}/{self.user}"
        # hdfs-native itself retries for over 100 s: one try of each NameNode, then harpy's
        # deadlines.
        standbys = conf.get(f"dfs.ha.namenodes.{authority}", "").count(",")
        self._conf = conf | {"dfs.client.failover.max.attempts": str(max(1, standbys))}
        self._conf_dir = conf_dir
        known = ":" in authority or f"dfs.ha.namenodes.{authority}" in conf or scheme == "viewfs"
        self._replication = _replication(conf)
        self._address = self.url if known else f"{self.url}:{_DEFAULT_PORT}"
        self._deadlines = deadlines
        self._client: hdfs_native.Client | None = None
        self._contacted = False

    # -- calls with retries -----------------------------------------------------------------

    def call(
        self,
        verb: str,
        path: str,
        function: Callable[[hdfs_native.Client, WatchedCall[T]], T],
        *,
        once: bool = False,
    ) -> T:
        """Run `function(client, watch)`, repeated while the NameNode is away unless `once`.

        A `function` that takes long calls `watch.progressed()`.
        """
        operation = Operation(verb, self.qualify(path), self._address, self.user)
        end = time.monotonic() + self._deadlines.storage_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return self._attempt(function)
            except (HarpyError, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as exc:  # a panic of the native code is no Exception
                failure = self._failure(exc, operation)
                patient = failure.transient and self._contacted and not once
                if not patient or time.monotonic() + pause > end:
                    raise self._final(failure, operation) from exc
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _attempt(self, function: Callable[[hdfs_native.Client, WatchedCall[T]], T]) -> T:
        deadlines = self._deadlines
        stall_s = deadlines.storage_s if self._contacted else deadlines.first_contact_s
        watch = WatchedCall[T](lambda watch: function(self._connected(), watch))
        value = watch.result(stall_s)
        self._contacted = True
        return value

    def _connected(self) -> hdfs_native.Client:
        if self._client is None:
            import hdfs_native

            self._client = hdfs_native.Client(self._address, self._conf, self._conf_dir)
        return self._client

    def _failure(self, exc: BaseException, operation: Operation) -> Failure:
        if isinstance(exc, Stalled):
            self._client = None  # a client that hangs is not used again
            reason = f"no answer from {self._address} for {exc.seconds:g} s"
            return Failure(operation.failed(FileSystemUnreachable, reason), False)
        failure = map_hdfs_error(exc, operation)
        # A refusal also shows that the NameNode answers.
        self._contacted |= not isinstance(failure.error, FileSystemUnreachable)
        return failure

    def _final(self, failure: Failure, operation: Operation) -> StorageError:
        """The error to raise when there is no further try; names the daemon that did not answer."""
        if failure.reason and self._contacted:
            # The same "connection refused" may come from a DataNode.
            with suppress(Exception):
                self._attempt(lambda client, _: client.get_file_info("/"))
                return datanode_failure(operation, failure.reason).error
        return failure.error

    # -- the interface -----------------------------------------------------------------------

    def home(self) -> str:
        """As `FileSystem.home`."""
        return self.url + self._home

    def stat(self, path: str) -> Entry:
        """As `FileSystem.stat`."""
        inner = self.path_of(path)
        return self.call("stat", path, lambda c, _: self._entry(c.get_file_info(inner)))

    def list(self, path: str) -> list[Entry]:
        """As `FileSystem.list`."""
        inner = self.path_of(path)
        entries = self.call(
            "list", path, lambda c, _: [self._entry(s) for s in c.list_status(inner)]
        )
        if len(entries) == 1 and entries[0].path == self.url + inner:
            raise PathNotFound(f"{self.url}{inner} is not a directory", path=self.url + inner)
        return sorted(entries, key=lambda entry: entry.name)

    def _entry(self, status: hdfs_native.FileStatus) -> Entry:
        return Entry(
            name=status.path.rpartition("/")[2],
            path=self.url + status.path,
            length=status.length,
            is_dir=status.isdir,
            owner=status.owner,
            mtime=status.modification_time / 1000,
            mode=status.permission,
            block_size=status.blocksize or None,
        )

    def mkdirs(self, path: str, mode: int = 0o755) -> None:
        """As `FileSystem.mkdirs`."""
        inner = self.path_of(path)

        def make(client: hdfs_native.Client, _: object) -> None:
            # HDFS gives implicit parents the mode asked for the last component.
            parent = inner.rpartition("/")[0]
            if mode != 0o755 and parent:
                client.mkdirs(parent, 0o755, create_parent=True)
            client.mkdirs(inner, mode, create_parent=True)

        self.call("make directory", path, make)

    def delete(self, path: str, recursive: bool = False) -> bool:
        """As `FileSystem.delete`."""
        inner = self.path_of(path)
        return self.call("remove", path, lambda c, _: c.delete(inner, recursive))

    def rename(self, source: str, destination: str, overwrite: bool = False) -> None:
        """As `FileSystem.rename`."""
        old, new = self.path_of(source), self.path_of(destination)
        tries = 0

        def move(client: hdfs_native.Client, _: object) -> None:
            nonlocal tries
            tries += 1
            try:
                client.rename(old, new, overwrite)
            except (FileNotFoundError, FileExistsError):
                # An earlier try may have reached the NameNode though its answer was lost.
                if tries == 1 or _is_there(client, old) or not _is_there(client, new):
                    raise

        self.call(f"rename {self.url}{old} to", destination, move)

    def set_permission(self, path: str, mode: int) -> None:
        """As `FileSystem.set_permission`."""
        inner = self.path_of(path)
        self.call("change the permissions of", path, lambda c, _: c.set_permission(inner, mode))

    def read_into(self, path: str, offset: int, buffer: memoryview) -> None:
        """As `FileSystem.read_into`."""
        inner, view, done = self.path_of(path), byte_view(buffer), 0

        def read(client: hdfs_native.Client, watch: WatchedCall[None]) -> None:
            nonlocal done
            file = client.read(inner)
            if len(file) < offset + len(view):
                there = max(0, len(file) - offset)
                raise short_read_error(self.url + inner, offset, len(view), there)
            for chunk in file.read_range_stream(offset + done, len(view) - done):
                if watch.abandoned:
                    return
                view[done : done + len(chunk)] = chunk
                done += len(chunk)
                watch.progressed()
            if done < len(view):
                raise short_read_error(self.url + inner, offset, len(view), done)

        self.call("read", path, read)

    def create(self, path: str, overwrite: bool = False) -> Writer:
        """As `FileSystem.create`."""
        return HdfsWriter(self, self.path_of(path), overwrite)

    def write_chunks(
        self, path: str, chunks: Callable[[], Iterable[Buffer]], overwrite: bool = False
    ) -> None:
        """As `FileSystem.write_chunks`."""
        inner = self.path_of(path)
        if not overwrite and self.exists(path):
            raise exists_error(self.url + inner)
        temporary = temporary_path(inner)

        def write(client: hdfs_native.Client, watch: WatchedCall[None]) -> None:
            file = self.open_for_writing(client, temporary)
            for chunk in chunks():
                _write_slices(file, chunk, watch)
            file.close()

        try:
            self.call("write", path, write)
            self.rename(temporary, inner, overwrite)
        except BaseException:
            self.discard(temporary)
            raise

    def open_for_writing(self, client: hdfs_native.Client, path: str) -> hdfs_native.FileWriter:
        """A file that replaces what has its name; missing parents are made."""
        import hdfs_native

        # hdfs-native itself asks the NameNode alone how many replicas there should be.
        options = hdfs_native.WriteOptions(
            overwrite=True, create_parent=True, replication=self._replication
        )
        return client.create(path, options)

    def discard(self, temporary: str) -> None:
        """Remove a half-written file; a failure to do so is ignored, as another error is under
        way."""
        with suppress(StorageError):
            self.delete(temporary)

    def close(self) -> None:
        """As `FileSystem.close`."""
        self._client = None


class HdfsWriter(Writer):
    """A file under a temporary name. One try only: what was streamed cannot be sent again."""

    def __init__(self, fs: HdfsFileSystem, path: str, overwrite: bool) -> None:
        self._fs, self._path, self._overwrite = fs, path, overwrite
        self._temporary = temporary_path(path)
        self._file = fs.call("write", path, lambda c, _: fs.open_for_writing(c, self._temporary))

    def write(self, data: Buffer) -> int:
        """As `Writer.write`."""
        file = self._file

        def write(_: hdfs_native.Client, watch: WatchedCall[int]) -> int:
            return _write_slices(file, data, watch)

        return self._fs.call("write", self._path, write, once=True)

    def commit(self) -> None:
        """As `Writer.commit`."""
        file = self._file
        self._fs.call("write", self._path, lambda c, _: file.close(), once=True)
        self._fs.rename(self._temporary, self._path, self._overwrite)

    def abort(self) -> None:
        """As `Writer.abort`."""
        self._fs.discard(self._temporary)


def _write_slices(file: hdfs_native.FileWriter, data: Buffer, watch: WatchedCall[T]) -> int:
    view = byte_view(data)
    for start in range(0, len(view), _SLICE):
        if watch.abandoned:
            break
        # hdfs-native takes bytes six times faster than a memoryview, which it walks byte by byte.
        file.write(bytes(view[start : start + _SLICE]))
        watch.progressed()
    return len(view)


def _is_there(client: hdfs_native.Client, path: str) -> bool:
    try:
        client.get_file_info(path)
    except FileNotFoundError:
        return False
    return True


def _site_settings(conf_dir: str | None) -> dict[str, str]:
    """The settings of Hadoop's files, if there are any: a URL with host and port needs none."""
    directory = Path(conf_dir) if conf_dir else hadoop_conf_dir()
    if directory is None or not any((directory / name).is_file() for name in SITE_FILES):
        return {}
    return dict(HadoopConf.load(directory))


def _replication(conf: Mapping[str, str]) -> int | None:
    """The client's own dfs.replication; None where only the NameNode has one."""
    said = conf.get("dfs.replication")
    if said is None:
        return None
    try:
        replication = int(said)
    except ValueError:
        replication = 0
    if not 1 <= replication < 2**15:  # as wide as in HDFS
        raise ConfigError(f"dfs.replication must be a number from 1 on, got {said!r}")
    return replication


def _default_authority(scheme: str, default_fs: str) -> str:
    if not default_fs.startswith(f"{scheme}://"):
        raise ConfigError(
            f"{scheme}:///path needs fs.defaultFS in Hadoop's configuration, which says "
            f"{default_fs or 'nothing'}.\n"
            f"  Write {scheme}://host:port/path, or set HADOOP_CONF_DIR."
        )
    return default_fs.removeprefix(f"{scheme}://").partition("/")[0]
