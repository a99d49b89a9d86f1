"""Whatever knocks at the hub's door costs one place for a short time, and keeps nobody out."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harpy.config import Deadlines
from harpy.errors import PeerLost
from harpy.gang.door import MAX_UNAUTHENTICATED
from harpy.gang.gang import Gang
from harpy.gang.hub import Hub
from harpy.kernels.liveness import Pulse
from harpy.wire.auth import HELLO, Identity, Initiator, Role
from harpy.wire.channel import Channel
from harpy.wire.frames import PREFIX, FrameWriter
from tests.support.gangs.fake import job_of

SECRET = b"s" * 32
ME = Identity(Role.HUB, 0, 0)
WORKER = Identity(Role.WORKER, 0, 0)
SOON_S = 15.0
DEADLINES = Deadlines(handshake_s=5, silence_s=30, allocate_s=60)


@dataclass
class Door:
    """A hub in this process that awaits two workers."""

    deadlines: Deadlines = DEADLINES
    crashed: list[BaseException] = field(default_factory=list)
    opened: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        gang = Gang(job_of(2, deadlines=self.deadlines), time.monotonic())
        self.hub = Hub(
            gang,
            SECRET,
            "job",
            0,
            "127.0.0.1",
            (0, 0),
            self.deadlines,
            Pulse(self.deadlines.heartbeat_s),
            on_end=lambda well: None,
            on_crash=self.crashed.append,
        )
        self.hub.start()

    def knock(self, data: bytes = b"") -> socket.socket:
        sock = socket.create_connection((self.hub.address, self.hub.port), timeout=SOON_S)
        self.opened.append(sock)
        sock.sendall(data)
        return sock

    def channel(self, me: Identity = WORKER, secret: bytes = SECRET, job: str = "job") -> Channel:
        initiator = Initiator(secret, job, me, ME)
        channel = Channel.connect(self.hub.address, self.hub.port, initiator, SOON_S, SOON_S)
        self.opened.append(channel._sock)
        return channel

    def joins(self, me: Identity = WORKER) -> None:
        channel = self.channel(me)
        here = {"host": "here", "address": "127.0.0.1", "port": 1, "pid": 1}
        channel.send({"type": "join", **here})
        answer = channel.receive(SOON_S)
        assert answer is not None and answer["type"] == "admitted", answer

    def close(self) -> None:
        driver = self.channel(Identity(Role.DRIVER))
        driver.send({"type": "attach"})
        driver.send({"type": "close"})
        for sock in self.opened:
            if sock is not driver._sock:
                sock.close()
        self.hub.join(SOON_S)
        driver.close()
        assert not self.hub._thread.is_alive()
        assert not self.crashed


@pytest.fixture
def door() -> Iterator[Door]:
    opened = Door()
    yield opened
    opened.close()


def hung_up(sock: socket.socket) -> bool:
    """Wait until the other end hangs up; what it said before does not matter."""
    sock.settimeout(SOON_S)
    with contextlib.suppress(ConnectionError):
        while sock.recv(4096):
            pass
    return True


def n_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


HELLO_OF_ANOTHER = Initiator(b"x" * 32, "job", WORKER, ME).hello


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n" + b" " * HELLO.size,
        b"\x16\x03\x01" + bytes(HELLO.size),
        bytes(1 << 16),
        HELLO_OF_ANOTHER[:6] + b"\0\x09" + HELLO_OF_ANOTHER[8:],
        HELLO_OF_ANOTHER[:8] + b"\xff" + HELLO_OF_ANOTHER[9:],
        Initiator(SECRET, "another job", WORKER, ME).hello,
        Initiator(SECRET, "job", Identity(Role.PEER, 1), ME).hello,
        Initiator(SECRET, "job", ME, ME).hello,
        HELLO_OF_ANOTHER + bytes(32),
        HELLO_OF_ANOTHER + bytes(1 << 16),
    ],
    ids=[
        "HTTP",
        "TLS",
        "zeros",
        "version",
        "unknown role",
        "job",
        "role",
        "reflection",
        "wrong secret",
        "wrong secret and more",
    ],
)
def test_nonsense_is_hung_up_on_at_once(door: Door, data: bytes) -> None:
    assert hung_up(door.knock(data))
    door.joins()


def test_a_recorded_worker_cannot_be_played_back(door: Door) -> None:
    """A relay notes what a worker says, handshake and first frames, and says it again."""
    with socket.create_server(("127.0.0.1", 0)) as relay:
        recorded = bytearray()

        def pass_on() -> None:
            near, _ = relay.accept()
            far = door.knock()
            ends = {near: far, far: near}
            with near, contextlib.suppress(OSError):
                while True:
                    for sock in select.select(list(ends), [], [], SOON_S)[0]:
                        data = sock.recv(4096)
                        if not data:
                            return
                        if sock is near:
                            recorded.extend(data)
                        ends[sock].sendall(data)

        thread = threading.Thread(target=pass_on, daemon=True)
        thread.start()
        initiator = Initiator(SECRET, "job", Identity(Role.WORKER, 1, 4), ME)
        channel = Channel.connect(*relay.getsockname(), initiator, SOON_S, SOON_S)
        channel.send({"type": "heartbeat"})
        channel.close()
        thread.join(SOON_S)
    assert len(recorded) > HELLO.size + 32
    assert hung_up(door.knock(bytes(recorded)))
    door.joins()


def test_time_runs_for_the_whole_handshake_not_for_each_byte() -> None:
    door = Door(Deadlines(handshake_s=1, silence_s=30, allocate_s=60))
    sock = door.knock()
    sent = 0
    with contextlib.suppress(OSError):
        for byte in HELLO_OF_ANOTHER:  # 96 bytes: it would take 10 s
            sock.sendall(bytes([byte]))
            sent += 1
            if select.select([sock], [], [], 0.1)[0]:
                break
    assert hung_up(sock)
    assert 0 < sent < 50
    door.close()


@pytest.mark.parametrize("key", [(0, 0), (1, 7)], ids=str)
def test_heartbeats_of_somebody_who_is_not_there_are_not_taken(
    door: Door, key: tuple[int, int]
) -> None:
    channel = door.channel(Identity(Role.PULSE, *key))
    with pytest.raises(PeerLost):
        channel.receive(SOON_S)
    door.joins()


@pytest.mark.parametrize("said", [b"", HELLO_OF_ANOTHER], ids=["silent", "after a whole hello"])
def test_strangers_hold_a_bounded_number_of_places_and_the_oldest_give_way(
    door: Door, said: bytes
) -> None:
    before = n_descriptors()
    strangers = [door.knock(said) for _ in range(MAX_UNAUTHENTICATED + 40)]
    for sock in strangers[:40]:
        assert hung_up(sock)
    held_here = len(strangers)
    assert n_descriptors() - before <= held_here + MAX_UNAUTHENTICATED
    door.joins()
    door.joins(Identity(Role.WORKER, 1, 0))


def test_a_hub_without_descriptors_neither_dies_nor_stays_deaf(door: Door) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    sock = socket.socket()
    door.opened.append(sock)
    resource.setrlimit(resource.RLIMIT_NOFILE, (sock.fileno() + 1, hard))
    try:
        sock.connect((door.hub.address, door.hub.port))
        deadline = time.monotonic() + SOON_S
        while not door.hub._door.paused and time.monotonic() < deadline:
            time.sleep(0.01)
        assert door.hub._door.paused
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    door.joins()


HUGE = PREFIX.pack(1 << 31, 1 << 62, 0)


def forged(**message: Any) -> bytes:
    return FrameWriter(b"k" * 32).encode(message)


@pytest.mark.parametrize(
    "said", [HUGE, forged(type="close"), b"\xff" * 100], ids=["huge", "other key", "garbage"]
)
def test_an_insider_without_the_keys_of_its_connection_is_hung_up_on(
    door: Door, said: bytes
) -> None:
    """Somebody has taken over the connection of a worker that had authenticated."""
    channel = door.channel()
    channel._sock.sendall(said)
    with pytest.raises(PeerLost):
        channel.receive(SOON_S)
    door.joins()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "join", "host": "h", "address": "a", "port": float("inf"), "pid": 1},
        {"type": ["join"]},
        {"type": "comm", "run": 10**400},
        {"type": "attach"},
        {"type": "close"},
        {"type": "output", "run": 1},
    ],
    ids=str,
)
def test_an_insider_that_talks_nonsense_loses_its_connection_and_the_hub_lives(
    door: Door, message: dict[str, Any]
) -> None:
    channel = door.channel()
    channel.send(message)
    with pytest.raises(PeerLost):
        channel.receive(SOON_S)
    door.joins()
