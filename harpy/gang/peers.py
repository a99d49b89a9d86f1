"""Making the connections between ranks: every rank connects to the lower ones and accepts the
higher ones, each connection authenticated for this epoch.

Owns sockets until they are handed to the native mesh. All of it goes on at once in one thread, so
that nobody is kept waiting by a rank that waits itself, or by strangers at the door.

Between two formations nobody serves the door: the kernel queues a few strangers and leaves the rest
unanswered, at no cost to the run. A rank whose call went unanswered so calls again soon.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence

from harpy.config import Deadlines
from harpy.errors import AuthenticationError, GangError, PeerLost, RendezvousTimeout
from harpy.gang.listening import Exhausted, waiting
from harpy.gang.strangers import Strangers
from harpy.kernels.collective import Mesh
from harpy.wire.auth import Acceptor, Identity, Initiator, Role
from harpy.wire.channel import CONNECT_S, prepare
from harpy.wire.member import Member

MAX_STRANGERS = 128
POLL_S = 0.2
FIRST_TRY_S = 0.25  # for a first connection to be taken; twice as long for each further one
PAUSE_S = 0.02  # before a call is made again that was cut off


def form_mesh(
    rank: int,
    members: Sequence[Member],
    epoch: int,
    listener: socket.socket,
    secret: bytes,
    job_id: str,
    deadlines: Deadlines,
) -> Mesh:
    """Connect this rank to all others.

    Parameters
    ----------
    members : sequence of Member
        All ranks, in order; everybody in it is about to do the same.
    epoch : int
        Of this formation; connections of another are refused.
    listener : socket
        Listening at the address that `members` gives for `rank`.

    Raises
    ------
    RendezvousTimeout
        Some rank did not connect within Deadlines.rendezvous_s.
    PeerLost
        A rank's listening socket is gone, or it has gone on to another epoch.
    AuthenticationError
        Whoever listens in a rank's place does not know the secret.
    """
    deadline = time.monotonic() + deadlines.rendezvous_s
    me = Identity(Role.PEER, rank, members[rank].attempt, epoch)
    identities = [Identity(Role.PEER, m.rank, m.attempt, epoch) for m in members]

    def calling(peer: Identity) -> Callable[[], Initiator]:
        return lambda: Initiator(secret, job_id, me, peer)

    with _Formation(Acceptor(secret, job_id, me), listener, me, deadlines) as formation:
        for member, peer in zip(members[:rank], identities[:rank], strict=True):
            formation.call(_Call(member, calling(peer)))
        formation.await_callers(identities[rank + 1 :])
        while formation.incomplete:
            formation.advance(deadline)
        socks = formation.take()
    fds = [-1 if r == rank else socks[r].detach() for r in range(len(members))]
    # Its frames carry as much of the epoch as tells it from those shortly before.
    return Mesh(rank, len(members), fds, epoch & 0xFFFFFFFF, deadlines.collective_s)


class _Formation:
    """All connections of one rank in the making."""

    def __init__(
        self,
        acceptor: Acceptor,
        listener: socket.socket,
        me: Identity,
        deadlines: Deadlines,
    ) -> None:
        listener.setblocking(False)
        self._acceptor, self._listener, self._me = acceptor, listener, me
        self._rendezvous_s = deadlines.rendezvous_s
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._strangers: Strangers[_Guest] = Strangers(MAX_STRANGERS, deadlines.handshake_s)
        self._calls: set[_Call] = set()  # not answered yet
        self._expected: set[Identity] = set()  # callers that have not come yet
        self._made: dict[int, socket.socket] = {}  # by rank

    def __enter__(self) -> _Formation:
        return self

    def __exit__(self, *_: object) -> None:
        for guest in self._strangers.everybody():
            guest.sock.close()
        for call in self._calls:
            call.hang_up()
        for sock in self._made.values():
            sock.close()
        self._selector.close()

    @property
    def incomplete(self) -> bool:
        return bool(self._calls or self._expected)

    def take(self) -> dict[int, socket.socket]:
        """Hand over the connections, by rank."""
        made, self._made = self._made, {}
        return made

    def await_callers(self, peers: Sequence[Identity]) -> None:
        self._expected.update(peers)

    def call(self, call: _Call) -> None:
        self._calls.add(call)
        self._dial(call)

    def advance(self, deadline: float) -> None:
        """Wait a little for something to happen, and deal with it."""
        now = time.monotonic()
        if now > deadline:
            raise self._too_late()
        for guest in self._strangers.overdue(now):
            self._send_away(guest)
        for call in self._calls:
            if call.sock is None and now >= call.next_try:
                self._dial(call)
            elif call.unanswered(now):
                self._again(call, OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        soonest = min((call.next_try for call in self._calls), default=deadline)
        left = max(0.0, min(soonest, deadline, now + POLL_S) - now)
        for key, _ in self._selector.select(left):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, _Call):
                self._on_call(key.data)
            elif key.data in self._strangers:  # else it was displaced just now
                self._on_guest(key.data)

    def _too_late(self) -> GangError:
        within = f"within {self._rendezvous_s:g} s (HARPY_RENDEZVOUS_S)"
        if self._calls:
            call = min(self._calls, key=lambda call: call.member.rank)
            return PeerLost(f"{call.where} did not answer {within}", rank=call.member.rank)
        missing = tuple(sorted(peer.rank for peer in self._expected))
        return RendezvousTimeout(
            f"rank {', '.join(map(str, missing))} did not connect to rank {self._me.rank} {within} "
            f"for the communicator of epoch {self._me.epoch}; their hosts may not be able to "
            "reach this one (firewall, port range)",
            missing=missing,
        )

    # -- calls to lower ranks ----------------------------------------------------------------------

    def _dial(self, call: _Call) -> None:
        sock = call.dial(time.monotonic())
        self._selector.register(sock, selectors.EVENT_WRITE, call)

    def _on_call(self, call: _Call) -> None:
        assert call.sock is not None
        try:
            greeted = call.connected
            done = call.advance()
        except AuthenticationError:
            raise
        except PeerLost as exc:
            # A rank that has not heard of this epoch yet will; one that is further is gone.
            if call.answered_by is None or call.answered_by.epoch >= self._me.epoch:
                raise PeerLost(f"{call.where}: {exc}", rank=call.member.rank) from exc
            self._again(call, exc)
        except OSError as exc:
            self._again(call, exc)
        else:
            if done:
                self._selector.unregister(call.sock)
                self._calls.discard(call)
                self._made[call.member.rank] = call.sock
            elif not greeted:
                self._selector.modify(call.sock, selectors.EVENT_READ, call)

    def _again(self, call: _Call, exc: OSError) -> None:
        """Hang up and call again; PeerLost if there is no sense in it."""
        if call.hopeless(exc):
            raise PeerLost(f"cannot reach {call.where}: {exc}", rank=call.member.rank) from exc
        assert call.sock is not None
        self._selector.unregister(call.sock)
        call.hang_up()

    # -- calls of higher ranks ---------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            for sock in waiting(self._listener):
                guest = _Guest(sock, self._acceptor.another())
                self._selector.register(sock, selectors.EVENT_READ, guest)
                displaced = self._strangers.add(guest, time.monotonic())
                if displaced is not None:
                    self._send_away(displaced)
        except Exhausted as exc:
            oldest = self._strangers.oldest()
            if oldest is None:
                raise GangError(f"rank {self._me.rank} can take no connection: {exc}") from exc
            self._send_away(oldest)

    def _on_guest(self, guest: _Guest) -> None:
        try:
            guest.advance()
        except (GangError, OSError):
            self._send_away(guest)
            return
        if guest.acceptor.done:
            assert guest.acceptor.peer is not None
            self._selector.unregister(guest.sock)
            self._strangers.remove(guest)
            self._welcome(guest.acceptor.peer, guest.sock)
        elif guest.acceptor.peer is not None:
            self._strangers.greeted(guest)

    def _welcome(self, peer: Identity, sock: socket.socket) -> None:
        if peer in self._expected:
            prepare(sock)
            self._expected.discard(peer)
            self._made[peer.rank] = sock
        else:  # a rank of an epoch that is over
            sock.close()

    def _send_away(self, guest: _Guest) -> None:
        self._selector.unregister(guest.sock)
        self._strangers.remove(guest)
        guest.sock.close()


class _Call:
    """A connection to a lower rank, begun anew as often as it is cut off or not taken."""

    def __init__(self, member: Member, initiator: Callable[[], Initiator]) -> None:
        self.member = member
        self.where = f"rank {member.rank} on {member.host} ({member.address} port {member.port})"
        self.sock: socket.socket | None = None
        self.connected = False
        self.next_try = 0.0  # when to dial, or to give up this connection
        self.answered_by: Identity | None = None
        self._make_initiator = initiator
        self._initiator = initiator()
        self._received = b""
        self._try_s = FIRST_TRY_S
        self._first_dial: float | None = None  # since the last connection that was taken

    def dial(self, now: float) -> socket.socket:
        """Begin a connection; never blocks."""
        family = socket.AF_INET6 if ":" in self.member.address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.setblocking(False)
        prepare(self.sock)
        self._initiator, self._received = self._make_initiator(), b""
        self.connected, self.answered_by = False, None
        self._first_dial = self._first_dial or now
        self.next_try = now + self._try_s
        self._try_s *= 2
        self._error = self.sock.connect_ex((self.member.address, self.member.port))
        return self.sock

    def unanswered(self, now: float) -> bool:
        """The connection has not been taken in its time."""
        return self.sock is not None and not self.connected and now >= self.next_try

    def hopeless(self, exc: OSError) -> bool:
        """Nobody listens there, or has not for long."""
        if self.connected:
            return False
        out_of_time = time.monotonic() - (self._first_dial or 0.0) > CONNECT_S
        return exc.errno != errno.ETIMEDOUT or out_of_time

    def hang_up(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self.connected:
            self.connected = False
            self._first_dial = None
            self._try_s = FIRST_TRY_S
        self.next_try = time.monotonic() + PAUSE_S

    def advance(self) -> bool:
        """Go on as far as the socket allows; True once authenticated. Reads not a byte more than
        the handshake: the mesh's frames come right after."""
        assert self.sock is not None
        if not self.connected:
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            self.connected = True
            self.next_try = float("inf")
            # A hundred bytes always fit into an empty socket buffer.
            self.sock.sendall(self._initiator.hello)
            return False
        data = self.sock.recv(self._initiator.needed - len(self._received))
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "left during the handshake")
        self._received += data
        if len(self._received) < self._initiator.needed:
            return False
        try:
            proof = self._initiator.receive(self._received)
        finally:
            self.answered_by = self._initiator.peer
        self.sock.sendall(proof)
        return True


class _Guest:
    """A connection in its handshake. Reads not a byte more, as in _Call."""

    def __init__(self, sock: socket.socket, acceptor: Acceptor) -> None:
        self.sock, self.acceptor = sock, acceptor
        self._received = b""

    def advance(self) -> None:
        data = self.sock.recv(self.acceptor.needed - len(self._received))
        if not data:
            raise ConnectionResetError("left during the handshake")
        self._received += data
        if len(self._received) == self.acceptor.needed:
            message, self._received = self._received, b""
            self.sock.sendall(self.acceptor.receive(message))
