"""The driver's end of the control channel: offer runs, receive events of them, close.

Owns the connection to the hub. Where the hub is, and what follows from events, is the driver's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harpy.config import Deadlines
from harpy.errors import DataError, PeerLost
from harpy.kernels.liveness import Pulse
from harpy.storage import RunDirectory, read_value
from harpy.storage.rows.arrays import NpyFile
from harpy.wire import to_driver
from harpy.wire.auth import DRIVER_BEATS, Identity, Initiator, Role
from harpy.wire.channel import Channel
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_driver import (
    BegunAnew,
    Joined,
    Lost,
    OutputPart,
    Paced,
    Progressed,
    RunCommitted,
    RunFailed,
    SessionEnded,
)
from harpy.wire.to_hub import Attach, CancelRun, CloseSession, Delivered, OfferRun


@dataclass(frozen=True)
class RunDone:
    """A run ended well, with what was delivered; None stands for what is in a file."""

    run: int
    delivered: bool = False
    result: Delivered | None = None
    outputs: Mapping[str, Mapping[int, np.ndarray | None]] = field(default_factory=dict)

    def read_results(self, directory: RunDirectory) -> tuple[Any, dict[str, np.ndarray]]:
        """What rank 0 returned, and the saved arrays by name, from wherever they are.

        Raises
        ------
        DataError
            The ranks saved arrays that do not fit together.
        """
        if not self.delivered:
            return directory.read_results()
        if self.result is None or self.result.in_file:
            value = read_value(directory.fs, directory.result)
        else:
            value = self.result.value
        arrays = {name: _join_parts(name, directory, parts) for name, parts in self.outputs.items()}
        return value, arrays


ControlEvent = Joined | Progressed | Paced | Lost | BegunAnew | RunDone | RunFailed | SessionEnded


class ControlChannel:
    """Connected to rank 0's hub as the driver. Used by one thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._outputs: dict[int, dict[str, dict[int, np.ndarray | None]]] = {}

    @classmethod
    def connect(
        cls, address: str, port: int, secret: bytes, job_id: str, deadlines: Deadlines
    ) -> ControlChannel:
        """Connect, authenticate and become the driver's connection; an older one is closed.

        Raises
        ------
        ConnectionError, TimeoutError
            Nothing listens there (yet, or any more), or it did not answer.
        AuthenticationError
            The process that listens there does not know the secret.
        """

        def initiator(me: Identity) -> Initiator:
            return Initiator(secret, job_id, me, Identity(Role.HUB), any_attempt=True)

        channel = Channel.connect(
            address,
            port,
            initiator(Identity(Role.DRIVER)),
            deadlines.handshake_s,
            deadlines.silence_s,
        )
        try:
            channel.send(Attach().to_wire())
            beating = initiator(Identity(Role.PULSE, *DRIVER_BEATS))
            pulse = Pulse(deadlines.heartbeat_s)
            channel.beat_by(pulse, address, port, beating, deadlines.handshake_s)
        except BaseException:
            channel.close()
            raise
        return cls(channel)

    def start_run(self, spec: RunSpec) -> None:
        """Offer a run; `RunFailed` follows at once if another is still going on."""
        self._channel.send(OfferRun(spec).to_wire())

    def cancel_run(self, run: int, reason: str = "cancelled by the driver") -> None:
        """Stop a run; `RunFailed` follows."""
        self._channel.send(CancelRun(run, reason).to_wire())

    def close_session(self) -> None:
        """Ask the workers to leave; `SessionEnded` follows. Harmless if they have left."""
        with contextlib.suppress(PeerLost):
            self._channel.send(CloseSession().to_wire())

    def next_event(self, timeout_s: float) -> ControlEvent | None:
        """The next event; None when none came in time.

        Raises
        ------
        PeerLost
            The connection closed, or no heartbeat came for Deadlines.silence_s.
        ProtocolError
            It sent something that is no message to the driver.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(0.0, deadline - time.monotonic())
            message = self._channel.receive(left)
            if message is None:
                return None
            event = self._event(to_driver.read(message))
            if event is not None:
                return event

    def close(self) -> None:
        """Close the connection. Workers finish the active run, then leave."""
        self._channel.close()

    def _event(self, message: to_driver.ToDriver) -> ControlEvent | None:
        """The event that a message is for the driver; parts of outputs are kept until their run
        ends."""
        match message:
            case OutputPart(run, rank, name, array):
                self._outputs.setdefault(run, {}).setdefault(name, {})[rank] = array
                return None
            case RunCommitted(run, delivered, result):
                return RunDone(run, delivered, result, self._outputs.pop(run, {}))
            case RunFailed(run):
                self._outputs.pop(run, None)
        return message


def _join_parts(
    name: str, directory: RunDirectory, parts: Mapping[int, np.ndarray | None]
) -> np.ndarray:
    """The parts of all ranks, one below the other."""
    arrays = []
    for rank, part in sorted(parts.items()):
        if part is None:
            part = NpyFile(directory.fs, directory.output_part(name, rank)).read()
        arrays.append(part)
    first = arrays[0]
    for rank, part in zip(sorted(parts), arrays, strict=True):
        if part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
            raise DataError(
                f"the ranks saved parts of {name!r} that do not fit: {first.dtype} {first.shape} "
                f"and, on rank {rank}, {part.dtype} {part.shape}"
            )
    return np.concatenate(arrays)
