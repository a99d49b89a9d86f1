"""Control messages from workers and driver, checked and turned into events of the state machine."""

from __future__ import annotations

from typing import Any

from harpy.errors import ProtocolError
from harpy.gang import events
from harpy.wire import to_hub
from harpy.wire.auth import Identity, Role
from harpy.wire.member import Member


def read_message(value: Any, sender: Identity) -> to_hub.FromWorker | to_hub.FromDriver:
    """The message of an authenticated `sender`.

    Raises
    ------
    ProtocolError
        It is no message that this sender may send, or a part of it is malformed.
    """
    if sender.role is Role.DRIVER:
        return to_hub.read_driver(value)
    if sender.role is not Role.WORKER:
        raise ProtocolError(f"{sender} has nothing to say to the hub")
    return to_hub.read_worker(value, sender)


def event_of(
    message: to_hub.FromWorker | to_hub.FromDriver, sender: Identity
) -> events.Event | None:
    """The event that a message is for the state machine; None for a message that the hub
    forwards."""
    match message:
        case to_hub.Join(host, address, port, pid):
            return events.Joined(Member(sender.rank, sender.attempt, host, address, port, pid))
        case to_hub.AskComm(run, epoch):
            return events.CommAsked(sender.rank, run, epoch)
        case to_hub.Reported(run, epoch, failure):
            return events.Reported(sender.rank, run, epoch, failure)
        case to_hub.Committed(run, epoch, result):
            if sender.rank != 0:
                raise ProtocolError(f"{sender} sent a message of rank 0's: {message.TYPE!r}")
            return events.Committed(run, epoch, result)
        case to_hub.Attach():
            return events.DriverJoined()
        case to_hub.OfferRun(spec):
            return events.RunOffered(spec)
        case to_hub.CancelRun(run, reason):
            return events.CancelAsked(run, reason)
        case to_hub.CloseSession():
            return events.CloseAsked()
    return None
