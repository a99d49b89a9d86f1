"""Control frames carry messages and arrays unchanged, and refuse everything else."""

from __future__ import annotations

import contextlib
import hmac
import json
import tracemalloc

import numpy as np
import pytest

from harpy.errors import ProtocolError
from harpy.wire.frames import MAX_DEPTH, PREFIX, FrameReader, FrameWriter

KEY = b"k" * 32


def frame(header: bytes, body: bytes = b"", counter: int = 0, key: bytes = KEY) -> bytes:
    """A frame of any content with a right HMAC."""
    signed = PREFIX.pack(len(header), len(body), counter) + header + body
    return signed + hmac.digest(key, signed, "sha256")


def with_arrays(arrays: list[dict], body: bytes = b"") -> bytes:
    return frame(json.dumps({"message": {}, "arrays": arrays}).encode(), body)


def test_messages_with_arrays_come_back_equal():
    message = {
        "type": "run",
        "params": {"k": 3, "tol": 1e-4, "nested": [{"deep": [None, True, "ä"]}]},
        "centers": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "empty": np.zeros((0, 4)),
        "names": np.array(["a", "bcd"]),
        "number": np.float64(0.5),
    }
    (back,) = FrameReader(KEY).feed(FrameWriter(KEY).encode(message))
    for name in ("centers", "empty", "names"):
        np.testing.assert_array_equal(back.pop(name), message.pop(name), strict=True)
    assert back == message


def test_frames_in_any_pieces_come_out_in_order():
    writer, reader = FrameWriter(KEY), FrameReader(KEY)
    stream = b"".join(writer.encode({"n": n, "a": np.arange(n)}) for n in range(5))
    received = [m for i in range(0, len(stream), 7) for m in reader.feed(stream[i : i + 7])]
    assert [message["n"] for message in received] == [0, 1, 2, 3, 4]


def test_a_changed_byte_anywhere_is_noticed():
    good = FrameWriter(KEY).encode({"type": "close", "a": np.arange(3)})
    # The first bytes are lengths: changing them may only make the reader wait, never accept.
    for position in range(0, len(good), 5):
        bad = bytearray(good)
        bad[position] ^= 4
        with contextlib.suppress(ProtocolError):
            assert FrameReader(KEY).feed(bytes(bad)) == []


def test_another_key_is_refused():
    with pytest.raises(ProtocolError, match="key of this connection"):
        FrameReader(b"x" * 32).feed(FrameWriter(KEY).encode({}))


def test_a_repeated_frame_is_refused():
    once = FrameWriter(KEY).encode({"type": "close"})
    reader = FrameReader(KEY)
    reader.feed(once)
    with pytest.raises(ProtocolError, match="expected frame 1, got frame 0"):
        reader.feed(once)


def test_a_left_out_frame_is_noticed():
    writer, reader = FrameWriter(KEY), FrameReader(KEY)
    writer.encode({})
    with pytest.raises(ProtocolError, match="expected frame 0, got frame 1"):
        reader.feed(writer.encode({}))


@pytest.mark.parametrize(("header", "body"), [(1 << 31, 0), (2, 1 << 62)])
def test_a_huge_frame_is_refused_from_its_announcement(header, body):
    with pytest.raises(ProtocolError, match="allowed are"):
        FrameReader(KEY).feed(PREFIX.pack(header, body, 0))


