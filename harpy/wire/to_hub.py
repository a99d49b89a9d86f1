"""Messages to the hub: from workers, and from the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from harpy.wire.auth import Identity
from harpy.wire.failure import Failure
from harpy.wire.message import Message, read_message
from harpy.wire.record import Array, Count, Epoch, Name, Port, Record, RunNumber, Scalars
from harpy.wire.run_spec import RunSpec


@dataclass(frozen=True)
class Delivered(Record):
    """What a program returned on rank 0, on its way to the driver: the value itself, or that it is
    in the run's directory."""

    NAME = "result"

    in_file: bool
    value: Any = None


# -- from a worker -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Join(Message):
    """The first message of a worker, which asks to join. The handshake has proved who it is."""

    TYPE = "join"

    host: Name
    address: Name  # where it listens for its peers
    port: Port
    pid: Count


@dataclass(frozen=True)
class AskComm(Message):
    """Its program touched `ctx.comm` for the first time."""

    TYPE = "comm"

    run: RunNumber
    epoch: Epoch


@dataclass(frozen=True)
class Reported(Message):
    """Its program ended; `failure` is None if it returned and its outputs are written."""

    TYPE = "report"

    run: RunNumber
    epoch: Epoch
    failure: Failure | None


@dataclass(frozen=True)
class Committed(Message):
    """Rank 0 has made the run's results final; the driver gets `result` unchanged."""

    TYPE = "committed"

    run: RunNumber
    epoch: Epoch
    result: Delivered | None


@dataclass(frozen=True)
class Progress(Message):
    """What a program reported by `ctx.progress` on rank 0, for the driver."""

    TYPE = "progress"

    run: RunNumber
    fraction: float | None
    values: Annotated[dict[str, Any], Scalars()]


@dataclass(frozen=True)
class Pace(Message):
    """The part of its time, from 0 to 1, that this rank did not wait for others; for the driver."""

    TYPE = "pace"

    run: RunNumber
    host: Name
    busy: float


@dataclass(frozen=True)
class Output(Message):
    """This rank's rows of an output, for the driver; None: they are in the run's directory."""

    TYPE = "output"

    run: RunNumber
    name: str
    array: Annotated[Any, Array()] | None


FromWorker = Join | AskComm | Reported | Committed | Progress | Pace | Output


def read_worker(value: Any, sender: Identity) -> FromWorker:
    """A worker's message; ProtocolError for anything else."""
    message: FromWorker = read_message(value, FromWorker, sender)
    return message


# -- from the driver ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Attach(Message):
    """The driver's first message: this is its connection now, instead of an older one."""

    TYPE = "attach"


@dataclass(frozen=True)
class OfferRun(Message):
    """Run this on all workers."""

    TYPE = "run"

    spec: RunSpec


@dataclass(frozen=True)
class CancelRun(Message):
    """Stop a run; the session goes on."""

    TYPE = "cancel"

    run: RunNumber
    reason: str


@dataclass(frozen=True)
class CloseSession(Message):
    """End the session, and with it the active run."""

    TYPE = "close"


FromDriver = Attach | OfferRun | CancelRun | CloseSession


def read_driver(value: Any) -> FromDriver:
    """The driver's message; ProtocolError for anything else."""
    message: FromDriver = read_message(value, FromDriver, "the driver")
    return message
