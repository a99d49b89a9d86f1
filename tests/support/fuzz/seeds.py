"""Messages as the gang sends them, and what a seeded generator makes of them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from harpy.wire.auth import Acceptor, Identity, Initiator, Role
from harpy.wire.message import Heartbeat
from tests.support.fuzz.targets import HUB, PEER, SECRET, WORKER, signed
from tests.support.wire_examples import (
    ANSWERS,
    FAILURE,
    FROM_DRIVER,
    FROM_WORKER,
    HELLO,
    JOB,
    TO_DRIVER,
    TO_WORKER,
)


def _as_json(value: Any) -> Any:
    """A message as the header of a frame has it, its arrays all the first of the body."""
    if isinstance(value, dict):
        return {name: _as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return {"$array": 0} if isinstance(value, np.ndarray) else value


EXAMPLES = (Heartbeat(), *FROM_WORKER, *FROM_DRIVER, *TO_WORKER, *ANSWERS, *TO_DRIVER)
MESSAGES: list[dict[str, Any]] = [_as_json(example.to_wire()) for example in EXAMPLES]
ARRAY = {"dtype": "<f8", "shape": [2, 1]}
# Values that upset who takes the type of a part for granted.
ODD: list[Any] = [
    *(None, True, -1, 0, 1 << 31, 1 << 63, 10**30, 0.5, float("inf"), float("nan"), "", "$array"),
    *("\x00", "\ud800", "9" * 300, [], {}, [[]], {"$array": 0}, {"$array": -1}, {"$array": 1e400}),
    *("O", "<f8", "<U0", "|S1", "<M8[s]", "f8,f8", "(9,9)f8", ["<f8"], [1 << 40, 1 << 40], [-1]),
]


def header(rng: random.Random) -> bytes:
    """A message's JSON with a few of its parts replaced."""
    whole = {"message": rng.choice(MESSAGES), "arrays": [ARRAY] * rng.randrange(2)}
    whole = json.loads(json.dumps(whole))
    for _ in range(rng.randrange(4)):
        _replace_a_part(whole, rng)
    return json.dumps(whole).encode()


def _replace_a_part(value: Any, rng: random.Random) -> None:
    """Walk down at random, put something odd where the way ends."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        if not isinstance(value[key], dict | list) or rng.random() < 0.3:
            value[key] = copy.deepcopy(rng.choice(ODD))
            return
        value = value[key]


def torn(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, left out, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                changed[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 1:
                del changed[at : at + rng.randrange(1, 9)]
            case 2:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                changed[at : at + 8] = rng.choice((b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7))
            case _:
                changed = changed[: max(at, 1)]
    return bytes(changed)


def _hello(rng: random.Random) -> bytes:
    me = rng.choice((WORKER, PEER, HUB, Identity(Role.DRIVER)))
    return Initiator(SECRET, "job", me, HUB).hello


def _answer(rng: random.Random) -> bytes:
    me, caller = rng.choice(((HUB, WORKER), (Identity(Role.PEER, 0, 0, 1), PEER)))
    return Acceptor(SECRET, "job", me).receive(Initiator(SECRET, "job", caller, me).hello)


def _frames(rng: random.Random) -> bytes:
    n_frames = rng.randrange(1, 4)
    bodies = [rng.randbytes(rng.choice((0, 16))) for _ in range(n_frames)]
    return b"".join(signed(header(rng), body, n) for n, body in enumerate(bodies))


def _insider(rng: random.Random) -> bytes:
    body = rng.randbytes(rng.choice((0, 8, 16, 16, 16)))
    return bytes([len(body)]) + header(rng) + body


def _line(rng: random.Random) -> bytes:
    lines = (HELLO.to_line(), FAILURE.to_line(), json.dumps(JOB.to_wire()))
    whole = json.loads(rng.choice(lines))
    for _ in range(rng.randrange(4)):
        _replace_a_part(whole, rng)
    return json.dumps(whole).encode()


MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    "frame_stream": _frames,
    "insider": _insider,
    "driver": header,
    "worker": header,
    "launcher_line": _line,
    "acceptor": _hello,
    "initiator": _answer,
}


def inputs(target: str, rng: random.Random) -> bytes:
    """One input: half of them well-formed outside, with odd parts inside; half of them torn."""
    made = MAKERS[target](rng)
    return torn(made, rng) if rng.random() < 0.5 else made
