"""Arrow's columns as NumPy's arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def numbers(column: pa.Array) -> np.ndarray:
    """The values of a column of numbers without nulls, as a view of Arrow's memory.

    Arrow's own `to_numpy` imports pandas where that is installed: half a second in each worker.
    """
    import pyarrow as pa

    start, values = column.offset, column.buffers()[1]
    if pa.types.is_boolean(column.type):  # eight in a byte
        bits = np.unpackbits(np.frombuffer(values, np.uint8), bitorder="little")
        return bits[start : start + len(column)]
    dtype = np.dtype(column.type.to_pandas_dtype())
    return np.frombuffer(values, dtype, len(column), start * dtype.itemsize)


def chunked_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The same of a column in several pieces."""
    chunks = [numbers(chunk) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks or [np.empty(0)])
