"""The driver's end of the control channel: offer runs, hear what becomes of them, close.

Owns the connection to the hub. Where the hub is, and what to do about its news, is the driver's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harpy.config import Deadlines
from harpy.errors import DataError, PeerLost, ProtocolError
from harpy.kernels.liveness import Pulse
from harpy.storage import RunDirectory, read_value
from harpy.storage.rows.arrays import NpyFile
from harpy.wire.auth import DRIVER_BEATS, Identity, Initiator, Role
from harpy.wire.cause import Cause
from harpy.wire.channel import Channel
from harpy.wire.run_spec import RunSpec


@dataclass(frozen=True)
class Joined:
    """`n` of `of` workers are there."""

    n: int
    of: int


@dataclass(frozen=True)
class Progressed:
    """What `ctx.progress` was told on rank 0."""

    run: int
    rank: int
    fraction: float | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Paced:
    """Which part of its time, from 0 to 1, a rank did not wait for others."""

    run: int
    rank: int
    host: str
    busy: float


@dataclass(frozen=True)
class RunDone:
    """A run ended well. What was delivered is here; None stands for what is in a file."""

    run: int
    delivered: bool = False
    result: Mapping[str, Any] | None = None
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
        if self.result is None or self.result["in_file"]:
            value = read_value(directory.fs, directory.result)
        else:
            value = self.result["value"]
        arrays = {name: _join_parts(name, directory, parts) for name, parts in self.outputs.items()}
        return value, arrays


@dataclass(frozen=True)
class RunFailed:
    """A run failed; `kind` names a class of harpy.errors."""

    run: int
    kind: str
    message: str
    rank: int | None = None
    host: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Lost:
    """A worker is gone; the launcher is to replace it."""

    rank: int
    message: str


@dataclass(frozen=True)
class BegunAnew:
    """All workers are there again; the run goes on from its last checkpoint."""

    run: int


@dataclass(frozen=True)
class SessionEnded:
    """The workers are leaving."""

    reason: str


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
        """Connect, authenticate and take the driver's place, from an older connection if need be.

        Raises
        ------
        ConnectionError, TimeoutError
            Nobody listens there (yet, or any more), or it did not answer.
        AuthenticationError
            Whoever listens does not know the secret.
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
            channel.send({"type": "attach"})
            beating = initiator(Identity(Role.PULSE, *DRIVER_BEATS))
            pulse = Pulse(deadlines.heartbeat_s)
            channel.beat_by(pulse, address, port, beating, deadlines.handshake_s)
        except BaseException:
            channel.close()
            raise
        return cls(channel)

    def start_run(self, spec: RunSpec) -> None:
        """Offer a run; `RunFailed` follows at once if another is still going on."""
        self._channel.send({"type": "run", "spec": spec.to_json()})

    def cancel_run(self, run: int, reason: str = "cancelled by the driver") -> None:
        """Stop a run; `RunFailed` follows."""
        self._channel.send({"type": "cancel", "run": run, "reason": reason})

    def close_session(self) -> None:
        """Ask the workers to leave; `SessionEnded` follows. Harmless if they have left."""
        with contextlib.suppress(PeerLost):
            self._channel.send({"type": "close"})

    def next_event(self, timeout_s: float) -> ControlEvent | None:
        """The next event; None when none came in time.

        Raises
        ------
        PeerLost
            The hub is gone without a word, or silent for Deadlines.silence_s.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(0.0, deadline - time.monotonic())
            message = self._channel.receive(left)
            if message is None:
                return None
            event = self._event(message)
            if event is not None:
                return event

    def close(self) -> None:
        """Hang up. Workers finish the run that goes on, then leave."""
        self._channel.close()

    def _event(self, message: dict[str, Any]) -> ControlEvent | None:
        try:
            match message["type"]:
                case "joined":
                    return Joined(_a(int, message["n"]), _a(int, message["of"]))
                case "progress":
                    fraction = _a(int | float | None, message["fraction"])
                    values = _a(dict, message["values"])
                    run, rank = _a(int, message["run"]), _a(int, message["rank"])
                    return Progressed(run, rank, fraction, values)
                case "pace":
                    run, rank = _a(int, message["run"]), _a(int, message["rank"])
                    return Paced(run, rank, _a(str, message["host"]), _a(float, message["busy"]))
                case "output":
                    array = _a(np.ndarray | None, message["array"])
                    parts = self._outputs.setdefault(_a(int, message["run"]), {})
                    named = parts.setdefault(_a(str, message["name"]), {})
                    named[_a(int, message["rank"])] = array
                    return None
                case "run_done":
                    run = _a(int, message["run"])
                    outputs = self._outputs.pop(run, {})
                    result = _a(dict | None, message["result"])
                    return RunDone(run, _a(bool, message["delivered"]), result, outputs)
                case "run_failed":
                    run, cause = _a(int, message["run"]), Cause.from_json(message)
                    self._outputs.pop(run, None)
                    where = (cause.rank, cause.host, cause.detail)
                    return RunFailed(run, cause.kind, cause.message, *where)
                case "lost":
                    return Lost(_a(int, message["rank"]), _a(str, message["message"]))
                case "begun_anew":
                    return BegunAnew(_a(int, message["run"]))
                case "session_ended":
                    return SessionEnded(_a(str, message["reason"]))
                case other:
                    raise ProtocolError(f"the hub sent a message of unknown type {other!r}")
        except (KeyError, TypeError) as exc:
            raise ProtocolError(f"the hub sent a malformed message: {exc!r}") from exc


def _a(kind: Any, value: Any) -> Any:
    """`value`, if it is of that kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.50} is no {getattr(kind, '__name__', kind)}")
    return value


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
