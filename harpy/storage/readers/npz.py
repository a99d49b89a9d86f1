"""Sparse rows in `.npz` files, as scipy.sparse.save_npz writes them in CSR format."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from harpy.errors import DataError, HarpyError
from harpy.storage.fs.base import Entry, FileSystem
from harpy.storage.readers.base import FileBytes, FoundColumns, SparseFormat
from harpy.storage.rows.arrays import parse_npy_header
from harpy.storage.rows.csr import MAX_COLUMNS
from harpy.storage.rows.file_rows import DataFile, Piece

_WINDOW = 1 << 20
_BLOCK_BYTES = 4 << 20


class NpzFormat(SparseFormat):
    """Sparse rows as scipy.sparse.save_npz writes them."""

    name = "npz"

    def describe(self, fs: FileSystem, entry: Entry) -> tuple[DataFile, FoundColumns]:
        """As `Format.describe`."""
        with _open(fs, entry.path, entry.length) as archive:
            shape, layout = _small(archive, "shape"), _small(archive, "format")
            if layout.item() not in (b"csr", "csr"):
                raise DataError(
                    f"{entry.path} holds a sparse matrix in format {layout.item()!r}, expected "
                    "csr: write it with scipy.sparse.save_npz(path, X.tocsr())"
                )
            n_rows, n_columns = (int(n) for n in shape)
            if n_columns > MAX_COLUMNS:
                raise DataError(
                    f"{entry.path} has {n_columns} columns, expected at most {MAX_COLUMNS}"
                )
            with _Member(archive, "data") as data:
                dtype = data.dtype
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise DataError(f"{entry.path} holds {dtype}, expected real numbers of at most 8 bytes")
        file = DataFile(entry.path, entry.length, entry.mtime, n_rows)
        return file, FoundColumns(n_columns, (dtype,))

    def starts(self, fs: FileSystem, piece: Piece) -> np.ndarray:
        """As `SparseFormat.starts`."""
        starts = np.empty(piece.stop - piece.start + 1, np.int64)
        with (
            _open(fs, piece.file.path, piece.file.length) as archive,
            _Member(archive, "indptr") as indptr,
        ):
            indptr.read_into(starts, piece.start)
        return starts

    def fill(
        self,
        fs: FileSystem,
        piece: Piece,
        starts: np.ndarray,
        data: np.ndarray,
        indices: np.ndarray,
    ) -> None:
        """As `SparseFormat.fill`."""
        for name, array in (("data", data), ("indices", indices)):
            with (
                _open(fs, piece.file.path, piece.file.length) as archive,
                _Member(archive, name) as member,
            ):
                member.read_into(array, int(starts[0]))


class _Member:
    """One array of the archive, read in blocks from any value on."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._stream = archive.open(f"{name}.npy")
        shape, _, self.dtype = parse_npy_header(self._stream)
        self._n_values = shape[0]

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stream.close()

    def read_into(self, out: np.ndarray, first: int) -> None:
        """Fill `out` with the values from number `first` on, converted to its dtype."""
        if first + len(out) > self._n_values:
            raise ValueError(f"expected {first + len(out)} values, got {self._n_values}")
        self._skip(first * self.dtype.itemsize)
        step = _BLOCK_BYTES // self.dtype.itemsize
        for start in range(0, len(out), step):
            part = out[start : start + step]
            content = self._stream.read(len(part) * self.dtype.itemsize)
            part[:] = np.frombuffer(content, self.dtype, len(part))

    def _skip(self, count: int) -> None:
        self._stream.seek(count, io.SEEK_CUR)


def _small(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as stream:
        _, _, dtype = parse_npy_header(stream)
        return np.frombuffer(stream.read(), dtype)


@contextmanager
def _open(fs: FileSystem, path: str, length: int) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BufferedReader(FileBytes(fs, path, length, _WINDOW))) as archive:
            yield archive
    except HarpyError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as exc:
        raise DataError(
            f"{path} is not what scipy.sparse.save_npz writes, or it is truncated or damaged: "
            f"{exc}\n  Write it again, or leave it out."
        ) from exc
