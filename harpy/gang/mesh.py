"""Making the connections between ranks: every rank connects to the lower ones and accepts the
higher ones, each connection authenticated for this epoch.

Owns sockets until they are handed to the native mesh. One thread makes all connections at once, so
that neither a waiting rank nor a connection that never authenticates delays the others.

Between two formations no connection is accepted: the kernel queues a few and leaves the rest
unanswered, at no cost to the run. A rank that gets no answer tries again soon.
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
from harpy.gang.unauthenticated import Unauthenticated
from harpy.kernels.collective import Mesh
from harpy.wire.auth import Acceptor, Identity, Initiator, Role
from harpy.wire.channel import CONNECT_S, prepare
from harpy.wire.member import Member

MAX_UNAUTHENTICATED = 128
POLL_S = 0.2
FIRST_TRY_S = 0.25  # for a first connection to be accepted; twice as long for each further one
PAUSE_S = 0.02  # before a further try where a connection was cut off


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
        All ranks, in order; all of them form the mesh at the same time.
    epoch : int
        Of this formation; connections of another epoch are refused.
    listener : socket
        Listening at the address that `members` gives for `rank`.

    Raises
    ------
    RendezvousTimeout
        A rank did not connect within Deadlines.rendezvous_s.
    PeerLost
        A rank's listening socket is gone, or it has gone on to another epoch.
    AuthenticationError
        The process that listens at a rank's address does not know the secret.
    """
    deadline = time.monotonic() + deadlines.rendezvous_s
    me = Identity(Role.PEER, rank, members[rank].attempt, epoch)
    identities = [Identity(Role.PEER, m.rank, m.attempt, epoch) for m in members]

    def initiating(peer: Identity) -> Callable[[], Initiator]:
        return lambda: Initiator(secret, job_id, me, peer)

    with _Formation(Acceptor(secret, job_id, me), listener, me, deadlines) as formation:
        for member, peer in zip(members[:rank], identities[:rank], strict=True):
            formation.connect(_Outgoing(member, initiating(peer)))
        formation.expect(identities[rank + 1 :])
        while formation.incomplete:
            formation.advance(deadline)
        socks = formation.take()
    fds = [-1 if r == rank else socks[r].detach() for r in range(len(members))]
    # Its frames carry the epoch's last 32 bits, which differ from those of recent epochs.
    return Mesh(rank, len(members), fds, epoch & 0xFFFFFFFF, deadlines.collective_s)


