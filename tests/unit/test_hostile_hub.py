"""Driver and worker meet a hub that is none, or has gone mad: one error in time, and no harm."""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from harpy.config import Deadlines
from harpy.errors import AuthenticationError, GangError, PeerLost, ProtocolError
from harpy.gang.link import Link, await_admission
from harpy.session.control import ControlChannel
from harpy.wire import to_worker
from harpy.wire.auth import HELLO, Acceptor, Identity, Initiator, Role
from harpy.wire.channel import Channel
from harpy.wire.frames import PREFIX, FrameWriter
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_driver import Joined

SECRET = b"s" * 32
HUB = Identity(Role.HUB, 0, 0)
DEADLINES = Deadlines(handshake_s=0.6, silence_s=0.6)
SOON_S = 10.0


@contextmanager
def hub(behaviour: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Its first caller is treated so, the second, for heartbeats, let in and hears none; the
    connections stay open until the block ends."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def treat(sock: socket.socket, so: Callable[[socket.socket], Any]) -> None:
            with sock, contextlib.suppress(OSError):
                sock.settimeout(SOON_S)
                so(sock)
                over.wait(SOON_S)

        def serve() -> None:
            with contextlib.suppress(OSError):  # the listener is closed at the end
                for so in (behaviour, answer):
                    sock, _ = listener.accept()
                    threads.append(threading.Thread(target=treat, args=(sock, so), daemon=True))
                    threads[-1].start()

        threads = [threading.Thread(target=serve, daemon=True)]
        threads[0].start()
        try:
            yield listener.getsockname()
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(SOON_S)


def connect(address: tuple[str, int]) -> ControlChannel:
    return ControlChannel.connect(*address, SECRET, "job", DEADLINES)


def receive(sock: socket.socket, n_bytes: int) -> bytes:
    return sock.recv(n_bytes, socket.MSG_WAITALL)


def answer(sock: socket.socket, me: Identity = HUB, secret: bytes = SECRET) -> Acceptor:
    acceptor = Acceptor(secret, "job", me)
    sock.sendall(acceptor.receive(receive(sock, HELLO.size)))
    return acceptor


def hang_up(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)


def cut_short(sock: socket.socket) -> None:
    acceptor = Acceptor(SECRET, "job", HUB)
    sock.sendall(acceptor.receive(receive(sock, HELLO.size))[:-1])


def dribble(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"H")
        time.sleep(0.05)


def replay(sock: socket.socket) -> None:
    """The answer of a real hub, to another hello."""
    other = bytearray(receive(sock, HELLO.size))
    other[-1] ^= 1
    sock.sendall(Acceptor(SECRET, "job", HUB).receive(bytes(other)))


def another_version(sock: socket.socket) -> None:
    said = Acceptor(SECRET, "job", HUB).receive(receive(sock, HELLO.size))
    sock.sendall(said[:6] + b"\0\x09" + said[8:])


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (lambda sock: None, TimeoutError),
        (hang_up, PeerLost),
        (cut_short, TimeoutError),
        (dribble, TimeoutError),
        (lambda sock: sock.sendall(bytes(1 << 20)), PeerLost),
        (lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 9), PeerLost),
        (lambda sock: sock.sendall(receive(sock, HELLO.size)), AuthenticationError),
        (replay, AuthenticationError),
        (another_version, AuthenticationError),
        (lambda sock: answer(sock, secret=b"x" * 32), AuthenticationError),
        (lambda sock: answer(sock, me=Identity(Role.HUB, 1, 0)), AuthenticationError),
    ],
    ids=[
        "silent",
        "hangs up",
        "cut short",
        "slow",
        "enormous",
        "HTTP",
        "reflection",
        "replay",
        "version",
        "secret",
        "rank",
    ],
)
def test_one_that_cannot_prove_itself_is_left_in_time(behaviour: Any, kind: type) -> None:
    with hub(behaviour) as address:
        began = time.monotonic()
        with pytest.raises(kind):
            connect(address)
        assert time.monotonic() - began < SOON_S / 2


def frame(key: bytes, header: bytes, counter: int = 0) -> bytes:
    signed = PREFIX.pack(len(header), 0, counter) + header
    return signed + hmac.digest(key, signed, "sha256")


def message(said: Any) -> bytes:
    return json.dumps({"message": said, "arrays": []}).encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda key: PREFIX.pack(1 << 31, 0, 0),
        lambda key: PREFIX.pack(0, 1 << 40, 0),
        lambda key: frame(b"k" * 32, message({"type": "joined", "n": 1, "of": 1})),
        lambda key: frame(key, message({"type": "joined", "n": 1, "of": 1}), counter=1),
        lambda key: frame(key, b"[" * 100_000),
        lambda key: frame(key, message({"type": "surprise"})),
        lambda key: frame(key, message({"type": "joined", "n": "1", "of": 1})),
        lambda key: frame(key, message({"type": "run_done", "run": [1]})),
        lambda key: frame(key, message({"type": "session_ended", "reason": None})),
        lambda key: frame(
            key, message({"type": "progress", "run": 1, "rank": 0, "fraction": 1, "values": 3})
        ),
        lambda key: frame(
            key, message({"type": "output", "run": 1, "rank": 0, "name": {}, "array": None})
        ),
        lambda key: frame(key, message({"type": "run_failed", "run": 1, "failure": {"kind": []}})),
        lambda key: frame(key, message({"type": "abort", "run": 1, "epoch": 1, "reason": "no"})),
    ],
    ids=[
        "long header",
        "long body",
        "another key",
        "out of order",
        "deep",
        "unknown",
        "text for a number",
        "list for a number",
        "no reason",
        "values",
        "name",
        "kind",
        "for a worker",
    ],
)
def test_one_that_talks_nonsense_is_an_error_of_the_gang(make: Callable[[bytes], bytes]) -> None:
    def behave(sock: socket.socket) -> None:
        acceptor = answer(sock)
        acceptor.receive(receive(sock, 32))
        assert acceptor.keys is not None
        sock.sendall(make(acceptor.keys.sending))

    with hub(behave) as address:
        control = connect(address)
        with pytest.raises(ProtocolError):
            control.next_event(SOON_S)
        control.close()


