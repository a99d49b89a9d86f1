"""`.npy` files: rows of one dtype behind a header, at any row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harpy.errors import DataError
from harpy.storage.fs.base import Entry, FileSystem
from harpy.storage.readers.base import DenseFormat, FoundColumns, Task
from harpy.storage.rows.arrays import NpyHeader, read_npy_header
from harpy.storage.rows.file_rows import DataFile, FileRows, Piece

_STREAM_BYTES = 32 << 20  # read at once where bytes are the rows themselves
_BLOCK_BYTES = 4 << 20  # where rows are converted on the way


class NpyFormat(DenseFormat):
    """NumPy's arrays of two dimensions, in C or Fortran order."""

    name = "npy"

    def describe(self, fs: FileSystem, entry: Entry) -> tuple[DataFile, FoundColumns]:
        """As `Format.describe`."""
        header = read_npy_header(fs, entry.path, entry.length)
        _check_header(entry, header)
        n_rows, n_columns = header.shape
        detail = {
            "offset": header.offset,
            "dtype": header.dtype.str,
            "fortran_order": header.fortran_order,
        }
        borders = () if header.fortran_order else _block_borders(entry, header)
        file = DataFile(entry.path, entry.length, entry.mtime, n_rows, borders, detail)
        return file, FoundColumns(n_columns, (header.dtype,))

    def tasks(
        self, fs: FileSystem, rows: FileRows, piece: Piece, out: np.ndarray
    ) -> Iterator[Task]:
        """As `DenseFormat.tasks`."""
        detail, width = piece.file.detail, rows.width or 0
        stored = np.dtype(detail["dtype"])
        if detail["fortran_order"]:
            return _column_tasks(fs, rows, piece, out)
        if stored == out.dtype and stored.isnative and rows.positions is None:
            return _plain_tasks(fs, piece, out)
        return _converting_tasks(fs, rows, piece, out, width)


def _check_header(entry: Entry, header: NpyHeader) -> None:
    if len(header.shape) != 2:
        raise DataError(
            f"{entry.path} holds an array of shape {header.shape}, expected 2 dimensions: rows and "
            "columns"
        )
    if header.dtype.kind not in "biuf" or header.dtype.itemsize > 8:
        raise DataError(
            f"{entry.path} holds {header.dtype}, expected real numbers of at most 8 bytes"
        )
    expected = header.offset + header.nbytes
    if entry.length != expected:
        state = "is truncated" if entry.length < expected else "has bytes too many"
        raise DataError(
            f"{entry.path} {state}: {header.dtype} {header.shape} takes {expected} bytes with its "
            f"header, got {entry.length}.\n  Write it again."
        )


def _block_borders(entry: Entry, header: NpyHeader) -> tuple[int, ...]:
    """The first row that begins in each block of the file but the first."""
    if entry.block_size is None:
        return ()
    row_bytes = max(1, header.nbytes // max(1, header.shape[0]))
    blocks = range(entry.block_size, entry.length, entry.block_size)
    return tuple(-(-(block - header.offset) // row_bytes) for block in blocks)


def _plain_tasks(fs: FileSystem, piece: Piece, out: np.ndarray) -> Iterator[Task]:
    """The file's bytes are the rows: streamed straight to where they belong."""
    row_bytes = out.shape[1] * out.dtype.itemsize
    offset = int(piece.file.detail["offset"]) + piece.start * row_bytes
    target = out.reshape(-1).view(np.uint8).data if out.size else memoryview(b"")
    for first in range(0, len(target), _STREAM_BYTES):
        part = target[first : first + _STREAM_BYTES]
        yield Task(_reading(fs, piece.file.path, offset + first, part))


def _converting_tasks(
    fs: FileSystem, rows: FileRows, piece: Piece, out: np.ndarray, width: int
) -> Iterator[Task]:
    """Whole rows in blocks, of which the chosen columns are converted."""
    stored = np.dtype(piece.file.detail["dtype"])
    columns: Any = slice(None) if rows.positions is None else list(rows.positions)
    step = max(1, _BLOCK_BYTES // max(1, width * stored.itemsize))
    for first in range(0, len(out), step):
        part = out[first : first + step]
        offset = int(piece.file.detail["offset"])
        offset += (piece.start + first) * width * stored.itemsize

        def fetch(offset: int = offset, n_rows: int = len(part)) -> np.ndarray:
            return _read_array(fs, piece.file.path, offset, (n_rows, width), stored)

        def decode(block: np.ndarray, part: np.ndarray = part) -> None:
            part[:] = block[:, columns]

        yield Task(fetch, decode, 2 * _BLOCK_BYTES)


def _column_tasks(fs: FileSystem, rows: FileRows, piece: Piece, out: np.ndarray) -> Iterator[Task]:
    """Columns one after the other, as Fortran's order has them, in blocks."""
    stored = np.dtype(piece.file.detail["dtype"])
    n_rows = piece.file.n_rows or 0
    positions = range(rows.width or 0) if rows.positions is None else rows.positions
    step = _BLOCK_BYTES // stored.itemsize
    for column, position in enumerate(positions):
        for first in range(0, len(out), step):
            part = out[first : first + step, column]
            offset = int(piece.file.detail["offset"])
            offset += (position * n_rows + piece.start + first) * stored.itemsize

            def fetch(offset: int = offset, count: int = len(part)) -> np.ndarray:
                return _read_array(fs, piece.file.path, offset, (count,), stored)

            def decode(block: np.ndarray, part: np.ndarray = part) -> None:
                part[:] = block

            yield Task(fetch, decode, _BLOCK_BYTES)


def _reading(fs: FileSystem, path: str, offset: int, target: memoryview) -> Any:
    return lambda: fs.read_into(path, offset, target)


def _read_array(
    fs: FileSystem, path: str, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray:
    block = np.empty(shape, dtype)
    if block.size:
        fs.read_into(path, offset, block.reshape(-1).view(np.uint8).data)
    return block
