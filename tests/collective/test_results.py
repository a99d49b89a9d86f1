"""Collectives give what NumPy gives, on every rank, for every world size and both paths."""

from __future__ import annotations

import numpy as np
import pytest

from harpy.program.communicator import LocalCommunicator, MeshCommunicator

SIZES = range(1, 9)
# A limit of 0 sends everything down the ring, a huge one everything down the tree.
PATHS = pytest.mark.parametrize("tree_limit", [0, 1 << 30], ids=["ring", "tree"])


@PATHS
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_allreduce_equals_numpy_for_every_op(make_world, size, tree_limit, dtype):
    rng = np.random.default_rng(size)
    parts = (rng.integers(-1000, 1000, (size, 37)) / 8).astype(dtype)  # sums of eighths are exact
    world = make_world(size, tree_limit=tree_limit)

    def program(rank, mesh):
        comm = MeshCommunicator(mesh)
        return [comm.allreduce(parts[rank], op) for op in ("sum", "max", "min")]

    for total, largest, smallest in world.run(program):
        np.testing.assert_array_equal(total, parts.sum(axis=0, dtype=dtype), strict=True)
        np.testing.assert_array_equal(largest, parts.max(axis=0), strict=True)
        np.testing.assert_array_equal(smallest, parts.min(axis=0), strict=True)


