"""Which values k-means takes: finite, with squares that a dtype can hold, and weights with which
inertia does not overflow. Owns the errors for all others; callers check the values.
"""

from __future__ import annotations

import math
from typing import NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harpy.errors import DataError
from harpy.kernels.kmeans.row_forms import NativeRows, dense_rows

WEIGHTS = "sample_weight"  # what users call the weights of rows, and the input that holds them

# Sum over the columns of the squared largest magnitudes. Differences of two values double a
# magnitude and a score adds three such terms: a sixteenth of float32's range keeps all of them
# finite. float64 also leaves room for inertia, a sum over up to 2^60 rows.
LARGEST_INERTIA = math.ldexp(1.0, 1024 - 64)  # of one row, weighted
_LARGEST_SQUARES = {
    np.dtype(np.float32): float(np.finfo(np.float32).max) / 16,
    np.dtype(np.float64): LARGEST_INERTIA,
}


def overflowing_column(absmax: NDArray[np.float64], dtype: DTypeLike) -> int | None:
    """The column to blame when squared distances could overflow.

    Refused is a sum of absmax² over the columns above 1/16 of float32's maximum (2.1e37) or above
    2^960 (9.7e288) in float64.

    Parameters
    ----------
    absmax : IN, ndarray of shape (n_columns,), float64
        Largest magnitude of each column.
    dtype : float32 or float64

    Returns
    -------
    int or None
        The column of the largest magnitude; None where nothing can overflow.
    """
    limit = _LARGEST_SQUARES[np.dtype(dtype)]
    largest = float(absmax[absmax.argmax()]) if len(absmax) else 0.0
    if len(absmax) * largest * largest <= limit:  # as nearly always, and seen sooner
        return None
    with np.errstate(over="ignore"):
        squares = float(np.sum(np.square(absmax)))
    return None if squares <= limit else int(np.argmax(absmax))


def refuse_overflow(
    absmax: NDArray[np.float64], dtype: DTypeLike, what: str, names: NDArray | None = None
) -> None:
    """Raise for values whose squared distances `dtype` cannot hold.

    Parameters
    ----------
    absmax, dtype
        As for `overflowing_column`.
    what : str
        What the values are called, e.g. "X".
    names : ndarray of shape (n_columns,), optional
        Of the columns.

    Raises
    ------
    DataError
        It names the column.
    """
    column = overflowing_column(absmax, dtype)
    if column is None:
        return
    named = f" ({names[column]!r})" if names is not None else ""
    wider = ", or pass float64." if np.dtype(dtype) == np.float32 else "."
    raise DataError(
        f"column {column}{named} of {what} holds a value of magnitude {absmax[column]:.3g}: "
        f"squared distances would overflow {np.dtype(dtype).name}. Scale the columns, e.g. with "
        f"sklearn.preprocessing.StandardScaler{wider}"
    )


def refuse_weights(absmax: NDArray[np.float64], heaviest: float) -> None:
    """Raise for rows that weigh nothing at all, or so much that inertia could overflow.

    Parameters
    ----------
    absmax : IN, ndarray of shape (n_columns,), float64
        Largest magnitude of each column of all rows.
    heaviest : float
        The largest weight of all.

    Raises
    ------
    DataError
    """
    if heaviest == 0:
        raise DataError(f"all {WEIGHTS} are 0: at least one row must have a weight")
    with np.errstate(over="ignore"):
        inertia = float(np.sum(np.square(absmax))) * heaviest
    if inertia > LARGEST_INERTIA:
        raise DataError(
            f"{WEIGHTS} reaches {heaviest:.3g}: weighted squared distances would overflow float64. "
            "Divide all weights by that."
        )


def refuse_not_finite(
    X: NativeRows, bad: tuple[int, int], what: str, where: str | None = None
) -> NoReturn:
    """Raise for a value that is not finite.

    Parameters
    ----------
    X : rows in any form
    bad : (int, int)
        Row and column of the value, counted from 0.
    what : str
        What the rows are called, e.g. "X".
    where : str, optional
        Where the row stands, e.g. "row 7 of <file>".

    Raises
    ------
    DataError
        It names the value and where it is.
    """
    row, column = bad
    value = dense_rows(X, [row])[0, column]
    raise DataError(
        f"{what} has {value} at {where or f'row {row}'}, column {column} (counted from 0): k-means "
        "needs finite values. Drop such rows or fill them, e.g. with sklearn.impute.SimpleImputer."
    )
