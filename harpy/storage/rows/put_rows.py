"""PutRows: rows in memory that are used several times, hashed and checked once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from harpy.storage.rows.content import KnownRows, check_rows, content_hash
from harpy.storage.rows.csr import CsrRows, Rows, as_rows

if TYPE_CHECKING:
    import numpy as np


class PutRows(KnownRows):
    """Rows whose content is known; made by `harpy.put` and `Session.put`.

    They stand for themselves in `DAALKMeans.fit` and its other methods, in `harpy.kmeans_path` and
    in the `data` of `Session.run`, in as many sessions as you like. A session uploads them at
    their first use, and its workers keep their shards from run to run.

    Parameters
    ----------
    given : ndarray of shape (n_rows, n_columns), or scipy.sparse matrix in CSR format
        Not copied, and not to be changed as long as this is used.

    Attributes
    ----------
    given : ndarray or scipy.sparse matrix
        What was put.
    rows : ndarray or CsrRows
        The same as it travels.
    """

    def __init__(self, given: Any) -> None:
        self.given = given
        self.rows: Rows = as_rows(given)
        check_rows(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_columns)."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.rows.dtype

    @cached_property
    def digest(self) -> str:
        """The hash of the content; computed once, by a pass over the rows."""
        return content_hash(self.rows)

    def holds(self, rows: Any) -> bool:
        """Whether these are the very rows that were put, in the same memory.

        Parameters
        ----------
        rows : Any
            What to compare.

        Returns
        -------
        bool
        """
        if rows is self.given:
            return True
        parts = ("data", "indices", "indptr")
        return (
            isinstance(self.rows, CsrRows)
            and getattr(rows, "format", None) == "csr"
            and rows.shape == self.given.shape
            and all(getattr(rows, part) is getattr(self.given, part) for part in parts)
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        kind = "sparse " if isinstance(self.rows, CsrRows) else ""
        return f"<PutRows: {kind}{self.shape[0]} x {self.shape[1]} {self.dtype}>"
