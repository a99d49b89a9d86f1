"""The hub's door: its listening socket, and the connections that have not authenticated.

Owns both until a connection has authenticated, which from then on is the hub's. Silence and garbage
cost one connection and block nobody.
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
PAUSE_S = 0.02  # the door stays shut after a refusal: a flood wakes the hub so rarely
EXHAUSTED_S = 0.25  # the same where the process can hold no further connection


class Door:
    """Takes connections and registers them with the hub's selector.

    Parameters
    ----------
    listener : socket
        Listening; closed with the door.
    acceptor : Acceptor
        What those who connect must prove.
    selector : BaseSelector
        Watches listener and connections; the connections are their keys' data.
    handshake_s : float
        Within which a connection must authenticate.
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
        self.paused = False  # the listener is not looked at
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
        """Take the connections that wait; return those that may stay."""
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
        """Whether it may stay. Most have spoken by now: garbage goes before anything is arranged
        for it."""
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
        """After it has said something: whether it has authenticated, and has left the door."""
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
        """Close those that have not authenticated in time."""
        for connection in self._inside.overdue(now):
            self.drop(connection, "it did not authenticate in time")

    def _pause(self, seconds: float) -> None:
        self.paused, self._paused_until = True, time.monotonic() + seconds
        self._selector.unregister(self.listener)

    def reopen(self, now: float) -> None:
        """Look at the listener again if the door has rested long enough."""
        if self.paused and now >= self._paused_until:
            self.paused = False
            self._selector.register(self.listener, selectors.EVENT_READ)

    def close(self) -> None:
        """Stop listening; connections are closed by the selector's owner."""
        self.listener.close()


def _log_drop(why: object) -> None:
    logger.info("hub dropped an unauthenticated connection: %s", why)
