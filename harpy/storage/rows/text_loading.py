"""Reading a share of text files: rows are counted while they are read; then all ranks agree.

Apart from loading.py, since a row's global number is unknown until all rows above it are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.errors import DataError
from harpy.storage.fs.base import FileSystem
from harpy.storage.fs.factory import FileSystems
from harpy.storage.readers import format_named
from harpy.storage.readers.base import LineError, Task, TextFormat, check_unchanged
from harpy.storage.readers.lines import (
    BLOCK_BYTES,
    block_ranges,
    count_rows,
    is_gzip,
    read_lines,
    rows_before,
    unpacked_blocks,
)
from harpy.storage.rows.csr import CsrRows, Rows
from harpy.storage.rows.file_rows import FileRows, Piece
from harpy.storage.rows.row_parts import FileParts
from harpy.storage.rows.shares import EvenShares
from harpy.storage.rows.tasks import run

if TYPE_CHECKING:
    from harpy.storage.rows.shares import Gather

# Of a block: its text, what it is split into, and its rows.
_TASK_BYTES = 8 * BLOCK_BYTES
_NO_COLUMN = np.iinfo(np.int64).max


class TextSource(FileParts, EvenShares):
    """RowSource over text files. `agree_on_rows` reads this rank's share and exchanges the counts.

    Attributes
    ----------
    shape : tuple of int
        After `agree_on_rows`.
    dtype : dtype
    """

    def __init__(self, rows: FileRows, systems: FileSystems, n_thread: int) -> None:
        form = format_named(rows.format)
        assert isinstance(form, TextFormat)
        self.dtype = rows.dtype
        self._described, self._form = rows, form
        self._systems, self._n_thread = systems, n_thread
        self._loaded: _Loaded | None = None
        self._rows: Rows | None = None  # as programs see them, once all ranks agree
        self._starts: np.ndarray | None = None  # of each rank's rows, and their number in all

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all files, once the ranks agree on rows."""
        assert self._starts is not None and self._described.n_columns is not None
        return (int(self._starts[-1]), self._described.n_columns)

    def share(self, rank: int, size: int) -> range:
        """As `RowSource.share`."""
        assert self._starts is not None and len(self._starts) == size + 1
        return range(int(self._starts[rank]), int(self._starts[rank + 1]))

    def read_rows(self, start: int, stop: int) -> Rows:
        """As `RowSource.read_rows`: this rank's share, which is in memory already."""
        assert self._rows is not None and len(self._rows) == stop - start
        return self._rows

    def agree_on_rows(self, rank: int, size: int, gather: Gather) -> None:
        """Read this rank's share; learn from all ranks how many rows and columns there are.

        Raises
        ------
        DataError
            A line is not as it should be, or a file was changed since it was described.
        StorageError
        """
        if self._loaded is None:
            self._loaded = self._read(rank, size)
        # In every run, since a rank does not know whether all others still have their shares.
        told = [_Counts.of(array) for array in gather(self._loaded.counts.array)]
        if self._rows is not None:
            return
        totals = np.zeros(len(self._described.files), np.int64)
        for each in told:
            totals[each.first_file : each.first_file + len(each.n_rows)] += each.n_rows
        self._starts = np.cumsum([0, *(int(each.n_rows.sum()) for each in told)])
        self._described = self._described.counted([int(n) for n in totals])
        rows = self._loaded.rows
        if isinstance(rows, CsrRows):
            lowest = min(each.lowest for each in told)
            rows = self._with_columns(rows, lowest, max(each.highest for each in told), rank)
        self._rows = rows

    def _with_columns(self, rows: CsrRows, lowest: int, highest: int, rank: int) -> CsrRows:
        """Columns counted from 0, and as many as any rank has, or as were asked for."""
        assert self._starts is not None
        first = 0 if lowest in (0, _NO_COLUMN) else 1
        np.subtract(rows.indices, first, out=rows.indices)
        n_columns = self._described.n_columns or highest + 1 - first
        wrong = np.flatnonzero(rows.indices >= n_columns)
        if len(wrong):
            row = int(np.searchsorted(rows.indptr, wrong[0], side="right")) - 1
            raise DataError(
                f"{self.describe_row(int(self._starts[rank]) + row)} has a value in column "
                f"{rows.indices[wrong[0]]} (counted from 0): expected {n_columns} columns"
            )
        self._described = replace(self._described, n_columns=n_columns)
        return CsrRows(rows.data, rows.indices, rows.indptr, n_columns)

    # Reading

    def _read(self, rank: int, size: int) -> _Loaded:
        share = self._described.share(rank, size)
        pieces = list(self._described.pieces(share.start, share.stop))
        sink = _SparseSink(self.dtype) if self._form.sparse else _DenseSink(self._described)
        n_rows = np.zeros(len(pieces), np.int64)
        for number, rows in run(self._tasks(pieces), self._n_thread):
            n_rows[number] += len(rows)
            sink.append(rows)
        lowest, highest = sink.columns
        first_file = pieces[0].number if pieces else 0
        return _Loaded(sink.finish(), _Counts(lowest, highest, first_file, n_rows))

    def _tasks(self, pieces: list[Piece]) -> Iterator[Task]:
        for number, piece in enumerate(pieces):
            fs = self._systems.holding(piece.file.path)
            check_unchanged(fs, piece.file)
            blocks = _packed if is_gzip(piece.file.path) else _plain
            for fetch, before in blocks(fs, piece):
                decode = partial(self._decode, number, piece.file.path, before)
                yield Task(fetch, decode, _TASK_BYTES)

    def _decode(
        self, number: int, path: str, before: Callable[[], int], block: memoryview
    ) -> tuple[int, Rows]:
        try:
            return number, self._form.parse(block, self._described)
        except LineError as exc:
            raise DataError(
                f"row {before() + exc.row} of {path} (counted from 0): {exc}\n"
                "  Correct or remove that line."
            ) from exc


