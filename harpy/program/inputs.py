"""The inputs of a run as a program sees them: `ctx.data`. Where rows come from is left to
harpy.storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harpy.errors import DataError
from harpy.storage.rows.row_source import RowSource

if TYPE_CHECKING:
    import numpy as np

    from harpy.storage import Rows, SpilledRows
    from harpy.storage.rows.shares import Gather


class ShardedArray:
    """One input of a run, split over the ranks by rows.

    How many rows text files hold is known when all ranks have read their shares: of such an input
    the first use of any attribute or method is a collective call.

    Parameters
    ----------
    name : str
        Of the input, for messages.
    open_source : callable
        Opens the rows when they are first used.
    rank, size : int
        This worker's number and the number of workers.
    gather : callable
        Gives the arrays of all ranks: a collective call.
    scratch : str
        A folder on a local disk, for rows that exceed the memory.

    Attributes
    ----------
    shape : tuple of int
        Of the whole array.
    dtype : dtype
    rows : range
        The global row numbers of this rank's shard: [r*n/w, (r+1)*n/w) of rank r of w; of rows in
        files nearly so, where a row group, a block or a line begins.
    """

    def __init__(
        self,
        name: str,
        open_source: Callable[[], RowSource],
        rank: int,
        size: int,
        gather: Gather,
        scratch: str,
    ) -> None:
        self._name = name
        self._open_source = open_source
        self._rank, self._size = rank, size
        self._gather, self._scratch = gather, scratch

    @cached_property
    def _source(self) -> RowSource:
        source = self._open_source()
        source.agree_on_rows(self._rank, self._size, self._gather)
        return source

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""
        return self._source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values, as `load` gives them."""
        return self._source.dtype

    @cached_property
    def rows(self) -> range:
        """The global row numbers of this rank's shard."""
        return self._source.share(self._rank, self._size)

    def load(self, rows: range | None = None) -> Rows:
        """Read this rank's rows; waits for the staging.

        Parameters
        ----------
        rows : range, optional
            Others than those of this rank's shard: the rows of another input that these belong to.

        Returns
        -------
        ndarray of shape (len(rows), …), or harpy.storage.CsrRows where the driver gave sparse rows
            Read-only.

        Raises
        ------
        DataError
            The rows were not staged in time, or a file is not as it was described.
        StorageError
            The file system failed.
        """
        from harpy.storage import arrays_of

        wanted = self.rows if rows is None else rows
        loaded = self._source.read_rows(wanted.start, wanted.stop)
        for array in arrays_of(loaded):
            # It may be the caller's own array, or be kept for the next run.
            array.flags.writeable = False
        return loaded

    @property
    def dense(self) -> bool:
        """Whether `load` reads an array of all values, and `spill` is an alternative."""
        return self._source.dense

    def spill(self) -> SpilledRows:
        """Copy this rank's rows to a file on a local disk, to be read block by block.

        For rows that exceed `Context.memory`.

        Returns
        -------
        SpilledRows

        Raises
        ------
        DataError
            The disk has not enough room.
        """
        from harpy.storage.rows.cached_rows import CachedRows

        assert isinstance(self._source, CachedRows) and self.dense
        return self._source.spill(self.rows.start, self.rows.stop, self._scratch)

    def save(self, url: str, values: Any) -> None:
        """Leave values of this rank's rows, which lie in files, as parts in a directory.

        A part is a `.npy` file that never spans two input files; a manifest follows, and
        `_SUCCESS` comes last. All ranks must call it.

        Parameters
        ----------
        url : str
            Of the directory, which exists.
        values : ndarray of shape (len(rows), …)
            One for each row of this rank's shard.

        Raises
        ------
        DataError
            There are more or fewer values than rows, or the rows do not lie in files.
        """
        import json

        import numpy as np

        if len(values) != len(self.rows):
            raise DataError(f"{url}: expected values of {len(self.rows)} rows, got {len(values)}")
        mine = self._source.write_parts(url, self.rows.start, np.asarray(values))
        told = self._gather(np.frombuffer(json.dumps(mine).encode(), np.uint8))
        if self._rank == 0:
            parts = [part for each in told for part in json.loads(each.tobytes())]
            self._source.finish_parts(url, parts)

    def describe_row(self, row: int) -> str:
        """Say where a row stands, for messages.

        Parameters
        ----------
        row : int
            Its global number.

        Returns
        -------
        str
            "row 7", or "row 7 of <file>".
        """
        return self._source.describe_row(row)

    def __repr__(self) -> str:
        return f"ShardedArray({self._name!r}, rank {self._rank} of {self._size})"


class Inputs(Mapping[str, ShardedArray]):
    """`ctx.data`: the inputs of a run by name.

    Parameters
    ----------
    arrays : mapping of str to ShardedArray
        The inputs.

    Raises
    ------
    DataError
        By `[name]`: there is no such input; the message names those there are.
    """

    def __init__(self, arrays: Mapping[str, ShardedArray]) -> None:
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> ShardedArray:
        if name not in self._arrays:
            known = ", ".join(sorted(self._arrays)) or "none"
            raise DataError(f"this run has no input {name!r}; it has: {known}")
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Any:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)
