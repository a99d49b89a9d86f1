"""Making the connections between ranks: every rank connects to the lower ones and accepts the
higher ones, each connection authenticated for this epoch.

Owns sockets until they are handed to the native mesh.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack

from harpy.config import Deadlines
from harpy.errors import AuthenticationError, GangError, PeerLost, RendezvousTimeout
from harpy.gang.auth import Acceptor, Identity, Initiator, Role, initiate
from harpy.gang.channel import connect_socket
from harpy.gang.events import Member
from harpy.kernels.collective import Mesh

MAX_STRANGERS = 128


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
        A rank's listening socket is gone.
    """
    deadline = time.monotonic() + deadlines.rendezvous_s
    socks: dict[int, socket.socket] = {}
    with ExitStack() as opened:
        for member in members[:rank]:
            sock = _reach(member, members[rank], epoch, (secret, job_id), deadline)
            socks[member.rank] = opened.enter_context(sock)
        me = Identity(Role.PEER, rank, members[rank].attempt, epoch)
        expected = {
            Identity(Role.PEER, m.rank, m.attempt, epoch): m.rank for m in members[rank + 1 :]
        }
        with _Reception(listener, secret, job_id, me, deadlines.handshake_s) as reception:
            while expected:
                for peer, sock in reception.arrivals(deadline, tuple(expected.values())):
                    opened.enter_context(sock)
                    if peer in expected:  # else a rank of an epoch that is over
                        socks[expected.pop(peer)] = sock
        fds = [-1 if r == rank else socks[r].detach() for r in range(len(members))]
    return Mesh(rank, len(members), fds, epoch, deadlines.collective_s)


def _reach(
    member: Member, me: Member, epoch: int, trust: tuple[bytes, str], deadline: float
) -> socket.socket:
    """A connection to a lower rank; it answers once it is done connecting to its own lower ones."""
    secret, job_id = trust
    initiator = Initiator(
        secret,
        job_id,
        Identity(Role.PEER, me.rank, me.attempt, epoch),
        Identity(Role.PEER, member.rank, member.attempt, epoch),
    )
    where = f"rank {member.rank} on {member.host} ({member.address} port {member.port})"
    try:
        sock = connect_socket(member.address, member.port)
    except OSError as exc:
        raise PeerLost(f"cannot reach {where}: {exc}", rank=member.rank) from exc
    try:
        initiate(sock, initiator, max(0.0, deadline - time.monotonic()))
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError) and not isinstance(exc, AuthenticationError):
            raise PeerLost(f"{where} did not answer: {exc}", rank=member.rank) from exc
        raise
    return sock


class _Reception:
    """Accepts and authenticates many connections at once; a silent stranger delays nobody."""

    def __init__(
        self, listener: socket.socket, secret: bytes, job_id: str, me: Identity, handshake_s: float
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._secret, self._job_id, self._me = secret, job_id, me
        self._handshake_s = handshake_s
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._guests: dict[socket.socket, _Guest] = {}

    def __enter__(self) -> _Reception:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in list(self._guests):
            self._send_away(sock)
        self._selector.close()

    def arrivals(
        self, deadline: float, missing: tuple[int, ...]
    ) -> list[tuple[Identity, socket.socket]]:
        """Wait for something to happen; return who has authenticated, sockets and all."""
        now = time.monotonic()
        if now > deadline:
            raise RendezvousTimeout(
                f"rank {', '.join(map(str, missing))} did not connect to rank {self._me.rank} for "
                f"the communicator of epoch {self._me.epoch}; their hosts may not be able to reach "
                "this one (firewall, port range)",
                missing=missing,
            )
        for sock, guest in list(self._guests.items()):
            if now - guest.since > self._handshake_s:
                self._send_away(sock)
        arrived = []
        for key, _ in self._selector.select(min(0.2, deadline - now)):
            if key.fileobj is self._listener:
                self._accept(now)
                continue
            guest = key.data
            try:
                guest.advance()
            except (GangError, OSError):
                self._send_away(guest.sock)
                continue
            if guest.acceptor.done:
                self._selector.unregister(guest.sock)
                del self._guests[guest.sock]
                arrived.append((guest.acceptor.peer, guest.sock))
        return arrived

    def _accept(self, now: float) -> None:
        with contextlib.suppress(OSError):  # it left before we got there
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            guest = _Guest(sock, Acceptor(self._secret, self._job_id, self._me), now)
            self._guests[sock] = guest
            self._selector.register(sock, selectors.EVENT_READ, guest)
            if len(self._guests) > MAX_STRANGERS:
                self._send_away(min(self._guests, key=lambda s: self._guests[s].since))

    def _send_away(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        del self._guests[sock]
        sock.close()


class _Guest:
    """A connection in its handshake. Reads not a byte more: the mesh's frames come right after."""

    def __init__(self, sock: socket.socket, acceptor: Acceptor, since: float) -> None:
        self.sock, self.acceptor, self.since = sock, acceptor, since
        self._received = b""

    def advance(self) -> None:
        data = self.sock.recv(self.acceptor.needed - len(self._received))
        if not data:
            raise ConnectionResetError("left during the handshake")
        self._received += data
        if len(self._received) == self.acceptor.needed:
            message, self._received = self._received, b""
            # An answer of a hundred bytes always fits into an empty socket buffer.
            self.sock.sendall(self.acceptor.receive(message))