@PATHS
@pytest.mark.parametrize("size", [2, 3, 5, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_allreduce_of_payloads_smaller_than_the_world(make_world, size, count, tree_limit):
    world = make_world(size, tree_limit=tree_limit)
    results = world.run(
        lambda rank, mesh: MeshCommunicator(mesh).allreduce(np.full((count, 1), rank + 1))
    )
    for result in results:
        assert result.shape == (count, 1)
        assert (result == size * (size + 1) // 2).all()


@PATHS
@pytest.mark.parametrize("size", [3, 4, 7])
def test_float_sums_have_the_same_bits_on_all_ranks_and_in_every_repetition(
    make_world, size, tree_limit
):
    parts = np.random.default_rng(1).lognormal(sigma=8, size=(size, 1001)).astype(np.float32)
    world = make_world(size, tree_limit=tree_limit)

    def program(rank, mesh):
        comm = MeshCommunicator(mesh)
        return [comm.allreduce(parts[rank]).tobytes() for _ in range(3)]

    results = world.run(program)
    assert len({bits for repeated in results for bits in repeated}) == 1


@PATHS
def test_integer_sums_wrap_and_nan_wins_max_and_min(make_world, tree_limit):
    world = make_world(3, tree_limit=tree_limit)
    top = np.iinfo(np.int64).max

    def program(rank, mesh):
        comm = MeshCommunicator(mesh)
        values = np.array([1.0, np.nan if rank == 1 else rank, -rank])
        wrapped = comm.allreduce(np.array([top, 1]) if rank == 0 else np.array([1, 1]))
        return wrapped, comm.allreduce(values, "max"), comm.allreduce(values, "min")

    for wrapped, largest, smallest in world.run(program):
        assert wrapped.tolist() == [-top, 3]  # max + 1 + 1 wraps to min + 1
        np.testing.assert_array_equal(largest, [1.0, np.nan, 0.0])
        np.testing.assert_array_equal(smallest, [1.0, np.nan, -2.0])


@PATHS
@pytest.mark.parametrize("size", SIZES)
def test_broadcast_from_every_root(make_world, size, tree_limit):
    world = make_world(size, tree_limit=tree_limit)

    def program(rank, mesh):
        comm = MeshCommunicator(mesh)
        return [
            comm.broadcast(np.full((3, 5), root, np.float32) if rank == root else None, root)
            for root in range(size)
        ]

    for received in world.run(program):
        for root, array in enumerate(received):
            np.testing.assert_array_equal(array, np.full((3, 5), root, np.float32), strict=True)


@PATHS
@pytest.mark.parametrize("size", SIZES)
def test_allgather_of_different_lengths_shapes_and_dtypes(make_world, size, tree_limit):
    def part(rank):
        dtype = [np.int8, np.float64, "<U3", bool][rank % 4]
        return np.ones((rank * 1000, 2) if rank % 2 else (rank,)).astype(dtype)

    world = make_world(size, tree_limit=tree_limit)
    for gathered in world.run(lambda rank, mesh: MeshCommunicator(mesh).allgather(part(rank))):
        assert len(gathered) == size
        for rank, array in enumerate(gathered):
            np.testing.assert_array_equal(array, part(rank), strict=True)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_megabytes_pass_through_tiny_socket_buffers(make_world, size):
    world = make_world(size, tree_limit=1024, buffer_bytes=4608)

    def program(rank, mesh):
        comm = MeshCommunicator(mesh)
        total = comm.allreduce(np.arange(100_000, dtype=np.int64) * (rank + 1))
        block = comm.broadcast(np.arange(50_000.0) if rank == 1 else None, root=1)
        parts = comm.allgather(np.full(20_000 * (rank + 1), rank, np.int16))
        return total, block, parts

    for total, block, parts in world.run(program):
        np.testing.assert_array_equal(total, np.arange(100_000) * (size * (size + 1) // 2))
        np.testing.assert_array_equal(block, np.arange(50_000.0))
        assert [len(p) for p in parts] == [20_000 * (r + 1) for r in range(size)]
        assert all((p == r).all() for r, p in enumerate(parts))


@pytest.mark.parametrize("size", SIZES)
def test_nobody_passes_a_barrier_before_the_last_has_come(make_world, size):
    world = make_world(size)
    arrived = []

    def program(rank, mesh):
        for repetition in range(5):
            arrived.append(repetition)
            mesh.barrier()
            seen = arrived.count(repetition)
            mesh.barrier()
            if seen != size:
                return f"{seen} of {size} had come"
        return "ok"

    assert world.run(program) == ["ok"] * size


def test_arrays_given_are_not_changed_and_arrays_returned_are_new(make_world):
    world = make_world(2)

    def program(rank, mesh):
        comm = MeshCommunicator(mesh)
        mine = np.ones(4)
        mine.flags.writeable = False
        results = [comm.allreduce(mine), comm.broadcast(mine), *comm.allgather(mine)]
        for result in results:
            result += 1  # writable, and nobody else's
        return mine.tolist()

    assert world.run(program) == [[1.0] * 4] * 2


def test_a_strided_or_fortran_array_is_reduced_by_its_elements(make_world):
    world = make_world(2)
    fortran = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    for result in world.run(lambda r, mesh: MeshCommunicator(mesh).allreduce(fortran[:, ::2])):
        np.testing.assert_array_equal(result, 2 * fortran[:, ::2])


def test_one_rank_alone_behaves_like_a_world_of_one(make_world):
    mine = np.arange(6.0).reshape(2, 3)
    for comm in (LocalCommunicator(), MeshCommunicator(make_world(1).meshes[0])):
        assert (comm.rank, comm.size) == (0, 1)
        for result in (comm.allreduce(mine), comm.broadcast(mine), *comm.allgather(mine)):
            np.testing.assert_array_equal(result, mine, strict=True)
            assert result is not mine
        comm.barrier()
        with pytest.raises(ValueError, match="op must be one of sum, max, min, got 'mean'"):
            comm.allreduce(mine, "mean")
        with pytest.raises(TypeError, match=r"allreduce takes .*, float64, got >f8"):
            comm.allreduce(np.ones(3, ">f8"))
        with pytest.raises(TypeError, match=r"allreduce takes int32, .*, got complex128"):
            comm.allreduce(mine * 1j)
        with pytest.raises(ValueError, match="root must be a rank from 0 to 0, got 1"):
            comm.broadcast(mine, root=1)
        with pytest.raises(TypeError, match="got object"):
            comm.allgather(np.array([None]))