def test_one_that_reads_nothing_does_not_hold_the_driver() -> None:
    def behave(sock: socket.socket) -> None:
        answer(sock).receive(receive(sock, 32))

    rows = np.zeros(8 << 20)
    with hub(behave) as address:
        control = connect(address)
        with pytest.raises(PeerLost, match=r"took nothing for 0.6 s \(HARPY_SILENCE_S\)"):
            control.start_run(RunSpec(1, module="m", params={"rows": rows}))
        control.close()


def test_one_that_says_nothing_more_is_given_up() -> None:
    def behave(sock: socket.socket) -> None:
        acceptor = answer(sock)
        acceptor.receive(receive(sock, 32))
        assert acceptor.keys is not None
        joined = {"type": "joined", "n": 1, "of": 2}
        sock.sendall(FrameWriter(acceptor.keys.sending).encode(joined))

    with hub(behave) as address:
        control = connect(address)
        assert control.next_event(SOON_S) == Joined(1, 2)
        with pytest.raises(GangError, match=r"said nothing for 0.6 s \(HARPY_SILENCE_S\)"):
            for _ in range(20):
                control.next_event(0.1)
        control.close()


# -- a worker's end ----------------------------------------------------------------------------

RUN = {"run": 1, "module": "m"}
FRAMES = [
    PREFIX.pack(1 << 31, 0, 0),
    frame(b"k" * 32, message({"type": "superseded"})),
]
NONSENSE: list[dict[str, Any]] = [
    {},
    {"type": "surprise"},
    {"type": "joined", "n": 1, "of": 1},
    {"type": "run", "spec": RUN},
    {"type": "run", "spec": {**RUN, "file": "f"}, "epoch": 1},
    {"type": "run", "spec": {**RUN, "data": {"X": 1}}, "epoch": 1},
    {"type": "run", "spec": RUN, "epoch": "1"},
    {"type": "run", "spec": RUN, "epoch": 1, "execution": 7},
    {"type": "peers", "run": 1, "epoch": 1, "members": {}},
    {"type": "peers", "run": 1, "epoch": 1, "members": [{"rank": 0}]},
    {"type": "abort", "run": 1, "epoch": 1},
    {"type": "commit", "run": [1], "epoch": 1},
    {"type": "end", "reason": "over"},
    {"type": "end", "reason": "over", "cause": {"kind": "WorkerLost", "message": None}},
    {"type": "superseded", "by": 2},
    {"type": "hub_lost"},
]


@contextmanager
def channel_of_a_worker(says: Callable[[bytes], bytes]) -> Iterator[Channel]:
    def behave(sock: socket.socket) -> None:
        acceptor = answer(sock)
        acceptor.receive(receive(sock, 32))
        assert acceptor.keys is not None
        sock.sendall(says(acceptor.keys.sending))

    with hub(behave) as address:
        initiator = Initiator(SECRET, "job", Identity(Role.WORKER, 1), HUB)
        channel = Channel.connect(*address, initiator, DEADLINES.handshake_s, SOON_S)
        yield channel
        channel.close()


def lost_by(channel: Channel) -> tuple[PeerLost, list[Any]]:
    """Why a worker takes its hub for lost, and what it was told before."""
    lost: list[PeerLost] = []
    told: list[Any] = []
    over = threading.Event()

    def on_lost(exc: PeerLost) -> None:
        lost.append(exc)
        over.set()

    def on_message(said: to_worker.ToWorker) -> bool:
        told.append(said)
        return True

    link = Link(channel, DEADLINES.heartbeat_s, on_message, on_lost)
    link.start()
    assert over.wait(SOON_S)
    link.close()
    return lost[0], told


@pytest.mark.parametrize("said", FRAMES, ids=["long", "another key"])
def test_a_worker_leaves_a_hub_that_breaks_the_protocol(said: bytes) -> None:
    with channel_of_a_worker(lambda key: said) as channel:
        assert lost_by(channel)[1] == []


@pytest.mark.parametrize("said", NONSENSE, ids=str)
def test_a_worker_leaves_a_hub_that_talks_nonsense_and_does_nothing_of_it(
    said: dict[str, Any],
) -> None:
    sense = to_worker.CommitRun(1, 1)

    def says(key: bytes) -> bytes:
        return frame(key, message(sense.to_wire())) + frame(key, message(said), 1)

    with channel_of_a_worker(says) as channel:
        exc, told = lost_by(channel)
    assert told in ([], [sense])  # they came together, or one after the other
    assert "the hub sent a m" in str(exc)
    assert exc.rank == 0


@pytest.mark.parametrize(
    "said", [*NONSENSE[:3], {"type": "refused", "reason": 5, "superseded": 1}], ids=str
)
def test_a_worker_tries_again_where_the_answer_to_its_join_is_nonsense(
    said: dict[str, Any],
) -> None:
    with (
        channel_of_a_worker(lambda key: frame(key, message(said))) as channel,
        pytest.raises(PeerLost, match="the hub sent a m"),
    ):
        await_admission(channel, SOON_S)