def _plain(
    fs: FileSystem, piece: Piece
) -> Iterator[tuple[Callable[[], memoryview], Callable[[], int]]]:
    """For each block of a piece, functions that read it and count the rows above it."""
    skip = int(piece.file.detail["skip"])
    for start, stop in block_ranges(piece):
        fetch = partial(read_lines, fs, piece.file, start, stop, skip)
        yield fetch, partial(rows_before, fs, piece.file, start, skip)


def _packed(
    fs: FileSystem, piece: Piece
) -> Iterator[tuple[Callable[[], memoryview], Callable[[], int]]]:
    n_rows = 0
    for block in unpacked_blocks(fs, piece.file, int(piece.file.detail["skip"])):
        yield partial(_as_it_is, block), partial(int, n_rows)
        n_rows += count_rows(block)


def _as_it_is(block: bytes) -> memoryview:
    return memoryview(block)


@dataclass(frozen=True)
class _Counts:
    """What a rank tells the others: columns seen (lowest, highest), and the rows of each of its
    pieces, of which the first lies in file `first_file`."""

    lowest: int
    highest: int
    first_file: int
    n_rows: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray) -> _Counts:
        return cls(int(array[0]), int(array[1]), int(array[2]), array[3:])

    @property
    def array(self) -> np.ndarray:
        head = np.array([self.lowest, self.highest, self.first_file], np.int64)
        return np.concatenate([head, self.n_rows])


@dataclass(frozen=True)
class _Loaded:
    rows: Rows
    counts: _Counts


class _Growing:
    """An array that grows at its end, without a copy where the system can."""

    def __init__(self, dtype: Any, n_columns: int | None = None) -> None:
        self._tail = () if n_columns is None else (n_columns,)
        self._array = np.empty((0, *self._tail), dtype)
        self._length = 0

    def append(self, more: np.ndarray) -> None:
        length = self._length + len(more)
        if length > len(self._array):
            # An eighth more than needed; the system remaps the pages of a large array instead of
            # copying.
            self._resize(max(length + length // 8, 1024))
        self._array[self._length : length] = more
        self._length = length

    def finish(self) -> np.ndarray:
        self._resize(self._length)
        return self._array

    def _resize(self, length: int) -> None:
        # Views of it live only within append().
        self._array.resize((length, *self._tail), refcheck=False)


class _DenseSink:
    columns = (_NO_COLUMN, -1)

    def __init__(self, described: FileRows) -> None:
        self._rows = _Growing(described.dtype, described.n_columns)

    def append(self, rows: Any) -> None:
        self._rows.append(rows)

    def finish(self) -> Rows:
        return self._rows.finish()


class _SparseSink:
    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._data, self._indices = _Growing(dtype), _Growing(np.int32)
        self._counts = _Growing(np.int64)
        self._counts.append(np.zeros(1, np.int64))
        self.columns = (_NO_COLUMN, -1)

    def append(self, rows: Any) -> None:
        self._data.append(rows.data)
        self._indices.append(rows.indices)
        self._counts.append(np.diff(rows.indptr))
        if len(rows.indices):
            low, high = self.columns
            self.columns = (
                min(low, int(rows.indices.min())),
                max(high, int(rows.indices.max())),
            )

    def finish(self) -> Rows:
        indptr = self._counts.finish()
        np.cumsum(indptr, out=indptr)
        return CsrRows(self._data.finish(), self._indices.finish(), indptr, 0)
