"""A worker on its way to rank 0: when it waits for another address, and when it gives up."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from harpy.config import Deadlines
from harpy.errors import PeerUnreachable
from harpy.gang import link
from harpy.gang.link import NetworkPartition, join_hub
from harpy.storage import JobDirectory, filesystem
from harpy.wire.auth import Identity, Role
from harpy.wire.channel import Unanswered, connect_socket
from tests.support.unanswered import unanswered_address

LIMIT_S = 60.0
ME = Identity(Role.WORKER, 1, 0)


def tries(*seen: tuple[float, int, bool, float | None]) -> list[bool]:
    """What NetworkPartition says to tries at (now, attempt, unanswered, waited_at)."""
    partition = NetworkPartition(LIMIT_S)
    return [partition.lasts(attempt, unanswered, at, now) for now, attempt, unanswered, at in seen]


def test_a_rank_0_that_waits_out_of_reach_is_given_up_at_the_limit() -> None:
    assert tries((0, 0, True, 10.0), (59, 0, True, 25.0), (61, 0, True, 70.0)) == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "seen",
    [
        [(0, 0, True, 10.0), (100, 0, True, 10.0)],
        [(0, 0, True, None), (100, 0, True, None)],
        [(0, 0, True, 10.0), (50, 0, False, None), (100, 0, True, 40.0), (150, 0, True, 90.0)],
        [(0, 0, True, 10.0), (50, 1, True, 40.0), (100, 1, True, 90.0)],
    ],
    ids=["its last word is old", "it never said a word", "it refused meanwhile", "a successor"],
)
def test_a_rank_0_that_may_be_gone_is_waited_for(
    seen: list[tuple[float, int, bool, float | None]],
) -> None:
    assert not any(tries(*seen))


def test_an_older_attempt_of_rank_0_says_nothing_about_its_successor() -> None:
    old = [(now, 0, True, now) for now in (1.0, 70.0, 140.0)]
    assert not any(tries((0, 1, False, None), *old))


def test_the_error_of_a_worker_out_of_reach_names_both_ends_and_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = JobDirectory(filesystem(f"file://{tmp_path}"), f"file://{tmp_path}/job-1")
    directory.create()
    directory.publish_rank0(0, "10.0.0.7", 40123)

    class NoAnswer:
        @staticmethod
        def connect(*_: Any) -> None:
            directory.publish_waiting()
            raise Unanswered("no answer (timed out)")

    monkeypatch.setattr(link, "Channel", NoAnswer)
    deadlines = Deadlines(rendezvous_s=0.1, allocate_s=20)
    words = rf"rank 1 on {socket.gethostname()} cannot reach rank 0 at 10\.0\.0\.7 port 40123: no "
    with pytest.raises(PeerUnreachable, match=rf"{words}answer for 0\.1 s \(HARPY_REN") as caught:
        join_hub(directory, bytes(32), ME, ("10.0.0.8", 1), None, deadlines)  # type: ignore[arg-type]
    assert caught.value.replaceable


def test_a_host_without_an_answer_is_told_from_one_that_refuses() -> None:
    with unanswered_address() as address, pytest.raises(Unanswered):
        connect_socket(*address, timeout_s=0.2)
    with pytest.raises(ConnectionRefusedError):
        connect_socket(*address)
