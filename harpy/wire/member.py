"""A member of the gang, as the other ranks know it."""

from __future__ import annotations

from dataclasses import dataclass

from harpy.wire.record import Attempt, Count, Name, Port, Rank, Record


@dataclass(frozen=True)
class Member(Record):
    """One worker that has joined. `address`, `port`: where it accepts its peers' connections."""

    NAME = "member"

    rank: Rank
    attempt: Attempt
    host: Name
    address: Name
    port: Port
    pid: Count = 0
