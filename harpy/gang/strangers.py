"""Connections that have not proved who they are: how many, for how long, who must go first.

Owns no socket and no clock. The hub (hub.py) and each rank's door (peers.py) keep theirs here.
"""

from __future__ import annotations

import itertools
from typing import Generic, TypeVar

Guest = TypeVar("Guest")


class Strangers(Generic[Guest]):
    """At most `most` guests, each for at most `handshake_s`.

    Where one too many comes, the oldest of those goes who have not even said hello, and only if
    there are none the oldest of the others: whoever fills the door with silence drives out silence.
    """

    def __init__(self, most: int, handshake_s: float) -> None:
        self._most = most
        self._handshake_s = handshake_s
        self._silent: dict[Guest, float] = {}  # since when, in order of arrival
        self._greeted: dict[Guest, float] = {}

    def __len__(self) -> int:
        return len(self._silent) + len(self._greeted)

    def __contains__(self, guest: Guest) -> bool:
        return guest in self._silent or guest in self._greeted

    def add(self, guest: Guest, now: float) -> Guest | None:
        """Let `guest` in; return who must go for it, if anybody."""
        leaving = self.oldest() if len(self) >= self._most else None
        if leaving is not None:
            self.remove(leaving)
        self._silent[guest] = now
        return leaving

    def greeted(self, guest: Guest) -> None:
        """`guest` has said a hello that makes sense."""
        if guest in self._silent:
            self._greeted[guest] = self._silent.pop(guest)

    def remove(self, guest: Guest) -> None:
        """It has proved who it is, or is gone. May be repeated."""
        self._silent.pop(guest, None)
        self._greeted.pop(guest, None)

    def oldest(self) -> Guest | None:
        """Who is to go first; None if nobody is there."""
        return next(itertools.chain(self._silent, self._greeted), None)

    def overdue(self, now: float) -> list[Guest]:
        """Those whose time has passed; they stay until removed."""
        guests = [*self._silent.items(), *self._greeted.items()]
        return [guest for guest, since in guests if now - since > self._handshake_s]

    def everybody(self) -> list[Guest]:
        return [*self._silent, *self._greeted]
