"""Control messages from workers and driver, checked and turned into events of the state machine."""

from __future__ import annotations

from typing import Any

from harpy.errors import ProtocolError
from harpy.gang import events
from harpy.gang.auth import Identity, Role
from harpy.gang.cause import Cause
from harpy.gang.run_spec import RunSpec


def event_of(message: dict[str, Any], sender: Identity) -> events.Event:
    """The event that an authenticated `sender` reports.

    Raises
    ------
    ProtocolError
        The message is of no known type for that role, or lacks a part.
    ConfigError
        The run it offers is not well-formed.
    """
    try:
        if sender.role is Role.WORKER:
            return _from_worker(message, sender)
        if sender.role is Role.DRIVER:
            return _from_driver(message)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        if isinstance(exc, ProtocolError):
            raise
        raise ProtocolError(f"{sender} sent a malformed message: {exc!r}") from exc
    raise ProtocolError(f"{sender} has nothing to say to the hub")


def _from_worker(message: dict[str, Any], sender: Identity) -> events.Event:
    match message.get("type"):
        case "join":
            return events.Joined(
                events.Member(
                    rank=sender.rank,
                    attempt=sender.attempt,
                    host=str(message["host"]),
                    address=str(message["address"]),
                    port=int(message["port"]),
                    pid=int(message["pid"]),
                )
            )
        case "comm":
            return events.CommAsked(sender.rank, *_which(message))
        case "report":
            failure = message["failure"]
            cause = None if failure is None else Cause.from_json(failure)
            return events.Reported(sender.rank, *_which(message), cause)
        case "committed" if sender.rank == 0:
            return events.Committed(*_which(message), message.get("result"))
        case other:
            raise ProtocolError(f"{sender} sent a message of unknown type {other!r}")


def _which(message: dict[str, Any]) -> tuple[int, int]:
    """The run, and which beginning of it, that a worker speaks of."""
    return int(message["run"]), int(message["epoch"])


def _from_driver(message: dict[str, Any]) -> events.Event:
    match message.get("type"):
        case "run":
            return events.RunOffered(RunSpec.from_json(message["spec"]))
        case "cancel":
            return events.CancelAsked(int(message["run"]), str(message["reason"]))
        case "close":
            return events.CloseAsked()
        case other:
            raise ProtocolError(f"the driver sent a message of unknown type {other!r}")
