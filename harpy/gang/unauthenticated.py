"""Connections that have not authenticated: how many, for how long, which is dropped first.

Owns no socket and no clock. The hub's door (door.py) and each rank's (mesh.py) keep theirs here.
"""

from __future__ import annotations

import itertools
from typing import Generic, TypeVar

Connection = TypeVar("Connection")


class Unauthenticated(Generic[Connection]):
    """At most `max_connections` connections, each for at most `handshake_s`.

    Where one too many comes, the oldest of those that have sent no hello is dropped; only if there
    are none, the oldest of the others. So silent connections displace silent ones.
    """

    def __init__(self, max_connections: int, handshake_s: float) -> None:
        self._max_connections = max_connections
        self._handshake_s = handshake_s
        self._silent: dict[Connection, float] = {}  # since when, in order of arrival
        self._greeted: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._silent) + len(self._greeted)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._silent or connection in self._greeted

    def add(self, connection: Connection, now: float) -> Connection | None:
        """Add a connection; return the one that must be dropped for it, if any."""
        leaving = self.oldest() if len(self) >= self._max_connections else None
        if leaving is not None:
            self.remove(leaving)
        self._silent[connection] = now
        return leaving

    def greeted(self, connection: Connection) -> None:
        """Note that a connection has sent a well-formed hello."""
        if connection in self._silent:
            self._greeted[connection] = self._silent.pop(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has authenticated, or is gone. May be repeated."""
        self._silent.pop(connection, None)
        self._greeted.pop(connection, None)

    def oldest(self) -> Connection | None:
        """The next to be dropped; None if there is none."""
        return next(itertools.chain(self._silent, self._greeted), None)

    def overdue(self, now: float) -> list[Connection]:
        """The connections whose time has passed; they stay until removed."""
        connections = [*self._silent.items(), *self._greeted.items()]
        return [each for each, since in connections if now - since > self._handshake_s]

    def all(self) -> list[Connection]:
        """All connections, the first to go first."""
        return [*self._silent, *self._greeted]
