"""The interface of a file system.

Owns what is the same for HDFS and local disks: entries, whole-file reads and writes, atomic
publication. The file systems themselves are hdfs.py and local.py; factory.py chooses one by URL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from harpy.errors import ConfigError, PathNotFound, StorageError
from harpy.storage.fs.file_errors import exists_error
from harpy.storage.fs.paths import split_url

if TYPE_CHECKING:
    import numpy as np

    # What may be written. For mypy, NumPy's arrays are buffers only from Python 3.12 on.
    Buffer: TypeAlias = bytes | bytearray | memoryview | np.ndarray


@dataclass(frozen=True)
class Entry:
    """What a file system knows about one path."""

    name: str  # last component
    path: str  # full URL, can be handed back to the same file system
    length: int  # bytes
    is_dir: bool  # else a file
    owner: str  # user name
    mtime: float  # seconds since the epoch
    mode: int  # permission bits, e.g. 0o755
    block_size: int | None = None  # bytes, where files lie in blocks on several machines


def byte_view(data: Buffer) -> memoryview:
    """`data` (C-contiguous) as flat bytes, without a copy."""
    view = memoryview(data)  # type: ignore[arg-type]
    # A view with a zero in its shape cannot be cast.
    return view.cast("B") if view.nbytes else memoryview(b"")


class Writer(ABC):
    """A file being written under a temporary name; published when the `with` block ends well.

    When the block raises, the half-written file is removed and the error passes through.
    """

    @abstractmethod
    def write(self, data: Buffer) -> int:
        """Append bytes.

        Parameters
        ----------
        data : bytes-like or ndarray
            C-contiguous.

        Returns
        -------
        int
            Bytes appended.
        """

    @abstractmethod
    def commit(self) -> None:
        """Close and publish under the final name."""

    @abstractmethod
    def abort(self) -> None:
        """Close and remove what was written; never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.abort()
            return
        try:
            self.commit()
        except BaseException:
            self.abort()
            raise


