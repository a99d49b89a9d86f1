"""The staged arrays a worker has open, and its shards of them, kept from run to run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from harpy.storage import JobDirectory, Rows, StagedArray, StagedCsr, open_staged


class ShardCache:
    """Rows loaded by content hash. A run keeps what it names; the rest is let go before it starts,
    so that a session never holds more than two runs' inputs."""

    def __init__(self, directory: JobDirectory, stage_s: float) -> None:
        self._directory = directory
        self._stage_s = stage_s
        self._sources: dict[str, CachedRows] = {}

    def keep_only(self, digests: Iterable[str]) -> None:
        wanted = set(digests)
        self._sources = {d: source for d, source in self._sources.items() if d in wanted}

    def open(self, digest: str) -> CachedRows:
        """The staged array of this content; waits until the driver has staged it."""
        if digest not in self._sources:
            directory = self._directory
            staged = open_staged(directory.fs, directory.data(digest), self._stage_s)
            self._sources[digest] = CachedRows(staged)
        return self._sources[digest]


class CachedRows:
    """RowSource over a staged array that remembers the rows read last."""

    def __init__(self, staged: StagedArray | StagedCsr) -> None:
        self._staged = staged
        self.shape: tuple[int, ...] = staged.shape
        self.dtype: np.dtype[Any] = staged.dtype
        self._which: tuple[int, int] | None = None
        self._rows: Rows | None = None

    def read_rows(self, start: int, stop: int) -> Rows:
        if self._rows is None or self._which != (start, stop):
            self._rows, self._which = None, None  # never two shards at once
            self._rows = self._staged.read_rows(start, stop)
            self._which = (start, stop)
        return self._rows
