"""A worker's connection to the hub: finding it, joining, then messages both ways from two threads.

Decides nothing about runs: the worker gets messages from a queue or by `on_message`.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harpy.config import Deadlines
from harpy.errors import (
    AuthenticationError,
    GangError,
    PeerLost,
    PeerUnreachable,
    ProtocolError,
    RendezvousTimeout,
)
from harpy.storage import JobDirectory, Rank0Address
from harpy.wire import to_worker
from harpy.wire.auth import Identity, Initiator, Role
from harpy.wire.channel import Channel, Unanswered
from harpy.wire.message import Heartbeat, Message
from harpy.wire.to_hub import Join

if TYPE_CHECKING:
    from harpy.kernels.liveness import Pulse

FIRST_PAUSE_S, LAST_PAUSE_S = 0.02, 0.2  # between two tries to find rank 0, growing
RECEIVE_S = 1.0  # of one wait; silence is summed over several
CLOSE_S = 5.0


class Superseded(GangError):
    """A higher attempt of this rank has joined."""


class SessionOver(GangError):
    """The session has ended without this worker; `well` says whether it ended well."""

    def __init__(self, well: bool) -> None:
        super().__init__(f"the session has ended {'well' if well else 'with a failure'}")
        self.well = well


class Link:
    """A joined worker's connection to the hub.

    Parameters
    ----------
    channel : Channel
        Admitted by the hub.
    on_message : callable
        Called with every message in the receiving thread. It returns True if it has handled the
        message; else the message is queued.
    on_lost : callable
        Called once, by either thread, when the hub is gone.
    """

    def __init__(
        self,
        channel: Channel,
        heartbeat_s: float,
        on_message: Callable[[to_worker.ToWorker], bool],
        on_lost: Callable[[PeerLost], None],
    ) -> None:
        self._channel = channel
        self._heartbeat_s = heartbeat_s
        self._on_message, self._on_lost = on_message, on_lost
        # A signal handler that raises in the program's thread cannot interrupt SimpleQueue.put.
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._sender = threading.Thread(target=self._send_all, name="harpy-link-out", daemon=True)
        self._receiver = threading.Thread(target=self._receive, name="harpy-link-in", daemon=True)

    def start(self) -> None:
        """Start sending and receiving."""
        self._sender.start()
        self._receiver.start()

    def send(self, message: Message) -> None:
        """Queue a message for the hub; returns at once."""
        self._outbox.put(message)

    def next_message(self, timeout_s: float | None = None) -> Any:
        """The next message that `on_message` did not handle, or the next object of `put`; None when
        nothing came in time."""
        try:
            return self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Send what is queued, then close the connection."""
        self._closing.set()
        self._outbox.put(None)
        self._sender.join(CLOSE_S)
        self._channel.close()

    def put(self, message: object) -> None:
        """Queue an object for the caller of `next_message`, from within this process."""
        self._inbox.put(message)

    def _send_all(self) -> None:
        try:
            while True:
                try:
                    message = self._outbox.get(timeout=self._heartbeat_s)
                except queue.Empty:
                    message = Heartbeat()
                if message is None:
                    return
                self._channel.send(message.to_wire())
        except PeerLost as exc:
            self._lost(exc)

    def _receive(self) -> None:
        try:
            while True:
                value = self._channel.receive(RECEIVE_S)
                if value is None:
                    continue
                message = to_worker.read(value)
                if not self._on_message(message):
                    self._inbox.put(message)
        except PeerLost as exc:
            self._lost(exc)
        except GangError as exc:
            self._lost(PeerLost(str(exc), rank=0))

    def _lost(self, exc: PeerLost) -> None:
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
        self._on_lost(exc)


