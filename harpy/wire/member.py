"""A worker as the others of its gang know it."""

from __future__ import annotations

from dataclasses import dataclass

from harpy.wire.record import Attempt, Count, Name, Port, Rank, Record


@dataclass(frozen=True)
class Member(Record):
    """One joined worker. `address`, `port`: where it listens for its peers' collectives."""

    NAME = "member"

    rank: Rank
    attempt: Attempt
    host: Name
    address: Name
    port: Port
    pid: Count = 0
