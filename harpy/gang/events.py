"""What can happen to a gang (events), what is to be done about it (actions), and the step from
events to actions. Decides nothing: gang.py, membership.py and run_state.py do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harpy.wire.failure import Failure
from harpy.wire.member import Member
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_driver import ToDriver
from harpy.wire.to_hub import Delivered

# -- events ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Joined:
    """A worker asks to become a member."""

    member: Member


@dataclass(frozen=True)
class Left:
    """A worker's connection closed, or no heartbeat came for too long.

    It does not count as a loss if something outside ended or silenced the worker.
    """

    rank: int
    attempt: int
    how: str
    counts: bool = True


@dataclass(frozen=True)
class DriverJoined:
    """The driver has connected."""


@dataclass(frozen=True)
class DriverLeft:
    """The driver's connection is gone."""


@dataclass(frozen=True)
class RunOffered:
    """The driver offers a run."""

    spec: RunSpec


@dataclass(frozen=True)
class CancelAsked:
    """The driver cancels a run."""

    run: int
    reason: str


@dataclass(frozen=True)
class CloseAsked:
    """The driver closes the session."""


@dataclass(frozen=True)
class CommAsked:
    """A program touched `ctx.comm` for the first time."""

    rank: int
    run: int
    epoch: int


@dataclass(frozen=True)
class Reported:
    """A program ended; `failure` is None if it returned and its outputs are written."""

    rank: int
    run: int
    epoch: int
    failure: Failure | None = None


@dataclass(frozen=True)
class Committed:
    """Rank 0 has made the results final; `result` goes to the driver unchanged."""

    run: int
    epoch: int
    result: Delivered | None = None


@dataclass(frozen=True)
class Tick:
    """Some time has passed: deadlines are to be checked."""


Event = (
    Joined
    | Left
    | DriverJoined
    | DriverLeft
    | RunOffered
    | CancelAsked
    | CloseAsked
    | CommAsked
    | Reported
    | Committed
    | Tick
)

# -- actions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Admit:
    """Tell a worker that it is a member now."""

    rank: int
    attempt: int


@dataclass(frozen=True)
class Refuse:
    """Refuse a worker that asks to join; `superseded` if a higher attempt of its rank is known."""

    rank: int
    attempt: int
    reason: str
    superseded: bool = False


@dataclass(frozen=True)
class Supersede:
    """Tell a member that a higher attempt of its rank has joined: it must end itself."""

    rank: int
    attempt: int


@dataclass(frozen=True)
class StartRun:
    """Begin a run, or begin it anew from its last checkpoint. Each beginning has its own epoch,
    which its communicator shares."""

    rank: int
    spec: RunSpec
    epoch: int


@dataclass(frozen=True)
class SendPeers:
    """Send all ranks each other's addresses: everybody asked for the communicator."""

    run: int
    epoch: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class AbortRun:
    """Tell ranks to stop their programs."""

    run: int
    epoch: int
    ranks: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Expel:
    """Close a member's connection and count it as lost."""

    rank: int
    attempt: int
    reason: str


@dataclass(frozen=True)
class CommitRun:
    """All programs returned: rank 0 publishes the run's _SUCCESS."""

    run: int
    epoch: int


@dataclass(frozen=True)
class TellDriver:
    """Send a message to the driver, if it is connected."""

    message: ToDriver


@dataclass(frozen=True)
class EndSession:
    """`cause` is None for a good end."""

    reason: str
    cause: Failure | None = None


Action = (
    Admit
    | Refuse
    | Supersede
    | StartRun
    | SendPeers
    | AbortRun
    | Expel
    | CommitRun
    | TellDriver
    | EndSession
)


@dataclass
class Step:
    """One event on its way through the state machine: when it came, and what it has caused so far,
    in order."""

    now: float
    actions: list[Action] = field(default_factory=list)

    def do(self, *actions: Action) -> None:
        """Add actions, in order."""
        self.actions.extend(actions)
