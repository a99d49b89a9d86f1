"""The connecting end of a control connection, blocking: authenticate, send and receive messages.

Workers (gang/link.py) and the driver (session/control.py) use it; the hub's end is connection.py.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harpy.errors import PeerLost
from harpy.wire.auth import Initiator, SessionKeys, initiate
from harpy.wire.frames import FrameReader, FrameWriter
from harpy.wire.message import Heartbeat

if TYPE_CHECKING:
    from harpy.kernels.liveness import Pulse

CONNECT_S = 5.0
RECEIVE_BYTES = 1 << 18
_NO_WAY_THERE = (errno.EHOSTUNREACH, errno.ENETUNREACH)


class Unanswered(TimeoutError):
    """An address gives no answer, not even a refusal: its host is gone, or cannot be reached."""


class Channel:
    """An authenticated connection. One thread may receive while others send."""

    def __init__(self, sock: socket.socket, keys: SessionKeys, silence_s: float) -> None:
        sock.settimeout(None)
        self._sock = sock
        self._reader, self._writer = FrameReader(keys.receiving), FrameWriter(keys.sending)
        self._lock = threading.Lock()
        self._silence_s = silence_s
        self._waited_s = 0.0  # without a byte from the other end
        self._pulse: Pulse | None = None
        self._beats = 0  # the other end's number in the pulse
        self._received: deque[dict[str, Any]] = deque()

    @classmethod
    def connect(
        cls,
        address: str,
        port: int,
        initiator: Initiator,
        handshake_s: float,
        silence_s: float,
    ) -> Channel:
        """Connect and authenticate.

        Raises
        ------
        ConnectionError, TimeoutError
            Nothing listens, or the other end closed the connection or did not answer in time
            (Unanswered where not even a connection was made).
        AuthenticationError
            The other end is not who it should be.
        """
        sock = connect_socket(address, port, min(CONNECT_S, handshake_s))
        try:
            return cls(sock, initiate(sock, initiator, handshake_s), silence_s)
        except BaseException:
            sock.close()
            raise

    def beat_by(
        self, pulse: Pulse, address: str, port: int, initiator: Initiator, handshake_s: float
    ) -> None:
        """Exchange heartbeats with the other end over a second connection: from now on it may be
        busy for any time without counting as silent. Raises as `connect` does."""
        sock = connect_socket(address, port)
        try:
            initiate(sock, initiator, handshake_s)
        except BaseException:
            sock.close()
            raise
        self._pulse, self._beats = pulse, pulse.add(sock.detach())

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; PeerLost if the connection is gone, or the other end reads nothing."""
        with self._lock:
            try:
                self._send(memoryview(self._writer.encode(message)))
            except (OSError, ValueError) as exc:  # ValueError: closed by another thread
                if isinstance(exc, PeerLost):
                    raise
                raise PeerLost(f"the connection to rank 0 is gone: {exc}", rank=0) from exc

    def _send(self, data: memoryview) -> None:
        """Send all bytes, as long as the other end reads some from time to time."""
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        while data:
            if not poll.poll(self._silence_s * 1000) and self._is_silent(self._silence_s):
                raise PeerLost(
                    f"rank 0 took nothing for {self._silence_s:g} s (HARPY_SILENCE_S)", rank=0
                )
            with contextlib.suppress(BlockingIOError):
                data = data[self._sock.send(data, socket.MSG_DONTWAIT) :]

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message, heartbeats left out; None when none came in time.

        Raises
        ------
        PeerLost
            The other end closed the connection, or was silent for too long.
        ProtocolError
            The bytes received are no frame of this connection.
        """
        deadline = time.monotonic() + timeout_s
        while not self._received:
            left = deadline - time.monotonic()
            if left < 0:
                return None
            self._read(left)
        return self._received.popleft()

    def _read(self, timeout_s: float) -> None:
        started = time.monotonic()
        poll = select.poll()
        try:
            poll.register(self._sock, select.POLLIN)
            ready = poll.poll(timeout_s * 1000)
            data = self._sock.recv(RECEIVE_BYTES) if ready else None
        except (OSError, ValueError) as exc:  # ValueError: closed by another thread
            raise PeerLost(f"the connection to rank 0 is gone: {exc}", rank=0) from exc
        if data is None:
            self._waited_s += time.monotonic() - started
            if self._is_silent(self._waited_s):
                raise PeerLost(
                    f"rank 0 said nothing for {self._silence_s:g} s (HARPY_SILENCE_S)", rank=0
                )
            return
        if not data:
            raise PeerLost("rank 0 closed the connection", rank=0)
        self._waited_s = 0.0
        messages = self._reader.feed(data)
        self._received.extend(m for m in messages if m.get("type") != Heartbeat.TYPE)

    def _is_silent(self, waited_s: float) -> bool:
        """Whether the other end, after a wait of so many seconds, is gone and not merely busy."""
        silent_s = waited_s if self._pulse is None else self._pulse.silent_for(self._beats)
        return silent_s >= self._silence_s

    def close(self) -> None:
        """Close the connection, and that of its heartbeats."""
        if self._pulse is not None:
            self._pulse.remove(self._beats)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def connect_socket(address: str, port: int, timeout_s: float = CONNECT_S) -> socket.socket:
    """A connected socket without Nagle's delay, with keep-alive for hosts that vanish."""
    try:
        sock = socket.create_connection((address, port), timeout=timeout_s)
    except OSError as exc:
        if isinstance(exc, TimeoutError) or exc.errno in _NO_WAY_THERE:
            raise Unanswered(f"no answer ({exc})") from exc
        raise
    prepare(sock)
    return sock


def prepare(sock: socket.socket) -> None:
    """Set a socket to send short messages at once, and to detect a host that vanished."""
    with contextlib.suppress(OSError):  # the other end has closed the connection already
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
