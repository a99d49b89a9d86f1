"""Reading a share of described files into one array.

Threads and memory are left to tasks.py, the meaning of bytes to readers/, shares to file_rows.py,
files that do not say how many rows they hold to text_loading.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from harpy.errors import DataError
from harpy.storage.fs.base import FileSystem
from harpy.storage.fs.factory import FileSystems
from harpy.storage.readers import format_named
from harpy.storage.readers.base import DenseFormat, SparseFormat, Task, check_unchanged
from harpy.storage.rows.csr import CsrRows, Rows
from harpy.storage.rows.file_rows import FileRows, Piece
from harpy.storage.rows.row_parts import FileParts
from harpy.storage.rows.row_source import RowSource
from harpy.storage.rows.shares import EvenShares
from harpy.storage.rows.tasks import run

_SPARSE_BYTES = 16 << 20  # of one sparse file being read: windows and blocks
_CHECKED_ROWS = 1 << 16


class FileSource(FileParts, EvenShares):
    """RowSource over files that say how many rows they hold.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, rows: FileRows, systems: FileSystems, n_thread: int) -> None:
        assert rows.n_rows is not None and rows.n_columns is not None
        self._described = rows
        self.shape = (rows.n_rows, rows.n_columns)
        self.dtype = rows.dtype
        self._systems, self._n_thread = systems, n_thread

    def share(self, rank: int, size: int) -> range:
        """The rows of one rank: nearly equal shares that begin, where they can, with a row group
        or a block."""
        return self._described.share(rank, size)

    def chunks(self, start: int, stop: int, n_rows: int) -> Iterator[tuple[int, int]]:
        """As `RowSource.chunks`."""
        return self._described.chunks(start, stop, n_rows)

    @property
    def dense(self) -> bool:
        """As `RowSource.dense`."""
        return isinstance(format_named(self._described.format), DenseFormat)

    def read_rows(self, start: int, stop: int) -> Rows:
        """Rows `start` to `stop` (exclusive), streamed into one array.

        Raises
        ------
        DataError
            A file was changed since it was described, or does not hold what it should.
        StorageError
        """
        form = format_named(self._described.format)
        if isinstance(form, SparseFormat):
            return self._read_sparse(form, start, stop)
        assert isinstance(form, DenseFormat)
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        for _ in run(self._tasks(form, start, stop, out), self._n_thread):
            pass
        return out

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[FileSystem, Piece]]:
        for piece in self._described.pieces(start, stop):
            fs = self._systems.holding(piece.file.path)
            check_unchanged(fs, piece.file)
            yield fs, piece

    def _tasks(self, form: DenseFormat, start: int, stop: int, out: np.ndarray) -> Iterator[Task]:
        done = 0
        for fs, piece in self._pieces(start, stop):
            n_rows = piece.stop - piece.start
            yield from form.tasks(fs, self._described, piece, out[done : done + n_rows])
            done += n_rows

    def _read_sparse(self, form: SparseFormat, start: int, stop: int) -> CsrRows:
        """First where rows begin, so that the values' arrays can be made; then the values."""
        pieces = list(self._pieces(start, stop))
        starts = list(_results(form.starts, pieces, self._n_thread))
        counts = [np.diff(each) for each in starts]
        indptr = np.concatenate([np.zeros(1, np.int64), *counts])
        np.cumsum(indptr, out=indptr)
        data = np.empty(indptr[-1], self.dtype)
        indices = np.empty(indptr[-1], np.int32)

        def fill(fs: FileSystem, piece: Piece, starts: np.ndarray, first: int) -> None:
            values = slice(first, first + int(starts[-1] - starts[0]))
            form.fill(fs, piece, starts, data[values], indices[values])

        firsts = np.cumsum([0, *(each[-1] - each[0] for each in starts)])[:-1]
        given = [(*p, s, int(f)) for p, s, f in zip(pieces, starts, firsts, strict=True)]
        for _ in _results(fill, given, self._n_thread):
            pass
        return canonical(CsrRows(data, indices, indptr, self.shape[1]), self.describe_row, start)


def _results(function: Callable[..., Any], given: list[Any], n_thread: int) -> Iterator[Any]:
    tasks = (Task(partial(function, *arguments), nbytes=_SPARSE_BYTES) for arguments in given)
    return run(tasks, n_thread)


def canonical(rows: CsrRows, describe_row: Callable[[int], str], start: int) -> CsrRows:
    """The same rows, each column once and in order; DataError where one is out of range.

    `start` is the global number of the first row, `describe_row` says where a row stands.
    """
    ordered = True
    step = _CHECKED_ROWS
    for first in range(0, len(rows), step):
        part = rows.read_rows(first, min(first + step, len(rows)))
        wrong = np.flatnonzero((part.indices < 0) | (part.indices >= rows.n_columns))
        if len(wrong):
            row = start + first + int(np.searchsorted(part.indptr, wrong[0], side="right")) - 1
            raise DataError(
                f"column {part.indices[wrong[0]]} at {describe_row(row)}: expected columns 0 to "
                f"{rows.n_columns - 1} (counted from 0)"
            )
        rising = np.diff(part.indices) > 0
        inner = part.indptr[1:-1]
        rising[inner[(inner > 0) & (inner < len(part.indices))] - 1] = True  # from row to row
        ordered = ordered and bool(rising.all())
    if ordered:
        return rows
    matrix = rows.to_scipy()
    matrix.sum_duplicates()
    return CsrRows.of(matrix)


def open_files(rows: FileRows, systems: FileSystems, n_thread: int) -> RowSource:
    """The RowSource of described files."""
    if rows.n_rows is None:
        from harpy.storage.rows.text_loading import TextSource

        return TextSource(rows, systems, n_thread)
    return FileSource(rows, systems, n_thread)
