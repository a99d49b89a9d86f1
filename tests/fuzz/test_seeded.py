"""Thousands of malformed inputs, the same in every run: nothing but the errors that are meant."""

from __future__ import annotations

import contextlib
import random
import socket
import threading

import numpy as np
import pytest

from harpy.errors import GangError
from harpy.kernels.collective import Mesh
from tests.support.fuzz.seeds import inputs, torn
from tests.support.fuzz.targets import TARGETS

N_INPUTS = 3_000


@pytest.mark.parametrize("target", TARGETS)
def test_malformed_bytes_do_no_harm(target: str) -> None:
    for seed in range(N_INPUTS):
        data = inputs(target, random.Random(seed))
        try:
            TARGETS[target](data)
        except Exception as exc:
            raise AssertionError(f"seed {seed}: {data!r}") from exc


def spoken_by_a_rank(n_bytes: int) -> bytes:
    """What rank 1 of 2 puts on the wire in three calls and its farewell."""
    ours, theirs = socket.socketpair()
    near, far = socket.socketpair()
    heard = bytearray()

    def relay(source: socket.socket, target: socket.socket, note: bytearray | None) -> None:
        with contextlib.suppress(OSError):  # a farewell may meet a rank that has left
            while data := source.recv(1 << 16):
                if note is not None:
                    note += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    threads = [
        threading.Thread(target=relay, args=(far, theirs, heard), daemon=True),
        threading.Thread(target=relay, args=(theirs, far, None), daemon=True),
    ]
    meshes = [Mesh(0, 2, [-1, ours.detach()], 1, 10.0), Mesh(1, 2, [near.detach(), -1], 1, 10.0)]
    threads += [threading.Thread(target=calls, args=(mesh, n_bytes)) for mesh in meshes]
    for thread in threads:
        thread.start()
    for thread in threads[2:]:
        thread.join(20)
    for thread in threads[:2]:
        thread.join(20)
    far.close()
    theirs.close()
    return bytes(heard)


def calls(mesh: Mesh, n_bytes: int) -> None:
    try:
        data = np.zeros(n_bytes, np.uint8)
        mesh.barrier()
        mesh.allreduce(data, "float64", "sum")
        mesh.broadcast(data, 1)
        blocks = [np.zeros(n_bytes, np.uint8), np.zeros(8, np.uint8)]
        mesh.allgather(blocks if mesh.rank == 0 else [np.zeros(n_bytes, np.uint8), blocks[1]])
    finally:
        mesh.close()


@pytest.mark.parametrize("n_bytes", [16, 1 << 17], ids=["small", "large"])
def test_a_rank_that_is_sent_nonsense_says_so_or_computes(n_bytes: int) -> None:
    """The peer's bytes, torn, on a connection that ends after them."""
    spoken = spoken_by_a_rank(n_bytes)
    assert len(spoken) > 4 * 40
    refused = 0
    for seed in range(300):
        rng = random.Random(seed)
        at = rng.choice((0, 40, 80, rng.randrange(len(spoken))))
        said = spoken[:at] + torn(spoken[at : at + 200], rng) + spoken[at + 200 :]
        ours, theirs = socket.socketpair()
        mesh = Mesh(0, 2, [-1, ours.detach()], 1, 10.0)
        speaker = threading.Thread(target=speak, args=(theirs, said), daemon=True)
        speaker.start()
        try:
            calls(mesh, n_bytes)
        except GangError:
            refused += 1
        speaker.join(20)
    assert refused > 150


def speak(sock: socket.socket, said: bytes) -> None:
    """Say it all, then only listen."""
    try:
        with sock:
            sock.settimeout(10)
            send = threading.Thread(target=_send, args=(sock, said), daemon=True)
            send.start()
            while sock.recv(1 << 16):
                pass
            send.join(10)
    except OSError:
        pass


def _send(sock: socket.socket, said: bytes) -> None:
    try:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
