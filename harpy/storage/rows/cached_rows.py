"""Rows of a source that were read last, kept from run to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.storage.rows.csr import Rows
from harpy.storage.rows.row_source import RowSource
from harpy.storage.rows.spill import SpilledRows

if TYPE_CHECKING:
    from harpy.storage.rows.shares import Gather


class CachedRows:
    """RowSource over another that remembers the rows read last, in memory or spilled."""

    def __init__(self, source: RowSource) -> None:
        self.source = source
        self._which: tuple[int, int] | None = None
        self._rows: Rows | SpilledRows | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As `RowSource.shape`."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As `RowSource.dtype`."""
        return self.source.dtype

    def agree_on_rows(self, rank: int, size: int, gather: Gather) -> None:
        """As `RowSource.agree_on_rows`."""
        self.source.agree_on_rows(rank, size, gather)

    def share(self, rank: int, size: int) -> range:
        """As `RowSource.share`."""
        return self.source.share(rank, size)

    def describe_row(self, row: int) -> str:
        """As `RowSource.describe_row`."""
        return self.source.describe_row(row)

    def write_parts(self, url: str, start: int, values: np.ndarray) -> list[dict[str, Any]]:
        """As `RowSource.write_parts`."""
        return self.source.write_parts(url, start, values)

    def finish_parts(self, url: str, parts: list[dict[str, Any]]) -> None:
        """As `RowSource.finish_parts`."""
        self.source.finish_parts(url, parts)

    def chunks(self, start: int, stop: int, n_rows: int) -> Iterator[tuple[int, int]]:
        """As `RowSource.chunks`."""
        return self.source.chunks(start, stop, n_rows)

    @property
    def dense(self) -> bool:
        """As `RowSource.dense`."""
        return self.source.dense

    def read_rows(self, start: int, stop: int) -> Rows:
        """As `RowSource.read_rows`."""
        rows = self._rows
        if rows is None or isinstance(rows, SpilledRows) or self._which != (start, stop):
            self._release()
            self._rows = rows = self.source.read_rows(start, stop)
            self._which = (start, stop)
        return rows

    def spill(self, start: int, stop: int, folder: str) -> SpilledRows:
        """The same rows in a file below `folder`."""
        rows = self._rows
        if not isinstance(rows, SpilledRows) or self._which != (start, stop):
            self._release()
            self._rows = rows = SpilledRows(self.source, start, stop, folder)
            self._which = (start, stop)
        return rows

    def _release(self) -> None:
        """Drop the rows kept so far: there are never two shards at once."""
        if isinstance(self._rows, SpilledRows):
            self._rows.close()
        self._rows, self._which = None, None
