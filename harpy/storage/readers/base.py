"""The interface of a format's reader, and what several readers share."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harpy.errors import DataError
from harpy.storage.fs.base import Entry, FileSystem
from harpy.storage.rows.csr import CsrRows
from harpy.storage.rows.file_rows import DataFile, FileRows, Piece


@dataclass(frozen=True)
class FoundColumns:
    """The columns of one file, as far as its header or footer tells.

    Attributes
    ----------
    n_columns : int or None
    dtypes : tuple of (dtype or str)
        Of each column, or one for all; a str says what a column holds that are no numbers.
    names : tuple of str or None
    by_name : bool
        Whether columns are found by name, wherever they stand in the file.
    """

    n_columns: int | None
    dtypes: tuple[np.dtype[Any] | str, ...]
    names: tuple[str, ...] | None = None
    by_name: bool = False


@dataclass(frozen=True)
class Task:
    """A step of reading: `fetch` reads bytes, `decode` converts them. Both may run in
    any thread. `nbytes` is the memory both need at most, besides what they fill."""

    fetch: Callable[[], Any]
    decode: Callable[[Any], Any] = lambda fetched: fetched
    nbytes: int = 0


class Format(ABC):
    """A format of files."""

    name: str
    has_columns = True  # which can be chosen
    sparse = False

    @abstractmethod
    def describe(self, fs: FileSystem, entry: Entry) -> tuple[DataFile, FoundColumns]:
        """What the driver learns of a file without reading its rows.

        Parameters
        ----------
        fs : FileSystem
            Holds the file.
        entry : Entry
            The file.

        Returns
        -------
        (DataFile, FoundColumns)

        Raises
        ------
        DataError
            It is no file of this format, or it is truncated.
        """


class DenseFormat(Format):
    """Files that say how many rows they hold, with all their values."""

    @abstractmethod
    def tasks(
        self, fs: FileSystem, rows: FileRows, piece: Piece, out: np.ndarray
    ) -> Iterator[Task]:
        """Steps, in any order, that together read rows of a file.

        Parameters
        ----------
        fs : FileSystem
            Holds the file.
        rows : FileRows
            All files; says which columns are read.
        piece : Piece
            Which rows of which file.
        out : OUT, ndarray of shape (piece.stop - piece.start, n_columns), of rows.dtype
            C-contiguous; the steps fill it.

        Returns
        -------
        iterator of Task
        """


class SparseFormat(Format):
    """Files that say how many rows they hold, but store only some of their values."""

    has_columns = False
    sparse = True

    @abstractmethod
    def starts(self, fs: FileSystem, piece: Piece) -> np.ndarray:
        """Where the rows of a piece begin among the file's stored values.

        Parameters
        ----------
        fs : FileSystem
            Holds the file.
        piece : Piece
            Which rows of which file.

        Returns
        -------
        ndarray of shape (piece.stop - piece.start + 1,), int64
            Last, where the last row ends.
        """

    @abstractmethod
    def fill(
        self,
        fs: FileSystem,
        piece: Piece,
        starts: np.ndarray,
        data: np.ndarray,
        indices: np.ndarray,
    ) -> None:
        """Read the values of a piece and their columns.

        Parameters
        ----------
        fs : FileSystem
            Holds the file.
        piece : Piece
            Which rows of which file.
        starts : ndarray of shape (piece.stop - piece.start + 1,), int64
            As `starts` gave it.
        data : OUT, ndarray of shape (starts[-1] - starts[0],)
            The values, converted to its dtype.
        indices : OUT, ndarray of shape (starts[-1] - starts[0],), int32
            Their columns.
        """


class TextFormat(Format):
    """Files whose rows are lines. How many there are is known when they have been read."""

    @abstractmethod
    def parse(self, block: memoryview, rows: FileRows) -> np.ndarray | CsrRows:
        """The rows of whole lines.

        Parameters
        ----------
        block : memoryview
            The lines.
        rows : FileRows
            All files; says which columns are read.

        Returns
        -------
        ndarray or CsrRows
            Sparse rows have their columns numbered as in the file.

        Raises
        ------
        LineError
            A line is malformed.
        """


class LineError(Exception):
    """A row is malformed: `row` counts the lines of its block that are not empty, from 0."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def check_distinct(path: str, names: Sequence[str]) -> None:
    """DataError where two columns of a file have one name."""
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has several columns named {twice!r}, expected each name once")


def check_unchanged(fs: FileSystem, file: DataFile) -> None:
    """DataError where a file has changed since it was described."""
    entry = fs.stat(file.path)
    if entry.length == file.length and (file.mtime is None or entry.mtime == file.mtime):
        return
    raise DataError(
        f"{file.path} was changed after it was described: expected {file.length} bytes, changed at "
        f"{file.mtime}; got {entry.length} bytes, changed at {entry.mtime} (seconds since 1970).\n"
        "  Run again when nobody writes there."
    )


class SeekableBytes(io.RawIOBase):
    """The common part of Python's file objects for reading; reading bytes is left to subclasses."""

    def __init__(self, path: str, length: int) -> None:
        self._path, self._length = path, length
        self._position = 0

    def readable(self) -> bool:
        """As `io.RawIOBase.readable`: True."""
        return True

    def seekable(self) -> bool:
        """As `io.RawIOBase.seekable`: True."""
        return True

    def tell(self) -> int:
        """As `io.RawIOBase.tell`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As `io.RawIOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position


class FileBytes(SeekableBytes):
    """A file on any file system as Python's file object, for libraries that want one.

    What is read in small steps is fetched `window` bytes at a time.
    """

    def __init__(self, fs: FileSystem, path: str, length: int, window: int = 1 << 20) -> None:
        super().__init__(path, length)
        self._fs, self._window = fs, window
        self._start, self._bytes = 0, bytearray()

    def readinto(self, buffer: Any) -> int:
        """As `io.RawIOBase.readinto`."""
        view = memoryview(buffer).cast("B")
        count = min(len(view), max(0, self._length - self._position))
        if count >= self._window:
            self._fs.read_into(self._path, self._position, view[:count])
        elif count:
            view[:count] = self._buffered(count)
        self._position += count
        return count

    def _buffered(self, count: int) -> memoryview:
        """`count` bytes from the position on, out of the window."""
        if not self._start <= self._position <= self._start + len(self._bytes) - count:
            self._start = self._position
            self._bytes = bytearray(min(self._window, self._length - self._start))
            self._fs.read_into(self._path, self._start, memoryview(self._bytes))
        first = self._position - self._start
        return memoryview(self._bytes)[first : first + count]