class FileSystem(ABC):
    """A file system. Paths are full URLs of this file system or absolute paths on it.

    All methods raise subclasses of StorageError, whose `path` says what it was about. They may be
    called from several threads.
    """

    url: str  # e.g. "hdfs://namenode:8020", "file://"

    def path_of(self, path: str) -> str:
        """The absolute path within this file system.

        Parameters
        ----------
        path : str
            A URL of this file system, or an absolute path on it.

        Returns
        -------
        str

        Raises
        ------
        ConfigError
            It is a URL of another file system.
        """
        scheme, authority, inner = split_url(path)
        if path.startswith("/") or f"{scheme}://{authority}" == self.url:
            return inner
        raise ConfigError(f"{path} does not lie on {self.url}")

    def qualify(self, path: str) -> str:
        """The full URL of a path on this file system.

        Parameters
        ----------
        path : str
            A URL of this file system, or an absolute path on it.

        Returns
        -------
        str
        """
        return self.url + self.path_of(path)

    @abstractmethod
    def home(self) -> str:
        """Where this user may write without asking; the directory need not exist yet.

        Returns
        -------
        str
            A full URL.
        """

    @abstractmethod
    def stat(self, path: str) -> Entry:
        """What is known about one path.

        Parameters
        ----------
        path : str
            Of a file or directory.

        Returns
        -------
        Entry

        Raises
        ------
        PathNotFound
            There is nothing.
        """

    @abstractmethod
    def list(self, path: str) -> list[Entry]:
        """The entries of a directory.

        Parameters
        ----------
        path : str
            Of the directory.

        Returns
        -------
        list of Entry
            Sorted by name.

        Raises
        ------
        PathNotFound
            There is no such directory.
        """

    @abstractmethod
    def mkdirs(self, path: str, mode: int = 0o755) -> None:
        """Make a directory with exactly this mode, and its parents; one that exists is left as it
        is.

        Parameters
        ----------
        path : str
            Of the directory.
        mode : int, default 0o755
            Permission bits.
        """

    @abstractmethod
    def delete(self, path: str, recursive: bool = False) -> bool:
        """Remove a file or directory.

        Parameters
        ----------
        path : str
            What to remove.
        recursive : bool, default False
            Also remove what is in a directory.

        Returns
        -------
        bool
            False when there was nothing.
        """

    @abstractmethod
    def rename(self, source: str, destination: str, overwrite: bool = False) -> None:
        """Move a file or directory.

        Parameters
        ----------
        source, destination : str
            Both on this file system.
        overwrite : bool, default False
            Replace what is at the destination.

        Raises
        ------
        PathExists
            The destination exists, and not `overwrite`.
        """

    @abstractmethod
    def set_permission(self, path: str, mode: int) -> None:
        """Change the permission bits of a path.

        Parameters
        ----------
        path : str
            Of a file or directory.
        mode : int
            Permission bits.
        """

    @abstractmethod
    def read_into(self, path: str, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with bytes of a file.

        Parameters
        ----------
        path : str
            Of the file.
        offset : int
            Where in the file to begin.
        buffer : OUT, memoryview
            C-contiguous and writable.

        Raises
        ------
        DataError
            The file ends before the buffer is full; the message has both sizes.
        """

    @abstractmethod
    def create(self, path: str, overwrite: bool = False) -> Writer:
        """Begin a file; use as `with fs.create(path) as file: file.write(data)`.

        It appears under its name only when complete, and not at all when the block raises. Missing
        parents are made.

        Parameters
        ----------
        path : str
            Of the file.
        overwrite : bool, default False
            Replace one that is there.

        Returns
        -------
        Writer

        Raises
        ------
        PathExists
            It is there, and not `overwrite`.
        """

    def close(self) -> None:  # noqa: B027 - not every file system holds connections
        """Release connections; the object must not be used afterwards."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory.

        Parameters
        ----------
        path : str
            Of the file or directory.

        Returns
        -------
        bool
        """
        try:
            self.stat(path)
        except PathNotFound:
            return False
        return True

    def read_bytes(self, path: str) -> bytes:
        """The whole content of a file.

        Parameters
        ----------
        path : str
            Of the file.

        Returns
        -------
        bytes

        Raises
        ------
        PathNotFound
            There is nothing, or a directory.
        """
        entry = self.stat(path)
        if entry.is_dir:
            raise PathNotFound(f"{entry.path} is a directory, not a file", path=entry.path)
        content = bytearray(entry.length)
        if content:
            self.read_into(path, 0, memoryview(content))
        return bytes(content)

    def write_bytes(self, path: str, data: Buffer, overwrite: bool = False) -> None:
        """Write a whole file atomically: readers see all of it or nothing.

        Parameters
        ----------
        path : str
            Of the file.
        data : bytes-like or ndarray
            C-contiguous.
        overwrite : bool, default False
            Replace a file that is there.

        Raises
        ------
        PathExists
            It is there, and not `overwrite`.
        """
        self.write_chunks(path, lambda: (data,), overwrite)

    def write_chunks(
        self, path: str, chunks: Callable[[], Iterable[Buffer]], overwrite: bool = False
    ) -> None:
        """Write a whole file atomically, from several pieces.

        Parameters
        ----------
        path : str
            Of the file.
        chunks : callable
            Gives the pieces in order; called again for every new try.
        overwrite : bool, default False
            Replace a file that is there.

        Raises
        ------
        PathExists
            It is there, and not `overwrite`.
        """
        if not overwrite and self.exists(path):
            raise exists_error(self.qualify(path))
        with self.create(path, overwrite) as file:
            for chunk in chunks():
                file.write(chunk)


@contextmanager
def removed_on_error(
    fs: FileSystem, directory: str, unless: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Remove a directory if the block that fills it raises; on one of the errors `unless` it
    stays, and the error says so."""
    try:
        yield
    except unless as exc:
        exc.add_note(f"{directory} stays as well")
        raise
    except BaseException as exc:
        try:
            fs.delete(directory, recursive=True)
        except StorageError as problem:
            exc.add_note(f"and {directory} could not be removed: {problem}")
        raise
