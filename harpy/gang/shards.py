"""The staged arrays a worker has open, and its shards of them, kept from run to run."""

from __future__ import annotations

from collections.abc import Iterable

from harpy.storage import FileRows, FileSystems, JobDirectory, RowSource, open_staged
from harpy.storage.rows.cached_rows import CachedRows
from harpy.storage.rows.loading import open_files


class ShardCache:
    """Rows loaded by content hash. A run keeps the inputs that it names; all others are dropped
    before it starts, so that a session never holds more than two runs' inputs.

    Parameters
    ----------
    directory : JobDirectory
    stage_s : float
        Seconds to wait for the driver that stages.
    systems : FileSystems
        Hold the files of datasets.
    n_thread : int
        Threads that decode these files.
    """

    def __init__(
        self, directory: JobDirectory, stage_s: float, systems: FileSystems, n_thread: int
    ) -> None:
        self._directory = directory
        self._stage_s = stage_s
        self._systems, self._n_thread = systems, n_thread
        self._sources: dict[str, CachedRows] = {}

    def keep_only(self, digests: Iterable[str]) -> None:
        """Drop the rows of all other content hashes."""
        wanted = set(digests)
        self._sources = {d: source for d, source in self._sources.items() if d in wanted}

    def open(self, digest: str) -> CachedRows:
        """The staged array of this content; waits until the driver has staged it."""
        if digest not in self._sources:
            directory = self._directory
            staged = open_staged(directory.fs, directory.data(digest), self._stage_s)
            if isinstance(staged, FileRows):
                source: RowSource = open_files(staged, self._systems, self._n_thread)
            else:
                source = staged
            self._sources[digest] = CachedRows(source)
        return self._sources[digest]
