"""Arrays as files: raw rows for staging, `.npy` for outputs; never pickled, never copied whole."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from harpy.errors import DataError
from harpy.storage.fs.base import FileSystem

BLOCK_BYTES = 8 << 20  # rows are copied, hashed and written in blocks of about this size
_HEADER_GUESS = 4096
# NumPy parses headers with `ast`, which Python before 3.11.8 and 3.12.2 must not do in two threads
# at once: it may raise SystemError (python/cpython#106905).
_PARSING = threading.Lock()


def little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype as written to files."""
    return dtype.newbyteorder("<")


def row_blocks(X: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive blocks of rows, C-contiguous and little-endian; only strided input is copied.

    The block borders depend on shape and dtype alone.
    """
    dtype = little_endian(X.dtype)
    row_bytes = max(1, math.prod(X.shape[1:]) * dtype.itemsize)
    step = max(1, BLOCK_BYTES // row_bytes)
    for start in range(0, len(X), step):
        yield np.ascontiguousarray(X[start : start + step], dtype=dtype)


def write_npy(fs: FileSystem, path: str, array: np.ndarray) -> None:
    """Write `array` as a `.npy` file in C order, atomically."""
    dtype = little_endian(array.dtype)
    if dtype.hasobject:
        raise DataError(f"cannot write {path}: an array of Python objects; convert it to numbers")
    header = io.BytesIO()
    npy.write_array_header_1_0(
        header,
        {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": array.shape},
    )

    def chunks() -> Iterator[Any]:
        yield header.getvalue()
        if array.ndim == 0:
            yield np.ascontiguousarray(array, dtype=dtype)
        else:
            yield from row_blocks(array)

    fs.write_chunks(path, chunks, overwrite=True)


@dataclass(frozen=True)
class NpyHeader:
    """What stands before the values of a `.npy` file, and where they begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(fs: FileSystem, path: str, length: int) -> NpyHeader:
    """The header of a `.npy` file of `length` bytes; DataError when it is none.

    Its values need not be there: callers compare `length` with offset and nbytes.
    """
    start = bytearray(min(length, _HEADER_GUESS))
    if start:
        fs.read_into(path, 0, memoryview(start))
    file = io.BytesIO(start)
    try:
        shape, fortran_order, dtype = parse_npy_header(file)
    except ValueError as exc:
        raise DataError(f"{path} is not a .npy file: {exc}") from exc
    return NpyHeader(shape, dtype, fortran_order, file.tell())


def parse_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype; `stream` is left where the values begin.

    ValueError when there is no header. Other threads wait meanwhile, so its bytes should be in
    memory.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise ValueError(f"expected format 1.0 or 2.0, got {version[0]}.{version[1]}")
    with _PARSING:
        return readers[version](stream)


class NpyFile:
    """A `.npy` file written by harpy, its header checked against the file's length."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._fs, self.path = fs, path
        length = fs.stat(path).length
        header = read_npy_header(fs, path, length)
        self.shape, self.dtype, self._offset = header.shape, header.dtype, header.offset
        self.nbytes = header.nbytes
        if header.fortran_order or header.dtype.hasobject:
            raise DataError(
                f"{path} is not an array written by harpy: expected C order and no objects"
            )
        if length != self._offset + self.nbytes:
            raise DataError(
                f"{path} should hold {self.dtype} {self.shape}, which is "
                f"{self._offset + self.nbytes} bytes, but has {length}"
            )

    def read_into(self, out: np.ndarray) -> None:
        """Fill the C-contiguous `out` with the array's bytes."""
        if self.nbytes:
            self._fs.read_into(self.path, self._offset, out.reshape(-1).data)

    def read(self) -> np.ndarray:
        """The whole array."""
        out = np.empty(self.shape, self.dtype)
        self.read_into(out)
        return out
