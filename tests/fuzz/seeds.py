"""Messages as the gang sends them, and what a seeded generator makes of them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from targets import HUB, PEER, SECRET, WORKER, signed

from harpy.wire.auth import Acceptor, Identity, Initiator, Role

SPEC = {"run": 1, "function": "main", "module": "m", "file": None, "origin": "", "data": {"X": "d"}}
CAUSE = {"kind": "ProgramFailed", "message": "no", "rank": 1, "host": "n", "echo": False}
MESSAGES: list[dict[str, Any]] = [
    {"type": "heartbeat"},
    {"type": "join", "host": "n1", "address": "10.0.0.1", "port": 4000, "pid": 7},
    {"type": "comm", "run": 1, "epoch": 1},
    {"type": "report", "run": 1, "epoch": 1, "failure": None},
    {"type": "report", "run": 1, "epoch": 1, "failure": CAUSE},
    {"type": "committed", "run": 1, "epoch": 1, "result": {"in_file": False, "value": [1]}},
    {"type": "run", "spec": {**SPEC, "params": {"k": 3, "init": {"$array": 0}}, "deliver": True}},
    {"type": "cancel", "run": 1, "reason": "enough"},
    {"type": "close"},
    {"type": "joined", "n": 1, "of": 2},
    {"type": "progress", "run": 1, "rank": 0, "fraction": 0.5, "values": {"iteration": 3}},
    {"type": "pace", "run": 1, "rank": 1, "host": "n1", "busy": 0.9},
    {"type": "output", "run": 1, "rank": 0, "name": "labels", "array": {"$array": 0}},
    {"type": "run_done", "run": 1, "delivered": True, "result": {"in_file": True}},
    {"type": "run_failed", "run": 1, **CAUSE},
    {"type": "session_ended", "reason": "closed", "cause": None},
]
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


MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    "frame_stream": _frames,
    "insider": _insider,
    "driver": header,
    "acceptor": _hello,
    "initiator": _answer,
}


def inputs(target: str, rng: random.Random) -> bytes:
    """One input: half of them well-formed outside, with odd parts inside; half of them torn."""
    made = MAKERS[target](rng)
    return torn(made, rng) if rng.random() < 0.5 else made
