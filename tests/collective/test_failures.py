"""What ranks hear when something goes wrong: the right error, soon, naming the culprit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from harpy.errors import GangError, PeerLost, ProtocolError, RunTimeout
from harpy.program.communicator import MeshCommunicator

SOON_S = 5.0  # far below any deadline of the worlds here


def only(results, kind):
    return [result for result in results if isinstance(result, kind)]


def run_soon(world, program):
    started = time.monotonic()
    results = world.run(program)
    assert time.monotonic() - started < SOON_S
    return results


@pytest.mark.parametrize("size", [2, 3, 4])
def test_different_operations_are_named(make_world, size):
    def program(rank, mesh):
        if rank == 0:
            return MeshCommunicator(mesh).allreduce(np.zeros(3))
        return mesh.barrier()

    results = run_soon(make_world(size), program)
    assert all(isinstance(result, ProtocolError | PeerLost) for result in results)
    words = [str(result) for result in only(results, ProtocolError)]
    assert words
    assert any("allreduce #1 (sum of 3 float64)" in w and "barrier #1" in w for w in words)


@pytest.mark.parametrize("tree_limit", [0, 1 << 20], ids=["ring", "tree"])
@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        (np.zeros(3), np.zeros(4), ["sum of 3 float64", "sum of 4 float64"]),
        (np.zeros(4, "i4"), np.zeros(4, "f4"), ["sum of 4 int32", "sum of 4 float32"]),
    ],
    ids=["length", "dtype"],
)
def test_different_payloads_are_named(make_world, mine, theirs, words, tree_limit):
    results = run_soon(
        make_world(2, tree_limit=tree_limit),
        lambda rank, mesh: MeshCommunicator(mesh).allreduce(theirs if rank else mine),
    )
    messages = [str(result) for result in only(results, ProtocolError)]
    assert messages
    assert all(word in message for word in words for message in messages)


def test_different_reductions_are_named(make_world):
    results = run_soon(
        make_world(2),
        lambda rank, mesh: MeshCommunicator(mesh).allreduce(np.zeros(1), ["sum", "max"][rank]),
    )
    message = str(only(results, ProtocolError)[0])
    assert "sum of 1 float64" in message
    assert "max of 1 float64" in message


def test_a_call_more_on_one_rank_says_that_the_other_has_ended(make_world):
    def program(rank, mesh):
        mesh.barrier()
        if rank == 1:
            return mesh.close()
        return mesh.barrier()

    error, closed = run_soon(make_world(2), program)
    assert closed is None
    assert isinstance(error, ProtocolError)
    assert "rank 0, barrier #2: rank 1 ended its program after 1 collective calls" in str(error)


def test_frames_of_another_epoch_are_refused(make_world):
    results = run_soon(make_world(2, epochs=[3, 4]), lambda rank, mesh: mesh.barrier())
    assert "of epoch 4, not 3" in str(results[0]) or "of epoch 3, not 4" in str(results[1])


def test_bytes_that_are_no_frame_are_refused():
    import socket

    from harpy.kernels.collective import Mesh

    ours, theirs = socket.socketpair()
    with theirs:
        mesh = Mesh(0, 2, [-1, ours.detach()], 1, 5.0)
        theirs.sendall(b"GET / HTTP/1.1\r\n" * 8)
        with pytest.raises(ProtocolError, match="rank 1 sent something that is not a frame"):
            mesh.barrier()
        mesh.close()


def test_a_rank_that_does_not_come_is_named_at_the_deadline(make_world):
    world = make_world(3, timeout_s=0.5)
    started = time.monotonic()
    results = world.run(lambda rank, mesh: None if rank == 2 else mesh.barrier())
    assert 0.4 < time.monotonic() - started < SOON_S
    timeouts = only(results, RunTimeout)
    assert timeouts
    assert all(isinstance(error, TimeoutError) for error in timeouts)
    named = [error for error in timeouts if error.rank == 2]
    assert "barrier #1: waited 0.5 s for rank 2" in str(named[0])


@pytest.mark.parametrize("count", [4, 500_000], ids=["small", "large"])
def test_a_closed_peer_wakes_everybody_at_once(make_world, count):
    world = make_world(4)

    def program(rank, mesh):
        if rank == 3:
            time.sleep(0.2)
            return mesh.abort("gone")
        return MeshCommunicator(mesh).allreduce(np.zeros(count))

    results = run_soon(world, program)
    assert all(isinstance(result, PeerLost) for result in results[:3])
    assert any(result.rank == 3 for result in results[:3])


def test_abort_from_another_thread_ends_a_call_and_all_later_ones(make_world):
    world = make_world(2)
    threading.Timer(0.2, world.meshes[0].abort, ["rank 7 ran out of disk"]).start()
    error, _ = run_soon(world, lambda rank, mesh: mesh.barrier() if rank == 0 else None)
    assert isinstance(error, PeerLost)
    assert "rank 0, barrier #1: rank 7 ran out of disk" in str(error)
    with pytest.raises(PeerLost, match="rank 7 ran out of disk"):
        world.meshes[0].barrier()


def test_after_an_error_every_call_fails_with_the_same_words(make_world):
    world = make_world(2, timeout_s=0.2)
    first, _ = world.run(lambda rank, mesh: mesh.barrier() if rank == 0 else None)
    with pytest.raises(RunTimeout) as second:
        world.meshes[0].barrier()
    assert str(second.value) == str(first)


def test_close_from_another_thread_ends_a_call(make_world):
    world = make_world(2)
    threading.Timer(0.2, world.meshes[0].close).start()
    error, _ = run_soon(world, lambda rank, mesh: mesh.barrier() if rank == 0 else None)
    assert isinstance(error, PeerLost)
    assert "the communicator was closed" in str(error)
    world.meshes[0].close()  # again is harmless
    with pytest.raises(GangError, match="closed"):
        world.meshes[0].barrier()


def test_two_threads_in_one_communicator_are_refused(make_world):
    world = make_world(2, timeout_s=2.0)
    heard = []

    def wait():
        try:
            world.meshes[0].barrier()
        except PeerLost as exc:
            heard.append(exc)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.2)
    with pytest.raises(GangError, match="another thread of rank 0 is in a collective"):
        world.meshes[0].barrier()
    world.meshes[0].abort("test is over")
    waiting.join(SOON_S)
    assert len(heard) == 1


INTERRUPTED = """
import signal, socket, sys, time
from harpy.kernels.collective import Mesh
a, b = socket.socketpair()
mesh = Mesh(0, 2, [-1, a.detach()], 1, 60.0)
print("waiting", flush=True)
try:
    mesh.barrier()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_waiting_collective():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        started = time.monotonic()
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - started < SOON_S
        assert process.wait(SOON_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
