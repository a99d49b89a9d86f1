"""Messages from the hub to the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from harpy.wire.failure import Failure
from harpy.wire.message import Message, read_message
from harpy.wire.record import Array, Count, Epoch, Name, Positive, Rank, RunNumber, Scalars
from harpy.wire.to_hub import Delivered


@dataclass(frozen=True)
class Joined(Message):
    """`n` of `of` workers have joined."""

    TYPE = "joined"

    n: Count
    of: Positive


@dataclass(frozen=True)
class Progressed(Message):
    """What a program reported by `ctx.progress` on rank 0."""

    TYPE = "progress"

    run: RunNumber
    rank: Rank
    fraction: float | None
    values: Annotated[dict[str, Any], Scalars()]


@dataclass(frozen=True)
class Paced(Message):
    """The part of its time, from 0 to 1, that a rank did not wait for others."""

    TYPE = "pace"

    run: RunNumber
    rank: Rank
    host: Name
    busy: float


@dataclass(frozen=True)
class OutputPart(Message):
    """A rank's rows of an output; None: they are in the run's directory."""

    TYPE = "output"

    run: RunNumber
    rank: Rank
    name: str
    array: Annotated[Any, Array()] | None


@dataclass(frozen=True)
class RunCommitted(Message):
    """A run ended well; `delivered` says whether its results came as messages."""

    TYPE = "run_done"

    run: RunNumber
    delivered: bool
    result: Delivered | None


@dataclass(frozen=True)
class RunFailed(Message):
    """A run failed, of this first cause."""

    TYPE = "run_failed"

    run: RunNumber
    failure: Failure


@dataclass(frozen=True)
class Lost(Message):
    """A worker is gone; the launcher is to replace it."""

    TYPE = "lost"

    failure: Failure


@dataclass(frozen=True)
class BegunAnew(Message):
    """All workers are present again; the run begins anew from its last checkpoint."""

    TYPE = "begun_anew"

    run: RunNumber
    epoch: Epoch


@dataclass(frozen=True)
class SessionEnded(Message):
    """The workers are leaving; `cause` is None for a good end."""

    TYPE = "session_ended"

    reason: str
    cause: Failure | None


ToDriver = (
    Joined
    | Progressed
    | Paced
    | OutputPart
    | RunCommitted
    | RunFailed
    | Lost
    | BegunAnew
    | SessionEnded
)


def read(value: Any) -> ToDriver:
    """The hub's message to the driver; ProtocolError for anything else."""
    message: ToDriver = read_message(value, ToDriver, "the hub")
    return message
