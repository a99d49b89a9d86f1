"""Parquet files, through pyarrow: columns by name, a row group at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.errors import DataError, HarpyError
from harpy.storage.fs.base import Entry, FileSystem
from harpy.storage.readers.arrow import numbers
from harpy.storage.readers.base import (
    DenseFormat,
    FileBytes,
    FoundColumns,
    SeekableBytes,
    Task,
    check_distinct,
)
from harpy.storage.rows.file_rows import DataFile, FileRows, Piece

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_FOOTER_WINDOW = 64 << 10
# Column chunks of a row group are fetched together up to this size, before they are decoded.
_FETCH_BYTES = 24 << 20
_GAP_BYTES = 1 << 20  # between chosen columns: reading the gap is cheaper than a second read
_PAGE_WINDOW = 1 << 20  # of a column chunk that is larger
_BATCH_BYTES = 4 << 20  # of rows decoded at once: smaller batches cost pyarrow too many starts
_TILE_BYTES = 256 << 10  # of rows assembled from columns at once, which fit a cache


class ParquetFormat(DenseFormat):
    """Flat columns of numbers, found by name in every file."""

    name = "parquet"

    def describe(self, fs: FileSystem, entry: Entry) -> tuple[DataFile, FoundColumns]:
        """As `Format.describe`."""
        metadata = _footer(fs, entry.path, entry.length)
        with _named(entry.path):
            schema = metadata.schema.to_arrow_schema()
        check_distinct(entry.path, schema.names)
        found = FoundColumns(
            len(schema.names),
            tuple(_stored_as(field.type) for field in schema),
            tuple(schema.names),
            by_name=True,
        )
        _, *borders = _group_borders(metadata)
        n_rows = borders.pop() if borders else 0
        return DataFile(entry.path, entry.length, entry.mtime, n_rows, tuple(borders)), found

    def tasks(
        self, fs: FileSystem, rows: FileRows, piece: Piece, out: np.ndarray
    ) -> Iterator[Task]:
        """As `DenseFormat.tasks`."""
        assert rows.names is not None
        metadata = _footer(fs, piece.file.path, piece.file.length)
        for group, (begin, end) in enumerate(pairwise(_group_borders(metadata))):
            first, last = max(piece.start, begin), min(piece.stop, end)
            if first >= last:
                continue
            part = out[first - piece.start : last - piece.start]
            for chosen in _column_runs(metadata.row_group(group), rows.names):
                names = rows.names[chosen]
                yield _GroupColumns(
                    fs, piece.file, metadata, group, begin, first, names, part[:, chosen]
                ).task()


@dataclass(frozen=True)
class _GroupColumns:
    """Some columns of one row group: the rows from row `first` of the file on, as many as fit
    `out` (n_rows, len(names))."""

    fs: FileSystem
    file: DataFile
    metadata: pq.FileMetaData
    group: int
    begin: int  # the file's row with which the group begins
    first: int
    names: tuple[str, ...]
    out: np.ndarray

    def task(self) -> Task:
        ranges = self._byte_ranges()
        nbytes = sum(map(len, ranges))
        if nbytes <= _FETCH_BYTES:
            return Task(lambda: self._fetched(ranges), self._decode, nbytes + 2 * _BATCH_BYTES)
        # A chunk that is too large to be held comes through a window while it is decoded.
        return Task(self._windowed, self._decode, 2 * (_PAGE_WINDOW + _BATCH_BYTES))

    def _byte_ranges(self) -> list[range]:
        """Where the chosen columns lie in the file, ascending, small gaps included."""
        chunks = self.metadata.row_group(self.group)
        wanted = set(self.names)
        ranges: list[range] = []
        for number in range(chunks.num_columns):
            chunk = chunks.column(number)
            if chunk.path_in_schema not in wanted:
                continue
            start = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
            stop = start + chunk.total_compressed_size
            if ranges and 0 <= start - ranges[-1].stop <= _GAP_BYTES:
                ranges[-1] = range(ranges[-1].start, stop)
            else:
                ranges.append(range(start, stop))
        return ranges

    def _fetched(self, ranges: list[range]) -> FetchedRanges:
        return FetchedRanges(self.fs, self.file.path, self.file.length, ranges)

    def _windowed(self) -> FileBytes:
        return FileBytes(self.fs, self.file.path, self.file.length, _PAGE_WINDOW)

    def _decode(self, source: io.RawIOBase) -> None:
        import pyarrow.parquet as pq

        buffer_size = 0 if isinstance(source, FetchedRanges) else _PAGE_WINDOW
        step = max(1024, _BATCH_BYTES // max(1, self.out.shape[1] * self.out.itemsize))
        with _named(self.file.path):
            reader = pq.ParquetFile(
                source, metadata=self.metadata, buffer_size=buffer_size, pre_buffer=False
            )
            row, last = self.begin, self.first + len(self.out)
            for batch in reader.iter_batches(
                step, [self.group], list(self.names), use_threads=False
            ):
                first, stop = max(row, self.first), min(row + batch.num_rows, last)
                if first < stop:
                    self._store_batch(batch.slice(first - row, stop - first), first)
                row += batch.num_rows
                if row >= last:
                    break

    def _store_batch(self, batch: pa.RecordBatch, first: int) -> None:
        """Copy a batch, whose first row is row `first` of the file, into `out`."""
        target = self.out[first - self.first : first - self.first + batch.num_rows]
        columns = []
        for name in self.names:
            column = batch.column(name)
            if column.null_count:
                row = first + column.is_null().to_pylist().index(True)
                raise DataError(
                    f"{self.file.path} has no value (null) at row {row}, column {name!r} (counted "
                    "from 0): expected numbers.\n  Fill or drop such rows before."
                )
            columns.append(numbers(column))
        step = max(256, _TILE_BYTES // max(1, target.shape[1] * target.itemsize))
        for start in range(0, len(target), step):
            tile = target[start : start + step]
            for number, values in enumerate(columns):
                tile[:, number] = values[start : start + step]


class FetchedRanges(SeekableBytes):
    """A file of which only some ranges of bytes are in memory."""

    def __init__(self, fs: FileSystem, path: str, length: int, ranges: list[range]) -> None:
        super().__init__(path, length)
        self._parts = [(r, memoryview(np.empty(len(r), np.uint8).data)) for r in ranges]
        for wanted, part in self._parts:
            fs.read_into(path, wanted.start, part)

    def read(self, size: int | None = -1) -> memoryview:
        """Bytes as a view: pyarrow takes it without a copy."""
        start = self._position
        for known, part in self._parts:
            if known.start <= start <= known.stop:
                asked = len(known) if size is None or size < 0 else size
                view = part[start - known.start : start - known.start + asked]
                self._position += len(view)
                return view
        raise DataError(f"{self._path}: its footer points at byte {start}, outside of its columns")


def _column_runs(chunks: pq.RowGroupMetaData, names: tuple[str, ...]) -> Iterator[slice]:
    """Runs of columns whose chunks together are of at most _FETCH_BYTES; one is always taken."""
    every = (chunks.column(number) for number in range(chunks.num_columns))
    sizes = {chunk.path_in_schema: chunk.total_compressed_size for chunk in every}
    start, held = 0, 0
    for number, name in enumerate(names):
        if held and held + sizes[name] > _FETCH_BYTES:
            yield slice(start, number)
            start, held = number, 0
        held += sizes[name]
    yield slice(start, len(names))


def _footer(fs: FileSystem, path: str, length: int) -> pq.FileMetaData:
    import pyarrow.parquet as pq

    with _named(path):
        return pq.read_metadata(FileBytes(fs, path, length, _FOOTER_WINDOW))


def _group_borders(metadata: pq.FileMetaData) -> list[int]:
    """The file's row with which each row group begins, and their number in all."""
    groups = range(metadata.num_row_groups)
    return [*accumulate((metadata.row_group(group).num_rows for group in groups), initial=0)]


def _stored_as(kind: pa.DataType) -> np.dtype[Any] | str:
    """The dtype of a column of numbers; else what it holds, in words."""
    import pyarrow as pa

    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return np.dtype(kind.to_pandas_dtype())
    return str(kind)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Add the file's name to Arrow's errors about its content."""
    import pyarrow as pa

    try:
        yield
    except HarpyError:
        raise
    except (pa.ArrowException, OSError) as exc:
        words = " ".join(str(exc).split())
        raise DataError(
            f"{path} cannot be read as Parquet, it is truncated or damaged: {words}\n"
            "  Write it again, or leave it out."
        ) from exc
