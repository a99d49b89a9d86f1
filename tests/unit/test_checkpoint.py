"""States of a run: kept by every worker, written by one, the newest found again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from harpy.errors import DataError
from harpy.program.checkpoint import CheckpointKeeper, GangCheckpoint, decode, encode
from harpy.storage import JobDirectory, filesystem
from tests.support.gangs.threads import Meeting, ThreadComm

SOON_S = 10.0


@pytest.fixture
def directory(tmp_path: Path) -> JobDirectory:
    made = JobDirectory(filesystem(f"file://{tmp_path}"), f"file://{tmp_path}/job-1")
    made.create()
    return made


def keeper(directory: JobDirectory, writes: bool = True, every_s: float = 0.01) -> CheckpointKeeper:
    made = CheckpointKeeper(directory, writes, every_s)
    made.begin(1)
    return made


def alone(made: CheckpointKeeper, on_file: bool = False) -> GangCheckpoint:
    return GangCheckpoint(made, lambda: ThreadComm(0, 1, Meeting(1)), on_file)


def written(directory: JobDirectory, number: int) -> None:
    deadline = time.monotonic() + SOON_S
    while number not in directory.run(1).checkpoints():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_state_comes_back_with_its_arrays_apart_from_the_callers(directory):
    made = alone(keeper(directory))
    assert made.load() is None
    centers = np.arange(6, dtype=np.float32).reshape(2, 3)
    made.save({"iteration": 3, "centers": centers, "courses": [{"inertia": float("inf")}]})
    centers[:] = 0
    state = made.load()
    assert state["iteration"] == 3
    assert state["centers"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["courses"] == [{"inertia": float("inf")}]
    state["courses"].clear()
    assert len(made.load()["courses"]) == 1


def test_what_cannot_be_kept_is_refused_with_its_place(directory):
    with pytest.raises(DataError, match="the checkpoint"):
        alone(keeper(directory)).save({"model": object()})


def test_the_newest_of_any_rank_is_everybodys(directory):
    keepers = [keeper(directory, writes=False) for _ in range(3)]
    keepers[1].keep(4, {"iteration": 4})
    keepers[2].keep(5, {"iteration": 5})
    meeting, found = Meeting(3), [None] * 3

    def load(rank: int) -> None:
        comm = ThreadComm(rank, 3, meeting)
        made = GangCheckpoint(keepers[rank], lambda: comm, on_file=False)
        found[rank] = made.load()
        made.save({"iteration": 6})

    threads = [threading.Thread(target=load, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert found == [{"iteration": 5}] * 3
    assert [k.newest()[0] for k in keepers] == [6, 6, 6]


def test_files_are_read_by_a_rank_that_remembers_nothing_and_pruned(directory):
    first = alone(keeper(directory))
    for iteration in range(1, 6):
        first.save({"iteration": iteration})
        written(directory, iteration)
    deadline = time.monotonic() + SOON_S
    while directory.run(1).checkpoints() != [4, 5]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert alone(keeper(directory), on_file=False).load() is None
    assert alone(keeper(directory), on_file=True).load() == {"iteration": 5}


def test_a_damaged_file_gives_way_to_the_one_before(directory):
    run = directory.run(1)
    run.write_checkpoint(1, encode({"iteration": 1}))
    whole = encode({"iteration": 2})
    run.write_checkpoint(2, whole[: len(whole) // 2])
    run.write_checkpoint(3, whole[:-1] + bytes([whole[-1] ^ 1]))
    assert alone(keeper(directory), on_file=True).load() == {"iteration": 1}


@pytest.mark.parametrize("data", [b"", b"x", encode({})[:-1], encode({}) * 2, bytes(200)])
def test_what_is_no_checkpoint_is_refused(data):
    with pytest.raises(DataError, match="not a checkpoint"):
        decode(data)


def test_another_run_begins_without_a_state_and_an_ended_one_leaves_no_file(directory):
    made = keeper(directory)
    alone(made).save({"iteration": 1})
    written(directory, 1)
    made.end(1)
    assert not directory.fs.exists(directory.run(1).checkpoint)
    made.begin(2)
    assert made.newest() == (0, {})


def test_a_file_that_cannot_be_written_is_no_failure_of_the_run(directory, caplog):
    directory.fs.write_bytes(directory.run(1).checkpoint, b"a file where the folder belongs")
    made = alone(keeper(directory))
    made.save({"iteration": 1})
    deadline = time.monotonic() + SOON_S
    while "checkpoint 1 of run 1 was not written" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert made.load() == {"iteration": 1}


def test_a_new_generation_counts_above_all_attempts_and_opens_the_session(directory):
    assert directory.begin_generation() == 1_000_000
    directory.publish_rank0(1001, "127.0.0.1", 4000)
    directory.publish_end(well=False)
    assert directory.session_ended() is False
    assert directory.begin_generation() == 1_000_000
    assert directory.session_ended() is None
    directory.publish_rank0(1_000_003, "127.0.0.1", 4000)
    assert directory.begin_generation() == 2_000_000
