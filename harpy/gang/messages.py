"""Control messages from workers and driver, checked and turned into events of the state machine."""

from __future__ import annotations

from typing import Any

from harpy.errors import ProtocolError
from harpy.gang import events
from harpy.wire.auth import Identity, Role
from harpy.wire.cause import Cause
from harpy.wire.run_spec import RunSpec

MAX_TEXT = 4_000  # characters; an address or a reason is far shorter
_LARGEST = (1 << 63) - 1


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
                    host=_text(message["host"]),
                    address=_text(message["address"]),
                    port=_number(message["port"], 1, 65535),
                    pid=_number(message["pid"], 0),
                )
            )
        case "comm":
            return events.CommAsked(sender.rank, *_which(message))
        case "report":
            failure = message["failure"]
            cause = None if failure is None else Cause.from_json(_object(failure))
            return events.Reported(sender.rank, *_which(message), cause)
        case "committed" if sender.rank == 0:
            return events.Committed(*_which(message), message.get("result"))
        case other:
            raise ProtocolError(f"{sender} sent a message of unknown type {other!r}")


def _which(message: dict[str, Any]) -> tuple[int, int]:
    """The run, and which beginning of it, that a worker speaks of."""
    return _number(message["run"], 1), _number(message["epoch"], 1)


def _from_driver(message: dict[str, Any]) -> events.Event:
    match message.get("type"):
        case "run":
            return events.RunOffered(RunSpec.from_json(message["spec"]))
        case "cancel":
            return events.CancelAsked(_number(message["run"], 1), _text(message["reason"]))
        case "close":
            return events.CloseAsked()
        case other:
            raise ProtocolError(f"the driver sent a message of unknown type {other!r}")


def _number(value: Any, lowest: int, highest: int = _LARGEST) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{value!r:.50} is no number from {lowest} to {highest}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"{value!r:.50} is no text of up to {MAX_TEXT} characters")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.50} is no object")
    return value
