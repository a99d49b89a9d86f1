"""Which rows can be staged, and the hash of their content."""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harpy.cpus import available_cpus
from harpy.errors import DataError
from harpy.storage.rows.arrays import little_endian, row_blocks
from harpy.storage.rows.csr import CsrRows, Rows, arrays_of


class KnownRows(ABC):
    """Rows that were checked before and know the hash of their content."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """As `content_hash` returns it."""


def check_rows(X: Rows | KnownRows) -> None:
    """Refuse what cannot be staged: DataError unless rows of ordinary real numbers."""
    if isinstance(X, KnownRows):
        return
    if not isinstance(X, CsrRows) and (not isinstance(X, np.ndarray) or X.ndim != 2):
        raise DataError(
            f"expected a 2-d numpy array or sparse rows, got {type(X).__name__} "
            f"of shape {getattr(X, 'shape', 'unknown')}"
        )
    # longdouble differs between machines.
    if X.dtype.kind not in "biuf" or X.dtype.itemsize > 8:
        raise DataError(f"expected real numbers of at most 8 bytes, got dtype {X.dtype}")


def content_hash(X: Rows | KnownRows) -> str:
    """A name for the content of rows: dtype, shape and values, in 40 hex digits.

    SHA-256 over the digests of fixed blocks of rows, so that cores can share the work; of sparse
    rows over the blocks of all three arrays; of files over their description.
    """
    if isinstance(X, KnownRows):
        return X.digest
    kind = "csr " if isinstance(X, CsrRows) else ""
    total = hashlib.sha256(f"{kind}{little_endian(X.dtype).str} {X.shape}".encode())
    blocks = itertools.chain.from_iterable(row_blocks(array) for array in arrays_of(X))
    with ThreadPoolExecutor(min(8, available_cpus()), "harpy-hash") as pool:
        for digest in _map_in_order(pool, _digest, blocks):
            total.update(digest)
    return total.hexdigest()[:40]


def _digest(block: np.ndarray) -> bytes:
    return hashlib.sha256(block.reshape(-1).view(np.uint8).data).digest()


def _map_in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[np.ndarray], bytes],
    blocks: Iterator[np.ndarray],
) -> Iterator[bytes]:
    """Like pool.map, but takes only a few blocks ahead: they may be copies."""
    pending = []
    for block in blocks:
        pending.append(pool.submit(function, block))
        if len(pending) >= 16:
            yield pending.pop(0).result()
    for future in pending:
        yield future.result()