class _Formation:
    """The connections of one rank while they are being made."""

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
        self._unauthenticated: Unauthenticated[_Incoming] = Unauthenticated(
            MAX_UNAUTHENTICATED, deadlines.handshake_s
        )
        self._outgoing: set[_Outgoing] = set()  # not answered yet
        self._expected: set[Identity] = set()  # higher ranks that have not connected yet
        self._made: dict[int, socket.socket] = {}  # by rank

    def __enter__(self) -> _Formation:
        return self

    def __exit__(self, *_: object) -> None:
        for incoming in self._unauthenticated.all():
            incoming.sock.close()
        for outgoing in self._outgoing:
            outgoing.hang_up()
        for sock in self._made.values():
            sock.close()
        self._selector.close()

    @property
    def incomplete(self) -> bool:
        return bool(self._outgoing or self._expected)

    def take(self) -> dict[int, socket.socket]:
        """Hand over the connections, by rank."""
        made, self._made = self._made, {}
        return made

    def expect(self, peers: Sequence[Identity]) -> None:
        self._expected.update(peers)

    def connect(self, outgoing: _Outgoing) -> None:
        self._outgoing.add(outgoing)
        self._dial(outgoing)

    def advance(self, deadline: float) -> None:
        """Wait a little for events on the sockets, and handle them."""
        now = time.monotonic()
        if now > deadline:
            raise self._too_late()
        for incoming in self._unauthenticated.overdue(now):
            self._drop(incoming)
        for outgoing in self._outgoing:
            if outgoing.sock is None and now >= outgoing.next_try:
                self._dial(outgoing)
            elif outgoing.unanswered(now):
                self._again(outgoing, OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        soonest = min((outgoing.next_try for outgoing in self._outgoing), default=deadline)
        left = max(0.0, min(soonest, deadline, now + POLL_S) - now)
        for key, _ in self._selector.select(left):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, _Outgoing):
                self._on_outgoing(key.data)
            elif key.data in self._unauthenticated:  # else it has just been displaced
                self._on_incoming(key.data)

    def _too_late(self) -> GangError:
        within = f"within {self._rendezvous_s:g} s (HARPY_RENDEZVOUS_S)"
        if self._outgoing:
            outgoing = min(self._outgoing, key=lambda outgoing: outgoing.member.rank)
            return PeerLost(f"{outgoing.where} did not answer {within}", rank=outgoing.member.rank)
        missing = tuple(sorted(peer.rank for peer in self._expected))
        return RendezvousTimeout(
            f"rank {', '.join(map(str, missing))} did not connect to rank {self._me.rank} {within} "
            f"for the communicator of epoch {self._me.epoch}; their hosts may not be able to "
            "reach this one (firewall, port range)",
            missing=missing,
        )

    # -- connections to lower ranks ----------------------------------------------------------------

    def _dial(self, outgoing: _Outgoing) -> None:
        sock = outgoing.dial(time.monotonic())
        self._selector.register(sock, selectors.EVENT_WRITE, outgoing)

    def _on_outgoing(self, outgoing: _Outgoing) -> None:
        assert outgoing.sock is not None
        try:
            greeted = outgoing.connected
            done = outgoing.advance()
        except AuthenticationError:
            raise
        except PeerLost as exc:
            # A rank of an earlier epoch will follow; one of a later epoch has left this one.
            if outgoing.answered_by is None or outgoing.answered_by.epoch >= self._me.epoch:
                raise PeerLost(f"{outgoing.where}: {exc}", rank=outgoing.member.rank) from exc
            self._again(outgoing, exc)
        except OSError as exc:
            self._again(outgoing, exc)
        else:
            if done:
                self._selector.unregister(outgoing.sock)
                self._outgoing.discard(outgoing)
                self._made[outgoing.member.rank] = outgoing.sock
            elif not greeted:
                self._selector.modify(outgoing.sock, selectors.EVENT_READ, outgoing)

    def _again(self, outgoing: _Outgoing, exc: OSError) -> None:
        """Close the connection and try again; PeerLost if another try cannot help."""
        if outgoing.hopeless(exc):
            raise PeerLost(
                f"cannot reach {outgoing.where}: {exc}", rank=outgoing.member.rank
            ) from exc
        assert outgoing.sock is not None
        self._selector.unregister(outgoing.sock)
        outgoing.hang_up()

    # -- connections of higher ranks ---------------------------------------------------------------

    def _accept(self) -> None:
        try:
            for sock in waiting(self._listener):
                incoming = _Incoming(sock, self._acceptor.another())
                self._selector.register(sock, selectors.EVENT_READ, incoming)
                displaced = self._unauthenticated.add(incoming, time.monotonic())
                if displaced is not None:
                    self._drop(displaced)
        except Exhausted as exc:
            oldest = self._unauthenticated.oldest()
            if oldest is None:
                raise GangError(f"rank {self._me.rank} can take no connection: {exc}") from exc
            self._drop(oldest)

    def _on_incoming(self, incoming: _Incoming) -> None:
        try:
            incoming.advance()
        except (GangError, OSError):
            self._drop(incoming)
            return
        if incoming.acceptor.done:
            assert incoming.acceptor.peer is not None
            self._selector.unregister(incoming.sock)
            self._unauthenticated.remove(incoming)
            self._keep(incoming.acceptor.peer, incoming.sock)
        elif incoming.acceptor.peer is not None:
            self._unauthenticated.greeted(incoming)

    def _keep(self, peer: Identity, sock: socket.socket) -> None:
        if peer in self._expected:
            prepare(sock)
            self._expected.discard(peer)
            self._made[peer.rank] = sock
        else:  # a rank of an epoch that is over
            sock.close()

    def _drop(self, incoming: _Incoming) -> None:
        self._selector.unregister(incoming.sock)
        self._unauthenticated.remove(incoming)
        incoming.sock.close()


class _Outgoing:
    """A connection to a lower rank, retried as often as it is cut off or not accepted."""

    def __init__(self, member: Member, initiator: Callable[[], Initiator]) -> None:
        self.member = member
        self.where = f"rank {member.rank} on {member.host} ({member.address} port {member.port})"
        self.sock: socket.socket | None = None
        self.connected = False
        self.next_try = 0.0  # when to connect again, or to give up this connection
        self.answered_by: Identity | None = None
        self._make_initiator = initiator
        self._initiator = initiator()
        self._received = b""
        self._try_s = FIRST_TRY_S
        self._first_dial: float | None = None  # since the last connection that was accepted

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
        """Whether the connection has not been accepted in time."""
        return self.sock is not None and not self.connected and now >= self.next_try

    def hopeless(self, exc: OSError) -> bool:
        """Whether nothing listens there, or has not for too long."""
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
        """Advance the handshake as far as the socket allows; True once authenticated. Reads no byte
        beyond it, since the mesh's frames follow."""
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


class _Incoming:
    """A connection from a higher rank in its handshake. Reads no byte beyond it, as _Outgoing."""

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
