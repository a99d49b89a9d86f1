"""RowSource: what a shard is loaded from, whatever it is: an array, staged parts, files."""

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
    def dtype(self) -> np.dtype[Any]: ...

    def read_rows(self, start: int, stop: int) -> Rows:
        """Rows `start` to `stop` (exclusive)."""

    def agree_on_rows(self, rank: int, size: int, gather: Gather) -> None:
        """Called before anything else: where the number of rows is not known yet, all ranks load
        their shares here and tell each other."""

    def share(self, rank: int, size: int) -> range:
        """The rows of one rank."""

    def describe_row(self, row: int) -> str:
        """Where a row stands, for people."""

    def chunks(self, start: int, stop: int, n_rows: int) -> Iterator[tuple[int, int]]:
        """Rows `start` to `stop` in parts of at most `n_rows` that are best read at once."""

    @property
    def dense(self) -> bool:
        """Whether read_rows makes an array of all values."""

    def write_parts(self, url: str, start: int, values: np.ndarray) -> list[dict[str, Any]]:
        """Leave the values of rows from `start` on below `url`; the manifest's entries."""

    def finish_parts(self, url: str, parts: list[dict[str, Any]]) -> None:
        """Say below `url` that the parts of all ranks are there."""
