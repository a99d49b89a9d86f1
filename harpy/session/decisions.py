"""What a run's follower and the driver exchange: events, and decisions about them.

follower.py decides, runs.py carries out.
"""

from __future__ import annotations

from dataclasses import dataclass

from harpy.errors import HarpyError
from harpy.launch.base import LaunchStatus
from harpy.session.control import ControlEvent, RunDone

# -- events: what became of the last decision ------------------------------------------------------


@dataclass(frozen=True)
class Connected:
    """The driver is connected to the hub in rank 0's process."""


@dataclass(frozen=True)
class NotConnected:
    """No hub is known yet, or (`problem`) none of those known could be reached."""

    problem: Exception | None = None


@dataclass(frozen=True)
class Offered:
    """The run was sent to the hub, if the connection still holds."""


@dataclass(frozen=True)
class HubLost:
    """The connection to the hub is gone."""

    problem: Exception


@dataclass(frozen=True)
class ApplicationEnded:
    """The application that carried the gang has ended, as was decided."""


@dataclass(frozen=True)
class Submitted:
    """Another application carries the gang, on the same job directory."""


# None: the time that a decision gave has passed, and nothing came.
Event = (
    ControlEvent
    | Connected
    | NotConnected
    | Offered
    | HubLost
    | ApplicationEnded
    | Submitted
    | None
)


@dataclass(frozen=True)
class View:
    """What the driver sees besides events."""

    status: LaunchStatus
    finished: bool = False  # the job ended well, and this run's results lie in its directory


# -- decisions -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listen:
    """Wait for the hub's next event: a ControlEvent, HubLost, or None."""

    timeout_s: float


@dataclass(frozen=True)
class Wait:
    """Wait, and show what for: None follows."""

    timeout_s: float
    stage: str | None = None


@dataclass(frozen=True)
class Connect:
    """Find the hub, and show what is waited for: Connected or NotConnected follows."""

    stage: str


@dataclass(frozen=True)
class Offer:
    """Send the run to the hub: Offered follows."""


@dataclass(frozen=True)
class HangUp:
    """Close the connection to a hub that is gone, and show that: None follows."""

    note: str


@dataclass(frozen=True)
class EndApplication:
    """Kill an application that cannot go on: ApplicationEnded follows."""

    why: str


@dataclass(frozen=True)
class StartAnew:
    """Submit another application that goes on from the last checkpoint: Submitted follows."""


@dataclass(frozen=True)
class Done:
    """The run ended well."""

    done: RunDone


@dataclass(frozen=True)
class Raise:
    """The run failed with this error, of which `problem` was the reason.

    `gang_stands`: its workers wait for the next run. `reports_due`: they end by themselves once
    their reports, which are to be kept, are written.
    """

    error: HarpyError
    problem: Exception | None = None
    gang_stands: bool = False
    reports_due: bool = False


@dataclass(frozen=True)
class FindCause:
    """The run failed. The launcher may know a better cause than the `seen` error."""

    seen: Exception | None = None
    problem: Exception | None = None
    reports_due: bool = False


Failing = Raise | FindCause
Decision = (
    Listen | Wait | Connect | Offer | HangUp | EndApplication | StartAnew | Done | Raise | FindCause
)
