"""One connection as the hub sees it: a non-blocking socket that first authenticates, then carries
control frames. Owns the buffers and the order of bytes on one socket; decides nothing.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping
from typing import Any

from harpy.errors import GangError, ProtocolError
from harpy.wire.auth import Acceptor, Identity
from harpy.wire.channel import prepare
from harpy.wire.frames import FrameReader, FrameWriter

RECEIVE_BYTES = 1 << 18
MAX_UNSENT_BYTES = 1 << 31  # a peer with more unread bytes counts as dead


class Connection:
    """The acceptor's end of a connection. `identity` is None until the other end has
    authenticated."""

    def __init__(self, sock: socket.socket, acceptor: Acceptor, now: float) -> None:
        self.sock = sock  # non-blocking
        self.identity: Identity | None = None
        self.heard_at = now
        self.closed = False
        self._acceptor = acceptor
        self._handshake = bytearray()
        self._reader: FrameReader | None = None
        self._writer: FrameWriter | None = None
        self._unsent: deque[memoryview] = deque()
        self._n_unsent = 0

    @property
    def greeted(self) -> bool:
        """Whether it has sent a well-formed hello, which proves nothing."""
        return self._acceptor.peer is not None

    @property
    def wants_to_send(self) -> bool:
        """Whether bytes wait until the socket takes them."""
        return bool(self._unsent)

    def receive(self, now: float) -> list[dict[str, Any]]:
        """Read what is there; return complete messages.

        Raises
        ------
        GangError
            The bytes received break the protocol; the connection must be closed.
        ConnectionError
            The other end is gone.
        """
        acceptor = self._acceptor
        # Before it has authenticated, no byte beyond the handshake is read.
        n_bytes = RECEIVE_BYTES if acceptor.done else acceptor.needed - len(self._handshake)
        try:
            data = self.sock.recv(n_bytes)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as exc:
            raise ConnectionResetError(f"its connection broke ({exc.strerror})") from exc
        if not data:
            raise ConnectionResetError("its connection closed")
        self.heard_at = now
        if self._reader is not None:
            return self._reader.feed(data)
        self._handshake += data
        if len(self._handshake) == acceptor.needed:
            message = bytes(self._handshake)
            self._handshake.clear()
            self._advance_handshake(message)
        return []

    def _advance_handshake(self, message: bytes) -> None:
        """Process one whole message of the handshake."""
        acceptor = self._acceptor
        self._queue(acceptor.receive(message))
        if acceptor.done:
            assert acceptor.keys is not None
            self.identity = acceptor.peer
            prepare(self.sock)
            self._reader = FrameReader(acceptor.keys.receiving)
            self._writer = FrameWriter(acceptor.keys.sending)

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message and send what the socket takes now."""
        if self._writer is None:
            raise ProtocolError("a message to somebody who has not authenticated")
        self._queue(self._writer.encode(message))

    def _queue(self, data: bytes) -> None:
        if self.closed or not data:
            return
        self._unsent.append(memoryview(data))
        self._n_unsent += len(data)
        if self._n_unsent > MAX_UNSENT_BYTES:
            raise GangError(f"{self.identity} does not read: {self._n_unsent} bytes unsent")
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes without waiting; ConnectionError if the connection is gone."""
        while self._unsent:
            try:
                n = self.sock.send(self._unsent[0])
            except (BlockingIOError, InterruptedError):
                return
            self._n_unsent -= n
            if n == len(self._unsent[0]):
                self._unsent.popleft()
            else:
                self._unsent[0] = self._unsent[0][n:]

    def detach(self) -> int:
        """Give up the socket: the caller owns the returned descriptor."""
        self.closed = True
        return self.sock.detach()

    def close(self) -> None:
        """Close the socket; what was not sent is dropped."""
        self.closed = True
        self._unsent.clear()
        self.sock.close()
