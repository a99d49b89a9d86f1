"""Control frames: one JSON message with arrays beside it, length-checked and authenticated.

Owns the bytes on the wire between hub, workers and driver. Collectives have frames of their own.

A frame is `header length, body length, counter | header | body | HMAC`. The header is JSON; arrays
anywhere in the message travel in the body as they lie in memory. Nothing is pickled. The counter
starts at 0 and grows by one, so that no frame can be left out, repeated or moved.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harpy.errors import ProtocolError

if TYPE_CHECKING:
    import numpy as np

PREFIX = struct.Struct("!IQQ")
MAC_BYTES = 32
MAX_HEADER_BYTES = 4 << 20
MAX_BODY_BYTES = 1 << 30
MAX_ARRAYS = 1024
MAX_DIMENSIONS = 32
MAX_DEPTH = 100  # of objects and lists in each other
ARRAY_KINDS = "biufcSU"  # numbers and fixed-length strings; no objects, no records
_DTYPE = re.compile(rf"[<>|][{ARRAY_KINDS}][1-9][0-9]{{0,8}}")  # as dtype.str spells it
_ARRAY = "$array"  # {"$array": 3} stands for the third array of the body


def array_bytes(message: Mapping[str, Any]) -> int:
    """Total size of the arrays in a message; TypeError for what cannot be sent."""
    arrays: list[np.ndarray] = []
    _extract(message, arrays)
    return sum(array.nbytes for array in arrays)


class FrameWriter:
    """Encodes messages for one direction of one connection."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def encode(self, message: Mapping[str, Any]) -> bytes:
        """One frame. TypeError for what is neither JSON nor a numeric array."""
        arrays: list[np.ndarray] = []
        body_of = _extract(message, arrays)
        described = [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in arrays]
        header = json.dumps({"message": body_of, "arrays": described}).encode()
        body = b"".join(a.tobytes() for a in arrays)
        if len(header) > MAX_HEADER_BYTES or len(body) > MAX_BODY_BYTES:
            raise ProtocolError(
                f"a control message of {len(header)} + {len(body)} bytes is too large: at most "
                f"{MAX_HEADER_BYTES} of JSON and {MAX_BODY_BYTES} of arrays"
            )
        prefix = PREFIX.pack(len(header), len(body), self._counter)
        self._counter += 1
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (prefix, header, body):
            mac.update(part)
        return b"".join((prefix, header, body, mac.digest()))


class FrameReader:
    """Decodes the bytes of one direction of one connection, in pieces of any size."""

    def __init__(
        self,
        key: bytes,
        max_header_bytes: int = MAX_HEADER_BYTES,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._key = key
        self._counter = 0
        self._max_header = max_header_bytes
        self._max_body = max_body_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take bytes; return the messages they complete.

        Raises
        ------
        ProtocolError
            A frame is too large, forged, out of order or not a message. The connection cannot be
            used any more.
        """
        self._buffer += data
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> dict[str, Any] | None:
        if len(self._buffer) < PREFIX.size:
            return None
        n_header, n_body, counter = PREFIX.unpack_from(self._buffer)
        if n_header > self._max_header or n_body > self._max_body:
            raise ProtocolError(
                f"a frame announces {n_header} + {n_body} bytes, allowed are "
                f"{self._max_header} + {self._max_body}"
            )
        end = PREFIX.size + n_header + n_body
        if len(self._buffer) < end + MAC_BYTES:
            return None
        with memoryview(self._buffer) as view:
            signed, mac = bytes(view[:end]), bytes(view[end : end + MAC_BYTES])
        del self._buffer[: end + MAC_BYTES]
        if not hmac.compare_digest(mac, hmac.digest(self._key, signed, "sha256")):
            raise ProtocolError("a frame does not carry the key of this connection")
        if counter != self._counter:
            raise ProtocolError(f"expected frame {self._counter}, got frame {counter}")
        self._counter += 1
        body_start = PREFIX.size + n_header
        return _decode(signed[PREFIX.size : body_start], memoryview(signed)[body_start:])


def _decode(header: bytes, body: memoryview) -> dict[str, Any]:
    try:
        parsed = json.loads(header)
        message, described = parsed["message"], parsed["arrays"]
        arrays = _read_arrays(described, body)
        restored = _restore(message, arrays, MAX_DEPTH)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as exc:
        raise ProtocolError(f"a frame holds no message: {exc}") from exc
    if not isinstance(restored, dict) or not isinstance(restored.get("type", ""), str):
        raise ProtocolError("a message must be an object, and its type a string")
    return restored


def _read_arrays(described: Any, body: memoryview) -> list[np.ndarray]:
    """The arrays in `body`, as views of it: no memory is allocated for an announced size."""
    if not isinstance(described, list) or len(described) > MAX_ARRAYS:
        raise ValueError(f"expected a list of at most {MAX_ARRAYS} arrays")
    if not described and not len(body):
        return []
    import numpy as np

    arrays, start = [], 0
    for one in described:
        dtype, shape = np.dtype(_checked_dtype(one["dtype"])), _checked_shape(one["shape"])
        stop = start + dtype.itemsize * math.prod(shape)
        if stop > len(body):
            raise ValueError(f"the arrays need {stop} bytes, the frame has {len(body)}")
        # Not reshaped from a flat one: of no elements NumPy takes no buffer.
        arrays.append(np.ndarray(shape, dtype, body[start:stop] if stop > start else None))
        start = stop
    if start != len(body):
        raise ValueError(f"the arrays need {start} bytes, the frame has {len(body)}")
    return arrays


def _checked_dtype(spelled: Any) -> str:
    if not isinstance(spelled, str) or not _DTYPE.fullmatch(spelled):
        raise ValueError(f"no array can be of dtype {spelled!r:.50}")
    return spelled


def _checked_shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not 0 < len(shape) <= MAX_DIMENSIONS:
        raise ValueError(f"an array needs 1 to {MAX_DIMENSIONS} dimensions")
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in shape):
        raise ValueError("no array can be of such a shape")
    return tuple(shape)


def _extract(value: Any, arrays: list[np.ndarray], depth: int = MAX_DEPTH) -> Any:
    """`value` with arrays moved to `arrays` and NumPy's scalars as Python's."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if depth == 0:
        raise TypeError(f"a message can hold at most {MAX_DEPTH} lists and mappings in each other")
    if isinstance(value, Mapping):
        if _ARRAY in value or not all(isinstance(key, str) for key in value):
            raise TypeError(f"keys of a message must be str and not {_ARRAY!r}: {list(value)[:5]}")
        return {key: _extract(item, arrays, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_extract(item, arrays, depth - 1) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "item"):
        if value.ndim == 0:
            return _extract(value.item(), arrays, depth)
        if value.dtype.kind in ARRAY_KINDS:
            arrays.append(value)
            return {_ARRAY: len(arrays) - 1}
    raise TypeError(
        f"messages hold JSON values and numeric arrays, not {type(value).__module__}."
        f"{type(value).__qualname__}"
    )


def _restore(value: Any, arrays: list[np.ndarray], depth: int) -> Any:
    if depth < 0:
        raise ValueError(f"more than {MAX_DEPTH} lists and objects in each other")
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[_checked_index(value[_ARRAY])]
        return {key: _restore(item, arrays, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item, arrays, depth - 1) for item in value]
    return value


def _checked_index(index: Any) -> int:
    if type(index) is not int or index < 0:
        raise ValueError("no array has such a number")
    return index
