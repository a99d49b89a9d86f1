"""The rows of each rank, where their number is known and any rank can read any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from harpy.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    # The arrays of all ranks, in rank order, from mine: a collective call.
    Gather = Callable[[np.ndarray], list[np.ndarray]]


class HasShape(Protocol):
    """Whatever has rows and knows how many."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, then of columns."""


class EvenShares:
    """The part of a RowSource that is common to rows of known number that any rank can read."""

    def agree_on_rows(self, rank: int, size: int, gather: Gather) -> None:
        """As `RowSource.agree_on_rows`: the number of rows is known already."""
        return

    def share(self: HasShape, rank: int, size: int) -> range:
        """As `RowSource.share`."""
        return shard_of(self.shape[0], rank, size)

    def describe_row(self, row: int) -> str:
        """As `RowSource.describe_row`."""
        return f"row {row}"

    def chunks(self, start: int, stop: int, n_rows: int) -> Iterator[tuple[int, int]]:
        """As `RowSource.chunks`."""
        for first in range(start, stop, n_rows):
            yield first, min(first + n_rows, stop)

    @property
    def dense(self) -> bool:
        """As `RowSource.dense`: False unless a subclass says otherwise."""
        return False

    def write_parts(self, url: str, start: int, values: np.ndarray) -> list[dict[str, Any]]:
        """As `RowSource.write_parts`: refused, since the rows do not lie in files."""
        raise DataError(f"{url}: only values of rows in files are left in parts; use ctx.save")

    def finish_parts(self, url: str, parts: list[dict[str, Any]]) -> None:
        """As `RowSource.finish_parts`: refused, since the rows do not lie in files."""
        raise DataError(f"{url}: only values of rows in files are left in parts; use ctx.save")


def shard_of(n_rows: int, rank: int, size: int) -> range:
    """The rows of one rank: shares that differ by at most one row."""
    return range(rank * n_rows // size, (rank + 1) * n_rows // size)
