"""Mutual challenge-response over one connection: who the other end is, that it knows the job's
secret, and the keys of the frames that follow.

Owns bytes and keys, no sockets but in the blocking `initiate`. The secret itself is
never sent, logged or stored.

Three messages of fixed size. Both proofs cover all bytes before them, so an answer fits no other
connection, role, rank, attempt, epoch or direction:

    initiator  ->  hello   who I am, which job, my nonce
    acceptor   ->  answer  who I am, my nonce, HMAC(key, "acceptor" + hello + answer so far)
    initiator  ->  proof   HMAC(key, "initiator" + hello + answer)
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import secrets
import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

from harpy.errors import AuthenticationError, PeerLost
from harpy.wire.versions import HANDSHAKE

MAGIC = b"HARPY\x00"
NONCE_BYTES = 32
_WHO = "Bxxxiqq"  # role, rank, attempt, epoch
HELLO = struct.Struct(f"!6sH{_WHO}32s32s")
ANSWER = struct.Struct(f"!6sH{_WHO}32s32s")
PROOF_BYTES = 32


class Role(IntEnum):
    """What one end of a connection is in its gang."""

    HUB = 1  # rank 0's server
    WORKER = 2
    DRIVER = 3
    PEER = 4  # one rank's end of a collective connection
    PULSE = 5  # a worker's heartbeats to rank 0, and rank 0's to it


DRIVER_BEATS = (-1, 0)  # rank and attempt that the driver's heartbeats come under

# Who may connect to whom.
_WELCOME = {Role.HUB: (Role.WORKER, Role.DRIVER, Role.PULSE), Role.PEER: (Role.PEER,)}


@dataclass(frozen=True)
class Identity:
    """Who one end of a connection claims to be; the proof covers all of it."""

    role: Role
    rank: int = 0
    attempt: int = 0
    epoch: int = 0

    def __str__(self) -> str:
        if self.role is Role.DRIVER:
            return "the driver"
        epoch = f" epoch {self.epoch}" if self.role is Role.PEER or self.epoch else ""
        return f"{self.role.name.lower()} rank {self.rank} attempt {self.attempt}{epoch}"


@dataclass(frozen=True)
class SessionKeys:
    """Keys of one connection, one per direction, for the frames that follow."""

    sending: bytes
    receiving: bytes


def _mac(key: bytes, *parts: bytes) -> bytes:
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        digest.update(part)
    return digest.digest()


class Acceptor:
    """The side that was connected to. Feed it `needed` bytes until `done`."""

    def __init__(self, secret: bytes, job_id: str, me: Identity) -> None:
        self._key = _job_key(secret, job_id)
        self._job = hashlib.sha256(job_id.encode()).digest()
        self._me = me
        self._transcript = b""
        self.needed = HELLO.size
        self.done = False
        self.peer: Identity | None = None
        self.keys: SessionKeys | None = None

    def another(self) -> Acceptor:
        """Copy an unused acceptor for another connection, without computing its key again."""
        assert not self._transcript and self.peer is None
        return copy.copy(self)

    def receive(self, data: bytes) -> bytes:
        """Take one message of `needed` bytes; return the reply. AuthenticationError if it is not
        valid."""
        if len(data) != self.needed:
            raise AuthenticationError(f"expected {self.needed} bytes, got {len(data)}")
        return self._take_proof(data) if self._transcript else self._take_hello(data)

    def _take_hello(self, data: bytes) -> bytes:
        magic, version, role, rank, attempt, epoch, job, _nonce = HELLO.unpack(data)
        if magic != MAGIC:
            raise AuthenticationError("not a harpy connection")
        _check_version(version)
        if not hmac.compare_digest(job, self._job):
            raise AuthenticationError("the connection is meant for another job")
        peer = _identity(role, rank, attempt, epoch)
        if peer == self._me:
            raise AuthenticationError(f"somebody claims to be this end, {peer}: a reflection")
        me = self._me
        if peer.role not in _WELCOME.get(me.role, ()):
            raise AuthenticationError(f"{peer} has no business with {me}")
        nonce = secrets.token_bytes(NONCE_BYTES)
        who = (me.role, me.rank, me.attempt, me.epoch)
        answer = ANSWER.pack(MAGIC, HANDSHAKE, *who, nonce, bytes(32))[:-32]
        answer += _mac(self._key, b"acceptor", data, answer)
        self.peer = peer
        self._transcript = data + answer
        self.needed = PROOF_BYTES
        return answer

    def _take_proof(self, data: bytes) -> bytes:
        if not hmac.compare_digest(data, _mac(self._key, b"initiator", self._transcript)):
            raise AuthenticationError(f"{self.peer} does not know the secret of this job")
        to_acceptor, to_initiator = _session_keys(self._key, self._transcript)
        self.keys = SessionKeys(sending=to_initiator, receiving=to_acceptor)
        self.done = True
        self.needed = 0
        return b""


class Initiator:
    """The side that connects: send `hello`, feed the answer, send what `receive` returns.

    `expected` is who must answer; `any_attempt` accepts whichever attempt of that rank it is.
    """

    needed = ANSWER.size

    def __init__(
        self,
        secret: bytes,
        job_id: str,
        me: Identity,
        expected: Identity,
        any_attempt: bool = False,
    ) -> None:
        self._key = _job_key(secret, job_id)
        self._expected = expected
        self._any_attempt = any_attempt
        job = hashlib.sha256(job_id.encode()).digest()
        nonce = secrets.token_bytes(NONCE_BYTES)
        who = (me.role, me.rank, me.attempt, me.epoch)
        self.hello = HELLO.pack(MAGIC, HANDSHAKE, *who, job, nonce)
        self.peer: Identity | None = None
        self.keys: SessionKeys | None = None

    def receive(self, data: bytes) -> bytes:
        """Check the answer; return the proof to send.

        Raises
        ------
        AuthenticationError
            The answer is no proof that the other end is `expected`.
        PeerLost
            It has proved to be that rank, but of another attempt or epoch; `peer` says which. Or it
            is no gang at all: another service has the port of one that is gone.
        """
        if len(data) != self.needed:
            raise AuthenticationError(f"expected {self.needed} bytes, got {len(data)}")
        magic, version, role, rank, attempt, epoch, _nonce, proof = ANSWER.unpack(data)
        if magic != MAGIC:
            raise PeerLost("something else listens there: it does not speak harpy's protocol")
        _check_version(version)
        peer = _identity(role, rank, attempt, epoch)
        expected = self._expected
        if self._any_attempt:
            expected = Identity(expected.role, expected.rank, peer.attempt, expected.epoch)
        if not hmac.compare_digest(proof, _mac(self._key, b"acceptor", self.hello, data[:-32])):
            raise AuthenticationError(f"{peer} does not know the secret of this job")
        if (peer.role, peer.rank) != (expected.role, expected.rank):
            raise AuthenticationError(f"expected {expected}, but {peer} answered")
        self.peer = peer
        if peer != expected:
            raise PeerLost(f"expected {expected}, but {peer} answered", rank=peer.rank)
        transcript = self.hello + data
        to_acceptor, to_initiator = _session_keys(self._key, transcript)
        self.keys = SessionKeys(sending=to_acceptor, receiving=to_initiator)
        return _mac(self._key, b"initiator", transcript)


def _job_key(secret: bytes, job_id: str) -> bytes:
    if len(secret) < 32:
        raise AuthenticationError(f"the secret must have at least 32 bytes, got {len(secret)}")
    return _mac(secret, b"harpy gang 1 ", job_id.encode())


def _session_keys(key: bytes, transcript: bytes) -> tuple[bytes, bytes]:
    session = _mac(key, b"session", transcript)
    return _mac(session, b"to acceptor"), _mac(session, b"to initiator")


def _check_version(version: int) -> None:
    if version != HANDSHAKE:
        raise AuthenticationError(
            f"the other end speaks version {version} of harpy's protocol, this one version "
            f"{HANDSHAKE}; driver and workers must run the same version of harpy"
        )


def _identity(role: int, rank: int, attempt: int, epoch: int) -> Identity:
    try:
        return Identity(Role(role), rank, attempt, epoch)
    except ValueError as exc:
        raise AuthenticationError(f"unknown role {role}") from exc


def initiate(sock: socket.socket, initiator: Initiator, timeout_s: float) -> SessionKeys:
    """Run the initiator's side on a connected blocking socket.

    Raises
    ------
    AuthenticationError
        The other end is not who it should be, or does not know the secret.
    PeerLost, TimeoutError
        It closed the connection (as it does with a wrong secret), or said nothing in time.
    """
    deadline = time.monotonic() + timeout_s
    _send(sock, initiator.hello, deadline)
    proof = initiator.receive(_receive(sock, initiator.needed, deadline))
    _send(sock, proof, deadline)
    assert initiator.keys is not None
    return initiator.keys


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the authentication took too long")
    return left


def _send(sock: socket.socket, data: bytes, deadline: float) -> None:
    sock.settimeout(_left(deadline))
    sock.sendall(data)


def _receive(sock: socket.socket, n_bytes: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < n_bytes:
        sock.settimeout(_left(deadline))
        piece = sock.recv(n_bytes - len(data))
        if not piece:
            raise PeerLost("the other end closed the connection during authentication")
        data += piece
    return bytes(data)