@pytest.mark.parametrize(
    "bad",
    [
        frame(b"no json"),
        frame(b"[]"),
        frame(b'{"message": [], "arrays": []}'),
        frame(b'{"message": {"a": {"$array": 0}}, "arrays": []}'),
        frame(b'{"message": ' + b"[" * 3000 + b"]" * 3000 + b', "arrays": []}'),
        with_arrays([{"dtype": "O", "shape": [1]}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": [-1]}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": [2]}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": [1 << 62, 1 << 62]}], b"12345678"),
        with_arrays([], b"left over"),
        with_arrays([{"dtype": "f8,f8", "shape": [1]}], b"1" * 16),
        with_arrays([{"dtype": "<f8", "shape": [1]}] * 2000, b"1" * 16000),
        with_arrays([{"dtype": "<f8", "shape": []}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": [1] * 40}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": [1.0]}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": [float("inf")]}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": [True]}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": "1"}], b"12345678"),
        with_arrays([{"dtype": "<f8", "shape": [0, 1 << 40, 1 << 40, 1 << 40]}]),
        with_arrays([{"dtype": "<U0", "shape": [1 << 40]}]),
        with_arrays([{"dtype": "<U999999999", "shape": [1 << 40]}]),
        with_arrays([{"dtype": "(9999,9999)f8", "shape": [0]}]),
        with_arrays([{"dtype": ["<f8"], "shape": [0]}]),
        with_arrays({"dtype": "<f8", "shape": [0]}),  # type: ignore[arg-type]
        with_arrays(7),  # type: ignore[arg-type]
        frame(
            b'{"message": {"a": {"$array": -1}}, "arrays": [{"dtype": "|u1", "shape": [1]}]}', b"x"
        ),
        frame(b'{"message": {"a": {"$array": 1e400}}, "arrays": []}'),
        frame(b'{"message": {"type": ["run"]}, "arrays": []}'),
        frame(b'{"message": {"a": ' + b"9" * 5000 + b'}, "arrays": []}'),
        frame(b'{"message": {"a": "\xff"}, "arrays": []}'),
        frame(b'{"message": ' + b'{"a":' * 101 + b"1" + b"}" * 101 + b', "arrays": []}'),
        frame(b"[" * (4 << 20)),
        frame(b'{"a":' * (800 << 10)),
    ],
    ids=[
        "text",
        "list",
        "list message",
        "array not there",
        "deep",
        "objects",
        "negative",
        "short",
        "enormous",
        "left over",
        "record",
        "many arrays",
        "no dimension",
        "many dimensions",
        "float size",
        "infinite size",
        "bool size",
        "text as shape",
        "empty but enormous",
        "items of no size",
        "items of any size",
        "nested dtype",
        "list as dtype",
        "object of arrays",
        "number of arrays",
        "array from the end",
        "array of infinite number",
        "list as type",
        "long number",
        "no text",
        "deep enough to trouble whoever sends it on",
        "4 MB of brackets",
        "4 MB of objects",
    ],
)
def test_well_signed_nonsense_is_refused(bad):
    reader = FrameReader(KEY)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            reader.feed(bad)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(bad) + (1 << 20), "more than what was sent was made room for"


def test_what_a_message_may_hold_in_each_other_is_the_same_at_both_ends():
    deep: dict = {}
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    assert FrameReader(KEY).feed(FrameWriter(KEY).encode(deep)) == [deep]
    with pytest.raises(TypeError, match="at most 100 lists and mappings"):
        FrameWriter(KEY).encode({"a": deep})


def test_arrays_are_views_of_what_came():
    (back,) = FrameReader(KEY).feed(FrameWriter(KEY).encode({"x": np.ones(1000)}))
    assert back["x"].base is not None
    assert not back["x"].flags.writeable


@pytest.mark.parametrize(
    "message",
    [
        {"x": object()},
        {"x": {1, 2}},
        {1: 2},
        {"$array": 0},
        {"x": np.array([None])},
        {"x": b"bytes"},
        {"x": lambda: None},
    ],
    ids=["object", "set", "int key", "reserved", "object array", "bytes", "function"],
)
def test_what_is_not_json_or_an_array_is_not_sent(message):
    with pytest.raises(TypeError):
        FrameWriter(KEY).encode(message)


def test_an_unsendable_message_does_not_break_the_count():
    writer, reader = FrameWriter(KEY), FrameReader(KEY)
    with pytest.raises(TypeError):
        writer.encode({"x": object()})
    assert reader.feed(writer.encode({"ok": 1})) == [{"ok": 1}]
