"""Reading a share of described files into one array, with bounded buffers, on several threads.

Owns threads and memory. What bytes mean is left to readers/, who reads what to file_rows.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from harpy.storage.file_rows import FileRows
from harpy.storage.filesystem import FileSystems
from harpy.storage.readers import format_named
from harpy.storage.readers.base import DenseFormat, Task, check_unchanged
from harpy.storage.row_source import EvenShares

_WINDOW_BYTES = 96 << 20  # all buffers between a file and the array
_MOST_FETCHERS = 8


class FileSource(EvenShares):
    """RowSource over files that say how many rows they hold.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, rows: FileRows, systems: FileSystems, n_thread: int) -> None:
        assert rows.n_rows is not None and rows.n_columns is not None
        self.described = rows
        self.shape = (rows.n_rows, rows.n_columns)
        self.dtype = rows.dtype
        self._systems, self._n_thread = systems, n_thread

    def share(self, rank: int, size: int) -> range:
        """The rows of one rank: nearly equal shares that begin, where they can, with a row group
        or a block."""
        return self.described.share(rank, size)

    def place(self, row: int) -> str:
        """Where a row stands, for people."""
        return place_of(self.described, row)

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` (exclusive), streamed into one array.

        Raises
        ------
        DataError
            A file was changed since it was described, or does not hold what it should.
        StorageError
        """
        form = format_named(self.described.format)
        assert isinstance(form, DenseFormat)
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        for _ in run(self._tasks(form, start, stop, out), self._n_thread):
            pass
        return out

    def _tasks(self, form: DenseFormat, start: int, stop: int, out: np.ndarray) -> Iterator[Task]:
        done = 0
        for piece in self.described.pieces(start, stop):
            fs = self._systems.holding(piece.file.path)
            check_unchanged(fs, piece.file)
            n_rows = piece.stop - piece.start
            yield from form.tasks(fs, self.described, piece, out[done : done + n_rows])
            done += n_rows


def open_files(rows: FileRows, systems: FileSystems, n_thread: int) -> FileSource:
    """The RowSource of described files."""
    return FileSource(rows, systems, n_thread)


def place_of(rows: FileRows, row: int) -> str:
    file, number = rows.place_of(row)
    return f"row {number} of {file.path}"


def run(tasks: Iterable[Task], n_thread: int) -> Iterator[Any]:
    """What the tasks decode to, in their order.

    Decoding happens on `n_thread` threads, fetching beside it, and only so far ahead that all
    buffers fit _WINDOW_BYTES. The first error ends it all.
    """
    n_fetchers = min(n_thread + 1, _MOST_FETCHERS)
    pending: deque[tuple[int, Future[Any]]] = deque()
    held = 0
    with (
        ThreadPoolExecutor(n_fetchers, "harpy-fetch") as fetchers,
        ThreadPoolExecutor(n_thread, "harpy-decode") as decoders,
    ):
        try:
            for task in tasks:
                while pending and (
                    held + task.nbytes > _WINDOW_BYTES or len(pending) > 2 * (n_thread + n_fetchers)
                ):
                    held -= pending[0][0]
                    yield pending.popleft()[1].result()
                held += task.nbytes
                pending.append((task.nbytes, _start(task, fetchers, decoders)))
            while pending:
                yield pending.popleft()[1].result()
        finally:
            for _, future in pending:
                future.cancel()
            fetchers.shutdown(wait=True, cancel_futures=True)
            decoders.shutdown(wait=True, cancel_futures=True)


def _start(task: Task, fetchers: ThreadPoolExecutor, decoders: ThreadPoolExecutor) -> Future[Any]:
    fetching = fetchers.submit(task.fetch)
    return decoders.submit(lambda: task.decode(fetching.result()))
