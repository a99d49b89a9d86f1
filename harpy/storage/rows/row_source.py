"""RowSource: the interface of what a shard is loaded from: an array, staged parts or files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from harpy.storage.rows.shares import HasShape

if TYPE_CHECKING:
    import numpy as np

    from harpy.storage.rows.csr import Rows
    from harpy.storage.rows.shares import Gather


class RowSource(HasShape, Protocol):
    """Rows of which a worker reads its share."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows as they are read."""

    def read_rows(self, start: int, stop: int) -> Rows:
        """Read consecutive rows.

        Parameters
        ----------
        start, stop : int
            Global numbers of the first row and of the one after the last.

        Returns
        -------
        ndarray or CsrRows

        Raises
        ------
        DataError
            The rows are not what was described or staged.
        """

    def agree_on_rows(self, rank: int, size: int, gather: Gather) -> None:
        """Make the number of rows known. Called before anything else, by all ranks.

        Where nothing tells the number, all ranks load their shares here and exchange their counts.

        Parameters
        ----------
        rank, size : int
            This worker's number and the number of workers.
        gather : callable
            Gives the arrays of all ranks: a collective call.
        """

    def share(self, rank: int, size: int) -> range:
        """The rows of one rank.

        Parameters
        ----------
        rank, size : int
            Which rank, of how many.

        Returns
        -------
        range
            Global row numbers.
        """

    def describe_row(self, row: int) -> str:
        """Say where a row stands, for people.

        Parameters
        ----------
        row : int
            Its global number.

        Returns
        -------
        str
        """

    def chunks(self, start: int, stop: int, n_rows: int) -> Iterator[tuple[int, int]]:
        """Cut rows into parts that are best read at once.

        Parameters
        ----------
        start, stop : int
            Global numbers of the first row and of the one after the last.
        n_rows : int
            A part has at most so many.

        Returns
        -------
        iterator of (int, int)
            First row of a part and the row after its last.
        """

    @property
    def dense(self) -> bool:
        """Whether read_rows makes an array of all values."""

    def write_parts(self, url: str, start: int, values: np.ndarray) -> list[dict[str, Any]]:
        """Leave values of rows that lie in files, as parts that follow the files.

        Parameters
        ----------
        url : str
            Of the directory.
        start : int
            Global number of the first row.
        values : ndarray of shape (n_rows, …)
            One for each row.

        Returns
        -------
        list of dict
            The manifest's entries.
        """

    def finish_parts(self, url: str, parts: list[dict[str, Any]]) -> None:
        """Write the manifest of the parts of all ranks, then `_SUCCESS`.

        Parameters
        ----------
        url : str
            Of the directory.
        parts : list of dict
            The entries of all ranks, in rank order.
        """
