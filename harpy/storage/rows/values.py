"""What programs take and return, as files: nested JSON values with arrays and NumPy scalars.

Strict both ways: only what comes back equal is written, and nothing is unpickled. Small arrays are
kept inside the JSON file (a file costs HDFS half a second to close), others beside it as `.npy`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from harpy.errors import DataError
from harpy.storage.fs.base import FileSystem
from harpy.storage.rows.arrays import NpyFile, little_endian, write_npy
from harpy.wire.versions import VALUES

ARRAY_KINDS = "biufcSU"  # numbers, booleans and strings of fixed length: no pickle needed
_INLINE_BYTES = 64 << 10
_ARRAY, _FLOAT = "$array", "$float"  # reserved keys


def write_value(fs: FileSystem, path: str, value: Any) -> None:
    """Write a value to `path` (`.json`), arrays above 64 KiB to `.npy` files beside it.

    Parameters
    ----------
    value : None, bool, int, float, str, list, tuple, Mapping[str, …], ndarray or NumPy scalar
        Nested at will. Tuples come back as lists, NumPy scalars as Python numbers.

    Raises
    ------
    DataError
        Something in it is of another type; the message says where.
    """
    check_value(value)
    stem = path.removesuffix(".json")
    large: list[np.ndarray] = []
    text = json.dumps({"format": VALUES, "value": _encode(value, large)}, allow_nan=False)
    for number, array in enumerate(large):
        write_npy(fs, f"{stem}-{number}.npy", array)
    fs.write_bytes(path, text.encode(), overwrite=True)


def read_value(fs: FileSystem, path: str) -> Any:
    """What `write_value` wrote."""
    try:
        document = json.loads(fs.read_bytes(path))
        if document["format"] != VALUES:
            raise ValueError(f"format {document['format']}, this harpy reads {VALUES}")
        return _decode(document["value"], fs, path.removesuffix(".json"))
    except (KeyError, TypeError, ValueError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError(f"{path} is not a value written by harpy: {exc}") from exc


def check_value(value: Any, where: str = "value") -> None:
    """Refuse what `write_value` could not write; DataError says where in the value it is."""
    if isinstance(value, np.generic):
        value = value.item()
    # Faster than isinstance with a union.
    if value is None or isinstance(value, (bool, int, float, str)):
        return
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in ARRAY_KINDS:
            expected = "expected numbers or strings"
            raise DataError(f"{where} is an array of dtype {value.dtype}; {expected}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_value(item, f"{where}[{number}]")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or key in (_ARRAY, _FLOAT):
                raise DataError(f"{where} has the key {key!r}; keys must be str, not reserved")
            check_value(item, f"{where}[{key!r}]")
    else:
        raise DataError(
            f"{where} is a {type(value).__name__}; expected None, bool, int, float, str, list, "
            "dict or numpy array"
        )


def _encode(value: Any, large: list[np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        return {_ARRAY: _encode_array(value, large)}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, list | tuple):
        return [_encode(item, large) for item in value]
    if isinstance(value, Mapping):
        return {key: _encode(item, large) for key, item in value.items()}
    return value


def _encode_array(array: np.ndarray, large: list[np.ndarray]) -> dict[str, Any]:
    if array.nbytes > _INLINE_BYTES:
        large.append(array)
        return {"file": len(large) - 1}
    dtype = little_endian(array.dtype)
    data = np.ascontiguousarray(array, dtype=dtype).tobytes()
    return {
        "dtype": dtype.str,
        "shape": list(array.shape),
        "base64": base64.b64encode(data).decode("ascii"),
    }


def _decode(value: Any, fs: FileSystem, stem: str) -> Any:
    if isinstance(value, list):
        return [_decode(item, fs, stem) for item in value]
    if not isinstance(value, dict):
        return value
    if _FLOAT in value:
        return float(value[_FLOAT])
    if _ARRAY not in value:
        return {key: _decode(item, fs, stem) for key, item in value.items()}
    array = value[_ARRAY]
    if "file" in array:
        return NpyFile(fs, f"{stem}-{int(array['file'])}.npy").read()
    data = base64.b64decode(array["base64"], validate=True)
    return np.frombuffer(data, np.dtype(array["dtype"])).reshape(array["shape"]).copy()


def read_array_parts(fs: FileSystem, directory: str) -> np.ndarray:
    """The `.npy` parts of all ranks in `directory`, one below the other, in rank order.

    Raises
    ------
    DataError
        There is none, or their dtypes or columns differ.
    """
    names = sorted(e.name for e in fs.list(directory) if e.name.startswith("part-"))
    if not names:
        raise DataError(f"{directory} holds no parts")
    parts = [NpyFile(fs, f"{directory}/{name}") for name in names]
    first = parts[0]
    for part in parts[1:]:
        if part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
            raise DataError(
                f"the ranks saved arrays that do not fit: {first.path} is {first.dtype} "
                f"{first.shape}, {part.path} is {part.dtype} {part.shape}"
            )
    out = np.empty((sum(part.shape[0] for part in parts), *first.shape[1:]), first.dtype)
    row = 0
    for part in parts:
        part.read_into(out[row : row + part.shape[0]])
        row += part.shape[0]
    return out


def write_array_part(fs: FileSystem, path: str, array: np.ndarray) -> None:
    """Write one rank's rows of an output; at least 1-d, numbers or fixed-length strings."""
    if array.ndim == 0 or array.dtype.kind not in ARRAY_KINDS:
        raise DataError(
            f"cannot save an array of dtype {array.dtype} and shape {array.shape}: expected "
            "numbers with at least one dimension; return single values from the program instead"
        )
    write_npy(fs, path, array)
