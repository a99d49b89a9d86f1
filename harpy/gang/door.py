"""The hub's door: its listening socket, and the connections that have not authenticated.

Owns both until a connection has authenticated; then it is the hub's. A silent or malformed
connection is closed and delays no other.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time

from harpy.errors import ConfigError, GangError
from harpy.gang.listening import Exhausted, waiting
from harpy.gang.unauthenticated import Unauthenticated
from harpy.wire.auth import Acceptor
from harpy.wire.connection import Connection

logger = logging.getLogger(__name__)

MAX_UNAUTHENTICATED = 256
PAUSE_S = 0.02  # without accepting after a refusal, so that a flood wakes the hub seldom
EXHAUSTED_S = 0.25  # without accepting where the process can hold no further connection


class Door:
    """Takes connections and registers them with the hub's selector.

    Parameters
    ----------
    listener : socket
        Listening; closed with the door.
    acceptor : Acceptor
        The proof that every connection must give.
    selector : BaseSelector
        Watches listener and connections; the connections are their keys' data.
    handshake_s : float
        Seconds within which a connection must authenticate.
    """

    def __init__(
        self,
        listener: socket.socket,
        acceptor: Acceptor,
        selector: selectors.BaseSelector,
        handshake_s: float,
    ) -> None:
        listener.setblocking(False)
        self.listener = listener
        self.paused = False  # whether the listener is not polled
        self._acceptor = acceptor
        self._selector = selector
        self._selector.register(listener, selectors.EVENT_READ)
        self._paused_until = 0.0
        self._inside: Unauthenticated[Connection] = Unauthenticated(
            MAX_UNAUTHENTICATED, handshake_s
        )

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._inside

    def accept(self) -> list[Connection]:
        """Accept the connections that wait; return those that may stay."""
        taken: list[Connection] = []
        refused = False
        try:
            for sock in waiting(self.listener):
                connection = Connection(sock, self._acceptor.another(), time.monotonic())
                if self._admit(connection):
                    taken.append(connection)
                else:
                    refused = True
        except Exhausted as exc:
            oldest = self._inside.oldest()
            if oldest is not None:
                self.drop(oldest, str(exc))
            else:
                logger.warning("hub takes no connections for now: %s", exc)
                self._pause(EXHAUSTED_S)
                return taken
        if refused:
            self._pause(PAUSE_S)
        return taken

    def _admit(self, connection: Connection) -> bool:
        """Whether it may stay. Most have sent something by now, so a malformed one is closed before
        it is registered."""
        try:
            connection.receive(connection.heard_at)
        except (OSError, GangError, ConfigError) as exc:
            connection.close()
            _log_drop(exc)
            return False
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        displaced = self._inside.add(connection, connection.heard_at)
        if displaced is not None:
            self.drop(displaced, "too many unauthenticated connections")
        self.advance(connection)
        return True

    def advance(self, connection: Connection) -> bool:
        """Process what a connection sent: whether it has authenticated, and so has left the
        door."""
        if connection.identity is not None:
            self._inside.remove(connection)
            return True
        if connection.greeted:
            self._inside.greeted(connection)
        return False

    def drop(self, connection: Connection, why: str) -> None:
        """Close a connection that has not authenticated."""
        if connection.closed:
            return
        self._selector.unregister(connection.sock)
        self._inside.remove(connection)
        connection.close()
        _log_drop(why)

    def drop_overdue(self, now: float) -> None:
        """Close the connections that have not authenticated in time."""
        for connection in self._inside.overdue(now):
            self.drop(connection, "it did not authenticate in time")

    def _pause(self, seconds: float) -> None:
        self.paused, self._paused_until = True, time.monotonic() + seconds
        self._selector.unregister(self.listener)

    def reopen(self, now: float) -> None:
        """Poll the listener again once the pause is over."""
        if self.paused and now >= self._paused_until:
            self.paused = False
            self._selector.register(self.listener, selectors.EVENT_READ)

    def close(self) -> None:
        """Stop listening; connections are closed by the selector's owner."""
        self.listener.close()


def _log_drop(why: object) -> None:
    logger.info("hub dropped an unauthenticated connection: %s", why)