def join_hub(
    directory: JobDirectory,
    secret: bytes,
    me: Identity,
    listening: tuple[str, int],
    pulse: Pulse,
    deadlines: Deadlines,
) -> Channel:
    """Find rank 0's hub, join it and exchange heartbeats; try again until Deadlines.allocate_s.

    Parameters
    ----------
    me : Identity
        This worker.
    listening : (str, int)
        The address at which this worker accepts its peers.
    pulse : Pulse
        Heartbeats of this process; the hub becomes one of its peers.

    Raises
    ------
    Superseded
        A higher attempt of this rank has joined.
    SessionOver
        The session has ended without this worker.
    RendezvousTimeout
        No hub could be joined in time; the message has the last try's error.
    AuthenticationError
        The process that listens at the published address does not know this job's secret.
    PeerUnreachable
        Rank 0 waits for this worker, and its host has not answered for Deadlines.rendezvous_s.
    """
    deadline = time.monotonic() + deadlines.allocate_s
    partition = NetworkPartition(deadlines.rendezvous_s)
    last = "rank 0 has not published its address; its container did not start yet"
    for _ in _tries(deadline):
        for hub in directory.rank0_addresses():
            try:
                return _join(hub, directory.job_id, secret, me, listening, pulse, deadlines)
            except AuthenticationError:
                raise
            except OSError as exc:  # PeerLost and TimeoutError are OSErrors
                last = f"rank 0 at {hub.address} port {hub.port}: {exc}"
                well = directory.session_ended()
                if well is not None:
                    raise SessionOver(well) from exc
                unanswered = isinstance(exc, Unanswered)
                waited_at = directory.waited_at() if unanswered else None
                if partition.lasts(hub.attempt, unanswered, waited_at, time.monotonic()):
                    raise _unreachable(hub, me, deadlines) from exc
    raise RendezvousTimeout(
        f"rank {me.rank} could not join within {deadlines.allocate_s:g} s (HARPY_ALLOCATE_S): "
        f"{last}",
        missing=(0,),
    )


class NetworkPartition:
    """Distinguishes a rank 0 that lives but cannot be reached from here from one that is gone and
    will be replaced. Pure: the clock is passed in.

    Parameters
    ----------
    limit_s : float
        Seconds for which its host may leave this worker without an answer.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._attempt = -1  # the highest of rank 0 so far
        self._since: float | None = None  # when its host first gave no answer
        self._waited_at: float | None = None  # when rank 0 had last said that it waits

    def lasts(self, attempt: int, unanswered: bool, waited_at: float | None, now: float) -> bool:
        """Note one failed try to join an attempt of rank 0; return whether to give up.

        Parameters
        ----------
        unanswered : bool
            Its host gave no answer at all.
        waited_at : float or None
            When rank 0 last said, in the job directory, that it waits for other ranks.
        """
        if attempt < self._attempt:
            return False
        if attempt > self._attempt or not unanswered:
            self._attempt, self._since = attempt, None
        if not unanswered:
            return False
        if self._since is None:
            self._since, self._waited_at = now, waited_at
        return now - self._since > self._limit_s and waited_at != self._waited_at


def _unreachable(hub: Rank0Address, me: Identity, deadlines: Deadlines) -> PeerUnreachable:
    host = socket.gethostname()
    return PeerUnreachable(
        f"rank {me.rank} on {host} cannot reach rank 0 at {hub.address} port {hub.port}: no answer "
        f"for {deadlines.rendezvous_s:g} s (HARPY_RENDEZVOUS_S), though rank 0 lives and waits.\n"
        "  Does a firewall, or a broken line, separate these two hosts? harpy.port-range=LOW-HIGH "
        "in hadoop_conf says on which ports workers listen.",
        rank=me.rank,
        host=host,
    )


def _tries(deadline: float) -> Iterator[None]:
    pause = FIRST_PAUSE_S
    while True:
        yield
        if time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_PAUSE_S)


def _join(
    hub: Rank0Address,
    job_id: str,
    secret: bytes,
    me: Identity,
    listening: tuple[str, int],
    pulse: Pulse,
    deadlines: Deadlines,
) -> Channel:
    """One try to join one hub."""
    there = Identity(Role.HUB, 0, hub.attempt)
    channel = Channel.connect(
        hub.address,
        hub.port,
        Initiator(secret, job_id, me, there),
        deadlines.handshake_s,
        deadlines.silence_s,
    )
    try:
        channel.send(Join(socket.gethostname(), *listening, os.getpid()).to_wire())
        await_admission(channel, deadlines.handshake_s)
        beating = Initiator(secret, job_id, replace(me, role=Role.PULSE), there)
        channel.beat_by(pulse, hub.address, hub.port, beating, deadlines.handshake_s)
    except BaseException:
        channel.close()
        raise
    return channel


def await_admission(channel: Channel, timeout_s: float) -> None:
    """Wait until the hub admits this worker. Raises Superseded, or PeerLost where another try may
    help."""
    value = channel.receive(timeout_s)
    if value is None:
        raise TimeoutError(f"the hub did not answer within {timeout_s:g} s")
    try:
        answer = to_worker.read_answer(value)
    except ProtocolError as exc:
        raise PeerLost(str(exc), rank=0) from exc
    if isinstance(answer, to_worker.Refused) and answer.superseded:
        raise Superseded(answer.reason)
    if not isinstance(answer, to_worker.Admitted):
        raise PeerLost(f"refused: {answer.reason}", rank=0)
