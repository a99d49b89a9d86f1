"""The hub: the server in rank 0's process. One thread receives from members and driver, passes
events to the state machine (gang.py) and carries out its actions.

Decides nothing itself. Connections that have not authenticated are door.py's.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harpy.config import Deadlines
from harpy.errors import ConfigError, GangError, ProtocolError
from harpy.gang import events
from harpy.gang.door import PAUSE_S, Door
from harpy.gang.gang import Gang
from harpy.gang.listening import listen
from harpy.gang.messages import event_of, read_message
from harpy.wire import to_driver, to_hub, to_worker
from harpy.wire.auth import DRIVER_BEATS, Acceptor, Identity, Role
from harpy.wire.connection import Connection
from harpy.wire.message import Heartbeat, Message

if TYPE_CHECKING:
    from harpy.kernels.liveness import Pulse

TICK_S = 0.25  # between two checks of the deadlines
LINGER_S = 5.0  # for the last messages to reach workers and driver


class Hub:
    """Rank 0's server.

    Parameters
    ----------
    gang : Gang
        The state machine; once started, only the hub's thread changes it.
    secret, job_id : bytes, str
        Workers and driver must prove that they know them.
    attempt : int
        This process's attempt of rank 0.
    bind : str
        Numeric local address.
    port_range : (int, int)
        First and last port to try; (0, 0) for any.
    pulse : Pulse
        This process's heartbeats; workers have a second connection to the hub for them.
    on_end : callable
        Called last, in the hub's thread, with whether the session ended well.
    on_crash : callable
        Called with the exception if the hub's thread dies of a bug; must end the process.
    """

    def __init__(
        self,
        gang: Gang,
        secret: bytes,
        job_id: str,
        attempt: int,
        bind: str,
        port_range: tuple[int, int],
        deadlines: Deadlines,
        pulse: Pulse,
        on_end: Callable[[bool], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._gang = gang
        self._deadlines = deadlines
        self._pulse = pulse
        self._beats: dict[tuple[int, int], int] = {}  # (rank, attempt): number in the pulse
        self._on_end, self._on_crash = on_end, on_crash
        listener = listen(bind, port_range, backlog=gang.membership.n_node + 64)
        self.address, self.port = listener.getsockname()[:2]
        self._selector = selectors.DefaultSelector()
        acceptor = Acceptor(secret, job_id, Identity(Role.HUB, 0, attempt))
        self._door = Door(listener, acceptor, self._selector, deadlines.handshake_s)
        self._workers: dict[tuple[int, int], Connection] = {}  # (rank, attempt): admitted
        self._driver: Connection | None = None
        self._pending: deque[events.Event] = deque()
        self._beat_at = 0.0
        self._stopping: float | None = None  # deadline of the linger
        self._thread = threading.Thread(target=self._main, name="harpy-hub", daemon=True)

    def start(self) -> None:
        """Start the hub's thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until the session has ended and the last messages are sent."""
        self._thread.join(timeout_s)

    def waited_s(self) -> float:
        """Seconds since the first rank was missing; 0 while all are present, or once the session
        is over."""
        since = self._gang.membership.incomplete_since if self._gang.ended is None else None
        return 0.0 if since is None else time.monotonic() - since

    # -- the loop ----------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self._serve()
            ended = self._gang.ended
            self._on_end(ended is not None and ended.cause is None)
        except BaseException as exc:
            self._on_crash(exc)
        finally:
            for key in list(self._selector.get_map().values()):
                if key.data is not None:
                    key.data.close()
            self._door.close()
            self._selector.close()

    def _serve(self) -> None:
        tick_at = 0.0
        while not self._finished():
            for key, mask in self._selector.select(PAUSE_S if self._door.paused else TICK_S):
                if key.fileobj is self._door.listener:
                    for connection in self._door.accept():
                        self._watch(connection)
                elif not key.data.closed:
                    self._serve_connection(key.data, mask)
            now = time.monotonic()
            self._door.reopen(now)
            if now >= tick_at:
                tick_at = now + TICK_S
                self._tick(now)

    def _finished(self) -> bool:
        if self._stopping is None:
            return False
        # Workers close their connections after `end`; the driver need not.
        told = self._driver is None or not self._driver.wants_to_send
        return (not self._workers and told) or time.monotonic() > self._stopping

    def _tick(self, now: float) -> None:
        self._door.drop_overdue(now)
        for key, connection in list(self._workers.items()):
            beats = self._beats.get(key)
            # Before its heartbeats arrive, its messages count as signs of life.
            silent = now - connection.heard_at if beats is None else self._pulse.silent_for(beats)
            if silent > self._deadlines.silence_s:
                why = f"it said nothing for {silent:.0f} s (HARPY_SILENCE_S)"
                self._drop(connection, why, counts=False)
        if now >= self._beat_at:
            self._beat_at = now + self._deadlines.heartbeat_s
            listeners = [*self._workers.values(), *([self._driver] if self._driver else [])]
            for listener in listeners:
                self._send(listener, Heartbeat())
        self._handle(events.Tick())

    # -- connections -------------------------------------------------------------------------------

    def _serve_connection(self, connection: Connection, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                connection.flush()
            if mask & selectors.EVENT_READ:
                messages = connection.receive(time.monotonic())
                if connection in self._door and self._door.advance(connection):
                    self._welcome(connection)
                if connection.closed:
                    return
                for message in messages:
                    self._handle_message(connection, message)
                    if connection.closed:
                        return
        except (OSError, GangError, ConfigError) as exc:
            self._drop(connection, str(exc))
            return
        self._watch(connection)

    def _welcome(self, connection: Connection) -> None:
        """Handle a connection that has just authenticated."""
        identity = connection.identity
        if identity is not None and identity.role is Role.PULSE:
            self._register_heartbeats(connection, (identity.rank, identity.attempt))

    def _register_heartbeats(self, connection: Connection, key: tuple[int, int]) -> None:
        """Hand a connection that carries heartbeats only to the pulse's thread."""
        if key == DRIVER_BEATS:
            self._remove_heartbeats(key)  # of its older connection
        elif key not in self._workers or key in self._beats:
            raise ProtocolError(f"heartbeats of rank {key[0]}, attempt {key[1]}, are not expected")
        self._selector.unregister(connection.sock)
        self._beats[key] = self._pulse.add(connection.detach())

    def _watch(self, connection: Connection) -> None:
        if connection.closed:
            return
        wanted = selectors.EVENT_READ
        if connection.wants_to_send:
            wanted |= selectors.EVENT_WRITE
        if self._selector.get_key(connection.sock).events != wanted:
            self._selector.modify(connection.sock, wanted, connection)

    def _send(self, connection: Connection, message: Message) -> None:
        if connection.closed:
            return
        try:
            connection.send(message.to_wire())
        except (OSError, GangError) as exc:
            self._drop(connection, str(exc))
            return
        self._watch(connection)

    def _drop(self, connection: Connection, why: str, counts: bool = True) -> None:
        """Close a connection. If it belonged to the driver or a worker, pass that to the state
        machine, with whether it counts as a loss."""
        if connection in self._door:
            self._door.drop(connection, why)
        if connection.closed:
            return
        self._selector.unregister(connection.sock)
        connection.close()
        identity = connection.identity
        assert identity is not None
        if connection is self._driver:
            self._driver = None
            self._handle(events.DriverLeft())
        elif self._workers.get((identity.rank, identity.attempt)) is connection:
            key = (identity.rank, identity.attempt)
            del self._workers[key]
            if self._pulse.was_terminated(self._beats.get(key, 0)):
                why, counts = "it was ended from outside (SIGTERM)", False
            self._remove_heartbeats(key)
            self._handle(events.Left(*key, why, counts))

    def _remove_heartbeats(self, key: tuple[int, int]) -> None:
        beats = self._beats.pop(key, None)
        if beats is not None:
            self._pulse.remove(beats)

    # -- messages in -------------------------------------------------------------------------------

    def _handle_message(self, connection: Connection, value: dict[str, Any]) -> None:
        identity = connection.identity
        assert identity is not None
        if value.get("type") == Heartbeat.TYPE:
            return
        message = read_message(value, identity)
        admitted = self._workers.get((identity.rank, identity.attempt)) is connection
        if isinstance(message, to_hub.Attach):
            if self._driver is not None:
                older, self._driver = self._driver, None
                self._drop(older, "a newer connection of the driver took its place")
            self._driver = connection
        elif isinstance(message, to_hub.Join):
            self._register_worker(connection, identity)
        elif not admitted and connection is not self._driver:
            raise ProtocolError(f"{identity} sent {message.TYPE!r} before it was let in")
        event = event_of(message, identity)
        if event is not None:
            self._handle(event)
        elif self._driver is not None:
            self._send(self._driver, _forwarded(message, identity.rank))

    def _register_worker(self, connection: Connection, identity: Identity) -> None:
        """Make this the connection of a worker that asks to join."""
        key = (identity.rank, identity.attempt)
        older = self._workers.get(key)
        if older is not None:
            self._drop(older, "it joined anew")
        self._workers[key] = connection  # so that the answer can be sent

    # -- actions out -------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        """Pass an event to the state machine; events that its actions cause are handled
        afterwards."""
        self._pending.append(event)
        if len(self._pending) > 1:
            return
        while self._pending:
            for action in self._gang.handle(self._pending[0], time.monotonic()):
                self._do(action)
            self._pending.popleft()

    def _do(self, action: events.Action) -> None:
        match action:
            case events.Admit(rank, attempt):
                self._send_to(rank, to_worker.Admitted(), attempt)
            case events.Refuse(rank, attempt, reason, superseded):
                connection = self._workers.pop((rank, attempt), None)
                if connection is not None:
                    self._send(connection, to_worker.Refused(reason, superseded))
                    self._drop(connection, reason)
            case events.Supersede(rank, attempt):
                connection = self._workers.pop((rank, attempt), None)
                self._remove_heartbeats((rank, attempt))
                if connection is not None:
                    self._send(connection, to_worker.Superseded())
            case events.StartRun(rank, spec, epoch):
                self._send_to(rank, to_worker.StartRun(spec, epoch))
            case events.SendPeers(run, epoch, members):
                for member in members:
                    self._send_to(member.rank, to_worker.Peers(run, epoch, members))
            case events.AbortRun(run, epoch, ranks, reason):
                for rank in ranks:
                    self._send_to(rank, to_worker.AbortRun(run, epoch, reason))
            case events.Expel(rank, attempt, reason):
                connection = self._workers.get((rank, attempt))
                if connection is not None:
                    self._pulse.end_peer(self._beats.get((rank, attempt), 0))
                    self._drop(connection, reason)
            case events.CommitRun(run, epoch):
                self._send_to(0, to_worker.CommitRun(run, epoch))
            case events.TellDriver(message):
                if self._driver is not None:
                    self._send(self._driver, message)
            case events.EndSession(reason, cause):
                self._stopping = time.monotonic() + LINGER_S
                for connection in list(self._workers.values()):
                    self._send(connection, to_worker.EndSession(reason, cause))

    def _send_to(self, rank: int, message: Message, attempt: int | None = None) -> None:
        if attempt is None:
            member = self._gang.membership.members.get(rank)
            attempt = member.attempt if member else -1
        connection = self._workers.get((rank, attempt))
        if connection is not None:
            self._send(connection, message)


def _forwarded(message: to_hub.FromWorker | to_hub.FromDriver, rank: int) -> to_driver.ToDriver:
    """The message that the hub forwards from a rank to the driver."""
    match message:
        case to_hub.Progress(run, fraction, values):
            return to_driver.Progressed(run, rank, fraction, values)
        case to_hub.Pace(run, host, busy):
            return to_driver.Paced(run, rank, host, busy)
        case to_hub.Output(run, name, array):
            return to_driver.OutputPart(run, rank, name, array)
    raise AssertionError(f"{message!r} is for the hub itself")
