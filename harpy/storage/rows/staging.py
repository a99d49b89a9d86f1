"""Staging: the driver writes rows as raw shards, workers read them back by row range.

A staged array is a directory: `part-00000` … hold rows in little-endian C order, `manifest.json`,
written last, says how many. A part of sparse rows is three such files: `part-00000.data`,
`.indices` and `.indptr`, which begins at 0. For rows in files there is only the manifest, which
describes the files. Which rows are read is left to the reader.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from harpy.errors import DataError, HarpyError, PathNotFound
from harpy.storage.fs.base import FileSystem, removed_on_error
from harpy.storage.fs.paths import join
from harpy.storage.rows.arrays import little_endian, row_blocks
from harpy.storage.rows.content import check_rows
from harpy.storage.rows.csr import CsrRows, Rows
from harpy.storage.rows.file_rows import FileRows
from harpy.storage.rows.put_rows import PutRows
from harpy.storage.rows.shares import EvenShares
from harpy.wire.versions import STAGED_ROWS

MANIFEST = "manifest.json"
CSR_ARRAYS = ("data", "indices", "indptr")
_WRITERS = 4  # one HDFS stream writes about 200 MB/s; a few fill the disk
_FIRST_POLL_S, _LONGEST_POLL_S = 0.02, 0.5


def stage_array(
    fs: FileSystem,
    directory: str,
    X: Rows | PutRows | FileRows,
    n_parts: int = 1,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write the rows of `X` as shards into `directory`; one already staged is left as it is.

    Parameters
    ----------
    fs : FileSystem
    directory : str
        Made when needed. When staging fails, what was written is removed.
    X : ndarray of shape (n_rows, n_columns) or CsrRows, real; or PutRows, or FileRows
        Any strides; only blocks of it are copied. Of files only the description is written.
    n_parts : int
        Number of shards, written in parallel. Readers are not bound to their borders.
    progress : callable, optional
        Called with the fraction done, from several threads.

    Raises
    ------
    DataError
        X is neither a real 2-d array nor sparse rows of real numbers.
    StorageError
    """
    if isinstance(X, PutRows):
        X = X.rows
    check_rows(X)
    if fs.exists(join(directory, MANIFEST)):
        return
    fs.mkdirs(directory, 0o700)
    with removed_on_error(fs, directory):
        if isinstance(X, FileRows):
            manifest = {"format": STAGED_ROWS, "layout": "files", "files": X.to_json()}
        else:
            manifest = _write_parts(fs, directory, X, n_parts, progress)
        fs.write_bytes(join(directory, MANIFEST), json.dumps(manifest).encode(), overwrite=True)


