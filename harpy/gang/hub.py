"""The hub: the meeting point in rank 0's process. One thread that listens, lets in who knows the
secret, feeds what happens to the state machine (gang.py) and does what it says.

Decides nothing itself. Strangers, silence and garbage cost one connection and block nobody.
"""

from __future__ import annotations

import logging
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harpy.config import Deadlines
from harpy.errors import ConfigError, GangError, ProtocolError
from harpy.gang import events
from harpy.gang.gang import Gang
from harpy.gang.listening import Exhausted, listen, waiting
from harpy.gang.messages import event_of, read_message
from harpy.gang.strangers import Strangers
from harpy.wire import to_driver, to_hub, to_worker
from harpy.wire.auth import DRIVER_BEATS, Acceptor, Identity, Role
from harpy.wire.connection import Connection
from harpy.wire.message import Heartbeat, Message

if TYPE_CHECKING:
    from harpy.kernels.liveness import Pulse

logger = logging.getLogger(__name__)

TICK_S = 0.25  # how often deadlines are looked at
MAX_STRANGERS = 256  # connections that have not authenticated yet
REST_S = 0.02  # the door stays shut after a stranger: a flood wakes the hub so rarely
LINGER_S = 5.0  # for the last words to reach workers and driver


class Hub:
    """Rank 0's server.

    Parameters
    ----------
    gang : Gang
        The state machine; only the hub's thread changes it once started.
    secret, job_id : bytes, str
        What joiners must know and name.
    attempt : int
        Of rank 0.
    bind : str
        Numeric local address.
    port_range : (int, int)
        First and last port to try; (0, 0) for any.
    pulse : Pulse
        This process's heartbeats; workers connect to the hub for them, too.
    on_end : callable
        Called last in the hub's thread, with whether the session ended well.
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
        self._acceptor = Acceptor(secret, job_id, Identity(Role.HUB, 0, attempt))
        self._deadlines = deadlines
        self._pulse = pulse
        self._beats: dict[tuple[int, int], int] = {}  # (rank, attempt): number in the pulse
        self._on_end, self._on_crash = on_end, on_crash
        self._listener = listen(bind, port_range, backlog=gang.membership.n_node + 64)
        self._listener.setblocking(False)
        self.address, self.port = self._listener.getsockname()[:2]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._rests_until: float | None = None  # the listener is not looked at before
        self._connections: set[Connection] = set()
        self._strangers: Strangers[Connection] = Strangers(MAX_STRANGERS, deadlines.handshake_s)
        self._workers: dict[tuple[int, int], Connection] = {}  # (rank, attempt): admitted
        self._driver: Connection | None = None
        self._pending: deque[events.Event] = deque()
        self._beat_at = 0.0
        self._stopping: float | None = None  # deadline of the linger
        self._thread = threading.Thread(target=self._main, name="harpy-hub", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until the session has ended and everybody has been told."""
        self._thread.join(timeout_s)

    def waited_s(self) -> float:
        """For how long any rank has been missing; 0 while all are here, or once all is over."""
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
            for connection in list(self._connections):
                connection.close()
            self._listener.close()
            self._selector.close()

    def _serve(self) -> None:
        tick_at = 0.0
        while not self._finished():
            for key, mask in self._selector.select(TICK_S if self._rests_until is None else REST_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif not key.data.closed:
                    self._serve_connection(key.data, mask)
            now = time.monotonic()
            if self._rests_until is not None and now >= self._rests_until:
                self._rests_until = None
                self._selector.register(self._listener, selectors.EVENT_READ)
            if now >= tick_at:
                tick_at = now + TICK_S
                self._tick(now)

    def _finished(self) -> bool:
        if self._stopping is None:
            return False
        # Workers answer `end` by leaving; the driver need not.
        told = self._driver is None or not self._driver.wants_to_send
        return (not self._workers and told) or time.monotonic() > self._stopping

    def _tick(self, now: float) -> None:
        for stranger in self._strangers.overdue(now):
            self._drop(stranger, "it did not authenticate in time")
        for key, connection in list(self._workers.items()):
            beats = self._beats.get(key)
            # Before its heartbeats have come by, its messages count.
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

    def _accept(self) -> None:
        turned_away = False
        try:
            for sock in waiting(self._listener):
                stranger = Connection(sock, self._acceptor.another(), time.monotonic())
                turned_away |= not self._meets(stranger)
        except Exhausted as exc:
            oldest = self._strangers.oldest()
            if oldest is not None:
                self._drop(oldest, str(exc))
            else:
                logger.warning("hub takes no connections for now: %s", exc)
                self._rest(TICK_S)
                return
        if turned_away:
            self._rest(REST_S)

    def _rest(self, seconds: float) -> None:
        self._rests_until = time.monotonic() + seconds
        self._selector.unregister(self._listener)

    def _meets(self, stranger: Connection) -> bool:
        """Whether this one may stay. Most have spoken by now: garbage goes before anything is
        arranged for it."""
        try:
            stranger.receive(stranger.heard_at)
        except (OSError, GangError, ConfigError) as exc:
            stranger.close()
            logger.info("hub dropped a stranger: %s", exc)
            return False
        self._connections.add(stranger)
        self._selector.register(stranger.sock, selectors.EVENT_READ, stranger)
        displaced = self._strangers.add(stranger, stranger.heard_at)
        if displaced is not None:
            self._drop(displaced, "too many strangers")
        self._look_at(stranger)
        self._watch(stranger)
        return True

    def _serve_connection(self, connection: Connection, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                connection.flush()
            if mask & selectors.EVENT_READ:
                messages = connection.receive(time.monotonic())
                if connection in self._strangers:
                    self._look_at(connection)
                if connection.closed:
                    return
                for message in messages:
                    self._take(connection, message)
                    if connection.closed:
                        return
        except (OSError, GangError, ConfigError) as exc:
            self._drop(connection, str(exc))
            return
        self._watch(connection)

    def _look_at(self, stranger: Connection) -> None:
        identity = stranger.identity
        if identity is not None:
            self._strangers.remove(stranger)
            if identity.role is Role.PULSE:
                self._take_pulse(stranger, (identity.rank, identity.attempt))
        elif stranger.greeted:
            self._strangers.greeted(stranger)

    def _take_pulse(self, connection: Connection, key: tuple[int, int]) -> None:
        """This connection carries heartbeats alone, for the pulse's thread."""
        if key == DRIVER_BEATS:
            self._lay_down_pulse(key)  # of its older connection
        elif key not in self._workers or key in self._beats:
            raise ProtocolError(f"heartbeats of rank {key[0]}, attempt {key[1]}, are not expected")
        self._selector.unregister(connection.sock)
        self._connections.discard(connection)
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
        """Close a connection and tell the state machine if it belonged to somebody, and whether
        that counts as a loss."""
        if connection.closed:
            return
        self._selector.unregister(connection.sock)
        self._connections.discard(connection)
        self._strangers.remove(connection)
        connection.close()
        identity = connection.identity
        if identity is None:
            logger.info("hub dropped a stranger: %s", why)
        elif connection is self._driver:
            self._driver = None
            self._handle(events.DriverLeft())
        elif self._workers.get((identity.rank, identity.attempt)) is connection:
            key = (identity.rank, identity.attempt)
            del self._workers[key]
            if self._pulse.was_terminated(self._beats.get(key, 0)):
                why, counts = "it was ended from outside (SIGTERM)", False
            self._lay_down_pulse(key)
            self._handle(events.Left(*key, why, counts))

    def _lay_down_pulse(self, key: tuple[int, int]) -> None:
        beats = self._beats.pop(key, None)
        if beats is not None:
            self._pulse.remove(beats)

    # -- messages in -------------------------------------------------------------------------------

    def _take(self, connection: Connection, value: dict[str, Any]) -> None:
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
            self._place(connection, identity)
        elif not admitted and connection is not self._driver:
            raise ProtocolError(f"{identity} sent {message.TYPE!r} before it was let in")
        event = event_of(message, identity)
        if event is not None:
            self._handle(event)
        elif self._driver is not None:
            self._send(self._driver, _passed_on(message, identity.rank))

    def _place(self, connection: Connection, identity: Identity) -> None:
        """A worker asks to be let in: from here on this is its connection."""
        key = (identity.rank, identity.attempt)
        older = self._workers.get(key)
        if older is not None:
            self._drop(older, "it joined anew")
        self._workers[key] = connection  # so that the answer finds its way

    # -- actions out -------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        """Feed the state machine; what its actions cause in turn comes after them."""
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
                self._to(rank, to_worker.Admitted(), attempt)
            case events.Refuse(rank, attempt, reason, superseded):
                connection = self._workers.pop((rank, attempt), None)
                if connection is not None:
                    self._send(connection, to_worker.Refused(reason, superseded))
                    self._drop(connection, reason)
            case events.Supersede(rank, attempt):
                connection = self._workers.pop((rank, attempt), None)
                self._lay_down_pulse((rank, attempt))
                if connection is not None:
                    self._send(connection, to_worker.Superseded())
            case events.StartRun(rank, spec, epoch):
                self._to(rank, to_worker.StartRun(spec, epoch))
            case events.SendPeers(run, epoch, members):
                for member in members:
                    self._to(member.rank, to_worker.Peers(run, epoch, members))
            case events.AbortRun(run, epoch, ranks, reason):
                for rank in ranks:
                    self._to(rank, to_worker.AbortRun(run, epoch, reason))
            case events.Expel(rank, attempt, reason):
                connection = self._workers.get((rank, attempt))
                if connection is not None:
                    self._pulse.order_end(self._beats.get((rank, attempt), 0))
                    self._drop(connection, reason)
            case events.CommitRun(run, epoch):
                self._to(0, to_worker.CommitRun(run, epoch))
            case events.TellDriver(message):
                if self._driver is not None:
                    self._send(self._driver, message)
            case events.EndSession(reason, cause):
                self._stopping = time.monotonic() + LINGER_S
                for connection in list(self._workers.values()):
                    self._send(connection, to_worker.EndSession(reason, cause))

    def _to(self, rank: int, message: Message, attempt: int | None = None) -> None:
        if attempt is None:
            member = self._gang.membership.members.get(rank)
            attempt = member.attempt if member else -1
        connection = self._workers.get((rank, attempt))
        if connection is not None:
            self._send(connection, message)


def _passed_on(message: to_hub.FromWorker | to_hub.FromDriver, rank: int) -> to_driver.ToDriver:
    """What a rank says to the driver by way of the hub."""
    match message:
        case to_hub.Progress(run, fraction, values):
            return to_driver.Progressed(run, rank, fraction, values)
        case to_hub.Pace(run, host, busy):
            return to_driver.Paced(run, rank, host, busy)
        case to_hub.Output(run, name, array):
            return to_driver.OutputPart(run, rank, name, array)
    raise AssertionError(f"{message!r} is for the hub itself")
