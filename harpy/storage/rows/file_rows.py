"""FileRows: a description of files that hold rows, which travels instead of the rows.

Owns the borders between shares: which rank reads which rows. How a format is read is left to
readers/.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from harpy.storage.fs.paths import HDFS_SCHEMES, split_url
from harpy.storage.rows.content import KnownRows

# A border may move by this part of a share, to where a row group or a block begins.
_SLACK = 1 / 16


@dataclass(frozen=True)
class DataFile:
    """One file, as it was when it was described.

    Attributes
    ----------
    path : str
        Full URL.
    length : int
        Bytes.
    mtime : float or None
        Seconds since the epoch, where the file system tells.
    n_rows : int or None
        None where only reading the whole file would tell: text.
    borders : tuple of int
        Rows (of text: bytes) within the file at which a share best begins, ascending.
    detail : mapping
        What the reader of its format needs to know: JSON.
    """

    path: str
    length: int
    mtime: float | None
    n_rows: int | None = None
    borders: tuple[int, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """Consecutive rows (of text: bytes) of one file: `start` to `stop`, exclusive."""

    file: DataFile
    start: int
    stop: int
    number: int = 0  # of the file among all


@dataclass(frozen=True)
class FileRows(KnownRows):
    """Rows in files of one format, the files one below the other.

    Attributes
    ----------
    format : str
        Name of a reader.
    files : tuple of DataFile
    dtype : dtype
        float32 or float64: of the rows as they are read.
    n_columns : int or None
        None: known when all of it is read (libsvm).
    names : tuple of str or None
        Of the columns that are read, where the files name them.
    positions : tuple of int or None
        Of the columns that are read, in the first file; None: all, in order.
    width : int or None
        Columns of a file, read or not.
    """

    format: str
    files: tuple[DataFile, ...]
    dtype: np.dtype[Any]
    n_columns: int | None
    names: tuple[str, ...] | None = None
    positions: tuple[int, ...] | None = None
    width: int | None = None

    @cached_property
    def n_rows(self) -> int | None:
        """Of all files; None where they are counted when they are read."""
        counts = [file.n_rows for file in self.files]
        return None if None in counts else sum(n for n in counts if n is not None)

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """Numbers of rows and columns; None where only reading tells."""
        return (self.n_rows, self.n_columns)

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return sum(file.length for file in self.files)

    @property
    def digest(self) -> str:
        """A name for the content, as far as lengths and times of change tell, in 40 hex digits."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    def to_json(self) -> dict[str, Any]:
        """The description as JSON values."""
        return {**asdict(self), "dtype": self.dtype.str}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FileRows:
        """What `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        tuples = {
            name: None if value[name] is None else tuple(value[name])
            for name in ("names", "positions")
        }
        files = tuple(
            DataFile(**{**file, "borders": tuple(file["borders"])}) for file in value["files"]
        )
        return cls(**{**value, **tuples, "files": files, "dtype": np.dtype(value["dtype"])})

    # Shares

    @cached_property
    def _sizes(self) -> list[int]:
        """Rows of each file; of text bytes."""
        return [file.length if file.n_rows is None else file.n_rows for file in self.files]

    @cached_property
    def _starts(self) -> list[int]:
        """Where each file begins among all rows (bytes), and where the last one ends."""
        return [0, *accumulate(self._sizes)]

    @cached_property
    def _candidates(self) -> list[int]:
        """Where a share best begins: starts of files, row groups, blocks."""
        inner = (
            start + border
            for start, file in zip(self._starts, self.files, strict=False)
            for border in (0, *file.borders)
        )
        return [*inner, self._starts[-1]]

    def share(self, rank: int, size: int) -> range:
        """The rows (of text: bytes) of one rank: nearly equal shares, in order."""
        return range(self._border(rank, size), self._border(rank + 1, size))

    def _border(self, number: int, size: int) -> int:
        total = self._starts[-1]
        exact = number * total // size
        at = bisect_left(self._candidates, exact)
        near = self._candidates[max(0, at - 1) : at + 1]
        best = min(near, key=lambda candidate: abs(candidate - exact))
        close = abs(best - exact) * size <= _SLACK * total
        return best if close or self._must_snap(exact) else exact

    def _must_snap(self, position: int) -> bool:
        """Whether the file at this position cannot be read from its middle."""
        return not self.files[self._file_at(position)].detail.get("splittable", True)

    def _file_at(self, position: int) -> int:
        return min(bisect_right(self._starts, position) - 1, len(self.files) - 1)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """Where rows (of text: bytes) `start` to `stop` lie, in order."""
        for number in range(bisect_right(self._starts, start) - 1, len(self.files)):
            begin, end = self._starts[number : number + 2]
            first, last = max(start, begin), min(stop, end)
            if first < last:
                yield Piece(self.files[number], first - begin, last - begin, number)
            if end >= stop:
                break

    def chunks(self, start: int, stop: int, n_rows: int) -> Iterator[tuple[int, int]]:
        """Rows `start` to `stop` in parts of at most `n_rows` that end, where they can, with a row
        group or a block."""
        while start < stop:
            last = self._candidates[bisect_right(self._candidates, start + n_rows) - 1]
            end = min(stop, last if last > start else start + n_rows)
            yield start, end
            start = end

    @property
    def on_hdfs(self) -> bool:
        """Whether the files lie on HDFS."""
        return split_url(self.files[0].path)[0] in HDFS_SCHEMES

    def byte_ranges(self, rank: int, size: int) -> Iterator[tuple[str, int, int]]:
        """Path, offset and length of what one rank reads: exact for text, else as if all rows of a
        file were of one length."""
        share = self.share(rank, size)
        for piece in self.pieces(share.start, share.stop):
            file = piece.file
            total = max(1, file.length if file.n_rows is None else file.n_rows)
            first, last = (file.length * at // total for at in (piece.start, piece.stop))
            yield file.path, first, last - first

    def describe_row(self, row: int) -> str:
        """Where a row stands, for people; of files whose rows are known or `counted`."""
        number = self._file_at(row)
        return f"row {row - self._starts[number]} of {self.files[number].path}"

    def counted(self, counts: Sequence[int]) -> FileRows:
        """The same files with the numbers of rows that were found in them."""
        pairs = zip(self.files, counts, strict=True)
        files = (replace(file, n_rows=int(count), borders=()) for file, count in pairs)
        return replace(self, files=tuple(files))
