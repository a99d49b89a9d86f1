"""Rows that exceed a worker's memory, in a file on a local disk that is read in blocks.

The file has no name (O_TMPFILE), so it disappears with the process, however that ends. It is read
with pread into two fixed buffers, never mapped: mapped pages would count against a YARN container.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from harpy.errors import DataError
from harpy.storage.rows.row_source import RowSource

BLOCK_BYTES = 32 << 20  # of one buffer; rows are also written in such blocks
# Blocks hold a multiple of so many rows: threads own whole cache lines of labels.
_BLOCK_UNIT = 64


class SpilledRows:
    """Dense rows in a file of this process.

    Parameters
    ----------
    source : RowSource
        Of dense rows.
    start, stop : int
        Global numbers of the first row to copy and of the one after the last.
    folder : str
        On a local disk.

    Attributes
    ----------
    shape : tuple of int, (n_rows, n_columns)
    dtype : dtype
    size : int
        Values.

    Raises
    ------
    DataError
        The disk has not enough room.
    """

    def __init__(self, source: RowSource, start: int, stop: int, folder: str) -> None:
        self.shape: tuple[int, int] = (stop - start, source.shape[1])
        self.dtype: np.dtype[Any] = source.dtype
        self.size = self.shape[0] * self.shape[1]
        self._row_bytes = max(1, self.shape[1] * self.dtype.itemsize)
        units = BLOCK_BYTES // (self._row_bytes * _BLOCK_UNIT)
        self._block_rows = max(1, units) * _BLOCK_UNIT
        self._refuse_full_disk(folder)
        self._file = tempfile.TemporaryFile(prefix="harpy-rows-", dir=folder)  # noqa: SIM115
        for first, last in source.chunks(start, stop, self._block_rows):
            self._file.write(np.ascontiguousarray(source.read_rows(first, last)).data)
        self._file.flush()
        self._buffers: tuple[np.ndarray, np.ndarray] | None = None

    def _refuse_full_disk(self, folder: str) -> None:
        needed = self.shape[0] * self._row_bytes
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise DataError(
                f"this worker's {self.shape[0]} rows exceed its memory and would be kept in "
                f"{folder}: needed {needed >> 20} MB, free {free >> 20} MB.\n"
                "  Ask for more n_mem, for more n_node, or point yarn.nodemanager.local-dirs at a "
                "larger disk."
            )

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.shape[0] * self._row_bytes

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order, block by block.

        Returns
        -------
        iterator of (int, ndarray)
            First row of a block, and its rows, which are valid until the next block is asked for.
        """
        if self._buffers is None:
            shape = (min(self._block_rows, len(self)), self.shape[1])
            self._buffers = (np.empty(shape, self.dtype), np.empty(shape, self.dtype))
        buffers = self._buffers
        starts = range(0, len(self), self._block_rows)
        with ThreadPoolExecutor(1, "harpy-blocks") as reader:
            ahead: list[Future[np.ndarray]] = []
            for number, start in enumerate(starts):
                # The caller has asked for the next block, so the buffer of the last but one is
                # free.
                ahead.append(reader.submit(self._read, start, buffers[number % 2]))
                if number > 0:
                    yield starts[number - 1], ahead.pop(0).result()
            for future in ahead:
                yield starts[-1], future.result()

    def dense_rows(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows.

        Parameters
        ----------
        numbers : sequence of int
            Which, counted from 0.

        Returns
        -------
        ndarray of shape (len(numbers), n_columns)
        """
        found = np.empty((len(numbers), self.shape[1]), self.dtype)
        for row, number in zip(found, numbers, strict=True):
            self._fill(row, int(number))
        return found

    def _read(self, start: int, buffer: np.ndarray) -> np.ndarray:
        block = buffer[: min(len(buffer), len(self) - start)]
        self._fill(block, start)
        return block

    def _fill(self, out: np.ndarray, row: int) -> None:
        view = out.reshape(-1).view(np.uint8).data
        offset = row * self._row_bytes
        while view:
            count = os.preadv(self._file.fileno(), [view], offset)
            if count == 0:
                raise DataError(f"the file of spilled rows ends at byte {offset}: the disk is bad")
            view, offset = view[count:], offset + count

    def close(self) -> None:
        """Give up the file, and with it the rows."""
        self._file.close()