def _write_parts(
    fs: FileSystem,
    directory: str,
    X: Rows,
    n_parts: int,
    progress: Callable[[float], None] | None,
) -> dict[str, Any]:
    """Write rows in memory as parts; return the manifest that says so."""
    n_parts = max(1, min(n_parts, len(X)))
    borders = [len(X) * part // n_parts for part in range(n_parts + 1)]
    parts = [
        _Part(f"part-{part:05d}", start, stop)
        for part, (start, stop) in enumerate(itertools.pairwise(borders))
    ]
    files = [file for part in parts for file in _files_of(X, part)]
    _write_files(fs, directory, files, _Count(X.nbytes, progress))
    return {
        "format": STAGED_ROWS,
        "layout": "csr" if isinstance(X, CsrRows) else "dense",
        "dtype": little_endian(X.dtype).str,
        "shape": list(X.shape),
        "parts": [{"name": part.name, "rows": part.stop - part.start} for part in parts],
    }


@dataclass(frozen=True)
class _Part:
    name: str
    start: int  # first row
    stop: int  # one past the last


class _Count:
    """Bytes done, reported as a fraction; shared by the writing threads."""

    def __init__(self, total: int, report: Callable[[float], None] | None) -> None:
        self._total, self._report, self._done = max(1, total), report, 0
        self._lock = threading.Lock()
        self.cancelled = False

    def add(self, n_bytes: int) -> None:
        with self._lock:
            self._done += n_bytes
            if self._report is not None:
                self._report(min(1.0, self._done / self._total))


def _files_of(X: Rows, part: _Part) -> list[tuple[str, np.ndarray]]:
    """Name and content of each file of a part."""
    if not isinstance(X, CsrRows):
        return [(part.name, X[part.start : part.stop])]
    rows = X.read_rows(part.start, part.stop)
    names = [f"{part.name}.{array}" for array in CSR_ARRAYS]
    return list(zip(names, rows.arrays, strict=True))


def _write_files(
    fs: FileSystem, directory: str, files: list[tuple[str, np.ndarray]], count: _Count
) -> None:
    def write(name: str, array: np.ndarray) -> None:
        def chunks() -> Iterator[np.ndarray]:
            for block in row_blocks(array):
                if count.cancelled:
                    raise DataError("staging was given up because another part failed")
                yield block
                count.add(block.nbytes)

        fs.write_chunks(join(directory, name), chunks, overwrite=True)

    with ThreadPoolExecutor(min(_WRITERS, len(files)), "harpy-stage") as pool:
        futures = [pool.submit(write, *file) for file in files]
        try:
            # The first failure is the cause; the other writers are stopped.
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            count.cancelled = True
            raise
        finally:
            for future in futures:
                future.cancel()
        failed = next((future for future in done if future.exception()), None)
        if failed is not None:
            count.cancelled = True
            failed.result()


class Staged(EvenShares):
    """Complete staged rows, open for reading.

    Attributes
    ----------
    shape : tuple of int, (n_rows, n_columns)
    dtype : dtype
    """

    def __init__(self, fs: FileSystem, directory: str, manifest: dict[str, Any]) -> None:
        self._fs, self.directory = fs, directory
        n_rows, n_columns = (int(n) for n in manifest["shape"])
        self.shape = (n_rows, n_columns)
        self.dtype = np.dtype(manifest["dtype"])
        self._parts = self._locate(manifest["parts"])

    def _locate(self, parts: list[dict[str, Any]]) -> list[_Part]:
        located, row = [], 0
        for part in parts:
            located.append(_Part(str(part["name"]), row, row + int(part["rows"])))
            row = located[-1].stop
        if row != self.shape[0]:
            raise ValueError(f"its parts hold {row} rows, its shape says {self.shape[0]}")
        return located

    @property
    def n_rows(self) -> int:
        """How many rows were staged."""
        return self.shape[0]

    def _overlaps(self, start: int, stop: int) -> list[tuple[_Part, int, int]]:
        """The parts that hold rows `start` to `stop`, and which of them: first row, one past."""
        if not 0 <= start <= stop <= self.n_rows:
            raise DataError(f"rows {start}:{stop} do not lie within {self.n_rows} rows")
        overlaps = [(part, max(start, part.start), min(stop, part.stop)) for part in self._parts]
        return [(part, first, last) for part, first, last in overlaps if first < last]

    def _read_file(self, path: str, n_expected: int, skip: int, out: np.ndarray) -> None:
        """Fill `out` with what follows `skip` rows of the file, which should hold n_expected."""
        row_bytes = math.prod(out.shape[1:]) * out.dtype.itemsize
        expected = n_expected * row_bytes
        length = self._fs.stat(path).length
        if length != expected:
            raise DataError(
                f"shard {path} should hold {n_expected} rows, {expected} bytes, but has {length}."
                "\n  It was changed after staging; stage the data again."
            )
        if out.nbytes:
            self._fs.read_into(path, skip * row_bytes, out.reshape(-1).data)


class StagedArray(Staged):
    """Rows with all their values."""

    dense = True

    def read_rows(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Rows `start` to `stop` (exclusive), streamed straight into the result.

        Parameters
        ----------
        out : ndarray of shape (stop - start, n_columns), C-contiguous, of this dtype, optional
            Filled and returned instead of a new array.

        Raises
        ------
        DataError
            A part's size is not what the manifest says.
        StorageError
        """
        overlaps = self._overlaps(start, stop)
        shape = (stop - start, self.shape[1])
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise DataError(
                f"out must be C-contiguous {self.dtype} {shape}, got {out.dtype} {out.shape}"
            )
        for part, first, last in overlaps:
            path = join(self.directory, part.name)
            rows = out[first - start : last - start]
            self._read_file(path, part.stop - part.start, first - part.start, rows)
        return out


class StagedCsr(Staged):
    """Rows that store some of their values."""

    def read_rows(self, start: int, stop: int) -> CsrRows:
        """Rows `start` to `stop` (exclusive), streamed straight into the result.

        Raises
        ------
        DataError
            A file's size is not what the manifest and the part's indptr say.
        StorageError
        """
        overlaps = self._overlaps(start, stop)
        indptrs = [self._read_indptr(part) for part, _, _ in overlaps]
        indptr = np.zeros(stop - start + 1, np.int64)
        for (part, first, last), starts in zip(overlaps, indptrs, strict=True):
            counts = np.diff(starts[first - part.start : last - part.start + 1])
            indptr[first - start + 1 : last - start + 1] = counts
        np.cumsum(indptr, out=indptr)
        data = np.empty(indptr[-1], self.dtype)
        indices = np.empty(indptr[-1], np.int32)
        for (part, first, last), starts in zip(overlaps, indptrs, strict=True):
            values = slice(indptr[first - start], indptr[last - start])
            for name, array in (("data", data), ("indices", indices)):
                path = join(self.directory, f"{part.name}.{name}")
                skip = int(starts[first - part.start])
                self._read_file(path, int(starts[-1]), skip, array[values])
        return CsrRows(data, indices, indptr, self.shape[1])

    def _read_indptr(self, part: _Part) -> np.ndarray:
        path = join(self.directory, f"{part.name}.indptr")
        starts = np.empty(part.stop - part.start + 1, np.int64)
        self._read_file(path, len(starts), 0, starts)
        if starts[0] != 0 or np.any(starts[1:] < starts[:-1]):
            raise DataError(
                f"shard {path} does not rise from 0.\n  It was changed after staging; stage the "
                "data again."
            )
        return starts


def _staged(
    fs: FileSystem, directory: str, manifest: dict[str, Any]
) -> StagedArray | StagedCsr | FileRows:
    try:
        if manifest["format"] != STAGED_ROWS:
            raise ValueError(f"format {manifest['format']}, this harpy reads {STAGED_ROWS}")
        if manifest["layout"] == "files":
            return FileRows.from_json(manifest["files"])
        kinds: dict[str, type[StagedArray | StagedCsr]] = {"dense": StagedArray, "csr": StagedCsr}
        return kinds[manifest["layout"]](fs, directory, manifest)
    except (KeyError, TypeError, ValueError) as exc:
        path = join(directory, MANIFEST)
        raise DataError(f"{path} is not a manifest of this harpy: {exc!r}") from exc


def open_staged(
    fs: FileSystem,
    directory: str,
    timeout_s: float,
    cancelled: Callable[[], bool] = lambda: False,
) -> StagedArray | StagedCsr | FileRows:
    """Open staged rows, or the description of files, waiting until its manifest is there.

    Parameters
    ----------
    timeout_s : float
        Seconds that the writer may still need (Deadlines.stage_s).
    cancelled : callable
        Called between two polls; DataError when it returns True.

    Raises
    ------
    DataError
        The manifest did not appear in time; the message lists what is there.
    """
    path = join(directory, MANIFEST)
    end = time.monotonic() + timeout_s
    pause = _FIRST_POLL_S
    while True:
        try:
            return _staged(fs, directory, json.loads(fs.read_bytes(path)))
        except PathNotFound as exc:
            if cancelled():
                raise DataError(f"gave up waiting for {path}: the run was aborted") from exc
            if time.monotonic() + pause > end:
                raise DataError(_missing(fs, directory, timeout_s)) from exc
        except json.JSONDecodeError as exc:
            raise DataError(f"{path} is not JSON: {exc}") from exc
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_POLL_S)


def _missing(fs: FileSystem, directory: str, timeout_s: float) -> str:
    try:
        entries = fs.list(directory)
    except HarpyError as exc:
        there = f"the directory could not be listed: {exc}"
    else:
        size = math.fsum(entry.length for entry in entries)
        there = f"there are {len(entries)} files, {size:.0f} bytes"
    return (
        f"{join(directory, MANIFEST)} did not appear within {timeout_s:g} s (HARPY_STAGE_S): "
        f"{there}.\n  The driver that stages the data is slow or gone; look at its output."
    )
