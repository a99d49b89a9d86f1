"""The handshake lets in who knows the secret of this job, and nobody else."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from harpy.errors import AuthenticationError, PeerLost
from harpy.wire.auth import ANSWER, HELLO, Acceptor, Identity, Initiator, Role, initiate
from harpy.wire.versions import HANDSHAKE

SECRET = bytes(range(32))
HUB = Identity(Role.HUB, 0, 0)
WORKER = Identity(Role.WORKER, 3, 1)


def meet(initiator: Initiator, acceptor: Acceptor) -> None:
    """Both sides, message by message."""
    answer = acceptor.receive(initiator.hello)
    acceptor.receive(initiator.receive(answer))


def test_both_ends_learn_who_is_there_and_agree_on_keys():
    acceptor = Acceptor(SECRET, "job", HUB)
    initiator = Initiator(SECRET, "job", WORKER, HUB)
    meet(initiator, acceptor)
    assert acceptor.done
    assert (acceptor.peer, initiator.peer) == (WORKER, HUB)
    assert acceptor.keys and initiator.keys
    assert acceptor.keys.sending == initiator.keys.receiving
    assert acceptor.keys.receiving == initiator.keys.sending
    assert acceptor.keys.sending != acceptor.keys.receiving


def test_every_connection_has_keys_of_its_own():
    keys = set()
    for _ in range(3):
        acceptor = Acceptor(SECRET, "job", HUB)
        meet(Initiator(SECRET, "job", WORKER, HUB), acceptor)
        assert acceptor.keys
        keys |= {acceptor.keys.sending, acceptor.keys.receiving}
    assert len(keys) == 6


def test_acceptors_of_one_kind_share_no_conversation():
    template = Acceptor(SECRET, "job", HUB)
    first, second = template.another(), template.another()
    meet(Initiator(SECRET, "job", WORKER, HUB), first)
    assert first.done and not second.done and not template.done
    meet(Initiator(SECRET, "job", WORKER, HUB), second)
    assert first.keys != second.keys


def test_an_acceptor_with_another_secret_is_refused():
    acceptor = Acceptor(b"x" * 32, "job", HUB)
    initiator = Initiator(SECRET, "job", WORKER, HUB)
    with pytest.raises(AuthenticationError, match="hub rank 0 attempt 0 does not know the secret"):
        initiator.receive(acceptor.receive(initiator.hello))


def test_an_initiator_with_another_secret_is_refused():
    acceptor = Acceptor(SECRET, "job", HUB)
    acceptor.receive(Initiator(b"x" * 32, "job", WORKER, HUB).hello)
    with pytest.raises(AuthenticationError, match="worker rank 3 attempt 1 does not know"):
        acceptor.receive(bytes(32))
    assert not acceptor.done


def test_the_secret_of_another_job_is_refused():
    initiator = Initiator(SECRET, "job-2", WORKER, HUB)
    with pytest.raises(AuthenticationError, match="another job"):
        Acceptor(SECRET, "job", HUB).receive(initiator.hello)


def test_a_recorded_conversation_cannot_be_replayed():
    acceptor = Acceptor(SECRET, "job", HUB)
    initiator = Initiator(SECRET, "job", WORKER, HUB)
    proof = initiator.receive(acceptor.receive(initiator.hello))
    later = Acceptor(SECRET, "job", HUB)
    later.receive(initiator.hello)
    with pytest.raises(AuthenticationError, match="does not know the secret"):
        later.receive(proof)


def test_a_recorded_answer_cannot_be_replayed():
    first = Initiator(SECRET, "job", WORKER, HUB)
    answer = Acceptor(SECRET, "job", HUB).receive(first.hello)
    with pytest.raises(AuthenticationError, match="does not know the secret"):
        Initiator(SECRET, "job", WORKER, HUB).receive(answer)


def test_a_peer_cannot_be_used_to_answer_itself():
    """A stranger connected to both ends of rank 1 passes each the other's messages."""
    me = Identity(Role.PEER, 1, 0, 5)
    rank_0 = Identity(Role.PEER, 0, 0, 5)
    initiator = Initiator(SECRET, "job", me, rank_0)
    with pytest.raises(AuthenticationError, match="a reflection"):
        Acceptor(SECRET, "job", me).receive(initiator.hello)


