"""Ranks find and authenticate each other for one epoch, whoever else knocks."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harpy.config import Deadlines
from harpy.errors import AuthenticationError, PeerLost, RendezvousTimeout
from harpy.gang.listening import listen
from harpy.gang.mesh import MAX_UNAUTHENTICATED, form_mesh
from harpy.program.communicator import MeshCommunicator
from harpy.wire.auth import Identity, Initiator, Role
from harpy.wire.member import Member

SECRET = b"s" * 32
DEADLINES = Deadlines(rendezvous_s=20, handshake_s=2, collective_s=20)


class Town:
    """Listening ranks in one process."""

    def __init__(self, size: int) -> None:
        self.listeners = [listen("127.0.0.1", (0, 0), 64) for _ in range(size)]
        self.members = tuple(
            Member(rank, 0, "here", *listener.getsockname())
            for rank, listener in enumerate(self.listeners)
        )

    def form(self, ranks=None, epochs=None, secrets=None, deadlines=DEADLINES):
        """Form the mesh on these ranks at once; meshes or exceptions, by rank."""
        ranks = range(len(self.members)) if ranks is None else ranks
        results: dict[int, object] = {}

        def one(rank):
            try:
                results[rank] = form_mesh(
                    rank,
                    self.members,
                    (epochs or {}).get(rank, 1),
                    self.listeners[rank],
                    (secrets or {}).get(rank, SECRET),
                    "job",
                    deadlines,
                )
            except Exception as exc:
                results[rank] = exc

        threads = [threading.Thread(target=one, args=(rank,), daemon=True) for rank in ranks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return results


@pytest.fixture
def make_town() -> Iterator[type[Town]]:
    towns: list[Town] = []

    def make(size):
        towns.append(Town(size))
        return towns[-1]

    yield make
    for town in towns:
        for listener in town.listeners:
            listener.close()


def check(meshes):
    """The formed ranks can work together; closes them."""
    results = {}

    def one(rank, mesh):
        results[rank] = MeshCommunicator(mesh).allreduce(np.array([1, rank]))

    threads = [threading.Thread(target=one, args=item) for item in meshes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    size = len(meshes)
    assert all(results[r].tolist() == [size, size * (size - 1) // 2] for r in meshes)
    for mesh in meshes.values():
        mesh.close()


@pytest.mark.parametrize("size", [1, 2, 3, 8, 16])
def test_every_rank_reaches_every_other(make_town, size):
    check(make_town(size).form())


def test_the_same_ranks_can_form_again_for_another_epoch(make_town):
    town = make_town(3)
    check(town.form())
    check(town.form(epochs=dict.fromkeys(range(3), 2)))
    check(town.form(epochs=dict.fromkeys(range(3), (1 << 40) + 3)))


def test_strangers_and_silence_at_the_door_delay_nobody(make_town):
    town = make_town(3)
    strangers = []
    for member in town.members:
        for data in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 500):
            sock = socket.create_connection((member.address, member.port))
            sock.sendall(data)
            strangers.append(sock)
    started = time.monotonic()
    check(town.form(deadlines=replace(DEADLINES, handshake_s=15)))
    assert time.monotonic() - started < 10
    for sock in strangers:
        sock.close()


def knock(member, data=b""):
    """A stranger who does not wait to be let in."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex((member.address, member.port))
    with contextlib.suppress(OSError):
        sock.send(data)
    return sock


def test_a_door_that_strangers_filled_before_the_formation_opens_again(make_town):
    """The kernel leaves the peers' first calls unanswered then."""
    town = make_town(3)
    strangers = [knock(member) for member in town.members for _ in range(300)]
    check(town.form())
    for sock in strangers:
        sock.close()


def test_strangers_who_keep_coming_while_ranks_connect_hold_nobody_up(make_town):
    town = make_town(4)
    over = threading.Event()

    def besiege(member):
        held = deque(maxlen=200)
        while not over.is_set():
            held.append(knock(member, b"HARPY\x00" + bytes(50)))
            if len(held) == held.maxlen:
                held.popleft().close()
            time.sleep(0.002)

    threads = [threading.Thread(target=besiege, args=(m,), daemon=True) for m in town.members]
    for thread in threads:
        thread.start()
    for epoch in range(1, 6):
        check(town.form(epochs=dict.fromkeys(range(4), epoch)))
    over.set()
    for thread in threads:
        thread.join(10)


def test_more_hellos_than_places_drive_out_only_each_other(make_town):
    """Strangers may know the job's name and say a whole hello; the peers still get through."""
    town = make_town(2)
    hello = Initiator(
        b"x" * 32, "job", Identity(Role.PEER, 1, 0, 1), Identity(Role.PEER, 0, 0, 1)
    ).hello
    strangers = [knock(town.members[0], hello) for _ in range(2 * MAX_UNAUTHENTICATED)]
    check(town.form())
    for sock in strangers:
        sock.close()


def test_no_connection_is_left_of_a_formation_that_failed(make_town):
    town = make_town(3)
    before = len(list(Path("/proc/self/fd").iterdir()))
    town.form(ranks=[0, 1], deadlines=replace(DEADLINES, rendezvous_s=0.5))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_rank_that_never_comes_is_named(make_town):
    results = make_town(3).form(ranks=[0, 1], deadlines=replace(DEADLINES, rendezvous_s=0.5))
    for rank in (0, 1):
        assert isinstance(results[rank], RendezvousTimeout)
        assert results[rank].missing == (2,)
        assert f"rank 2 did not connect to rank {rank}" in str(results[rank])


def test_a_rank_that_does_not_answer_is_named(make_town):
    results = make_town(2).form(ranks=[1], deadlines=replace(DEADLINES, rendezvous_s=0.5))
    assert isinstance(results[1], PeerLost)
    assert results[1].rank == 0
    assert "rank 0 on here (127.0.0.1 port" in str(results[1])


def test_a_rank_that_cannot_be_reached_is_named(make_town):
    town = make_town(2)
    town.listeners[0].close()
    results = town.form(ranks=[1])
    assert isinstance(results[1], PeerLost)
    assert "cannot reach rank 0" in str(results[1])


def test_a_rank_that_lags_an_epoch_behind_is_not_let_in(make_town):
    quick = replace(DEADLINES, rendezvous_s=1)
    results = make_town(2).form(epochs={0: 2, 1: 1}, deadlines=quick)
    assert isinstance(results[0], RendezvousTimeout)
    assert isinstance(results[1], PeerLost)
    assert "but peer rank 0 attempt 0 epoch 2 answered" in str(results[1])


def test_a_rank_waits_for_one_that_has_not_heard_of_the_epoch_yet(make_town):
    town = make_town(2)
    quick = replace(DEADLINES, rendezvous_s=1)
    late = {}

    def old_epoch_then_new():
        late["old"] = town.form(ranks=[0], epochs={0: 1}, deadlines=quick)[0]
        late.update(town.form(ranks=[0], epochs={0: 2}))

    thread = threading.Thread(target=old_epoch_then_new, daemon=True)
    thread.start()
    meshes = town.form(ranks=[1], epochs={1: 2})
    thread.join(30)
    assert isinstance(late.pop("old"), RendezvousTimeout)
    check({**late, **meshes})


def test_a_rank_with_another_secret_is_not_let_in(make_town):
    quick = replace(DEADLINES, rendezvous_s=1)
    results = make_town(2).form(secrets={1: b"x" * 32}, deadlines=quick)
    assert isinstance(results[0], RendezvousTimeout)
    assert isinstance(results[1], AuthenticationError)
