"""The handshake lets in who knows the secret of this job, and nobody else."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from harpy.errors import AuthenticationError, PeerLost
from harpy.gang.auth import ANSWER, HELLO, Acceptor, Identity, Initiator, Role, initiate

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


@pytest.mark.parametrize(
    "other",
    [
        Identity(Role.HUB, 0, 1),
        Identity(Role.PEER, 0, 0),
        Identity(Role.HUB, 1, 0),
        Identity(Role.HUB, 0, 0, 9),
    ],
    ids=["attempt", "role", "rank", "epoch"],
)
def test_somebody_else_who_knows_the_secret_is_not_who_was_expected(other):
    initiator = Initiator(SECRET, "job", WORKER, HUB)
    with pytest.raises(AuthenticationError, match="expected hub rank 0 attempt 0, but"):
        initiator.receive(Acceptor(SECRET, "job", other).receive(initiator.hello))


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