def test_a_proof_does_not_serve_as_an_answer():
    """Each direction has its own label, so an echo of our own bytes proves nothing."""
    acceptor = Acceptor(SECRET, "job", HUB)
    initiator = Initiator(SECRET, "job", WORKER, HUB)
    answer = acceptor.receive(initiator.hello)
    with pytest.raises(AuthenticationError, match="does not know the secret"):
        acceptor.receive(answer[-32:])


PEER = Identity(Role.PEER, 3, 1, 7)


@pytest.mark.parametrize(
    ("expected", "other", "kind"),
    [
        (Identity(Role.PEER, 0, 0, 7), Identity(Role.PEER, 1, 0, 7), AuthenticationError),
        (Identity(Role.HUB, 0, 0, 7), Identity(Role.PEER, 0, 0, 7), AuthenticationError),
        (Identity(Role.PEER, 0, 0, 7), Identity(Role.PEER, 0, 1, 7), PeerLost),
        (Identity(Role.PEER, 0, 0, 7), Identity(Role.PEER, 0, 0, 8), PeerLost),
    ],
    ids=["rank", "role", "attempt", "epoch"],
)
def test_somebody_else_who_knows_the_secret_is_not_who_was_expected(expected, other, kind):
    """One that is that rank, but of another attempt or epoch, is no stranger: the world went on."""
    initiator = Initiator(SECRET, "job", PEER, expected)
    with pytest.raises(kind, match=f"expected {expected}, but {other} answered") as caught:
        initiator.receive(Acceptor(SECRET, "job", other).receive(initiator.hello))
    assert type(caught.value) is kind
    assert initiator.keys is None


@pytest.mark.parametrize(
    ("me", "caller"),
    [
        (HUB, Identity(Role.PEER, 1, 0, 1)),
        (HUB, Identity(Role.HUB, 1, 0)),
        (PEER, WORKER),
        (PEER, Identity(Role.DRIVER)),
        (PEER, Identity(Role.HUB)),
        (WORKER, PEER),
    ],
    ids=str,
)
def test_who_has_no_business_here_is_refused_at_his_hello(me, caller):
    acceptor = Acceptor(SECRET, "job", me)
    with pytest.raises(AuthenticationError, match="has no business with"):
        acceptor.receive(Initiator(SECRET, "job", caller, me).hello)
    assert acceptor.peer is None


def with_version(message: bytes, version: int) -> bytes:
    return message[:6] + version.to_bytes(2, "big") + message[8:]


@pytest.mark.parametrize("version", [0, HANDSHAKE + 1, 0xFFFF])
def test_another_version_of_the_protocol_is_named(version):
    words = f"speaks version {version} of harpy's protocol, this one version {HANDSHAKE}; driver"
    acceptor, initiator = Acceptor(SECRET, "job", HUB), Initiator(SECRET, "job", WORKER, HUB)
    with pytest.raises(AuthenticationError, match=words):
        acceptor.receive(with_version(initiator.hello, version))
    answer = Acceptor(SECRET, "job", HUB).receive(initiator.hello)
    with pytest.raises(AuthenticationError, match=words):
        initiator.receive(with_version(answer, version))


@pytest.mark.parametrize("what", ["role", "rank", "attempt", "epoch"])
def test_a_hello_changed_under_way_into_somebody_elses_proves_nothing(what):
    """Whoever stands between the two cannot put another identity on a worker's proof."""
    said = Initiator(SECRET, "job", PEER, Identity(Role.PEER, 0, 0, 7))
    acceptor = Acceptor(SECRET, "job", Identity(Role.PEER, 0, 0, 7))
    offset = {"role": 8, "rank": 15, "attempt": 23, "epoch": 31}[what]
    forged = bytearray(said.hello)
    forged[offset] ^= 7 if what == "role" else 1
    if what == "role":  # PEER becomes DRIVER, at the hub's door
        acceptor = Acceptor(SECRET, "job", HUB)
    answer = acceptor.receive(bytes(forged))
    assert acceptor.peer != PEER
    with pytest.raises((AuthenticationError, PeerLost)):
        said.receive(answer)
    with pytest.raises(AuthenticationError, match="does not know the secret"):
        acceptor.receive(bytes(32))


