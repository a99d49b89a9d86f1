"""Staging the rows of one job: each content once, into the job directory.

How rows are written and found again is harpy.storage's; what may end it early is follower.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harpy.launch.base import FileRange
from harpy.session.gang_job import Shares
from harpy.session.job_files import JobFiles
from harpy.session.progress import Progress, Timings
from harpy.storage import FileRows, PutRows, Rows, check_rows, content_hash, stage_array

MAX_RANGES = 16  # of a rank's files, by which it is placed: the NameNode is asked for each

AnyRows = Rows | PutRows | FileRows


class Staging:
    """The rows of one job that are staged.

    Parameters
    ----------
    n_node : int
        Ranks that share the rows.
    files : JobFiles
        Has the job directory that the rows go into.
    """

    def __init__(self, n_node: int, files: JobFiles, progress: Progress, timings: Timings) -> None:
        self._n_node, self._files = n_node, files
        self._progress, self._timings = progress, timings
        self._staged: set[str] = set()

    def stage(
        self, array: AnyRows, watch: Callable[[float], None], digest: str | None = None
    ) -> None:
        """Stage rows, unless their content is staged already.

        Parameters
        ----------
        watch : callable
            Called repeatedly with the fraction done; an error that it raises ends the staging.
        digest : str, optional
            The rows' content hash, if it is known.
        """
        check_rows(array)
        digest = digest or content_hash(array)
        if digest in self._staged:
            return
        self._progress.stage(f"staging {_described(array)}")
        directory = self._files.directory
        stage_array(directory.fs, directory.data(digest), array, self._n_node, watch)
        self._staged.add(digest)
        self._timings.mark("staged")


def shares_of(data: Mapping[str, AnyRows], n_node: int) -> Shares:
    """What each rank reads of the files on HDFS, its largest pieces: they decide where it runs."""
    on_hdfs = [rows for rows in data.values() if isinstance(rows, FileRows) and rows.on_hdfs]
    if not on_hdfs:
        return ()
    shares = []
    for rank in range(n_node):
        ranges = [range_ for rows in on_hdfs for range_ in rows.byte_ranges(rank, n_node)]
        largest = sorted(ranges, key=lambda found: -found[2])[:MAX_RANGES]
        shares.append(tuple(FileRange(*found) for found in largest))
    return tuple(shares)


def _described(rows: AnyRows) -> str:
    if isinstance(rows, FileRows):
        return f"nothing: {len(rows.files)} {rows.format} files are read where they lie"
    return f"{rows.shape[0]} x {rows.shape[1]} {rows.dtype}"
