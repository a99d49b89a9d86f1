"""Messages from the hub to a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harpy.wire.failure import Failure
from harpy.wire.member import Member
from harpy.wire.message import Message, read_message
from harpy.wire.record import Epoch, RunNumber
from harpy.wire.run_spec import RunSpec

# -- answers to a join -------------------------------------------------------------------------


@dataclass(frozen=True)
class Admitted(Message):
    """It is a member now."""

    TYPE = "admitted"


@dataclass(frozen=True)
class Refused(Message):
    """It may not join; `superseded` if a higher attempt of its rank is known."""

    TYPE = "refused"

    reason: str
    superseded: bool


# -- to a member -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Superseded(Message):
    """A higher attempt of its rank has joined: it must end itself."""

    TYPE = "superseded"


@dataclass(frozen=True)
class StartRun(Message):
    """Begin this run, in this epoch."""

    TYPE = "run"

    spec: RunSpec
    epoch: Epoch


@dataclass(frozen=True)
class Peers(Message):
    """All ranks have asked for the communicator: the address of each."""

    TYPE = "peers"

    run: RunNumber
    epoch: Epoch
    members: tuple[Member, ...]


@dataclass(frozen=True)
class AbortRun(Message):
    """Stop the program."""

    TYPE = "abort"

    run: RunNumber
    epoch: Epoch
    reason: str


@dataclass(frozen=True)
class CommitRun(Message):
    """To rank 0: all programs returned, make the run's results final."""

    TYPE = "commit"

    run: RunNumber
    epoch: Epoch


@dataclass(frozen=True)
class EndSession(Message):
    """Leave; `cause` is None for a good end."""

    TYPE = "end"

    reason: str
    cause: Failure | None


Answer = Admitted | Refused | EndSession  # the last where the session ends in that moment


def read_answer(value: Any) -> Answer:
    """The hub's answer to a join; ProtocolError for anything else."""
    message: Answer = read_message(value, Answer, "the hub")
    return message


ToWorker = Superseded | StartRun | Peers | AbortRun | CommitRun | EndSession


def read(value: Any) -> ToWorker:
    """The hub's message to a member; ProtocolError for anything else."""
    message: ToWorker = read_message(value, ToWorker, "the hub")
    return message