@pytest.mark.parametrize(
    "other",
    [
        Identity(Role.WORKER, 2, 1),
        Identity(Role.WORKER, 3, 2),
        Identity(Role.WORKER, 3, 1, 1),
        Identity(Role.DRIVER, 3, 1),
    ],
    ids=["rank", "attempt", "epoch", "role"],
)
def test_keys_belong_to_one_identity(monkeypatch, other):
    """Even where both nonces were the same, which chance forbids."""
    monkeypatch.setattr("secrets.token_bytes", bytes)
    seen = []
    for caller in (WORKER, other):
        acceptor = Acceptor(SECRET, "job", HUB)
        meet(Initiator(SECRET, "job", caller, HUB), acceptor)
        assert acceptor.keys
        seen += [acceptor.keys.sending, acceptor.keys.receiving]
    assert len(set(seen)) == 4


@pytest.mark.parametrize("position", [8, 12, 16, 24, 40, 100], ids=str)
def test_a_changed_bit_of_the_hello_is_noticed(position):
    hello = bytearray(Initiator(SECRET, "job", WORKER, HUB).hello)
    hello[min(position, HELLO.size - 1)] ^= 1
    initiator = Initiator(SECRET, "job", WORKER, HUB)
    acceptor = Acceptor(SECRET, "job", HUB)
    with pytest.raises(AuthenticationError):
        acceptor.receive(initiator.receive(acceptor.receive(bytes(hello))))


@pytest.mark.parametrize("data", [b"", b"x", b"x" * (HELLO.size - 1), b"x" * (HELLO.size + 1)])
def test_messages_have_one_size_only(data):
    with pytest.raises(AuthenticationError, match=f"expected {HELLO.size} bytes, got {len(data)}"):
        Acceptor(SECRET, "job", HUB).receive(data)
    with pytest.raises(AuthenticationError, match="expected"):
        Initiator(SECRET, "job", WORKER, HUB).receive(b"z" + data + b"y" * ANSWER.size)


def test_garbage_is_not_a_connection_of_ours():
    with pytest.raises(AuthenticationError, match="not a harpy connection"):
        Acceptor(SECRET, "job", HUB).receive(b"G" * HELLO.size)


def test_a_short_secret_is_refused():
    with pytest.raises(AuthenticationError, match="at least 32 bytes, got 5"):
        Acceptor(b"short", "job", HUB)


def test_silence_ends_the_handshake_at_its_deadline():
    ours, theirs = socket.socketpair()
    started = time.monotonic()
    with ours, theirs, pytest.raises(TimeoutError):
        initiate(ours, Initiator(SECRET, "job", WORKER, HUB), 0.2)
    assert time.monotonic() - started < 3


def test_an_answer_in_single_bytes_does_not_stretch_the_deadline():
    ours, theirs = socket.socketpair()

    def dribble() -> None:
        try:
            for _ in range(100):
                theirs.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    threading.Thread(target=dribble, daemon=True).start()
    started = time.monotonic()
    with ours, pytest.raises(TimeoutError):
        initiate(ours, Initiator(SECRET, "job", WORKER, HUB), 0.3)
    assert time.monotonic() - started < 3
    theirs.close()


def test_a_connection_closed_in_the_handshake_is_a_lost_peer():
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises((PeerLost, BrokenPipeError)):
        initiate(ours, Initiator(SECRET, "job", WORKER, HUB), 5)


def test_no_message_contains_the_secret():
    acceptor = Acceptor(SECRET, "job", HUB)
    initiator = Initiator(SECRET, "job", WORKER, HUB)
    answer = acceptor.receive(initiator.hello)
    proof = initiator.receive(answer)
    assert SECRET not in initiator.hello + answer + proof
    assert SECRET.hex() not in repr(vars(acceptor)) + repr(vars(initiator))
